use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::thread::{JoinHandle, spawn};
use std::time::SystemTime;

use corten_pki::{Authority, ClientVerification, Leaf, server_config};
use rustls::ServerConnection;

use super::*;

/// A cluster: its authority, and its server's certificate, which no client verifies before it knows the authority.
struct Cluster {
    authority: Authority,
    hash: String,
    _dir: tempfile::TempDir,
}

impl Cluster {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::open(dir.path(), "ca", SystemTime::now()).unwrap();
        let hash = ca_public_key_hash(authority.certificate()).unwrap().trim_start_matches("sha256:").to_owned();
        Self { authority, hash, _dir: dir }
    }

    /// Answers one connection, with these certificates beside its own; gives what it heard, which must be nothing.
    fn serve(&self, chain: &str) -> (String, JoinHandle<Vec<u8>>) {
        let mut credential = self.authority.issue(&Leaf::server("apiserver", ["apiserver"], []), SystemTime::now()).unwrap();
        credential.certificate.push_str(chain);
        let config = server_config(&credential, &ClientVerification::None, &[]).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("https://{}", listener.local_addr().unwrap());
        let served = spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut connection = ServerConnection::new(config).unwrap();
            connection.complete_io(&mut stream).unwrap();
            let mut heard = Vec::new();
            // It ends without a word, or in the middle.
            let _ = rustls::Stream::new(&mut connection, &mut stream).read_to_end(&mut heard);
            heard
        });
        (address, served)
    }
}

#[test]
fn the_authority_is_known_by_its_hash() {
    let cluster = Cluster::new();
    let (server, served) = cluster.serve(cluster.authority.certificate());
    let found = fetch_authority(&server, &cluster.hash).unwrap();
    assert_eq!(ca_public_key_hash(&found).unwrap(), ca_public_key_hash(cluster.authority.certificate()).unwrap());
    assert_eq!(found.trim(), cluster.authority.certificate().replace('\r', "").trim());
    assert_eq!(served.join().unwrap(), b"", "nothing is said to whom nobody knows");
}

#[test]
fn another_cluster_is_not_believed() {
    let (cluster, other) = (Cluster::new(), Cluster::new());
    // With its own authority, and with none at all.
    for (chain, count) in [(other.authority.certificate(), 2), ("", 1)] {
        let (server, served) = other.serve(chain);
        let error = fetch_authority(&server, &cluster.hash).unwrap_err().to_string();
        let expected =
            format!("{server} is not the cluster that the token is of: none of its {count} certificates has the key {}", cluster.hash);
        assert_eq!(error, expected);
        assert_eq!(served.join().unwrap(), b"");
    }
}

#[test]
fn who_is_no_server_is_said_to_be_none() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = format!("https://{}", listener.local_addr().unwrap());
    let served = spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
        // Closed with the hello unread it would be a reset.
        let _ = stream.read(&mut [0; 4096]);
    });
    let error = format!("{:#}", fetch_authority(&server, "0").unwrap_err());
    assert!(error.starts_with(&format!("{server} does not speak TLS")), "{error}");
    served.join().unwrap();
    let error = format!("{:#}", fetch_authority(&server, "0").unwrap_err());
    assert!(error.starts_with(&format!("cannot connect to {server}")), "{error}");
    for wrong in ["http://host:1", "https://host", "https://host:port", "host:1"] {
        let error = fetch_authority(wrong, "0").unwrap_err().to_string();
        assert_eq!(error, format!("server address {wrong:?} is not of the form https://HOST:PORT"));
    }
}
