//! What becomes of an object, given the state of its owners: pure.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::api::PropagationPolicy;

use super::graph::{FOREGROUND, ORPHAN};

/// An owner as it was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OwnerState {
    /// It exists, or it cannot be told: the object stays.
    Solid,
    /// It does not exist.
    Absent,
    /// It is deleted in the foreground and waits for its dependents.
    Waiting,
}

/// What to do.
#[derive(Debug, PartialEq)]
pub(super) enum Decision {
    Keep,
    /// Drop the references to these owners (uids): others keep it.
    DropOwners(Vec<String>),
    Delete(PropagationPolicy),
}

pub(super) fn decide(meta: &ObjectMeta, owners: &[(OwnerReference, OwnerState)], has_dependents: bool) -> Decision {
    let with = |wanted: OwnerState| owners.iter().filter(move |(_, state)| *state == wanted);
    if owners.is_empty() {
        return Decision::Keep;
    }
    if with(OwnerState::Solid).next().is_some() {
        let gone: Vec<_> = owners.iter().filter(|(_, state)| *state != OwnerState::Solid).map(|(owner, _)| owner.uid.clone()).collect();
        return if gone.is_empty() { Decision::Keep } else { Decision::DropOwners(gone) };
    }
    if with(OwnerState::Waiting).next().is_some() && has_dependents {
        return Decision::Delete(PropagationPolicy::Foreground);
    }
    // A policy that was asked for before is kept.
    let has = |name: &str| meta.finalizers.iter().flatten().any(|finalizer| finalizer == name);
    Decision::Delete(if has(ORPHAN) {
        PropagationPolicy::Orphan
    } else if has(FOREGROUND) {
        PropagationPolicy::Foreground
    } else {
        PropagationPolicy::Background
    })
}
