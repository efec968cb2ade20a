//! What a ReplicaSet lacks or has too much of: pure.

use std::sync::Arc;

use k8s_openapi::{
    api::{apps::v1::ReplicaSet, core::v1::Pod},
    jiff::Timestamp,
};
use kube::api::ObjectMeta;

use super::rank;
use crate::ownership;

/// Pods made or deleted in one go.
const BURST: usize = 500;

/// The next step.
#[derive(Debug)]
pub(super) enum Plan {
    Nothing,
    Create(usize),
    Delete(Vec<Arc<Pod>>),
}

pub(super) fn plan(set: &ReplicaSet, owned: &[Arc<Pod>], related: &[Arc<Pod>], now: Timestamp) -> Plan {
    let wanted = set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    let wanted = usize::try_from(wanted).unwrap_or(0);
    if owned.len() < wanted {
        Plan::Create((wanted - owned.len()).min(BURST))
    } else if owned.len() > wanted {
        let count = (owned.len() - wanted).min(BURST);
        Plan::Delete(rank::choose(owned, related, count, now))
    } else {
        Plan::Nothing
    }
}

/// A pod of the set's template.
pub(super) fn new_pod(set: &ReplicaSet) -> Option<Pod> {
    let template = set.spec.as_ref()?.template.as_ref()?;
    let meta = template.metadata.clone().unwrap_or_default();
    let name = set.metadata.name.as_deref().unwrap_or_default();
    Some(Pod {
        metadata: ObjectMeta {
            generate_name: Some(format!("{name}-")),
            namespace: set.metadata.namespace.clone(),
            labels: meta.labels,
            annotations: meta.annotations,
            finalizers: meta.finalizers,
            owner_references: Some(vec![ownership::reference(set)]),
            ..ObjectMeta::default()
        },
        spec: template.spec.clone(),
        ..Pod::default()
    })
}

/// Whether a creation was refused because the namespace is on its way out.
pub(super) fn is_namespace_terminating(error: &kube::Error) -> bool {
    let kube::Error::Api(status) = error else {
        return false;
    };
    let causes = status.details.iter().flat_map(|details| &details.causes);
    causes.into_iter().any(|cause| cause.reason == "NamespaceTerminating")
}

/// What the server said.
pub(super) fn message_of(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}
