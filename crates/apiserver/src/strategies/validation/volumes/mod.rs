//! Volumes of a pod: each has a name and exactly one source.

mod projected;
pub mod remote;

use std::collections::HashMap;

use corten_schema::Value;

use super::pod_spec::Subject;
use super::{Errors, Path, environment, labels, mounts, names, one_of, optional_name, quantity, required, required_name, values_of};
use crate::status::FieldError;
use crate::view::{at, int, list, text, texts};

/// The valid volumes of a pod, by name.
pub type Volumes<'a> = HashMap<&'a str, &'a Value>;

/// Validates the volumes and returns those that can be mounted.
pub fn validate<'a>(errors: &mut Errors, path: Path<'_>, spec: &'a Value, subject: &Subject<'_>) -> Volumes<'a> {
    let mut valid = Volumes::new();
    for (number, volume) in list(spec, "volumes").enumerate() {
        let path = path.index(number);
        let before = errors.len();
        let name = text(volume, "name");
        source(errors, path, name, volume, subject);
        required_name(errors, path.field("name"), name, names::label);
        if valid.contains_key(name) {
            errors.push(FieldError::duplicate(path.field("name"), name));
        }
        if errors.len() == before {
            valid.insert(name, volume);
        }
        let claim = text(volume, "persistentVolumeClaim.claimName");
        if !claim.is_empty() && created_claims(spec, subject).any(|created| created == claim) {
            let path = path.field("persistentVolumeClaim");
            let words = "must not reference a PVC that gets created for an ephemeral volume";
            errors.push(FieldError::invalid(path.field("claimName"), claim, words));
        }
    }
    valid
}

/// The claims that will be made for a pod's ephemeral volumes.
fn created_claims<'a>(spec: &'a Value, subject: &'a Subject<'_>) -> impl Iterator<Item = String> + 'a {
    let name = subject.pod_name.filter(|name| !name.is_empty());
    let ephemeral = list(spec, "volumes").filter(|volume| at(volume, "ephemeral").is_some());
    name.into_iter().flat_map(move |name| ephemeral.clone().map(move |volume| format!("{name}-{}", text(volume, "name"))))
}

/// All sources. Where a volume has several, the first of them here counts, in whatever order they were written.
const SOURCES: [&str; 30] = [
    "emptyDir",
    "hostPath",
    "gitRepo",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "secret",
    "nfs",
    "iscsi",
    "glusterfs",
    "flocker",
    "persistentVolumeClaim",
    "rbd",
    "cinder",
    "cephfs",
    "quobyte",
    "downwardAPI",
    "fc",
    "flexVolume",
    "configMap",
    "azureFile",
    "vsphereVolume",
    "photonPersistentDisk",
    "portworxVolume",
    "azureDisk",
    "storageos",
    "projected",
    "scaleIO",
    "csi",
    "ephemeral",
    "image",
];

fn source(errors: &mut Errors, path: Path<'_>, name: &str, volume: &Value, subject: &Subject<'_>) {
    let mut found = 0;
    for kind in SOURCES {
        let Some(source) = at(volume, kind) else { continue };
        found += 1;
        if found > 1 {
            // Two names are the reference's.
            let shown = match kind {
                "cephfs" => "cephFS",
                "downwardAPI" => "downwarAPI",
                kind => kind,
            };
            errors.push(FieldError::forbidden(path.field(shown), "may not specify more than 1 volume type"));
            continue;
        }
        local(errors, path, name, kind, source, subject);
    }
    if found == 0 {
        errors.push(FieldError::required(path, "must specify a volume type"));
    }
}

