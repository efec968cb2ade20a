//! Where an image's registry is really asked, and as whom: `registries.yaml` in k3s's format (k3s documentation, "Private Registry
//! Configuration").

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use http::Uri;
use parking_lot::Mutex;
use regex::Regex;
use serde::Deserialize;

use super::Credentials;
use crate::reference::Reference;

/// Longest configuration file.
const FILE_MAX: u64 = 4 << 20;
const DOCKER_HUB: &str = "docker.io";
const DOCKER_HUB_HOST: &str = "registry-1.docker.io";

/// The configuration file, read again when it changes.
pub(crate) struct Registries {
    file: Option<PathBuf>,
    ca_bundle: Option<PathBuf>,
    cached: Mutex<Option<(Stamp, Arc<Configuration>)>>,
}

#[derive(Clone, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    length: u64,
}

/// A `registries.yaml` that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InvalidRegistries {
    /// It cannot be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is not what it should be.
    #[error("{}: {reason}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Document {
    mirrors: Option<BTreeMap<String, Option<MirrorDocument>>>,
    configs: Option<BTreeMap<String, Option<HostDocument>>>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct MirrorDocument {
    #[serde(alias = "endpoints")]
    endpoint: Vec<String>,
    rewrite: BTreeMap<String, String>,
}

#[derive(Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct HostDocument {
    auth: Option<AuthDocument>,
    tls: Option<Tls>,
}

#[derive(Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct AuthDocument {
    username: String,
    password: String,
    auth: String,
    identity_token: String,
}

/// How one host is trusted, and what we show it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Tls {
    /// PEM file of certificates trusted beside the system's.
    pub(crate) ca_file: Option<PathBuf>,
    /// PEM file of our certificate.
    pub(crate) cert_file: Option<PathBuf>,
    /// PEM file of its key.
    pub(crate) key_file: Option<PathBuf>,
    /// Trust whoever answers.
    pub(crate) insecure_skip_verify: bool,
}

/// The parsed file.
#[derive(Default)]
pub(crate) struct Configuration {
    mirrors: BTreeMap<String, Mirror>,
    hosts: BTreeMap<String, HostDocument>,
    pub(crate) ca_bundle: Option<PathBuf>,
}

struct Mirror {
    endpoints: Vec<Base>,
    rewrites: Vec<(Regex, String)>,
}

/// Scheme, host and path prefix (`/v2`).
#[derive(Clone, Debug, PartialEq, Eq)]
struct Base {
    https: bool,
    authority: String,
    prefix: String,
}

/// One place to ask for one repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(crate) https: bool,
    /// Host and port.
    pub(crate) authority: String,
    prefix: String,
    /// The repository's name there.
    pub(crate) repository: String,
    pub(crate) credentials: Option<Credentials>,
    pub(crate) tls: Tls,
}

impl Endpoint {
    /// The URL of something in the repository: `manifests/latest`, `blobs/sha256:…`.
    pub(crate) fn url(&self, object: &str) -> String {
        let scheme = if self.https { "https" } else { "http" };
        format!("{scheme}://{}{}/{}/{object}", self.authority, self.prefix, self.repository)
    }
}

impl Registries {
    pub(crate) fn new(file: Option<PathBuf>, ca_bundle: Option<PathBuf>) -> Registries {
        Registries { file, ca_bundle, cached: Mutex::new(None) }
    }

    /// The configuration as it is now.
    pub(crate) fn current(&self) -> Result<Arc<Configuration>, InvalidRegistries> {
        let Some(path) = &self.file else { return Ok(Arc::new(self.parse(Path::new(""), "")?)) };
        let metadata = match fs::metadata(path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Arc::new(self.parse(path, "")?)),
            Err(source) => return Err(InvalidRegistries::Io { path: path.clone(), source }),
        };
        let stamp = Stamp { modified: metadata.modified().ok(), length: metadata.len() };
        let mut cached = self.cached.lock();
        if let Some((known, configuration)) = cached.as_ref()
            && *known == stamp
        {
            return Ok(Arc::clone(configuration));
        }
        if stamp.length > FILE_MAX {
            return Err(InvalidRegistries::Format { path: path.clone(), reason: format!("longer than {FILE_MAX} bytes") });
        }
        let text = fs::read_to_string(path).map_err(|source| InvalidRegistries::Io { path: path.clone(), source })?;
        let configuration = Arc::new(self.parse(path, &text)?);
        *cached = Some((stamp, Arc::clone(&configuration)));
        Ok(configuration)
    }

    fn parse(&self, path: &Path, text: &str) -> Result<Configuration, InvalidRegistries> {
        let invalid = |reason: String| InvalidRegistries::Format { path: path.to_owned(), reason };
        let empty = text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#'));
        let document: Document =
            if empty { Document::default() } else { serde_saphyr::from_str(text).map_err(|error| invalid(error.to_string()))? };
        let mut mirrors = BTreeMap::new();
        for (domain, mirror) in document.mirrors.unwrap_or_default() {
            let mirror = mirror.unwrap_or_default();
            let endpoints = mirror.endpoint.iter().map(|endpoint| base(endpoint).map_err(&invalid)).collect::<Result<_, _>>()?;
            let mut rewrites = Vec::new();
            for (pattern, replacement) in mirror.rewrite {
                rewrites.push((Regex::new(&pattern).map_err(|error| invalid(error.to_string()))?, replacement));
            }
            mirrors.insert(domain, Mirror { endpoints, rewrites });
        }
        let hosts = document.configs.unwrap_or_default().into_iter().map(|(host, config)| (host, config.unwrap_or_default())).collect();
        Ok(Configuration { mirrors, hosts, ca_bundle: self.ca_bundle.clone() })
    }
}

