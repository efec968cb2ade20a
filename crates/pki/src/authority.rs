//! The certificate authority of a cluster.

use std::{
    fs, io,
    net::IpAddr,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, PublicKeyData, SanType, SerialNumber,
};
use ring::rand::{SecureRandom as _, SystemRandom};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::{
    CertificateRequest, Credential, Leaf,
    certificate::{is_due, parse_certificates},
    files::{read_optional, write_private},
};

const CA_VALIDITY: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
const LEAF_VALIDITY: Duration = Duration::from_secs(365 * 24 * 3600);

/// Clocks of nodes differ: certificates are valid from a little before they were made.
const BACKDATE: Duration = Duration::from_secs(5 * 60);

/// What can go wrong with certificates and their files.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// A file cannot be read or written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// One of certificate and key exists without the other.
    #[error("{0} exists, its certificate or key beside it does not")]
    Incomplete(PathBuf),
    /// PEM or DER that cannot be read.
    #[error("certificate or key cannot be parsed: {0}")]
    Pem(String),
    /// A certificate cannot be made.
    #[error("certificate cannot be made: {0}")]
    Generate(#[from] rcgen::Error),
    /// rcgen keeps one value per attribute of a name.
    #[error("a subject with more than one organization: {0:?}")]
    Organizations(Vec<String>),
    /// The system has no random numbers.
    #[error("no random numbers")]
    Random,
}

/// A certificate authority: a key, a self-signed certificate, and a directory for what it issues.
pub struct Authority {
    directory: PathBuf,
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// Loads `<name>.crt` and `<name>.key` from a directory, or creates them (and it), valid for
    /// ten years. Credentials made by [`Authority::ensure`] live in the same directory.
    pub fn open(directory: &Path, name: &str, now: SystemTime) -> Result<Self, AuthorityError> {
        fs::create_dir_all(directory).map_err(at(directory))?;
        let credential = match load(directory, name)? {
            Some(credential) => credential,
            None => {
                let credential = new_ca(name, now)?;
                save(directory, name, &credential)?;
                credential
            }
        };
        let key = KeyPair::from_pem(&credential.key)?;
        Ok(Self {
            directory: directory.to_owned(),
            issuer: Issuer::from_ca_cert_pem(&credential.certificate, key)?,
            certificate: credential.certificate,
        })
    }

    /// The authority's own certificate in PEM: what clients trust.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// The directory it lives in.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Issues a certificate with a new key, valid for a year.
    pub fn issue(&self, leaf: &Leaf, now: SystemTime) -> Result<Credential, AuthorityError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let certificate = self.sign(leaf, &key, LEAF_VALIDITY, now)?;
        Ok(Credential { certificate, key: key.serialize_pem() })
    }

    /// The credential `<name>` of the authority's directory: the one on disk if it is signed by
    /// this authority, says what is wanted and has at least a third of its time left, else a new
    /// one. Callers ask once, when they start: that is when certificates are renewed.
    pub fn ensure(&self, name: &str, leaf: &Leaf, now: SystemTime) -> Result<Credential, AuthorityError> {
        if let Ok(Some(credential)) = load(&self.directory, name)
            && self.is_current(&credential, leaf, now).unwrap_or(false)
        {
            return Ok(credential);
        }
        let credential = self.issue(leaf, now)?;
        save(&self.directory, name, &credential)?;
        Ok(credential)
    }

    /// Signs a certificate signing request whose contents the caller has checked
    /// ([`CertificateRequest`] has the checks), for at most `validity`.
    pub fn sign_request(
        &self,
        request: &CertificateRequest,
        usages: crate::Usages,
        validity: Option<Duration>,
        now: SystemTime,
    ) -> Result<String, AuthorityError> {
        let leaf =
            Leaf { subject: request.subject.clone(), dns_names: request.dns_names.clone(), addresses: request.addresses.clone(), usages };
        let validity = validity.unwrap_or(LEAF_VALIDITY).min(LEAF_VALIDITY);
        self.sign(&leaf, &request.public_key, validity, now)
    }

    fn sign(&self, leaf: &Leaf, key: &impl PublicKeyData, validity: Duration, now: SystemTime) -> Result<String, AuthorityError> {
        let mut params = CertificateParams::default();
        params.not_before = (now - BACKDATE).into();
        params.not_after = (now + validity).into();
        params.serial_number = Some(serial()?);
        params.distinguished_name = distinguished_name(&leaf.subject.user, &leaf.subject.groups)?;
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        if leaf.usages.client {
            params.extended_key_usages.push(ExtendedKeyUsagePurpose::ClientAuth);
        }
        if leaf.usages.server {
            params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
        }
        params.subject_alt_names = alternative_names(&leaf.dns_names, &leaf.addresses)?;
        params.use_authority_key_identifier_extension = true;
        Ok(params.signed_by(key, &self.issuer)?.pem())
    }

    fn is_current(&self, credential: &Credential, leaf: &Leaf, now: SystemTime) -> Result<bool, AuthorityError> {
        let chain = credential.chain()?;
        let own = parse_certificates(&self.certificate)?;
        let (Some(der), Some(own)) = (chain.first(), own.first()) else {
            return Ok(false);
        };
        let (Ok((_, parsed)), Ok((_, own))) = (X509Certificate::from_der(der), X509Certificate::from_der(own)) else {
            return Ok(false);
        };
        Ok(parsed.verify_signature(Some(own.public_key())).is_ok() && leaf.is_covered_by(&parsed) && !is_due(&credential.certificate, now)?)
    }
}

