//! What a request asks for and who asks: the context that goes along with it.

mod info;
mod query;
mod terms;
#[cfg(test)]
mod tests;
mod timeout;

use std::sync::Arc;

use corten_schema::Resource;
use parking_lot::Mutex;

use crate::{authn::UserInfo, body::Body, server::Server};

pub use info::{RequestInfo, Verb};
pub use query::{Query, decode};
pub(crate) use terms::Term;
pub(crate) use timeout::timeout;

/// A request on its way through the server: parsed, authenticated, authorised.
#[derive(Debug)]
pub struct Context {
    /// What is asked for.
    pub info: RequestInfo,
    /// Who asks.
    pub user: UserInfo,
    /// The program that asks (`User-Agent`); its first word is the manager of what it writes.
    pub agent: String,
    warnings: Mutex<Vec<String>>,
}

impl Context {
    /// The context of a request of `user`.
    pub fn new(info: RequestInfo, user: UserInfo) -> Self {
        Self { info, user, agent: String::new(), warnings: Mutex::new(Vec::new()) }
    }

    /// A context for writes that the server makes on its own account (bootstrap).
    pub fn internal() -> Self {
        Self::new(RequestInfo::default(), UserInfo::from(corten_pki::Identity::apiserver())).with_agent("kube-apiserver")
    }

    /// The same for a request of this program.
    #[must_use]
    pub fn with_agent(mut self, agent: &str) -> Self {
        agent.clone_into(&mut self.agent);
        self
    }

    /// Adds a `Warning` header to the answer; the same text only once.
    pub fn warn(&self, text: impl Into<String>) {
        let text = text.into();
        let mut warnings = self.warnings.lock();
        if !warnings.contains(&text) {
            warnings.push(text);
        }
    }

    /// The warnings given so far, in order.
    pub fn take_warnings(&self) -> Vec<String> {
        std::mem::take(&mut *self.warnings.lock())
    }
}

/// A request handed to a subresource with behaviour of its own. The body has not been read.
pub struct Call {
    /// The server.
    pub server: Arc<Server>,
    /// Who asks for what.
    pub context: Arc<Context>,
    /// The row of the kind table that the parent object belongs to.
    pub resource: Arc<Resource>,
    /// The HTTP request; its extensions hold hyper's upgrade handle.
    pub request: http::Request<Body>,
}
