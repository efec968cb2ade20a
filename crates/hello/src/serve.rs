//! The HTTP server: one answer per connection, a bounded number of connections at once.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

const CONNECTIONS: usize = 64;
/// A client that says nothing must not hold a place for ever.
const PATIENCE: Duration = Duration::from_secs(5);
const HEAD_MAX: u64 = 16 * 1024;
/// Enough for one request, and small since there may be many threads.
const STACK: usize = 64 * 1024;

/// Who answers.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) pod: String,
    pub(crate) node: Option<String>,
}

impl Identity {
    pub(crate) fn of_this_pod() -> Identity {
        let host_name = || std::fs::read_to_string("/proc/sys/kernel/hostname").map(|name| name.trim().to_owned()).unwrap_or_default();
        Identity { pod: std::env::var("POD_NAME").unwrap_or_else(|_| host_name()), node: std::env::var("NODE_NAME").ok() }
    }

    fn greeting(&self, address: SocketAddr) -> String {
        let node = self.node.as_ref().map(|node| format!("node: {node}\n")).unwrap_or_default();
        format!("pod: {}\n{node}address: {}:{}\n", self.pod, address.ip().to_canonical(), address.port())
    }
}

/// On all addresses, of both families where there are two.
pub(crate) fn listen(port: u16) -> io::Result<TcpListener> {
    TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).or_else(|_| TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)))
}

/// Serves for ever.
pub(crate) fn run(listener: &TcpListener, identity: &Identity) {
    let places = Arc::new(Places::default());
    loop {
        let place = places.take();
        let Ok((connection, peer)) = listener.accept() else {
            // Out of descriptors: a connection that ends makes room, and without one there is nothing to wait for.
            std::thread::yield_now();
            continue;
        };
        let identity = identity.clone();
        let answer = move || {
            let _place = place;
            match answer(&connection, &identity) {
                Ok(request) => println!("{} {request}", peer.ip().to_canonical()),
                Err(error) => eprintln!("{}: {error}", peer.ip().to_canonical()),
            }
        };
        if let Err(error) = std::thread::Builder::new().stack_size(STACK).spawn(answer) {
            eprintln!("cannot serve {peer}: {error}");
        }
    }
}

/// Reads one request and answers it; returns the request line.
fn answer(connection: &TcpStream, identity: &Identity) -> io::Result<String> {
    connection.set_read_timeout(Some(PATIENCE))?;
    connection.set_write_timeout(Some(PATIENCE))?;
    let mut head = BufReader::new(connection.take(HEAD_MAX)).lines();
    let request = head.next().transpose()?.unwrap_or_default();
    for line in head {
        if line?.is_empty() {
            break;
        }
    }
    let (method, valid) = match request.split(' ').collect::<Vec<_>>().as_slice() {
        [method, target, version] => ((*method).to_owned(), target.starts_with('/') && version.starts_with("HTTP/1.")),
        _ => (String::new(), false),
    };
    let (status, body) = match method.as_str() {
        _ if !valid => ("400 Bad Request", "bad request\n".to_owned()),
        "GET" | "HEAD" => ("200 OK", identity.greeting(connection.local_addr()?)),
        _ => ("405 Method Not Allowed", "only GET and HEAD\n".to_owned()),
    };
    let length = body.len();
    let mut response =
        format!("HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
    if method != "HEAD" {
        response.push_str(&body);
    }
    (&*connection).write_all(response.as_bytes())?;
    Ok(format!("{:?} {}", request.chars().take(200).collect::<String>(), status))
}

/// The connections that may still be taken.
#[derive(Default)]
struct Places {
    taken: Mutex<usize>,
    freed: Condvar,
}

struct Place(Arc<Places>);

impl Places {
    fn take(self: &Arc<Places>) -> Place {
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let mut taken = self.freed.wait_while(taken, |taken| *taken >= CONNECTIONS).unwrap_or_else(PoisonError::into_inner);
        *taken += 1;
        Place(Arc::clone(self))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        *self.0.taken.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        self.0.freed.notify_one();
    }
}

#[cfg(test)]
mod tests;
