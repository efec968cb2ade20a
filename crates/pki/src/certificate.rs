//! Leaf certificates: what is asked for, and what comes out.

use std::{
    net::IpAddr,
    time::{Duration, SystemTime},
};

use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use sha2::{Digest as _, Sha256};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use crate::{AuthorityError, Identity};

/// What a certificate may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usages {
    /// May authenticate a client.
    pub client: bool,
    /// May authenticate a server.
    pub server: bool,
}

/// The wanted subject, names and usages of a certificate.
#[derive(Clone, Debug)]
pub struct Leaf {
    /// Common name (the user) and organisations (its groups).
    pub subject: Identity,
    /// DNS names of a server.
    pub dns_names: Vec<String>,
    /// Addresses of a server.
    pub addresses: Vec<IpAddr>,
    /// What it is for.
    pub usages: Usages,
}

impl Leaf {
    /// A certificate that authenticates a client.
    pub fn client(subject: Identity) -> Self {
        Self { subject, dns_names: Vec::new(), addresses: Vec::new(), usages: Usages { client: true, server: false } }
    }

    /// A certificate that authenticates a server under the given names and addresses.
    pub fn server<D: Into<String>>(
        common_name: impl Into<String>,
        dns_names: impl IntoIterator<Item = D>,
        addresses: impl IntoIterator<Item = IpAddr>,
    ) -> Self {
        Self {
            subject: Identity::new(common_name, Vec::<String>::new()),
            dns_names: dns_names.into_iter().map(Into::into).collect(),
            addresses: addresses.into_iter().collect(),
            usages: Usages { client: false, server: true },
        }
    }

    /// Whether a certificate still says what is wanted, whatever more names it has.
    pub(crate) fn is_covered_by(&self, certificate: &X509Certificate<'_>) -> bool {
        let der = CertificateDer::from(certificate.as_ref().to_vec());
        let Ok(identity) = Identity::from_certificate(&der) else {
            return false;
        };
        let names = match certificate.subject_alternative_name() {
            Ok(Some(extension)) => extension.value.general_names.clone(),
            _ => Vec::new(),
        };
        let has_dns = |wanted: &String| names.iter().any(|name| matches!(name, GeneralName::DNSName(dns) if dns == wanted));
        let has_address = |wanted: &IpAddr| {
            let octets = match wanted {
                IpAddr::V4(address) => address.octets().to_vec(),
                IpAddr::V6(address) => address.octets().to_vec(),
            };
            names.iter().any(|name| matches!(name, GeneralName::IPAddress(bytes) if *bytes == octets))
        };
        identity == self.subject && self.dns_names.iter().all(has_dns) && self.addresses.iter().all(has_address)
    }
}

/// A certificate with its private key, both in PEM.
#[derive(Clone)]
pub struct Credential {
    /// The certificate (a chain if there are intermediates).
    pub certificate: String,
    /// The private key in PKCS#8.
    pub key: String,
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Credential").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

impl Credential {
    /// The certificate chain for rustls.
    pub fn chain(&self) -> Result<Vec<CertificateDer<'static>>, AuthorityError> {
        parse_certificates(&self.certificate)
    }

    /// The private key for rustls.
    pub fn private_key(&self) -> Result<PrivateKeyDer<'static>, AuthorityError> {
        PrivateKeyDer::from_pem_slice(self.key.as_bytes()).map_err(|error| AuthorityError::Pem(error.to_string()))
    }
}

/// All certificates of a PEM text, in order; an error if there are none.
pub(crate) fn parse_certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, AuthorityError> {
    let certificates = CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| AuthorityError::Pem(error.to_string()))?;
    if certificates.is_empty() {
        return Err(AuthorityError::Pem("no certificate in it".into()));
    }
    Ok(certificates)
}

fn first(pem: &str) -> Result<CertificateDer<'static>, AuthorityError> {
    parse_certificates(pem)?.into_iter().next().ok_or_else(|| AuthorityError::Pem("no certificate in it".into()))
}

/// The hash that a joining node pins the cluster by: `sha256:` and the hex digest of the CA's
/// SubjectPublicKeyInfo, as `kubeadm join --discovery-token-ca-cert-hash` takes it.
pub fn ca_public_key_hash(ca: &str) -> Result<String, AuthorityError> {
    let der = first(ca)?;
    let (_, parsed) = X509Certificate::from_der(&der).map_err(|error| AuthorityError::Pem(error.to_string()))?;
    let digest = Sha256::digest(parsed.public_key().raw);
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("sha256:{hex}"))
}

/// The start and the end of a certificate's validity.
pub fn certificate_expiry(pem: &str) -> Result<(SystemTime, SystemTime), AuthorityError> {
    let der = first(pem)?;
    let (_, parsed) = X509Certificate::from_der(&der).map_err(|error| AuthorityError::Pem(error.to_string()))?;
    let at = |seconds: i64| SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
    let validity = parsed.validity();
    Ok((at(validity.not_before.timestamp()), at(validity.not_after.timestamp())))
}

/// The DNS names and the addresses that a server's certificate is for.
///
/// # Errors
/// When it is no certificate.
pub fn certificate_names(pem: &str) -> Result<(Vec<String>, Vec<IpAddr>), AuthorityError> {
    let der = first(pem)?;
    let (_, parsed) = X509Certificate::from_der(&der).map_err(|error| AuthorityError::Pem(error.to_string()))?;
    let extension = parsed.subject_alternative_name().map_err(|error| AuthorityError::Pem(error.to_string()))?;
    let (mut names, mut addresses) = (Vec::new(), Vec::new());
    for name in extension.iter().flat_map(|extension| &extension.value.general_names) {
        match name {
            GeneralName::DNSName(name) => names.push((*name).to_owned()),
            GeneralName::IPAddress(bytes) => addresses
                .extend(<[u8; 4]>::try_from(*bytes).map(IpAddr::from).or_else(|_| <[u8; 16]>::try_from(*bytes).map(IpAddr::from)).ok()),
            _ => {}
        }
    }
    Ok((names, addresses))
}

/// Whether less than a third of a certificate's validity is left.
pub(crate) fn is_due(pem: &str, now: SystemTime) -> Result<bool, AuthorityError> {
    let (start, end) = certificate_expiry(pem)?;
    let validity = end.duration_since(start).unwrap_or_default();
    let left = end.duration_since(now).unwrap_or_default();
    Ok(left < validity / 3 || now < start)
}
