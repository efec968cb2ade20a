//! Finding a cluster's CA certificate by the hash of its key.

use std::net::TcpStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use corten_pki::ca_public_key_hash;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme};

/// How long the server may take to answer a connection or a handshake step.
const PATIENCE: Duration = Duration::from_secs(10);

/// Asks the server for its chain and returns, as PEM, the certificate in it whose public key has the hash.
///
/// Nothing is sent over this connection. The certificate found is the one that the token's maker named,
/// so it can verify the connections that follow.
pub(super) fn fetch_authority(server: &str, hash: &str) -> Result<String> {
    let (host, port) = host_and_port(server)?;
    let collector = Arc::new(Collector { provider: ring::default_provider(), seen: Mutex::default() });
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
    let seen = std::mem::take(&mut *collector.seen.lock().unwrap_or_else(PoisonError::into_inner));
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

/// Keeps the chain for inspection. It checks that the server has the leaf's key, not who the leaf is.
#[derive(Debug)]
struct Collector {
    provider: CryptoProvider,
    seen: Mutex<Vec<CertificateDer<'static>>>,
}

impl ServerCertVerifier for Collector {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let chain = intermediates.iter().chain([leaf]).map(|certificate| certificate.clone().into_owned()).collect();
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = chain;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, leaf, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, leaf, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
