//! The built-in admission plugins.

mod certificates;
mod default_tolerations;
mod namespace_lifecycle;
mod node_restriction;
mod pod_disruption;
mod priority;
mod runtime_class;
mod service_account;
mod taint_nodes;

use super::{Attributes, Plugin};
use crate::status::{ApiError, GroupResource};

/// The plugins in the order in which they run.
pub fn chain() -> Vec<Box<dyn Plugin>> {
    vec![
        Box::new(namespace_lifecycle::NamespaceLifecycle),
        Box::new(service_account::ServiceAccount),
        Box::new(node_restriction::NodeRestriction),
        Box::new(taint_nodes::TaintNodesByCondition),
        Box::new(priority::Priority),
        Box::new(default_tolerations::DefaultTolerationSeconds),
        Box::new(runtime_class::RuntimeClass),
        Box::new(pod_disruption::PodDisruption),
        Box::new(certificates::CertificateApproval),
        Box::new(certificates::CertificateSigning),
        Box::new(certificates::CertificateSubjectRestriction),
    ]
}

/// Whether a request is for a kind (and not for a subresource of it).
fn is(attributes: &Attributes<'_>, group: &str, plural: &str) -> bool {
    attributes.resource.group == group && attributes.resource.plural == plural && attributes.subresource.is_empty()
}

/// The 403 of a plugin: `pods "x" is forbidden: {why}`.
fn forbidden(attributes: &Attributes<'_>, why: impl std::fmt::Display) -> ApiError {
    let of = GroupResource::new(&attributes.resource.group, &attributes.resource.plural);
    ApiError::forbidden(&of, attributes.name, why)
}