fn new_ca(name: &str, now: SystemTime) -> Result<Credential, AuthorityError> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let mut params = CertificateParams::default();
    params.not_before = (now - BACKDATE).into();
    params.not_after = (now + CA_VALIDITY).into();
    params.serial_number = Some(serial()?);
    params.distinguished_name = distinguished_name(&format!("corten-{name}"), &[])?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(Credential { certificate: params.self_signed(&key)?.pem(), key: key.serialize_pem() })
}

pub(crate) fn distinguished_name(common_name: &str, organizations: &[String]) -> Result<DistinguishedName, AuthorityError> {
    let mut name = DistinguishedName::new();
    match organizations {
        [] => {}
        [organization] => name.push(DnType::OrganizationName, organization.as_str()),
        several => return Err(AuthorityError::Organizations(several.to_vec())),
    }
    name.push(DnType::CommonName, common_name);
    Ok(name)
}

pub(crate) fn alternative_names(dns_names: &[String], addresses: &[IpAddr]) -> Result<Vec<SanType>, AuthorityError> {
    let mut names = Vec::new();
    for name in dns_names {
        names.push(SanType::DnsName(name.as_str().try_into()?));
    }
    names.extend(addresses.iter().map(|address| SanType::IpAddress(*address)));
    Ok(names)
}

/// A random positive serial number (RFC 5280 4.1.2.2).
fn serial() -> Result<SerialNumber, AuthorityError> {
    let mut bytes = [0_u8; 16];
    SystemRandom::new().fill(&mut bytes).map_err(|_| AuthorityError::Random)?;
    bytes[0] &= 0x7f;
    Ok(SerialNumber::from_slice(&bytes))
}

fn load(directory: &Path, name: &str) -> Result<Option<Credential>, AuthorityError> {
    let (certificate_path, key_path) = paths(directory, name);
    let certificate = read_optional(&certificate_path).map_err(at(&certificate_path))?;
    let key = read_optional(&key_path).map_err(at(&key_path))?;
    match (certificate, key) {
        (Some(certificate), Some(key)) => Ok(Some(Credential { certificate, key })),
        // The key is written first: alone it is the trace of a crash before anything was issued.
        (None, _) => Ok(None),
        (Some(_), None) => Err(AuthorityError::Incomplete(certificate_path)),
    }
}

fn save(directory: &Path, name: &str, credential: &Credential) -> Result<(), AuthorityError> {
    let (certificate_path, key_path) = paths(directory, name);
    write_private(&key_path, credential.key.as_bytes()).map_err(at(&key_path))?;
    write_private(&certificate_path, credential.certificate.as_bytes()).map_err(at(&certificate_path))
}

fn paths(directory: &Path, name: &str) -> (PathBuf, PathBuf) {
    (directory.join(format!("{name}.crt")), directory.join(format!("{name}.key")))
}

pub(crate) fn at(path: &Path) -> impl FnOnce(io::Error) -> AuthorityError + '_ {
    move |source| AuthorityError::File { path: path.to_owned(), source }
}
