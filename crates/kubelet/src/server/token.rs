//! Whom a bearer token stands for: the API server knows, and its answers are remembered for a while.
//!
//! <https://kubernetes.io/docs/reference/access-authn-authz/kubelet-authn-authz/>

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use corten_pki::Identity;
use http::{HeaderMap, header};
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec};
use kube::api::{Api, PostParams};
use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;

use crate::config;

/// How long the API server may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How many answers are remembered.
const MOST: usize = 1024;
/// How many are asked for at the same time: anybody may send tokens, and the API server has other things to do.
const ASKED: usize = 8;

struct Answer {
    identity: Option<Identity>,
    until: Instant,
}

/// Asks the API server and remembers.
pub(super) struct Tokens {
    reviews: Api<TokenReview>,
    /// By the hashes of tokens: anybody may send one, of any length, and those that are good are nobody else's business.
    answers: Mutex<HashMap<Hash, Answer>>,
    /// One for every token that is being asked about, so that many requests with it ask once.
    asking: Mutex<HashMap<Hash, Weak<Turn>>>,
    places: Semaphore,
    /// Whether they are asked about at all.
    enabled: bool,
    /// How long an answer holds.
    holds: Duration,
}

type Hash = [u8; 32];
type Turn = tokio::sync::Mutex<()>;

impl Tokens {
    pub(super) fn new(client: kube::Client, rules: &config::Access) -> Self {
        Self {
            enabled: rules.tokens,
            holds: rules.token_ttl,
            reviews: Api::all(client),
            answers: Mutex::default(),
            asking: Mutex::default(),
            places: Semaphore::new(ASKED),
        }
    }

    /// Whom the token of a request stands for; nobody if it has none, or one that the API server does not know.
    pub(super) async fn identity(&self, headers: &HeaderMap) -> Option<Identity> {
        let token = bearer(headers).filter(|_| self.enabled)?;
        let hash: Hash = Sha256::digest(token).into();
        if let Some(known) = self.known(&hash) {
            return known;
        }
        match tokio::time::timeout(PATIENCE, self.find(token, hash)).await {
            Ok(Ok(identity)) => identity,
            Ok(Err(error)) => {
                tracing::warn!(%error, "cannot ask whom a token stands for");
                None
            }
            Err(_) => {
                tracing::warn!("the API server takes too long to say whom a token stands for");
                None
            }
        }
    }

    /// What was answered lately.
    fn known(&self, hash: &Hash) -> Option<Option<Identity>> {
        let now = Instant::now();
        self.answers.lock().get(hash).filter(|answer| answer.until > now).map(|answer| answer.identity.clone())
    }

    /// Asks, unless somebody does already: then what they hear counts.
    async fn find(&self, token: &str, hash: Hash) -> Result<Option<Identity>, kube::Error> {
        let turn = self.turn(hash);
        let _held = turn.lock().await;
        if let Some(known) = self.known(&hash) {
            return Ok(known);
        }
        // It is never closed.
        let _place = self.places.acquire().await.ok();
        let identity = self.ask(token).await?;
        self.remember(hash, identity.clone());
        Ok(identity)
    }

    fn turn(&self, hash: Hash) -> Arc<Turn> {
        let mut asking = self.asking.lock();
        asking.retain(|_, turn| turn.strong_count() > 0);
        if let Some(turn) = asking.get(&hash).and_then(Weak::upgrade) {
            return turn;
        }
        let turn = Arc::default();
        asking.insert(hash, Arc::downgrade(&turn));
        turn
    }

    fn remember(&self, hash: Hash, identity: Option<Identity>) {
        let now = Instant::now();
        let mut answers = self.answers.lock();
        if answers.len() >= MOST {
            answers.retain(|_, answer| answer.until > now);
        }
        if answers.len() >= MOST {
            // Whoever invents tokens makes nobody else be asked about again.
            answers.retain(|_, answer| answer.identity.is_some());
        }
        if answers.len() >= MOST {
            answers.clear();
        }
        answers.insert(hash, Answer { identity, until: now + self.holds });
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

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use bytes::Bytes;
    use futures::future::join_all;
    use http::{HeaderValue, Request, Response};
    use http_body_util::{BodyExt as _, Full};
    use serde_json::{Value, json};

    use super::*;

    #[tokio::test]
    async fn many_requests_ask_once_and_never_too_many_at_a_time() {
        let (asked, now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let counts = (Arc::clone(&asked), now, Arc::clone(&most));
        let service = tower::service_fn(move |request: Request<kube::client::Body>| {
            let (asked, now, most) = counts.clone();
            async move {
                asked.fetch_add(1, Ordering::SeqCst);
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                let bytes = request.into_body().collect().await.unwrap().to_bytes();
                // Everybody else gets a chance to ask meanwhile.
                for _ in 0..100 {
                    tokio::task::yield_now().await;
                }
                now.fetch_sub(1, Ordering::SeqCst);
                let mut review: Value = serde_json::from_slice(&bytes).unwrap();
                review["status"] = json!({"authenticated": review["spec"]["token"] == "good", "user": {"username": "u"}});
                Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(review.to_string())))
            }
        });
        let client = kube::Client::new(service, "default");
        let tokens = Tokens::new(client.clone(), &config::Access::default());
        let with = |token: String| {
            let headers = HeaderMap::from_iter([(header::AUTHORIZATION, HeaderValue::from_str(&format!("Bearer {token}")).unwrap())]);
            let tokens = &tokens;
            async move { tokens.identity(&headers).await }
        };
        let good = join_all((0..50).map(|_| with("good".to_owned()))).await;
        assert!(good.iter().all(|identity| identity.as_ref().is_some_and(|identity| identity.user == "u")));
        assert_eq!(asked.load(Ordering::SeqCst), 1);
        let bad = join_all((0..MOST * 2).map(|number| with(format!("bad{number}")))).await;
        assert!(bad.iter().all(Option::is_none));
        assert!(most.load(Ordering::SeqCst) <= ASKED, "{most:?}");
        let before = asked.load(Ordering::SeqCst);
        assert!(with("good".to_owned()).await.is_some());
        assert_eq!(asked.load(Ordering::SeqCst), before, "a good one is not forgotten for bad ones");
        let closed = Tokens::new(client, &config::Access { tokens: false, ..config::Access::default() });
        let headers = HeaderMap::from_iter([(header::AUTHORIZATION, HeaderValue::from_static("Bearer good"))]);
        assert!(closed.identity(&headers).await.is_none());
    }
}
