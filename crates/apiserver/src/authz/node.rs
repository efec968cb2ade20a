//! The Node authorizer: what a kubelet may do.
//!
//! A kubelet reads what every kubelet needs, and secrets, configmaps, claims and volumes only when a pod that is bound to
//! its node uses them. It gets tokens only for the service accounts of such pods. (What it may *write* is for the
//! NodeRestriction admission plugin.)

use std::sync::LazyLock;

use corten_schema::Value;

use super::rules::PolicyRule;
use super::{Attributes, Decision};
use crate::bootstrap::roles;
use crate::ledger::{Ledger, Snapshot};
use crate::reads;
use crate::view::{at, list, text};

/// The rules that hold for every kubelet: those of the ClusterRole `system:node`.
static RULES: LazyLock<Vec<PolicyRule>> = LazyLock::new(|| {
    let node = roles::NODE_ROLES.iter().find(|role| role.name == "system:node");
    node.into_iter().flat_map(|role| role.rules).map(roles::Rule::policy_rule).collect()
});

fn none(node: &str) -> Decision {
    Decision::NoOpinion(format!("no relationship found between node '{node}' and this object"))
}

/// Judges a request of the kubelet of `node`.
pub fn authorize(ledger: &Ledger, node: &str, request: &Attributes<'_>) -> Decision {
    let allowed = || Decision::Allow(String::new());
    if request.resource_request {
        match (request.group, request.resource) {
            ("", "secrets" | "configmaps") => return referenced(ledger, node, request, &["get", "list", "watch"]),
            ("", "persistentvolumeclaims") if request.subresource.is_empty() => {
                return referenced(ledger, node, request, &["get"]);
            }
            ("", "persistentvolumes") => return referenced(ledger, node, request, &["get"]),
            ("", "serviceaccounts") if request.subresource == "token" => {
                return referenced(ledger, node, request, &["create"]);
            }
            ("", "serviceaccounts") => return referenced(ledger, node, request, &["get"]),
            ("coordination.k8s.io", "leases") => {
                let own = request.namespace == "kube-node-lease" && (request.verb == "create" || request.name == node);
                return if own {
                    allowed()
                } else {
                    Decision::NoOpinion("can only access node lease with the same name as the requesting node".to_owned())
                };
            }
            ("storage.k8s.io", "csinodes") if request.verb != "create" && request.name != node => {
                return Decision::NoOpinion("can only access CSINode with the same name as the requesting node".to_owned());
            }
            _ => {}
        }
    }
    if RULES.iter().any(|rule| rule.allows(request)) { allowed() } else { Decision::NoOpinion(String::new()) }
}

fn referenced(ledger: &Ledger, node: &str, request: &Attributes<'_>, verbs: &[&str]) -> Decision {
    if !verbs.contains(&request.verb) {
        return Decision::NoOpinion(format!("can only {} resources of this type", verbs.join(", ")));
    }
    if request.name.is_empty() {
        return Decision::NoOpinion("No Object name found".to_owned());
    }
    // Without a namespace, a watch would cover the objects of that name in all of them.
    if request.namespace.is_empty() && request.resource != "persistentvolumes" {
        return Decision::NoOpinion("can only read namespaced object of this type".to_owned());
    }
    let snapshot = ledger.snapshot();
    let found = match (request.resource, request.namespace) {
        // A volume is of interest when a claim that names it is.
        ("persistentvolumes", _) => volume_used(&snapshot, node, request.name),
        (resource, namespace) => pods_of(&snapshot, node, namespace).any(|pod| uses(&pod, resource, &|name| name == request.name)),
    };
    if found { Decision::Allow(String::new()) } else { none(node) }
}

/// The pods of a namespace that are bound to a node.
fn pods_of<'a>(snapshot: &'a Snapshot, node: &'a str, namespace: &str) -> impl Iterator<Item = Value> + use<'a> {
    let prefix = reads::prefix("", "pods", namespace);
    let entries: Vec<_> = snapshot.list(&prefix).filter(|entry| entry.index().field("spec.nodeName") == Some(node)).cloned().collect();
    entries.into_iter().filter_map(|entry| reads::object(&entry))
}

fn volume_used(snapshot: &Snapshot, node: &str, volume: &str) -> bool {
    pods_of(snapshot, node, "").any(|pod| {
        list(&pod, "spec.volumes").filter_map(|source| at(source, "persistentVolumeClaim")).any(|source| {
            let key = reads::key("", "persistentvolumeclaims", pod.namespace(), text(source, "claimName"));
            let claim = snapshot.get(&key).and_then(|entry| reads::object(entry));
            claim.is_some_and(|claim| text(&claim, "spec.volumeName") == volume)
        })
    })
}

/// Whether a pod refers to an object of its namespace whose name is one of those meant.
pub(crate) fn uses(pod: &Value, resource: &str, meant: &dyn Fn(&str) -> bool) -> bool {
    match resource {
        "serviceaccounts" => meant(text(pod, "spec.serviceAccountName")),
        "persistentvolumeclaims" => list(pod, "spec.volumes").any(|volume| {
            let own = at(volume, "ephemeral").map(|_| format!("{}-{}", pod.name(), text(volume, "name")));
            meant(text(volume, "persistentVolumeClaim.claimName")) || own.is_some_and(|name| meant(&name))
        }),
        "secrets" => {
            list(pod, "spec.imagePullSecrets").any(|secret| meant(text(secret, "name")))
                || volumes_use(pod, "secret", "secretName", meant)
                || containers_use(pod, "secretRef", "secretKeyRef", meant)
                || list(pod, "spec.volumes").any(|volume| {
                    SECRET_REFERENCES.iter().any(|source| at(volume, source).is_some_and(|secret| meant(text(secret, "name"))))
                        || meant(text(volume, "azureFile.secretName"))
                })
        }
        "configmaps" => volumes_use(pod, "configMap", "name", meant) || containers_use(pod, "configMapRef", "configMapKeyRef", meant),
        _ => false,
    }
}

/// Where volumes of other systems name their secrets.
const SECRET_REFERENCES: [&str; 7] = [
    "csi.nodePublishSecretRef",
    "cephfs.secretRef",
    "rbd.secretRef",
    "iscsi.secretRef",
    "flexVolume.secretRef",
    "scaleIO.secretRef",
    "storageos.secretRef",
];

/// Whether a volume has this source, itself or projected.
fn volumes_use(pod: &Value, source: &str, field: &str, meant: &dyn Fn(&str) -> bool) -> bool {
    list(pod, "spec.volumes").any(|volume| {
        at(volume, source).is_some_and(|source| meant(text(source, field)))
            || list(volume, "projected.sources").filter_map(|projected| at(projected, source)).any(|source| meant(text(source, "name")))
    })
}

/// Whether a container takes its environment from it.
fn containers_use(pod: &Value, whole: &str, key: &str, meant: &dyn Fn(&str) -> bool) -> bool {
    ["spec.containers", "spec.initContainers", "spec.ephemeralContainers"].iter().any(|containers| {
        list(pod, containers).any(|container| {
            list(container, "envFrom")
                .filter_map(|from| at(from, whole))
                .chain(list(container, "env").filter_map(|env| at(env, "valueFrom")).filter_map(|from| at(from, key)))
                .any(|reference| meant(text(reference, "name")))
        })
    })
}
