//! Whom a bearer token stands for: the API server knows, and its answers are remembered for a while.
//!
//! <https://kubernetes.io/docs/reference/access-authn-authz/kubelet-authn-authz/>

use std::collections::HashMap;
use std::time::{Duration, Instant};

use corten_pki::Identity;
use http::{HeaderMap, header};
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec};
use kube::api::{Api, PostParams};
use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};

/// How long an answer holds: the reference's default.
const HOLDS: Duration = Duration::from_secs(2 * 60);
/// How long the API server may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How many answers are remembered.
const MOST: usize = 1024;

struct Answer {
    identity: Option<Identity>,
    until: Instant,
}

/// Asks the API server and remembers.
pub(super) struct Tokens {
    reviews: Api<TokenReview>,
    /// By the hashes of tokens: anybody may send one, of any length, and those that are good are nobody else's business.
    answers: Mutex<HashMap<[u8; 32], Answer>>,
}

impl Tokens {
    pub(super) fn new(client: kube::Client) -> Self {
        Self { reviews: Api::all(client), answers: Mutex::default() }
    }

    /// Whom the token of a request stands for; nobody if it has none, or one that the API server does not know.
    pub(super) async fn identity(&self, headers: &HeaderMap) -> Option<Identity> {
        let token = bearer(headers)?;
        let hash: [u8; 32] = Sha256::digest(token).into();
        let now = Instant::now();
        if let Some(answer) = self.answers.lock().get(&hash).filter(|answer| answer.until > now) {
            return answer.identity.clone();
        }
        let identity = match tokio::time::timeout(PATIENCE, self.ask(token)).await {
            Ok(Ok(identity)) => identity,
            Ok(Err(error)) => {
                tracing::warn!(%error, "cannot ask whom a token stands for");
                return None;
            }
            Err(_) => {
                tracing::warn!("the API server takes too long to say whom a token stands for");
                return None;
            }
        };
        let mut answers = self.answers.lock();
        if answers.len() >= MOST {
            answers.retain(|_, answer| answer.until > now);
        }
        if answers.len() >= MOST {
            answers.clear();
        }
        answers.insert(hash, Answer { identity: identity.clone(), until: now + HOLDS });
        identity
    }

    async fn ask(&self, token: &str) -> Result<Option<Identity>, kube::Error> {
        let spec = TokenReviewSpec { token: Some(token.to_owned()), ..TokenReviewSpec::default() };
        let review = self.reviews.create(&PostParams::default(), &TokenReview { spec, ..TokenReview::default() }).await?;
        let known = review.status.filter(|status| status.authenticated == Some(true));
        let user = known.and_then(|status| status.user);
        Ok(user.and_then(|user| Some(Identity::new(user.username?, user.groups.unwrap_or_default()))))
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.trim().split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}
