//! Credentials for registries out of image pull secrets.
//!
//! <https://kubernetes.io/docs/concepts/containers/images/#config-json>

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use corten_cri::v1::AuthConfig;
use k8s_openapi::api::core::v1::Secret;
use serde::Deserialize;

use super::name::registry;

#[derive(Deserialize)]
struct DockerConfig {
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
}

#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct Entry {
    username: String,
    password: String,
    auth: String,
    identitytoken: String,
}

/// The credentials for an image: the entry with the longest matching path of the first secret
/// that has one. Secrets that cannot be read are skipped.
pub(crate) fn find<'a>(image: &str, secrets: impl Iterator<Item = &'a Secret>) -> Option<AuthConfig> {
    for secret in secrets {
        let Some(config) = parse(secret) else {
            continue;
        };
        let mut matching: Vec<_> = config.auths.into_iter().filter(|(key, _)| matches(key, image)).collect();
        matching.sort_by_key(|(key, _)| std::cmp::Reverse(key.len()));
        if let Some((key, entry)) = matching.into_iter().next() {
            return Some(auth(key, entry));
        }
    }
    None
}

fn parse(secret: &Secret) -> Option<DockerConfig> {
    let data = secret.data.as_ref()?;
    if let Some(config) = data.get(".dockerconfigjson") {
        return serde_json::from_slice(&config.0).ok();
    }
    let auths = serde_json::from_slice(&data.get(".dockercfg")?.0).ok()?;
    Some(DockerConfig { auths })
}

/// Keys are registries, possibly with scheme, path, and `*` for a part of the host's name.
fn matches(key: &str, image: &str) -> bool {
    let key = key.trim_start_matches("https://").trim_start_matches("http://");
    let key = key.trim_end_matches('/').trim_end_matches("/v1").trim_end_matches("/v2");
    let (host, path) = key.split_once('/').unwrap_or((key, ""));
    let host = if host == "index.docker.io" { "docker.io" } else { host };
    let (image_host, image_path) = match image.split_once('/') {
        Some((first, rest)) if first == registry(image) => (first, rest),
        _ => ("docker.io", image),
    };
    let (pattern, name): (Vec<_>, Vec<_>) = (host.split('.').collect(), image_host.split('.').collect());
    let same_host = pattern.len() == name.len() && pattern.iter().zip(&name).all(|(p, n)| *p == "*" || p == n);
    let below = image_path.strip_prefix(path).is_some_and(|rest| path.is_empty() || rest.is_empty() || rest.starts_with(['/', ':', '@']));
    same_host && below
}

fn auth(server_address: String, entry: Entry) -> AuthConfig {
    let mut auth = AuthConfig {
        username: entry.username,
        password: entry.password,
        identity_token: entry.identitytoken,
        server_address,
        ..AuthConfig::default()
    };
    let decoded = STANDARD.decode(&entry.auth).unwrap_or_default();
    if let Some((user, password)) = String::from_utf8_lossy(&decoded).split_once(':')
        && auth.username.is_empty()
    {
        auth.username = user.to_owned();
        auth.password = password.to_owned();
    }
    auth
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn secret(auths: serde_json::Value) -> Secret {
        let config = STANDARD.encode(json!({"auths": auths}).to_string());
        serde_json::from_value(json!({"data": {".dockerconfigjson": config}})).unwrap()
    }

    #[test]
    fn the_most_specific_entry_is_taken() {
        let secret = secret(json!({
            "https://index.docker.io/v1/": {"auth": STANDARD.encode("hub:pw")},
            "ghcr.io": {"username": "a", "password": "1"},
            "ghcr.io/team": {"username": "b", "password": "2"},
            "*.example.com": {"username": "c", "password": "3"},
        }));
        let user = |image: &str| find(image, [&secret].into_iter()).map(|a| a.username);
        assert_eq!(user("nginx:1").as_deref(), Some("hub"));
        assert_eq!(user("ghcr.io/x/y").as_deref(), Some("a"));
        assert_eq!(user("ghcr.io/team/y:1").as_deref(), Some("b"));
        assert_eq!(user("ghcr.io/teamwork/y").as_deref(), Some("a"));
        assert_eq!(user("eu.example.com/y").as_deref(), Some("c"));
        assert_eq!(user("quay.io/y"), None);
    }

    #[test]
    fn broken_secrets_are_skipped() {
        let broken: Secret = serde_json::from_value(json!({"data": {".dockerconfigjson": "bm9wZQ=="}})).unwrap();
        assert!(find("nginx", [&broken].into_iter()).is_none());
    }
}
