use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use super::{Identity, run};

fn server() -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let identity = Identity { pod: "web-1".into(), node: Some("node-a".into()) };
    std::thread::spawn(move || run(&listener, &identity));
    address
}

fn ask(address: std::net::SocketAddr, request: &str) -> String {
    let mut connection = TcpStream::connect(address).unwrap();
    connection.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn it_says_who_and_where_it_is() {
    let address = server();
    let answer = ask(address, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.ends_with(&format!("\r\n\r\npod: web-1\nnode: node-a\naddress: {address}\n")), "{answer}");
    let head = ask(address, "HEAD / HTTP/1.1\r\n\r\n");
    assert!(head.ends_with("\r\n\r\n"), "{head}");
}

#[test]
fn garbage_is_refused_and_the_next_one_served() {
    let address = server();
    assert!(ask(address, "\u{1}\u{2}garbage\r\n\r\n").starts_with("HTTP/1.1 400 "));
    assert!(ask(address, "POST / HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 405 "));
    let connections: Vec<_> = (0..200).map(|_| std::thread::spawn(move || ask(address, "GET / HTTP/1.1\r\n\r\n"))).collect();
    for connection in connections {
        assert!(connection.join().unwrap().contains("pod: web-1"));
    }
}
