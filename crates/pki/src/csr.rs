//! Certificate signing requests and the rules of the built-in signers
//! (<https://kubernetes.io/docs/reference/access-authn-authz/certificate-signing-requests/#kubernetes-signers>).

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, SubjectPublicKeyInfo};
use rustls::pki_types::{CertificateSigningRequestDer, pem::PemObject as _};
use x509_parser::{
    certification_request::X509CertificationRequest,
    extensions::ParsedExtension,
    prelude::{FromDer as _, GeneralName},
};

use crate::{
    AuthorityError, Identity, NODES,
    authority::{alternative_names, distinguished_name},
};

/// A parsed request whose signature by its own key was verified.
#[derive(Debug)]
pub struct CertificateRequest {
    /// Common name and organisations.
    pub subject: Identity,
    /// Wanted DNS names.
    pub dns_names: Vec<String>,
    /// Wanted addresses.
    pub addresses: Vec<IpAddr>,
    /// Names of other sorts (e-mail, URI, …): no built-in signer accepts any.
    pub other_names: usize,
    pub(crate) public_key: SubjectPublicKeyInfo,
}

/// A new key and the request for its certificate, both in PEM.
#[derive(Clone)]
pub struct NewRequest {
    /// The private key in PKCS#8.
    pub key: String,
    /// The request.
    pub request: String,
}

/// A usage listed in the API object, as far as the built-in signers know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RequestedUsage {
    /// `digital signature`
    DigitalSignature,
    /// `key encipherment`
    KeyEncipherment,
    /// `client auth`
    ClientAuth,
    /// `server auth`
    ServerAuth,
}

impl RequestedUsage {
    /// The usage of an API name such as `client auth`.
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "digital signature" => Self::DigitalSignature,
            "key encipherment" => Self::KeyEncipherment,
            "client auth" => Self::ClientAuth,
            "server auth" => Self::ServerAuth,
            _ => return None,
        })
    }
}

/// Why a request is refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum CsrError {
    /// It cannot be parsed, or its signature is wrong.
    #[error("certificate request cannot be parsed: {0}")]
    Malformed(String),
    /// The organisations are not exactly `system:nodes`.
    #[error("subject organization is not system:nodes")]
    Organization,
    /// The common name is not one of a node.
    #[error("subject common name does not begin with system:node:")]
    CommonName,
    /// Names that this signer does not allow.
    #[error("subject alternative names are not allowed here")]
    NamesNotAllowed,
    /// A serving certificate needs a name.
    #[error("a DNS name or an IP address is required")]
    NamesMissing,
    /// Other usages than the signer allows.
    #[error("usages do not match the signer's")]
    Usages,
    /// The superuser group cannot be had by a request.
    #[error("subject organization system:masters is not allowed")]
    Masters,
}

impl CertificateRequest {
    /// Makes a key, and a request for a certificate of it that names an identity.
    pub fn create(subject: &Identity, dns_names: &[String], addresses: &[IpAddr]) -> Result<NewRequest, AuthorityError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = distinguished_name(&subject.user, &subject.groups)?;
        params.subject_alt_names = alternative_names(dns_names, addresses)?;
        Ok(NewRequest { request: params.serialize_request(&key)?.pem()?, key: key.serialize_pem() })
    }

    /// Parses a PEM request and verifies its signature.
    pub fn parse(pem: &[u8]) -> Result<Self, CsrError> {
        let malformed = |error: &dyn std::fmt::Display| CsrError::Malformed(error.to_string());
        let der = CertificateSigningRequestDer::from_pem_slice(pem).map_err(|e| malformed(&e))?;
        let (_, request) = X509CertificationRequest::from_der(&der).map_err(|e| malformed(&e))?;
        request.verify_signature().map_err(|e| malformed(&e))?;
        let info = &request.certification_request_info;
        let mut parsed = Self {
            subject: Identity::new(
                info.subject.iter_common_name().find_map(|name| name.as_str().ok()).unwrap_or_default(),
                info.subject.iter_organization().filter_map(|name| name.as_str().ok()),
            ),
            dns_names: Vec::new(),
            addresses: Vec::new(),
            other_names: 0,
            public_key: SubjectPublicKeyInfo::from_der(info.subject_pki.raw).map_err(|e| malformed(&e))?,
        };
        for extension in request.requested_extensions().into_iter().flatten() {
            if let ParsedExtension::SubjectAlternativeName(names) = extension {
                for name in &names.general_names {
                    parsed.add_name(name);
                }
            }
        }
        Ok(parsed)
    }

    fn add_name(&mut self, name: &GeneralName<'_>) {
        match name {
            GeneralName::DNSName(dns) => self.dns_names.push((*dns).to_owned()),
            GeneralName::IPAddress(bytes) => match address(bytes) {
                Some(address) => self.addresses.push(address),
                None => self.other_names += 1,
            },
            _ => self.other_names += 1,
        }
    }

    /// The rules of `kubernetes.io/kube-apiserver-client-kubelet`.
    pub fn check_kubelet_client(&self, usages: &[RequestedUsage]) -> Result<(), CsrError> {
        self.check_node_subject()?;
        if !self.dns_names.is_empty() || !self.addresses.is_empty() || self.other_names > 0 {
            return Err(CsrError::NamesNotAllowed);
        }
        check_usages(usages, RequestedUsage::ClientAuth)
    }

    /// The rules of `kubernetes.io/kubelet-serving`.
    pub fn check_kubelet_serving(&self, usages: &[RequestedUsage]) -> Result<(), CsrError> {
        self.check_node_subject()?;
        if self.other_names > 0 {
            return Err(CsrError::NamesNotAllowed);
        }
        if self.dns_names.is_empty() && self.addresses.is_empty() {
            return Err(CsrError::NamesMissing);
        }
        check_usages(usages, RequestedUsage::ServerAuth)
    }

    /// The rules of `kubernetes.io/kube-apiserver-client`.
    pub fn check_client(&self, usages: &[RequestedUsage]) -> Result<(), CsrError> {
        if self.subject.groups.iter().any(|group| group == crate::MASTERS) {
            return Err(CsrError::Masters);
        }
        check_usages(usages, RequestedUsage::ClientAuth)
    }

    fn check_node_subject(&self) -> Result<(), CsrError> {
        if self.subject.groups != [NODES] {
            return Err(CsrError::Organization);
        }
        match self.subject.user.strip_prefix("system:node:") {
            Some(name) if !name.is_empty() => Ok(()),
            _ => Err(CsrError::CommonName),
        }
    }
}

/// Exactly the purpose and `digital signature`, with or without `key encipherment` (which only
/// means something for RSA keys).
fn check_usages(usages: &[RequestedUsage], purpose: RequestedUsage) -> Result<(), CsrError> {
    let mut asked: BTreeSet<_> = usages.iter().copied().collect();
    asked.remove(&RequestedUsage::KeyEncipherment);
    if asked == BTreeSet::from([RequestedUsage::DigitalSignature, purpose]) { Ok(()) } else { Err(CsrError::Usages) }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(Ipv4Addr::from(v4).into());
    }
    let v6 = <[u8; 16]>::try_from(bytes).ok()?;
    Some(Ipv6Addr::from(v6).into())
}
