//! Who may ask for what: the API server decides, and its decisions are remembered for a while.
//!
//! <https://kubernetes.io/docs/reference/access-authn-authz/kubelet-authn-authz/>

use std::collections::HashMap;
use std::time::{Duration, Instant};

use corten_pki::Identity;
use http::{Method, StatusCode};
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use kube::api::{Api, PostParams};
use parking_lot::Mutex;

use super::answer::Refusal;
use crate::config;

/// How long the API server may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How many decisions are remembered.
const MOST: usize = 1024;
/// The group of everybody who is known.
const AUTHENTICATED: &str = "system:authenticated";

/// A question to the API server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Question {
    identity: Identity,
    verb: &'static str,
    subresource: &'static str,
}

#[derive(Clone, Copy, Debug)]
struct Decision {
    allowed: bool,
    until: Instant,
}

/// Decisions that still hold.
#[derive(Debug, Default)]
struct Decisions(HashMap<Question, Decision>);

impl Decisions {
    fn get(&self, question: &Question, now: Instant) -> Option<bool> {
        self.0.get(question).filter(|decision| decision.until > now).map(|decision| decision.allowed)
    }

    fn put(&mut self, question: Question, allowed: bool, now: Instant, holds: Duration) {
        if self.0.len() >= MOST {
            self.0.retain(|_, decision| decision.until > now);
        }
        if self.0.len() >= MOST {
            self.0.clear();
        }
        let until = now + holds;
        self.0.insert(question, Decision { allowed, until });
    }
}

/// Asks the API server and remembers.
pub(super) struct Access {
    reviews: Api<SubjectAccessReview>,
    node: String,
    decisions: Mutex<Decisions>,
    /// How long a permission holds, and a refusal.
    holds: (Duration, Duration),
}

impl Access {
    pub(super) fn new(client: kube::Client, node: &str, rules: &config::Access) -> Self {
        let holds = (rules.allowed_ttl, rules.denied_ttl);
        Self { reviews: Api::all(client), node: node.to_owned(), decisions: Mutex::default(), holds }
    }

    /// Whether a request may go on: one of its subresources must be allowed.
    ///
    /// # Errors
    /// 403 if not; 500 if the API server does not answer.
    pub(super) async fn check(&self, identity: &Identity, method: &Method, path: &str) -> Result<(), Refusal> {
        let (verb, subresources) = (verb(method), subresources(path));
        for subresource in subresources {
            let question = Question { identity: identity.clone(), verb, subresource };
            match self.decide(question).await {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(error) => {
                    tracing::warn!(%error, user = identity.user, verb, subresource, "cannot ask who may use the kubelet");
                    let user = &identity.user;
                    let words = format!("Authorization error (user={user}, verb={verb}, resource=nodes, subresource={subresource})");
                    return Err(Refusal::internal(words));
                }
            }
        }
        let (user, all) = (&identity.user, subresources.join(" "));
        let words = format!("Forbidden (user={user}, verb={verb}, resource=nodes, subresource(s)=[{all}])\n");
        Err(Refusal::new(StatusCode::FORBIDDEN, words))
    }

    async fn decide(&self, question: Question) -> Result<bool, ReviewError> {
        let known = self.decisions.lock().get(&question, Instant::now());
        if let Some(allowed) = known {
            return Ok(allowed);
        }
        let review = review(&question, &self.node);
        let parameters = PostParams::default();
        let answer = tokio::time::timeout(PATIENCE, self.reviews.create(&parameters, &review)).await;
        let status = answer.map_err(|_| ReviewError::Slow)??.status.ok_or(ReviewError::NoStatus)?;
        let allowed = status.allowed && status.denied != Some(true);
        let holds = if allowed { self.holds.0 } else { self.holds.1 };
        self.decisions.lock().put(question, allowed, Instant::now(), holds);
        Ok(allowed)
    }
}

#[derive(Debug, thiserror::Error)]
enum ReviewError {
    #[error("the API server takes too long")]
    Slow,
    #[error("the API server has not decided")]
    NoStatus,
    #[error(transparent)]
    Api(#[from] kube::Error),
}

fn review(question: &Question, node: &str) -> SubjectAccessReview {
    let mut groups = question.identity.groups.clone();
    if !groups.iter().any(|group| group == AUTHENTICATED) {
        groups.push(AUTHENTICATED.to_owned());
    }
    SubjectAccessReview {
        spec: SubjectAccessReviewSpec {
            user: Some(question.identity.user.clone()),
            groups: Some(groups),
            resource_attributes: Some(ResourceAttributes {
                verb: Some(question.verb.to_owned()),
                version: Some("v1".to_owned()),
                resource: Some("nodes".to_owned()),
                subresource: Some(question.subresource.to_owned()),
                name: Some(node.to_owned()),
                ..ResourceAttributes::default()
            }),
            ..SubjectAccessReviewSpec::default()
        },
        ..SubjectAccessReview::default()
    }
}

/// The API verb of a method; other methods have none.
fn verb(method: &Method) -> &'static str {
    match *method {
        Method::POST => "create",
        Method::GET => "get",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        _ => "",
    }
}

/// The subresources of the node that give access to a path, the narrowest first.
fn subresources(path: &str) -> &'static [&'static str] {
    let first = path.strip_prefix('/').unwrap_or(path).split('/').next().unwrap_or_default();
    match first {
        "stats" => &["stats"],
        "metrics" => &["metrics"],
        "logs" => &["log"],
        "checkpoint" => &["checkpoint"],
        "pods" | "runningpods" => &["pods", "proxy"],
        "healthz" => &["healthz", "proxy"],
        "configz" => &["configz", "proxy"],
        _ => &["proxy"],
    }
}

#[cfg(test)]
mod tests;
