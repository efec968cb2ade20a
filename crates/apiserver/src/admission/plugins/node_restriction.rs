//! NodeRestriction: a kubelet writes only its own node and the pods bound to it.

use std::collections::BTreeSet;

use corten_schema::Value;

use super::super::{Attributes, Operation, Plugin};
use super::forbidden;
use crate::authz::node;
use crate::reads;
use crate::status::ApiError;
use crate::view::{at, entries, list, text};

/// The plugin.
pub(super) struct NodeRestriction;

const MIRROR: &str = "kubernetes.io/config.mirror";

impl Plugin for NodeRestriction {
    fn name(&self) -> &'static str {
        "NodeRestriction"
    }

    fn admit(&self, attributes: &mut Attributes<'_>) -> Result<(), ApiError> {
        let user = &attributes.context.user;
        let Some(node) = user.node_name() else {
            let nameless = user.in_group(corten_pki::NODES);
            return if nameless {
                Err(forbidden(attributes, format!("could not determine node from user {:?}", user.name)))
            } else {
                Ok(())
            };
        };
        match (&*attributes.resource.group, &*attributes.resource.plural) {
            ("", "pods") => pods(attributes, node),
            ("", "nodes") => nodes(attributes, node),
            ("", "serviceaccounts") if attributes.subresource == "token" => token(attributes, node),
            ("coordination.k8s.io", "leases") => named(attributes, node, "kube-node-lease", "lease"),
            ("storage.k8s.io", "csinodes") => named(attributes, node, "", "CSINode"),
            _ => Ok(()),
        }
    }
}

/// An object that has the node's own name.
fn named(attributes: &Attributes<'_>, node: &str, namespace: &str, what: &str) -> Result<(), ApiError> {
    let name = if attributes.name.is_empty() { attributes.object.as_deref().map_or("", Value::name) } else { attributes.name };
    if !namespace.is_empty() && attributes.namespace != namespace {
        return Err(forbidden(attributes, format!("can only access leases in the {namespace:?} system namespace")));
    }
    if name != node {
        let why = format!("can only access node {what} with the same name as the requesting node");
        return Err(forbidden(attributes, why));
    }
    Ok(())
}

fn pods(attributes: &Attributes<'_>, node: &str) -> Result<(), ApiError> {
    let of = |pod: Option<&Value>| pod.is_some_and(|pod| text(pod, "spec.nodeName") == node);
    let refuse = |what: &str| {
        let why = format!("node {node:?} can only {what} with spec.nodeName set to itself");
        Err(forbidden(attributes, why))
    };
    match (attributes.subresource, attributes.operation) {
        ("", Operation::Create) => {
            let pod = attributes.object.as_deref();
            if pod.is_none_or(|pod| pod.annotation(MIRROR).is_none()) {
                let why = format!("pod does not have {MIRROR:?} annotation, node {node:?} can only create mirror pods");
                return Err(forbidden(attributes, why));
            }
            if !of(pod) {
                return refuse("create pods");
            }
            let pod = pod.unwrap_or(&Value::Null);
            match referenced(pod) {
                Some(what) => Err(forbidden(attributes, format!("node {node:?} can not create pods that reference {what}"))),
                None => Ok(()),
            }
        }
        ("", Operation::Delete) if !of(attributes.old) => refuse("delete pods"),
        ("status", Operation::Update) if !of(attributes.old) => refuse("update pod status for pods"),
        ("eviction", _) if !of(attributes.old) => refuse("evict pods"),
        ("" | "status" | "eviction", Operation::Delete | Operation::Update | Operation::Create) => Ok(()),
        (_, Operation::Connect) => Ok(()),
        (other, _) => Err(forbidden(attributes, format!("unexpected operation on pods/{other}"))),
    }
}

/// What a pod refers to that a kubelet could read by making such a pod.
fn referenced(pod: &Value) -> Option<&'static str> {
    const KINDS: [(&str, &str); 4] = [
        ("serviceaccounts", "a service account"),
        ("secrets", "secrets"),
        ("configmaps", "configmaps"),
        ("persistentvolumeclaims", "persistentvolumeclaims"),
    ];
    let tokens = || {
        let sources = list(pod, "spec.volumes").flat_map(|volume| list(volume, "projected.sources"));
        sources.into_iter().any(|source| at(source, "serviceAccountToken").is_some())
    };
    let named = KINDS.iter().find(|(plural, _)| node::uses(pod, plural, &|name| !name.is_empty())).map(|(_, what)| *what);
    named.or_else(|| tokens().then_some("service account tokens"))
}

