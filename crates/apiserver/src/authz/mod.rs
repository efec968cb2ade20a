//! Authorization: may this user do this?
//!
//! `system:masters` may do everything. Kubelets are judged by the Node authorizer ([`node`]), everybody by RBAC
//! ([`rbac`]). The first that allows decides; there are no denials that overrule another's permission.

mod authorizer;
pub mod node;
pub mod rbac;
pub mod rules;

#[cfg(test)]
mod tests;

pub use authorizer::Authorizer;

use crate::authn::UserInfo;
use crate::status::{ApiError, GroupResource};

/// What a request wants, as authorizers see it.
#[derive(Clone, Copy, Debug)]
pub struct Attributes<'a> {
    /// Who asks.
    pub user: &'a UserInfo,
    /// Request verb (`get`, `list`, `watch`, `create`, …), or the lower-case HTTP method outside the resource API.
    pub verb: &'a str,
    /// API group, empty for the core group.
    pub group: &'a str,
    /// Plural of the resource.
    pub resource: &'a str,
    /// Subresource, or empty.
    pub subresource: &'a str,
    /// Namespace, or empty at cluster scope and across all namespaces.
    pub namespace: &'a str,
    /// Object name, or empty.
    pub name: &'a str,
    /// URL path.
    pub path: &'a str,
    /// Whether the request is for a resource; otherwise only verb and path count.
    pub resource_request: bool,
}

impl<'a> Attributes<'a> {
    /// A request on a resource, with empty subresource, namespace and name.
    pub fn resource(user: &'a UserInfo, verb: &'a str, group: &'a str, resource: &'a str) -> Self {
        Attributes { user, verb, group, resource, subresource: "", namespace: "", name: "", path: "", resource_request: true }
    }

    /// A request for a path outside the resource API.
    pub fn path(user: &'a UserInfo, verb: &'a str, path: &'a str) -> Self {
        Attributes { path, resource_request: false, ..Attributes::resource(user, verb, "", "") }
    }
}

/// The answer of an authorizer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It may, for this reason.
    Allow(String),
    /// Nothing allows it; the reason may be empty.
    NoOpinion(String),
}

impl Decision {
    /// Whether the request may go on.
    pub fn allowed(&self) -> bool {
        matches!(self, Decision::Allow(_))
    }

    /// The reason.
    pub fn reason(&self) -> &str {
        match self {
            Decision::Allow(reason) | Decision::NoOpinion(reason) => reason,
        }
    }
}

/// The 403 for a request that nothing allows, in the reference's words.
pub fn forbidden(request: &Attributes<'_>, reason: &str) -> ApiError {
    let user = &request.user.name;
    let verb = request.verb;
    let mut text = if request.resource_request {
        let mut resource = request.resource.to_owned();
        if !request.subresource.is_empty() {
            resource.push('/');
            resource.push_str(request.subresource);
        }
        let scope = match request.namespace {
            "" => "at the cluster scope".to_owned(),
            namespace => format!("in the namespace {namespace:?}"),
        };
        format!("User {user:?} cannot {verb} resource {resource:?} in API group {:?} {scope}", request.group)
    } else {
        format!("User {user:?} cannot {verb} path {:?}", request.path)
    };
    if !reason.is_empty() {
        text.push_str(": ");
        text.push_str(reason);
    }
    ApiError::forbidden(&GroupResource::new(request.group, request.resource), request.name, text)
}
