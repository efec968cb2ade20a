//! Subresources with behaviour of their own, one small module each, and the kinds that are answered but never stored.

mod binding;
mod connect;
mod eviction;
mod exchange;
mod log;
mod proxy;
mod reviews;
mod scale;
mod stream;
#[cfg(test)]
mod tests;
mod token;
mod translate;

use futures::future::BoxFuture;

use crate::{body::Response, request::Call, status::ApiError};

pub(crate) use eviction::budget_effect;

/// Handles a request to a subresource.
pub type Handler = fn(Call) -> BoxFuture<'static, Result<Response, ApiError>>;

/// The handler of `<plural>/<subresource>`; `None` when the engine serves it (`status`) or nobody does. An empty subresource
/// asks for the handler of a kind that is not stored.
pub fn find(group: &str, plural: &str, subresource: &str) -> Option<Handler> {
    let handler: Handler = match (group, plural, subresource) {
        ("", "pods", "binding") | ("", "bindings", "") => |call| Box::pin(binding::serve(call)),
        ("", "pods", "eviction") => |call| Box::pin(eviction::serve(call)),
        ("", "pods", "log") => |call| Box::pin(log::serve(call)),
        ("", "pods", "exec" | "attach" | "portforward") => |call| Box::pin(stream::serve(call)),
        ("", "pods" | "services" | "nodes", "proxy") => |call| Box::pin(proxy::serve(call)),
        ("", "serviceaccounts", "token") => |call| Box::pin(token::serve(call)),
        ("", "replicationcontrollers", "scale") | ("apps", "deployments" | "replicasets" | "statefulsets", "scale") => {
            |call| Box::pin(scale::serve(call))
        }
        ("authorization.k8s.io", _, "") => |call| Box::pin(reviews::access(call)),
        ("authentication.k8s.io", _, "") => |call| Box::pin(reviews::authentication(call)),
        _ => return None,
    };
    Some(handler)
}
