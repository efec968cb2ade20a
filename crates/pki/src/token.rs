//! Service account tokens: JSON Web Tokens signed with ES256 (RFC 7515, RFC 7518 3.4).

use std::{
    fs,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData as _};
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, UnparsedPublicKey},
};
use serde::{Deserialize, Deserializer, Serialize, de::DeserializeOwned};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::{
    AuthorityError,
    authority::at,
    files::{read_optional, write_private},
};

/// Verifiers forgive this much difference between clocks.
const LEEWAY: Duration = Duration::from_secs(60);

/// The claims of a token (RFC 7519), times in seconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// Who may accept the token.
    #[serde(deserialize_with = "one_or_many")]
    pub aud: Vec<String>,
    /// When it ends.
    pub exp: i64,
    /// When it was made.
    pub iat: i64,
    /// Who made it.
    pub iss: String,
    /// A unique name of the token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jti: Option<String>,
    /// What it is bound to.
    #[serde(rename = "kubernetes.io", default, skip_serializing_if = "Option::is_none")]
    pub kubernetes: Option<KubernetesClaims>,
    /// Before this it is not valid.
    pub nbf: i64,
    /// Who it stands for: `system:serviceaccount:<namespace>:<name>`.
    pub sub: String,
}

impl Claims {
    /// The audiences of `accepted` that the token is for.
    pub fn audiences_in<'a>(&self, accepted: &'a [String]) -> Vec<&'a str> {
        let accepts = |audience: &&String| self.aud.contains(audience);
        accepted.iter().filter(accepts).map(String::as_str).collect()
    }
}

/// The private claim `kubernetes.io` of a bound service account token.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KubernetesClaims {
    /// The service account's namespace.
    pub namespace: String,
    /// The node that the bound pod runs on, or the node it is bound to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<ObjectClaim>,
    /// The pod it is bound to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<ObjectClaim>,
    /// The secret it is bound to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<ObjectClaim>,
    /// The service account.
    pub serviceaccount: ObjectClaim,
    /// Use after this time is reported: the client does not renew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warnafter: Option<i64>,
}

/// An object that a token is bound to: gone or replaced, the token is void.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectClaim {
    /// Its name.
    pub name: String,
    /// Its uid.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub uid: String,
}

/// Why a token is refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not a JSON Web Token in compact form.
    #[error("token is malformed")]
    Malformed,
    /// Signed with another algorithm or key than ours.
    #[error("token is signed with an unknown key")]
    UnknownKey,
    /// The signature does not fit.
    #[error("token signature is invalid")]
    Signature,
    /// Another issuer's token.
    #[error("token issuer is not {0}")]
    Issuer(String),
    /// Its time is over.
    #[error("token has expired")]
    Expired,
    /// Its time has not come.
    #[error("token is not valid yet")]
    NotYetValid,
    /// ring refused to sign.
    #[error("token cannot be signed")]
    Sign,
}

#[derive(Serialize, Deserialize)]
struct Header {
    alg: String,
    kid: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    typ: Option<String>,
}

struct PublicKey {
    id: String,
    point: Vec<u8>,
}

/// The service account key of a cluster.
pub struct TokenSigner {
    key: EcdsaKeyPair,
    random: SystemRandom,
    public: Arc<PublicKey>,
}

/// Checks tokens; cheap to clone.
#[derive(Clone)]
pub struct TokenVerifier {
    public: Arc<PublicKey>,
    issuer: String,
}

impl TokenSigner {
    /// Loads `service-account.key` from a directory, or creates it.
    pub fn open(directory: &Path) -> Result<Self, AuthorityError> {
        fs::create_dir_all(directory).map_err(at(directory))?;
        let path = directory.join("service-account.key");
        let key = match read_optional(&path).map_err(at(&path))? {
            Some(pem) => KeyPair::from_pem(&pem)?,
            None => {
                let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
                write_private(&path, key.serialize_pem().as_bytes()).map_err(at(&path))?;
                key
            }
        };
        Self::from_key(&key)
    }

