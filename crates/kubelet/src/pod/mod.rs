//! One pod: what it needs, what is decided for it, and the task that does it.

pub(crate) mod allocation;
pub(crate) mod backoff;
pub(crate) mod container;
pub(crate) mod dns;
pub(crate) mod downward;
pub(crate) mod env;
pub(crate) mod ephemeral;
pub(crate) mod expansion;
pub(crate) mod hooks;
pub(crate) mod hosts;
pub(crate) mod plan;
pub(crate) mod post;
pub(crate) mod qos;
pub(crate) mod requests;
pub(crate) mod resources;
pub(crate) mod sandbox;
pub(crate) mod security;
mod start;
pub(crate) mod status;
pub(crate) mod stop;
pub(crate) mod termination;
pub(crate) mod worker;

use k8s_openapi::api::core::v1::Pod;

/// `name_namespace(uid)`: how messages name a pod.
pub(crate) fn full_name(pod: &Pod) -> String {
    format!("{}_{}({})", name(pod), namespace(pod), uid(pod))
}

/// The pod's name.
pub(crate) fn name(pod: &Pod) -> &str {
    pod.metadata.name.as_deref().unwrap_or_default()
}

/// The pod's namespace.
pub(crate) fn namespace(pod: &Pod) -> &str {
    pod.metadata.namespace.as_deref().unwrap_or_default()
}

/// The pod's uid.
pub(crate) fn uid(pod: &Pod) -> &str {
    pod.metadata.uid.as_deref().unwrap_or_default()
}
