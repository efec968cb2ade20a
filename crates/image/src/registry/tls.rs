//! Whom we trust.

use std::io;
use std::path::Path;
use std::sync::Arc;

use corten_pki::Anyone;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use super::config::Tls;

/// Where distributions keep their bundle of root certificates.
const BUNDLES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// A client configuration for one host.
pub(super) fn client(tls: &Tls, ca_bundle: Option<&Path>) -> io::Result<ClientConfig> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().map_err(io::Error::other)?;
    let builder = if tls.insecure_skip_verify {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(Anyone::default()))
    } else {
        let mut roots = RootCertStore::empty();
        // Without any bundle every certificate is refused, with an error that says so.
        let system = BUNDLES.iter().map(Path::new).find(|path| path.exists());
        if let Some(bundle) = ca_bundle.or(system) {
            add(&mut roots, bundle)?;
        }
        if let Some(file) = &tls.ca_file {
            add(&mut roots, file)?;
        }
        builder.with_root_certificates(roots)
    };
    let (Some(certificate), Some(key)) = (&tls.cert_file, &tls.key_file) else { return Ok(builder.with_no_client_auth()) };
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| io::Error::other(format!("{}: {error}", certificate.display())))?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(|error| io::Error::other(format!("{}: {error}", key.display())))?;
    builder.with_client_auth_cert(chain, key).map_err(io::Error::other)
}

fn add(roots: &mut RootCertStore, file: &Path) -> io::Result<()> {
    let failed = |error| io::Error::other(format!("{}: {error}", file.display()));
    let certificates = CertificateDer::pem_file_iter(file).map_err(failed)?.collect::<Result<Vec<_>, _>>().map_err(failed)?;
    // A bundle may have certificates that this library cannot read; the others count.
    roots.add_parsable_certificates(certificates);
    Ok(())
}
