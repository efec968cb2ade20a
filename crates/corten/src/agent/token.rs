//! The join token of a cluster.

use std::fmt;
use std::fs;
use std::io::Read;

use anyhow::{Context, Result, bail};
use corten_client::is_already_exists;
use corten_pki::{Authority, ca_public_key_hash, write_private};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};

use crate::cli::AgentOptions;
use crate::layout::Layout;

/// `<id>.<secret>.<hash>`: a bootstrap token (6 and 16 characters of `[a-z0-9]`) and the hex SHA-256 of the CA's public key.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct JoinToken {
    id: String,
    secret: String,
    pub(super) ca_hash: String,
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.<secret>.{}", self.id, self.ca_hash)
    }
}

impl JoinToken {
    pub(super) fn parse(text: &str) -> Result<Self> {
        let parts: Vec<&str> = text.trim().split('.').collect();
        let [id, secret, hash] = parts[..] else {
            bail!("a join token has three parts: <id>.<secret>.<hash>; see <data-dir>/join-token on the server")
        };
        let plain = |text: &str, length| text.len() == length && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        if !plain(id, 6) || !plain(secret, 16) || !plain(hash, 64) {
            bail!("not a join token: its parts have 6, 16 and 64 lower-case letters and digits; see <data-dir>/join-token on the server");
        }
        Ok(Self { id: id.to_owned(), secret: secret.to_owned(), ca_hash: hash.to_owned() })
    }

    /// The token that the options give, as they are or in a file.
    pub(super) fn of(options: &AgentOptions) -> Result<Self> {
        match (&options.token, &options.token_file) {
            (Some(text), _) => Self::parse(text),
            (None, Some(path)) => Self::parse(&fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?),
            (None, None) => bail!("an agent needs --token or --token-file"),
        }
    }

    /// Whether the token was made for the cluster with this CA certificate.
    pub(super) fn names(&self, authority: &str) -> Result<bool> {
        Ok(ca_public_key_hash(authority)?.trim_start_matches("sha256:") == self.ca_hash)
    }

    /// The bootstrap token in it: what the API server authenticates.
    pub(super) fn bootstrap(&self) -> String {
        format!("{}.{}", self.id, self.secret)
    }

    fn generate(ca_hash: String) -> Result<Self> {
        // 32 characters that cannot be mistaken for each other: every random byte gives one without bias.
        const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
        let mut random = [0_u8; 22];
        fs::File::open("/dev/urandom").and_then(|mut source| source.read_exact(&mut random)).context("cannot read random bytes")?;
        let text: String = random.iter().filter_map(|byte| ALPHABET.get(usize::from(byte % 32))).map(|byte| char::from(*byte)).collect();
        let (id, secret) = text.split_at(6);
        Ok(Self { id: id.to_owned(), secret: secret.to_owned(), ca_hash })
    }
}

/// Makes sure that the cluster's join token exists, as a file of the server and as a Secret of the cluster.
pub(crate) async fn publish(layout: &Layout, client: Client, authority: &Authority) -> Result<()> {
    let path = layout.join_token();
    let hash = ca_public_key_hash(authority.certificate())?;
    let hash = hash.trim_start_matches("sha256:").to_owned();
    let token = match fs::read_to_string(&path) {
        Ok(text) => JoinToken::parse(&text).with_context(|| format!("{} is damaged; remove it to get a new one", path.display()))?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let token = JoinToken::generate(hash)?;
            let text = format!("{}.{}.{}\n", token.id, token.secret, token.ca_hash);
            write_private(&path, text.as_bytes()).with_context(|| format!("cannot write {}", path.display()))?;
            token
        }
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    let secret = Secret {
        metadata: ObjectMeta { name: Some(format!("bootstrap-token-{}", token.id)), ..ObjectMeta::default() },
        type_: Some("bootstrap.kubernetes.io/token".to_owned()),
        string_data: Some(
            [
                ("token-id", token.id.as_str()),
                ("token-secret", token.secret.as_str()),
                ("usage-bootstrap-authentication", "true"),
                ("description", "lets nodes join the cluster"),
            ]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into(),
        ),
        ..Secret::default()
    };
    match Api::<Secret>::namespaced(client, "kube-system").create(&PostParams::default(), &secret).await {
        Err(error) if !is_already_exists(&error) => Err(error).context("cannot create the join token's Secret"),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generated_token_parses_and_hides_its_secret() {
        let token = JoinToken::generate("0".repeat(64)).unwrap();
        let text = format!("{}.{}\n", token.bootstrap(), token.ca_hash);
        assert_eq!(JoinToken::parse(&text).unwrap(), token);
        assert!(!format!("{token:?}").contains(&token.secret));
    }

    #[test]
    fn other_texts_are_refused_with_a_hint() {
        for text in ["", "abcdef.0123456789abcdef", "abcdef.0123456789abcdef.xyz", "ABCDEF.0123456789abcdef.00"] {
            let error = JoinToken::parse(text).unwrap_err().to_string();
            assert!(error.contains("join-token"), "{text}: {error}");
        }
    }
}
