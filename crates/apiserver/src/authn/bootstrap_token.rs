//! Bootstrap tokens, with which a new node introduces itself: `<id>.<secret>`, kept as a Secret
//! `kube-system/bootstrap-token-<id>` of type `bootstrap.kubernetes.io/token`.

use std::collections::BTreeMap;
use std::time::SystemTime;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::UserInfo;
use crate::ledger::Ledger;
use crate::reads;

const GROUP: &str = "system:bootstrappers";
const TYPE: &str = "bootstrap.kubernetes.io/token";

/// A string of a bootstrap token's form.
pub(super) struct Token<'a> {
    id: &'a str,
    secret: &'a str,
}

/// Takes a string apart if it has a bootstrap token's form: six and sixteen lower-case letters or digits.
pub(super) fn parse(text: &str) -> Option<Token<'_>> {
    let (id, secret) = text.split_once('.')?;
    let plain =
        |part: &str, length: usize| part.len() == length && part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    (plain(id, 6) && plain(secret, 16)).then_some(Token { id, secret })
}

#[derive(Deserialize)]
struct Secret {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    data: BTreeMap<String, String>,
    metadata: Metadata,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    #[serde(default)]
    deletion_timestamp: Option<String>,
}

impl Secret {
    fn get(&self, key: &str) -> Option<String> {
        String::from_utf8(STANDARD.decode(self.data.get(key)?).ok()?).ok()
    }
}

/// The user of a token, if its Secret exists, is meant for authentication and has not expired.
pub(super) fn user(ledger: &Ledger, token: &Token<'_>, now: SystemTime) -> Option<UserInfo> {
    let key = reads::key("", "secrets", "kube-system", &format!("bootstrap-token-{}", token.id));
    let snapshot = ledger.snapshot();
    let secret: Secret = serde_json::from_slice(snapshot.get(&key)?.stored_json()).ok()?;
    if secret.kind != TYPE || secret.metadata.deletion_timestamp.is_some() {
        return None;
    }
    // Digests are compared so that the time taken tells nothing about the secret.
    let same = Sha256::digest(secret.get("token-secret")?) == Sha256::digest(token.secret);
    if !same || secret.get("token-id")? != token.id {
        return None;
    }
    if let Some(expiration) = secret.get("expiration") {
        let expiration: Timestamp = expiration.parse().ok()?;
        if expiration <= Timestamp::try_from(now).ok()? {
            return None;
        }
    }
    if secret.get("usage-bootstrap-authentication").as_deref() != Some("true") {
        return None;
    }
    let extra = secret.get("auth-extra-groups").unwrap_or_default();
    let mut groups = vec![GROUP.to_owned()];
    for group in extra.split(',').filter(|group| !group.is_empty()) {
        if !group.starts_with("system:bootstrappers:") {
            return None;
        }
        groups.push(group.to_owned());
    }
    Some(UserInfo::authenticated(format!("system:bootstrap:{}", token.id), groups))
}