    fn from_key(key: &KeyPair) -> Result<Self, AuthorityError> {
        let random = SystemRandom::new();
        let id = BASE64.encode(Sha256::digest(key.subject_public_key_info()));
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key.serialized_der(), &random)
            .map_err(|error| AuthorityError::Pem(error.to_string()))?;
        let point = key.public_key().as_ref().to_vec();
        Ok(Self { key, random, public: Arc::new(PublicKey { id, point }) })
    }

    /// Signs claims into a token.
    pub fn sign(&self, claims: &Claims) -> Result<String, TokenError> {
        let header = Header { alg: "ES256".into(), kid: self.public.id.clone(), typ: None };
        let signed = format!("{}.{}", encode(&header)?, encode(claims)?);
        let signature = self.key.sign(&self.random, signed.as_bytes()).map_err(|_| TokenError::Sign)?;
        Ok(format!("{signed}.{}", BASE64.encode(signature.as_ref())))
    }

    /// A verifier of this key's tokens from the given issuer.
    pub fn verifier(&self, issuer: &str) -> TokenVerifier {
        TokenVerifier { public: Arc::clone(&self.public), issuer: issuer.to_owned() }
    }

    /// The key set that `/openid/v1/jwks` publishes (RFC 7517).
    pub fn key_set(&self) -> serde_json::Value {
        // An uncompressed point: one tag byte, then two coordinates of 32 bytes.
        let coordinates = self.public.point.get(1..).unwrap_or_default();
        let (x, y) = coordinates.split_at(coordinates.len() / 2);
        json!({"keys": [{
            "use": "sig",
            "kty": "EC",
            "kid": self.public.id,
            "crv": "P-256",
            "alg": "ES256",
            "x": BASE64.encode(x),
            "y": BASE64.encode(y),
        }]})
    }
}

impl TokenVerifier {
    /// The issuer whose tokens it accepts.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Checks signature, issuer and times. The audience and the objects that the token is bound
    /// to are the caller's to check.
    pub fn verify(&self, token: &str, now: SystemTime) -> Result<Claims, TokenError> {
        let (signed, signature) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
        let (header, claims) = signed.split_once('.').ok_or(TokenError::Malformed)?;
        let header: Header = decode(header)?;
        if header.alg != "ES256" || header.kid != self.public.id {
            return Err(TokenError::UnknownKey);
        }
        let signature = BASE64.decode(signature).map_err(|_| TokenError::Malformed)?;
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &self.public.point)
            .verify(signed.as_bytes(), &signature)
            .map_err(|_| TokenError::Signature)?;
        let claims: Claims = decode(claims)?;
        if claims.iss != self.issuer {
            return Err(TokenError::Issuer(self.issuer.clone()));
        }
        if seconds(now) > claims.exp.saturating_add(seconds_of(LEEWAY)) {
            return Err(TokenError::Expired);
        }
        if seconds(now) < claims.nbf.saturating_sub(seconds_of(LEEWAY)) {
            return Err(TokenError::NotYetValid);
        }
        Ok(claims)
    }
}

fn seconds(time: SystemTime) -> i64 {
    seconds_of(time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default())
}

fn seconds_of(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

fn encode(value: &impl Serialize) -> Result<String, TokenError> {
    let json = serde_json::to_vec(value).map_err(|_| TokenError::Malformed)?;
    Ok(BASE64.encode(json))
}

fn decode<T: DeserializeOwned>(part: &str) -> Result<T, TokenError> {
    let json = BASE64.decode(part).map_err(|_| TokenError::Malformed)?;
    serde_json::from_slice(&json).map_err(|_| TokenError::Malformed)
}

fn one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Audience {
        One(String),
        Many(Vec<String>),
    }
    Ok(match Audience::deserialize(deserializer)? {
        Audience::One(one) => vec![one],
        Audience::Many(many) => many,
    })
}