const HOST_PATHS: [&str; 8] = ["", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"];

fn local(errors: &mut Errors, volume: Path<'_>, name: &str, kind: &str, source: &Value, subject: &Subject<'_>) {
    let path = volume.field(kind);
    match kind {
        "emptyDir" => {
            if quantity::parse(text(source, "sizeLimit")).is_some_and(|limit| limit < 0) {
                errors.push(FieldError::forbidden(path.field("sizeLimit"), "SizeLimit field must be a valid resource quantity"));
            }
        }
        "hostPath" => host_path(errors, path, source),
        "secret" => {
            required(errors, path, source, &["secretName"]);
            keys(errors, path, source);
        }
        "configMap" => {
            required(errors, path, source, &["name"]);
            keys(errors, path, source);
        }
        "persistentVolumeClaim" => required(errors, path, source, &["claimName"]),
        "downwardAPI" => {
            mode(errors, path.field("defaultMode"), source, "defaultMode");
            for item in list(source, "items") {
                downward(errors, path, item);
            }
        }
        "projected" => {
            mode(errors, path.field("defaultMode"), source, "defaultMode");
            projected::sources(errors, path, source);
        }
        "ephemeral" => {
            ephemeral(errors, path, source);
            if let Some(pod) = subject.pod_name.filter(|pod| !pod.is_empty() && !name.is_empty()) {
                let claim = format!("{pod}-{name}");
                for words in names::subdomain(&claim) {
                    errors.push(FieldError::invalid(volume.field("name"), name, format!("PVC name {claim:?}: {words}")));
                }
            }
        }
        "image" => {
            if subject.is_pod() {
                required(errors, path, source, &["reference"]);
            }
            super::required_one_of(
                errors,
                path.field("pullPolicy"),
                text(source, "pullPolicy"),
                values_of("core.v1.ImageVolumeSource", "pullPolicy"),
            );
        }
        _ => remote::validate(errors, volume, name, kind, source),
    }
}

/// A path of the node. Of one that is empty only that is said.
pub fn host_path(errors: &mut Errors, path: Path<'_>, source: &Value) {
    let target = text(source, "path");
    if target.is_empty() {
        errors.push(FieldError::required(path.field("path"), ""));
        return;
    }
    mounts::no_steps_back(errors, path.field("path"), target);
    one_of(errors, path.field("type"), text(source, "type"), &HOST_PATHS);
}

/// The permissions of a file.
fn mode(errors: &mut Errors, path: Path<'_>, object: &Value, field: &str) {
    if let Some(mode) = int(object, field)
        && !(0..=0o777).contains(&mode)
    {
        let words = "must be a number between 0 and 0777 (octal), both inclusive";
        errors.push(FieldError::invalid(path, mode, words));
    }
}

/// `defaultMode` and `items` of a Secret or ConfigMap.
fn keys(errors: &mut Errors, path: Path<'_>, source: &Value) {
    mode(errors, path.field("defaultMode"), source, "defaultMode");
    let items = path.field("items");
    for (number, item) in list(source, "items").enumerate() {
        let path = items.index(number);
        required(errors, path, item, &["key", "path"]);
        mounts::projected(errors, path.field("path"), text(item, "path"));
        mode(errors, path.field("mode"), item, "mode");
    }
}

/// A file that shows a field of the pod or an amount that a container has.
fn downward(errors: &mut Errors, path: Path<'_>, item: &Value) {
    required(errors, path, item, &["path"]);
    mounts::projected(errors, path.field("path"), text(item, "path"));
    match (at(item, "fieldRef"), at(item, "resourceFieldRef")) {
        (Some(reference), other) => {
            environment::field(errors, path.field("fieldRef"), reference, environment::IN_FILES);
            if other.is_some() {
                let words = "fieldRef and resourceFieldRef can not be specified simultaneously";
                errors.push(FieldError::invalid(path, "resource", words));
            }
        }
        (None, Some(reference)) => environment::resource(errors, path.field("resourceFieldRef"), reference, true),
        (None, None) => errors.push(FieldError::required(path, "one of fieldRef and resourceFieldRef is required")),
    }
    mode(errors, path.field("mode"), item, "mode");
}

/// A volume whose claim is made and deleted with the pod.
fn ephemeral(errors: &mut Errors, path: Path<'_>, source: &Value) {
    let path = path.field("volumeClaimTemplate");
    let Some(template) = at(source, "volumeClaimTemplate") else {
        errors.push(FieldError::required(path, ""));
        return;
    };
    template_metadata(errors, path.field("metadata"), at(template, "metadata"));
    let empty = Value::map();
    claim(errors, path.field("spec"), at(template, "spec").unwrap_or(&empty));
}

/// The metadata of a template: labels and annotations, nothing else.
pub fn template_metadata(errors: &mut Errors, path: Path<'_>, metadata: Option<&Value>) {
    let Some(metadata) = metadata else { return };
    labels::annotations(errors, path.field("annotations"), at(metadata, "annotations"));
    labels::labels(errors, path.field("labels"), at(metadata, "labels"));
    for (field, value) in metadata.as_map().into_iter().flatten() {
        if !matches!(field.as_str(), "annotations" | "labels") && !value.is_null() {
            errors.push(FieldError::forbidden(path.field(field), "cannot be set"));
        }
    }
}

/// The specification of a claim.
fn claim(errors: &mut Errors, path: Path<'_>, spec: &Value) {
    let modes = path.field("accessModes");
    if list(spec, "accessModes").len() == 0 {
        errors.push(FieldError::required(modes, "at least 1 access mode is required"));
    }
    for mode in texts(spec, "accessModes") {
        one_of(errors, modes, mode, values_of("core.v1.PersistentVolumeClaimSpec", "accessModes"));
    }
    if let Some(selector) = at(spec, "selector") {
        labels::selector(errors, path.field("selector"), selector);
    }
    let resources = path.field("resources");
    let storage = resources.key("storage");
    match crate::view::entry(spec, "resources.requests", "storage") {
        None => errors.push(FieldError::required(storage, "")),
        Some(amount) if quantity::parse(amount).is_some_and(|amount| amount <= 0) => {
            errors.push(FieldError::invalid(storage, amount, super::NOT_POSITIVE));
        }
        Some(_) => {}
    }
    optional_name(errors, path.field("storageClassName"), text(spec, "storageClassName"), names::subdomain);
    if at(spec, "volumeMode").is_some() {
        one_of(errors, path.field("volumeMode"), text(spec, "volumeMode"), values_of("core.v1.PersistentVolumeClaimSpec", "volumeMode"));
    }
}
