//! Storage: volumes, claims, classes; runtime classes too.

use corten_schema::Value;
use jiff::Timestamp;
use serde_json::Value as Cell;

use super::age::age;
use super::{AGE, Column, NAME, Printer, col, name, pick, wide};
use crate::view::{at, entry, flag, list, text, texts};

static PRINTERS: &[(&str, &str, Printer)] = &[
    ("", "persistentvolumes", Printer { columns: VOLUME, row: volume }),
    ("", "persistentvolumeclaims", Printer { columns: CLAIM, row: claim }),
    ("storage.k8s.io", "storageclasses", Printer { columns: CLASS, row: class }),
    ("storage.k8s.io", "volumeattachments", Printer { columns: ATTACHMENT, row: attachment }),
    ("storage.k8s.io", "csinodes", Printer { columns: CSI_NODE, row: csi_node }),
    ("node.k8s.io", "runtimeclasses", Printer { columns: RUNTIME_CLASS, row: runtime_class }),
];

pub(super) fn find(group: &str, plural: &str) -> Option<&'static Printer> {
    pick(PRINTERS, group, plural)
}

fn modes(object: &Value, path: &str) -> String {
    let mut short: Vec<&str> = Vec::new();
    for (long, abbreviation) in [("ReadWriteOnce", "RWO"), ("ReadOnlyMany", "ROX"), ("ReadWriteMany", "RWX"), ("ReadWriteOncePod", "RWOP")]
    {
        if texts(object, path).any(|mode| mode == long) {
            short.push(abbreviation);
        }
    }
    short.join(",")
}

fn phase(object: &Value) -> Cell {
    if at(object, "metadata.deletionTimestamp").is_some() { "Terminating".into() } else { text(object, "status.phase").into() }
}

fn or_unset(text: &str) -> Cell {
    if text.is_empty() { "<unset>".into() } else { text.into() }
}

fn class_of(object: &Value) -> Cell {
    entry(object, "metadata.annotations", "volume.beta.kubernetes.io/storage-class")
        .unwrap_or_else(|| text(object, "spec.storageClassName"))
        .into()
}

const VOLUME: &[Column] = &[
    NAME,
    col("Capacity", "string", "Size"),
    col("Access Modes", "string", "How it can be mounted"),
    col("Reclaim Policy", "string", "What happens when its claim goes"),
    col("Status", "string", "Phase"),
    col("Claim", "string", "Claim that it is bound to"),
    col("StorageClass", "string", "Storage class"),
    col("VolumeAttributesClass", "string", "Volume attributes class"),
    col("Reason", "string", "Why it is in its phase"),
    AGE,
    wide("VolumeMode", "string", "Filesystem or block device"),
];

fn volume(object: &Value, now: Timestamp) -> Vec<Cell> {
    let claim =
        at(object, "spec.claimRef").map(|claim| format!("{}/{}", text(claim, "namespace"), text(claim, "name"))).unwrap_or_default();
    vec![
        name(object),
        text(object, "spec.capacity.storage").into(),
        modes(object, "spec.accessModes").into(),
        text(object, "spec.persistentVolumeReclaimPolicy").into(),
        phase(object),
        claim.into(),
        class_of(object),
        or_unset(text(object, "spec.volumeAttributesClassName")),
        text(object, "status.reason").into(),
        age(object, now).into(),
        or_unset(text(object, "spec.volumeMode")),
    ]
}

const CLAIM: &[Column] = &[
    NAME,
    col("Status", "string", "Phase"),
    col("Volume", "string", "Volume that it is bound to"),
    col("Capacity", "string", "Size of the volume"),
    col("Access Modes", "string", "How it can be mounted"),
    col("StorageClass", "string", "Storage class"),
    col("VolumeAttributesClass", "string", "Volume attributes class"),
    AGE,
    wide("VolumeMode", "string", "Filesystem or block device"),
];

fn claim(object: &Value, now: Timestamp) -> Vec<Cell> {
    let volume = text(object, "spec.volumeName");
    let (capacity, access) = match volume {
        "" => ("", String::new()),
        _ => (text(object, "status.capacity.storage"), modes(object, "status.accessModes")),
    };
    vec![
        name(object),
        phase(object),
        volume.into(),
        capacity.into(),
        access.into(),
        class_of(object),
        or_unset(text(object, "spec.volumeAttributesClassName")),
        age(object, now).into(),
        or_unset(text(object, "spec.volumeMode")),
    ]
}

const CLASS: &[Column] = &[
    NAME,
    col("Provisioner", "string", "Who makes the volumes"),
    col("ReclaimPolicy", "string", "What happens when the claim goes"),
    col("VolumeBindingMode", "string", "When volumes are bound"),
    col("AllowVolumeExpansion", "string", "Whether volumes can grow"),
    AGE,
];

fn class(object: &Value, now: Timestamp) -> Vec<Cell> {
    let default = ["storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"]
        .iter()
        .any(|key| entry(object, "metadata.annotations", key) == Some("true"));
    let suffix = if default { " (default)" } else { "" };
    let or = |path: &str, default: &'static str| match text(object, path) {
        "" => default.to_owned(),
        text => text.to_owned(),
    };
    vec![
        format!("{}{suffix}", text(object, "metadata.name")).into(),
        text(object, "provisioner").into(),
        or("reclaimPolicy", "Delete").into(),
        or("volumeBindingMode", "Immediate").into(),
        flag(object, "allowVolumeExpansion").into(),
        age(object, now).into(),
    ]
}

const ATTACHMENT: &[Column] = &[
    NAME,
    col("Attacher", "string", "Driver"),
    col("PV", "string", "Volume"),
    col("Node", "string", "Node"),
    col("Attached", "boolean", "Whether it is attached"),
    AGE,
];

fn attachment(object: &Value, now: Timestamp) -> Vec<Cell> {
    vec![
        name(object),
        text(object, "spec.attacher").into(),
        text(object, "spec.source.persistentVolumeName").into(),
        text(object, "spec.nodeName").into(),
        flag(object, "status.attached").into(),
        age(object, now).into(),
    ]
}

const CSI_NODE: &[Column] = &[NAME, col("Drivers", "integer", "Number of drivers"), AGE];

fn csi_node(object: &Value, now: Timestamp) -> Vec<Cell> {
    vec![name(object), list(object, "spec.drivers").len().into(), age(object, now).into()]
}

const RUNTIME_CLASS: &[Column] = &[NAME, col("Handler", "string", "Runtime's name for it"), AGE];

fn runtime_class(object: &Value, now: Timestamp) -> Vec<Cell> {
    vec![name(object), text(object, "handler").into(), age(object, now).into()]
}
