//! ServiceAccount: every pod has a service account, and its token is mounted unless somebody says otherwise.

use corten_schema::{Value, value};

use super::super::{Attributes, Operation, Plugin};
use super::{forbidden, is};
use crate::reads;
use crate::status::ApiError;
use crate::view::{at, list, text};

/// The plugin.
pub(super) struct ServiceAccount;

const VOLUME_PREFIX: &str = "kube-api-access-";
const MOUNT_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// A little more than an hour: kubelets renew at 80 %, and clients that never re-read get an hour.
const TOKEN_SECONDS: i64 = 3607;

impl Plugin for ServiceAccount {
    fn name(&self) -> &'static str {
        "ServiceAccount"
    }

    fn admit(&self, attributes: &mut Attributes<'_>) -> Result<(), ApiError> {
        if attributes.operation != Operation::Create || !is(attributes, "", "pods") {
            return Ok(());
        }
        let Some(pod) = attributes.object.as_deref() else { return Ok(()) };
        // Pods that a kubelet mirrors have no account.
        if pod.annotation("kubernetes.io/config.mirror").is_some() {
            let named = !text(pod, "spec.serviceAccountName").is_empty();
            return if named { Err(forbidden(attributes, "a mirror pod may not reference service accounts")) } else { Ok(()) };
        }
        let name = match text(pod, "spec.serviceAccountName") {
            "" => "default".to_owned(),
            name => name.to_owned(),
        };
        let namespace = attributes.namespace;
        let Some(account) = reads::get(&attributes.server.ledger, "", "serviceaccounts", namespace, &name) else {
            let why = format!("error looking up service account {namespace}/{name}: serviceaccount {name:?} not found");
            return Err(forbidden(attributes, why));
        };
        if let Some(pod) = attributes.object.as_deref_mut() {
            complete(pod, &name, &account);
        }
        Ok(())
    }
}

/// Gives a pod what its service account brings along.
fn complete(pod: &mut Value, name: &str, account: &Value) {
    pod.set_at(&["spec", "serviceAccountName"], name);
    pod.set_at(&["spec", "serviceAccount"], name);
    let secrets = at(account, "imagePullSecrets").filter(|secrets| secrets.as_list().is_some_and(|list| !list.is_empty()));
    if let Some(secrets) = secrets
        && list(pod, "spec.imagePullSecrets").len() == 0
    {
        pod.set_at(&["spec", "imagePullSecrets"], secrets.clone());
    }
    let wish = |object: Option<&Value>| object.and_then(Value::as_bool);
    let automount =
        wish(at(pod, "spec.automountServiceAccountToken")).or_else(|| wish(at(account, "automountServiceAccountToken"))).unwrap_or(true);
    if automount {
        mount_token(pod);
    }
}

/// Mounts the projected token volume into every container that has nothing at its place.
fn mount_token(pod: &mut Value) {
    let existing =
        list(pod, "spec.volumes").map(|volume| text(volume, "name")).find(|name| name.starts_with(VOLUME_PREFIX)).map(str::to_owned);
    let name = existing.clone().unwrap_or_else(|| crate::engine::generate_name(VOLUME_PREFIX));
    let mut mounted = false;
    for field in ["initContainers", "containers"] {
        for container in pod.at_mut(&["spec", field]).and_then(Value::as_list_mut).into_iter().flatten() {
            if list(container, "volumeMounts").any(|mount| text(mount, "mountPath") == MOUNT_PATH) {
                continue;
            }
            let mounts = container.make_map().get_or_insert_with("volumeMounts", || Value::List(Vec::new()));
            mounts.make_list().push(value!({
                "name": (name.as_str()),
                "readOnly": true,
                "mountPath": (MOUNT_PATH),
            }));
            mounted = true;
        }
    }
    if mounted && existing.is_none() {
        let spec = pod.make_map().get_or_insert_with("spec", Value::map).make_map();
        spec.get_or_insert_with("volumes", || Value::List(Vec::new())).make_list().push(token_volume(&name));
    }
}

fn token_volume(name: &str) -> Value {
    value!({
        "name": (name),
        "projected": {
            "sources": [
                {"serviceAccountToken": {"expirationSeconds": (TOKEN_SECONDS), "path": "token"}},
                {"configMap": {
                    "name": "kube-root-ca.crt",
                    "items": [{"key": "ca.crt", "path": "ca.crt"}],
                }},
                {"downwardAPI": {
                    "items": [{
                        "path": "namespace",
                        "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"},
                    }],
                }},
            ],
            "defaultMode": 420,
        },
    })
}
