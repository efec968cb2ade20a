//! Service account tokens: they hold as long as what they are bound to exists.

use corten_pki::{Claims, Identity, ObjectClaim};
use serde::Deserialize;

use super::{CREDENTIAL_ID, Rejected, UserInfo};
use crate::ledger::Snapshot;
use crate::reads;

#[derive(Deserialize)]
struct Object {
    metadata: Metadata,
}

#[derive(Deserialize)]
struct Metadata {
    #[serde(default)]
    uid: String,
}

/// Whether an object with this name and uid exists.
fn check(snapshot: &Snapshot, plural: &str, namespace: &str, claim: &ObjectClaim, what: &str) -> Result<(), Rejected> {
    let entry = snapshot.get(&reads::key("", plural, namespace, &claim.name));
    let Some(entry) = entry else { return Err(Rejected::Gone(format!("{what} {:?} not found", claim.name))) };
    let uid = serde_json::from_slice::<Object>(entry.stored_json()).map(|object| object.metadata.uid);
    if uid.is_ok_and(|uid| uid == claim.uid) {
        Ok(())
    } else {
        Err(Rejected::Gone(format!("{what} UID ({}) does not match claim", claim.uid)))
    }
}

/// The user that verified claims stand for.
pub(super) fn user(snapshot: &Snapshot, claims: &Claims) -> Result<UserInfo, Rejected> {
    let Some(bound) = &claims.kubernetes else {
        return Err(Rejected::Gone("token is not bound to a service account".to_owned()));
    };
    let namespace = bound.namespace.as_str();
    check(snapshot, "serviceaccounts", namespace, &bound.serviceaccount, "service account")?;
    let mut user = UserInfo::from(Identity::service_account(namespace, &bound.serviceaccount.name));
    user.uid.clone_from(&bound.serviceaccount.uid);
    let mut note = |key: &str, value: &str| {
        user.extra.insert(format!("authentication.kubernetes.io/{key}"), vec![value.to_owned()]);
    };
    if let Some(secret) = &bound.secret {
        check(snapshot, "secrets", namespace, secret, "bound secret")?;
    }
    if let Some(pod) = &bound.pod {
        check(snapshot, "pods", namespace, pod, "bound pod")?;
        note("pod-name", &pod.name);
        note("pod-uid", &pod.uid);
    }
    if let Some(node) = &bound.node {
        // A pod's token merely mentions its node; only a token of the node itself falls with it.
        if bound.pod.is_none() {
            check(snapshot, "nodes", "", node, "bound node")?;
        }
        note("node-name", &node.name);
        if !node.uid.is_empty() {
            note("node-uid", &node.uid);
        }
    }
    if let Some(id) = &claims.jti {
        user.extra.insert(CREDENTIAL_ID.to_owned(), vec![format!("JTI={id}")]);
    }
    Ok(user)
}
