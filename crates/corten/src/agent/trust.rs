//! Finding a cluster's CA certificate by the hash of its key.

use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use corten_pki::{Anyone, ca_public_key_hash};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection};

/// How long the server may take to answer a connection or a handshake step.
const PATIENCE: Duration = Duration::from_secs(10);

/// Asks the server for its chain and returns, as PEM, the certificate in it whose public key has the hash.
///
/// Nothing is sent over this connection. The certificate found is the one that the token's maker named,
/// so it can verify the connections that follow.
pub(super) fn fetch_authority(server: &str, hash: &str) -> Result<String> {
    let (host, port) = host_and_port(server)?;
    let collector = Arc::new(Anyone::default());
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(collector.clone())
        .with_no_client_auth();
    let name = ServerName::try_from(host.to_owned()).with_context(|| format!("{host} is not a server's name"))?;
    let mut connection = ClientConnection::new(Arc::new(config), name)?;
    let mut stream = TcpStream::connect((host, port)).with_context(|| format!("cannot connect to {server}"))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    connection.complete_io(&mut stream).with_context(|| format!("{server} does not speak TLS"))?;
    let seen = collector.seen();
    for certificate in &seen {
        let text = pem(certificate);
        if ca_public_key_hash(&text)?.trim_start_matches("sha256:") == hash {
            return Ok(text);
        }
    }
    bail!("{server} is not the cluster that the token is of: none of its {} certificates has the key {hash}", seen.len())
}

fn host_and_port(server: &str) -> Result<(&str, u16)> {
    let wrong = || anyhow!("server address {server:?} is not of the form https://HOST:PORT");
    let authority = server.strip_prefix("https://").ok_or_else(wrong)?.trim_end_matches('/');
    let (host, port) = authority.rsplit_once(':').ok_or_else(wrong)?;
    Ok((host.trim_start_matches('[').trim_end_matches(']'), port.parse().map_err(|_| wrong())?))
}

fn pem(certificate: &CertificateDer<'_>) -> String {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let text = STANDARD.encode(certificate);
    let mut out = String::from("-----BEGIN CERTIFICATE-----\n");
    for line in text.as_bytes().chunks(64) {
        out.push_str(&String::from_utf8_lossy(line));
        out.push('\n');
    }
    out.push_str("-----END CERTIFICATE-----\n");
    out
}

#[cfg(test)]
mod tests;
