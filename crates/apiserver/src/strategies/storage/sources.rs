//! What a persistent volume is made of: exactly one kind of volume.

use corten_schema::Value;

use crate::status::FieldError;
use crate::strategies::forms::{csi_driver, named};
use crate::strategies::validation::mounts::no_steps_back;
use crate::strategies::validation::volumes::{host_path, remote};
use crate::strategies::validation::{Errors, Path, names, required};
use crate::view::{at, text};

const SPEC: Path<'static> = Path::Root("spec");

/// The kinds of volumes, in the order in which the reference looks for them.
const SOURCES: [&str; 22] = [
    "hostPath",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "glusterfs",
    "flocker",
    "nfs",
    "rbd",
    "quobyte",
    "cephfs",
    "iscsi",
    "cinder",
    "fc",
    "flexVolume",
    "azureFile",
    "vsphereVolume",
    "photonPersistentDisk",
    "portworxVolume",
    "azureDisk",
    "scaleIO",
    "local",
    "storageos",
    "csi",
];

/// The volume itself, without how it is offered.
pub(super) fn of(volume: &Value) -> Vec<Option<Value>> {
    SOURCES.iter().map(|name| at(volume, &format!("spec.{name}")).cloned()).collect()
}

/// Looks at the first source; there must not be another one.
pub(super) fn check(errors: &mut Errors, volume: &Value) {
    let mut given = SOURCES.iter().filter(|name| at(volume, &format!("spec.{name}")).is_some());
    let Some(first) = given.next() else {
        errors.push(FieldError::required(SPEC, "must specify a volume type"));
        return;
    };
    let source = at(volume, &format!("spec.{first}")).unwrap_or(&Value::Null);
    one(errors, SPEC.field(first), volume, first, source);
    for more in given {
        errors.push(FieldError::forbidden(SPEC.field(more), "may not specify more than 1 volume type"));
    }
    let root = text(source, "path").split('/').all(|part| matches!(part, "" | "."));
    if *first == "hostPath" && root && text(volume, "spec.persistentVolumeReclaimPolicy") == "Recycle" {
        let path = SPEC.field("persistentVolumeReclaimPolicy");
        errors.push(FieldError::forbidden(path, "may not be 'recycle' for a hostPath mount of '/'"));
    }
}

fn one(errors: &mut Errors, path: Path<'_>, volume: &Value, kind: &str, source: &Value) {
    match kind {
        "hostPath" => host_path(errors, path, source),
        "local" => {
            required(errors, path, source, &["path"]);
            no_steps_back(errors, path.field("path"), text(source, "path"));
            if at(volume, "spec.nodeAffinity").is_none() {
                errors.push(FieldError::required(SPEC.field("nodeAffinity"), "Local volume requires node affinity"));
            }
        }
        "csi" => csi(errors, path, source),
        // Their secrets can be anywhere.
        "cinder" => {
            required(errors, path, source, &["volumeID"]);
            secret(errors, path, source);
        }
        "storageos" => {
            named(errors, path.field("volumeName"), text(source, "volumeName"), names::label);
            let namespace = text(source, "volumeNamespace");
            if !namespace.is_empty() {
                named(errors, path.field("volumeNamespace"), namespace, names::label);
            }
            secret(errors, path, source);
        }
        _ => remote::validate(errors, SPEC, volume.name(), kind, source),
    }
    match kind {
        "azureFile" if at(source, "secretNamespace").is_some() => required(errors, path, source, &["secretNamespace"]),
        "glusterfs" if at(source, "endpointsNamespace").is_some() => {
            let namespace = text(source, "endpointsNamespace");
            super::super::validation::invalid_all(errors, path.field("endpointsNamespace"), namespace, names::label(namespace));
        }
        _ => {}
    }
}

fn secret(errors: &mut Errors, path: Path<'_>, source: &Value) {
    if let Some(reference) = at(source, "secretRef") {
        required(errors, path.field("secretRef"), reference, &["name", "namespace"]);
    }
}

fn csi(errors: &mut Errors, path: Path<'_>, source: &Value) {
    csi_driver(errors, path.field("driver"), text(source, "driver"));
    required(errors, path, source, &["volumeHandle"]);
    for field in ["controllerPublishSecretRef", "controllerExpandSecretRef", "nodePublishSecretRef", "nodeExpandSecretRef"] {
        if let Some(reference) = at(source, field) {
            let path = path.field(field);
            named(errors, path.field("name"), text(reference, "name"), names::subdomain);
            named(errors, path.field("namespace"), text(reference, "namespace"), names::label);
        }
    }
}
