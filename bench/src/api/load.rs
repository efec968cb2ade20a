//! The load generator: HTTP/1.1 over TLS, one connection a client, all of them on one thread.

use std::collections::VecDeque;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use bytes::Bytes;
use http::{Method, Request, Response, header};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, client::conn::http1::SendRequest};
use hyper_util::rt::TokioIo;
use tokio::io::BufReader;
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, rustls};

/// Who it is, in the form in which programs say it.
const AGENT: &str = "corten-bench/v0.1.0 (linux/amd64)";

/// A server, and how to show oneself to it.
#[derive(Clone)]
pub(crate) struct Endpoint {
    pub(crate) address: SocketAddr,
    pub(crate) tls: Arc<rustls::ClientConfig>,
}

/// One request.
pub(crate) struct Job {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) body: Bytes,
}

/// Runs the load on a thread of its own, with a runtime of its own.
pub(crate) fn run_on_a_thread<T: Send + 'static>(work: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
    let thread = std::thread::spawn(move || -> Result<T> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(work)
    });
    thread.join().map_err(|_| anyhow!("the load generator panicked"))?
}

/// A connection.
pub(crate) struct Client {
    sender: SendRequest<Full<Bytes>>,
    host: String,
}

pub(crate) async fn connect(endpoint: &Endpoint) -> Result<Client> {
    let stream = TcpStream::connect(endpoint.address).await.with_context(|| format!("cannot connect to {}", endpoint.address))?;
    stream.set_nodelay(true)?;
    // An answer is read at once, as other clients do it: by itself TLS reads 4 KiB at a time here.
    let stream = BufReader::with_capacity(32 << 10, stream);
    let name = rustls::pki_types::ServerName::IpAddress(endpoint.address.ip().into());
    let stream = TlsConnector::from(Arc::clone(&endpoint.tls)).connect(name, stream).await.context("no TLS")?;
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(async move {
        // Its end is seen by the next request.
        let _ended = connection.await;
    });
    Ok(Client { sender, host: endpoint.address.to_string() })
}

pub(crate) async fn connect_all(endpoint: &Endpoint, count: usize) -> Result<Vec<Client>> {
    let mut clients = Vec::with_capacity(count);
    for _ in 0..count {
        clients.push(connect(endpoint).await?);
    }
    Ok(clients)
}

impl Client {
    /// Sends a request; returns when the head of a successful answer is there.
    pub(crate) async fn send(&mut self, method: Method, path: &str, media_type: &str, body: Bytes) -> Result<Response<Incoming>> {
        self.sender.ready().await?;
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, &self.host)
            .header(header::USER_AGENT, AGENT)
            .header(header::ACCEPT, "application/json")
            .header(header::CONTENT_TYPE, media_type)
            .body(Full::new(body))?;
        let response = self.sender.send_request(request).await?;
        if response.status().is_success() {
            return Ok(response);
        }
        let code = response.status();
        let text = response.into_body().collect().await?.to_bytes();
        bail!("{path} was answered with {code}: {}", String::from_utf8_lossy(&text))
    }

    /// Sends a request and reads the answer; returns its size.
    async fn exchange(&mut self, method: Method, path: &str, body: Bytes) -> Result<usize> {
        let mut answer = self.send(method, path, "application/json", body).await?.into_body();
        let mut size = 0;
        while let Some(frame) = answer.frame().await {
            size += frame?.data_ref().map_or(0, Bytes::len);
        }
        Ok(size)
    }

    /// The whole body of an answer.
    pub(crate) async fn get(&mut self, path: &str) -> Result<Bytes> {
        let answer = self.send(Method::GET, path, "application/json", Bytes::new()).await?;
        Ok(answer.into_body().collect().await?.to_bytes())
    }
}

/// Sends all requests, as fast as the clients are answered; returns how long it took.
pub(crate) async fn all(clients: Vec<Client>, jobs: Vec<Job>) -> Result<Duration> {
    let jobs = Arc::new(Mutex::new(VecDeque::from(jobs)));
    let began = Instant::now();
    let tasks = clients.into_iter().map(|mut client| {
        let jobs = Arc::clone(&jobs);
        tokio::spawn(async move {
            loop {
                let job = jobs.lock().map_err(|_| anyhow!("another client panicked"))?.pop_front();
                let Some(job) = job else { return anyhow::Ok(()) };
                client.exchange(job.method, &job.path, job.body).await?;
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await??;
    }
    Ok(began.elapsed())
}

/// Gets paths, made from a running number, for so long; returns how many answers there were.
pub(crate) async fn for_a_while(
    clients: Vec<Client>,
    time: Duration,
    path: impl Fn(usize) -> String + Send + Sync + 'static,
) -> Result<usize> {
    let path = Arc::new(path);
    let end = Instant::now() + time;
    let step = clients.len();
    let tasks = clients.into_iter().enumerate().map(|(first, mut client)| {
        let path = Arc::clone(&path);
        tokio::spawn(async move {
            let mut done = 0;
            while Instant::now() < end {
                client.exchange(Method::GET, &path(first + done * step), Bytes::new()).await?;
                done += 1;
            }
            anyhow::Ok(done)
        })
    });
    let mut done = 0;
    for task in tasks.collect::<Vec<_>>() {
        done += task.await??;
    }
    Ok(done)
}