fn nodes(attributes: &Attributes<'_>, node: &str) -> Result<(), ApiError> {
    let name = match attributes.name {
        "" => attributes.object.as_deref().map_or("", Value::name),
        name => name,
    };
    let verb = if attributes.operation == Operation::Delete { "delete" } else { "modify" };
    if name != node || attributes.operation == Operation::Delete {
        return Err(forbidden(attributes, format!("node {node:?} is not allowed to {verb} node {name:?}")));
    }
    let Some(object) = attributes.object.as_deref() else { return Ok(()) };
    if attributes.operation == Operation::Update
        && let Some(old) = attributes.old
    {
        if at(object, "spec.taints") != at(old, "spec.taints") {
            return Err(forbidden(attributes, format!("node {node:?} is not allowed to modify taints")));
        }
        if at(object, "metadata.ownerReferences") != at(old, "metadata.ownerReferences") {
            return Err(forbidden(attributes, format!("node {node:?} is not allowed to modify ownerReferences")));
        }
    }
    let label = |node: Option<&Value>, key: &str| node.and_then(|node| node.label(key)).map(ToOwned::to_owned);
    let keys = [Some(object), attributes.old].into_iter().flatten().flat_map(|node| entries(node, "metadata.labels"));
    let changed: BTreeSet<&str> =
        keys.map(|(key, _)| key).filter(|key| is_restricted(key) && label(Some(object), key) != label(attributes.old, key)).collect();
    if changed.is_empty() {
        Ok(())
    } else {
        let why = format!("node {node:?} is not allowed to modify labels: {}", changed.into_iter().collect::<Vec<_>>().join(", "));
        Err(forbidden(attributes, why))
    }
}

/// Labels of the platform's own domains that say where pods may go, and that only administrators set.
fn is_restricted(key: &str) -> bool {
    const OWN: [&str; 10] = [
        "kubernetes.io/hostname",
        "kubernetes.io/os",
        "kubernetes.io/arch",
        "beta.kubernetes.io/os",
        "beta.kubernetes.io/arch",
        "node.kubernetes.io/instance-type",
        "beta.kubernetes.io/instance-type",
        "topology.kubernetes.io/region",
        "topology.kubernetes.io/zone",
        "node.kubernetes.io/windows-build",
    ];
    let domain = key.split_once('/').map_or("", |(domain, _)| domain);
    if domain == "node-restriction.kubernetes.io" || domain.ends_with(".node-restriction.kubernetes.io") {
        return true;
    }
    let within = |zone: &str| domain == zone || domain.strip_suffix(zone).is_some_and(|rest| rest.ends_with('.'));
    let reserved = within("kubernetes.io") || within("k8s.io");
    let open = within("kubelet.kubernetes.io") || within("node.kubernetes.io");
    reserved && !open && !OWN.contains(&key) && !key.starts_with("failure-domain.beta.kubernetes.io/")
}

/// Tokens only for service accounts of pods that run there, and bound to these pods.
fn token(attributes: &Attributes<'_>, node: &str) -> Result<(), ApiError> {
    let Some(request) = attributes.object.as_deref() else { return Ok(()) };
    let refuse = |why: &str| Err(forbidden(attributes, why));
    if text(request, "spec.boundObjectRef.kind") != "Pod" {
        return refuse(&format!("node {node:?} can only request tokens bound to pods"));
    }
    let (name, uid) = (text(request, "spec.boundObjectRef.name"), text(request, "spec.boundObjectRef.uid"));
    if name.is_empty() || uid.is_empty() {
        return refuse(&format!("node {node:?} requested token with a pod binding without a name or uid"));
    }
    let pod = reads::get(&attributes.server.ledger, "", "pods", attributes.namespace, name);
    match pod {
        Some(pod) if pod.uid() != uid => refuse(&format!(
            "the UID in the bound object reference ({uid}) does not match the UID in record. The object might have been \
             deleted and then recreated"
        )),
        Some(pod) if text(&pod, "spec.nodeName") != node => {
            refuse(&format!("node {node:?} requested token bound to a pod scheduled on a different node"))
        }
        Some(_) => Ok(()),
        None => refuse(&format!("pod {name:?} not found")),
    }
}