impl Configuration {
    /// Where to ask for an image, in order: the mirrors of its registry (or of `*`), then the registry itself. Credentials given with the
    /// pull go to the registry that the image names and its mirrors, as with containerd.
    pub(crate) fn endpoints(&self, reference: &Reference, given: Option<&Credentials>) -> Vec<Endpoint> {
        let domain = reference.domain();
        let own = self.default_endpoint(domain);
        let mut endpoints = Vec::new();
        if let Some(mirror) = self.mirrors.get(domain).or_else(|| self.mirrors.get("*")) {
            let repository = mirror.rewrite(reference.path());
            endpoints.extend(mirror.endpoints.iter().map(|base| (base.clone(), repository.clone())));
        }
        if !endpoints.iter().any(|(base, repository)| *base == own && repository == reference.path()) {
            endpoints.push((own, reference.path().to_owned()));
        }
        endpoints.into_iter().map(|(base, repository)| self.endpoint(base, repository, given)).collect()
    }

    fn endpoint(&self, base: Base, repository: String, given: Option<&Credentials>) -> Endpoint {
        let host = self.host(&base.authority);
        let configured = host.and_then(|host| host.auth.clone()).map(|auth| Credentials {
            username: auth.username,
            password: auth.password,
            auth: auth.auth,
            identity_token: auth.identity_token,
            registry_token: String::new(),
        });
        Endpoint {
            https: base.https,
            credentials: given.cloned().or(configured),
            tls: host.and_then(|host| host.tls.clone()).unwrap_or_default(),
            authority: base.authority,
            prefix: base.prefix,
            repository,
        }
    }

    /// The configuration of a host, with or without its port; Docker Hub's may be under its domain.
    fn host(&self, authority: &str) -> Option<&HostDocument> {
        let name = authority.rsplit_once(':').map_or(authority, |(name, _)| name);
        let hub = (authority == DOCKER_HUB_HOST).then_some(DOCKER_HUB);
        [Some(authority), Some(name), hub].into_iter().flatten().find_map(|key| self.hosts.get(key))
    }

    /// How a host that a registry redirects to is trusted.
    pub(crate) fn tls_of(&self, authority: &str) -> Tls {
        self.host(authority).and_then(|host| host.tls.clone()).unwrap_or_default()
    }

    fn default_endpoint(&self, domain: &str) -> Base {
        let authority = if domain == DOCKER_HUB { DOCKER_HUB_HOST } else { domain };
        // A registry on this machine seldom has a certificate; one that is configured has.
        let https = !is_localhost(authority) || self.host(authority).is_some_and(|host| host.tls.is_some());
        Base { https, authority: authority.to_owned(), prefix: "/v2".to_owned() }
    }
}

impl Mirror {
    /// The first pattern that matches rewrites the repository's name.
    fn rewrite(&self, repository: &str) -> String {
        let matching = self.rewrites.iter().find(|(pattern, _)| pattern.is_match(repository));
        matching.map_or_else(|| repository.to_owned(), |(pattern, to)| pattern.replace_all(repository, to.as_str()).into_owned())
    }
}

fn is_localhost(authority: &str) -> bool {
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// `[http[s]://]host[:port][/path]`.
fn base(endpoint: &str) -> Result<Base, String> {
    let invalid = || format!("invalid endpoint {endpoint:?}");
    let uri: Uri =
        if endpoint.contains("://") { endpoint.to_owned() } else { format!("https://{endpoint}") }.parse().map_err(|_| invalid())?;
    let https = match uri.scheme_str() {
        Some("https") => true,
        Some("http") => false,
        _ => return Err(invalid()),
    };
    let authority = uri.authority().filter(|authority| !authority.as_str().contains('@')).ok_or_else(invalid)?;
    let path = uri.path().trim_end_matches('/');
    Ok(Base { https, authority: authority.to_string(), prefix: if path.is_empty() { "/v2" } else { path }.to_owned() })
}

#[cfg(test)]
mod tests;
