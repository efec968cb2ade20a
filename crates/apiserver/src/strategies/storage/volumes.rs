//! Persistent volumes.

use corten_schema::{Value, value};

use super::{class, modes, size};
use crate::status::{ApiError, FieldError};
use crate::strategies::forms::{csi_driver, named};
use crate::strategies::validation::{Errors, Path, immutable, names, one_of, placement, required_one_of};
use crate::strategy::{Scope, Strategy};
use crate::view::{at, entries, text};

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

/// The strategy of volumes.
pub(in crate::strategies) struct Volumes;

fn sources(errors: &mut Errors, volume: &Value) {
    let mut given = SOURCES.iter().filter(|name| at(volume, &format!("spec.{name}")).is_some());
    let Some(first) = given.next() else {
        errors.push(FieldError::required(SPEC, "must specify a volume type"));
        return;
    };
    // One kind has another name in errors.
    let named_as = if *first == "gcePersistentDisk" { "persistentDisk" } else { *first };
    let path = SPEC.field(named_as);
    let source = at(volume, &format!("spec.{first}")).unwrap_or(&Value::Null);
    let required: &[&str] = match *first {
        "hostPath" | "local" => &["path"],
        "nfs" => &["server", "path"],
        "csi" => &["volumeHandle"],
        "glusterfs" => &["endpoints", "path"],
        "cinder" => &["volumeID"],
        "awsElasticBlockStore" => &["volumeID"],
        "gcePersistentDisk" => &["pdName"],
        "vsphereVolume" => &["volumePath"],
        "azureDisk" => &["diskName", "diskURI"],
        "azureFile" => &["secretName", "shareName"],
        "flexVolume" => &["driver"],
        "iscsi" => &["targetPortal", "iqn"],
        "portworxVolume" => &["volumeID"],
        _ => &[],
    };
    if *first == "csi" {
        csi_driver(errors, path.field("driver"), text(source, "driver"));
    }
    for field in required {
        if text(source, field).is_empty() {
            errors.push(FieldError::required(path.field(field), ""));
        }
    }
    match *first {
        "hostPath" | "local" if text(source, "path").split('/').any(|part| part == "..") => {
            errors.push(FieldError::invalid(path.field("path"), text(source, "path"), "must not contain '..'"));
        }
        "nfs" if !text(source, "path").is_empty() && !text(source, "path").starts_with('/') => {
            errors.push(FieldError::invalid(path.field("path"), text(source, "path"), "must be an absolute path"));
        }
        _ => {}
    }
    if *first == "hostPath" {
        let kinds = ["", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"];
        let kind = text(source, "type");
        if !kinds.contains(&kind) {
            errors.push(FieldError::not_supported(path.field("type"), kind, &kinds));
        }
    }
    if *first == "local" && at(volume, "spec.nodeAffinity").is_none() {
        errors.push(FieldError::required(SPEC.field("nodeAffinity"), "Local volume requires node affinity"));
    }
    if *first == "csi" {
        for field in ["controllerPublishSecretRef", "nodePublishSecretRef", "nodeStageSecretRef", "controllerExpandSecretRef"] {
            if let Some(secret) = at(source, field) {
                let path = path.field(field);
                for part in ["name", "namespace"] {
                    named(errors, path.field(part), text(secret, part), |_| Vec::new());
                }
            }
        }
    }
    for more in given {
        errors.push(FieldError::forbidden(SPEC.field(more), "may not specify more than 1 volume type"));
    }
    if *first == "hostPath" && text(source, "path") == "/" && text(volume, "spec.persistentVolumeReclaimPolicy") == "Recycle" {
        let path = SPEC.field("persistentVolumeReclaimPolicy");
        errors.push(FieldError::forbidden(path, "may not be 'recycle' for a hostPath mount of '/'"));
    }
}

/// The volume itself, without how it is offered.
fn source_of(volume: &Value) -> Vec<Option<Value>> {
    SOURCES.iter().map(|name| at(volume, &format!("spec.{name}")).cloned()).collect()
}

impl Strategy for Volumes {
    fn prepare_create(&self, _: Scope<'_>, volume: &mut Value) -> Result<(), ApiError> {
        volume.insert("status", value!({"phase": "Pending"}));
        Ok(())
    }

    fn prepare_status(&self, _: Scope<'_>, volume: &mut Value, old: &Value) -> Result<(), ApiError> {
        // When the phase changed is for the server to say.
        if text(volume, "status.phase") != text(old, "status.phase") && at(volume, "status.lastPhaseTransitionTime").is_none() {
            let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
            volume.set_at(&["status", "lastPhaseTransitionTime"], now);
        }
        Ok(())
    }

    fn validate(&self, _: Scope<'_>, volume: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        let spec = at(volume, "spec").unwrap_or(&Value::Null);
        modes(&mut errors, SPEC, spec, "");
        let capacity = SPEC.field("capacity");
        let amounts: Vec<_> = entries(spec, "capacity").collect();
        if amounts.is_empty() {
            errors.push(FieldError::required(capacity, ""));
        }
        if amounts.len() > 1 || amounts.iter().all(|(name, _)| *name != "storage") {
            let error = FieldError::not_supported_as_given(capacity, at(spec, "capacity"), &["storage"]);
            errors.push(if at(spec, "capacity").is_some() { error } else { error.about_no_map() });
        }
        for (name, amount) in amounts {
            size(&mut errors, capacity.key(name), amount.as_str().unwrap_or_default());
        }
        let policy = text(spec, "persistentVolumeReclaimPolicy");
        if !policy.is_empty() {
            one_of(&mut errors, SPEC.field("persistentVolumeReclaimPolicy"), policy, &["Delete", "Recycle", "Retain"]);
        }
        if let Some(affinity) = at(spec, "nodeAffinity") {
            let path = SPEC.field("nodeAffinity");
            let required = path.field("required");
            match at(affinity, "required") {
                None => errors.push(FieldError::required(required, "must specify required node constraints")),
                Some(selector) => placement::node_selector(&mut errors, required, selector),
            }
        }
        sources(&mut errors, volume);
        class(&mut errors, SPEC.field("storageClassName"), text(spec, "storageClassName"));
        required_one_of(&mut errors, SPEC.field("volumeMode"), text(spec, "volumeMode"), &["Block", "Filesystem"]);
        if let Some(name) = at(spec, "volumeAttributesClassName").and_then(Value::as_str) {
            let path = SPEC.field("volumeAttributesClassName");
            if name.is_empty() {
                errors.push(FieldError::required(path, "an empty string is disallowed"));
            } else {
                super::super::validation::invalid_all(&mut errors, path, name, names::subdomain(name));
            }
            if at(spec, "csi").is_none() {
                let words = "has to be specified when using volumeAttributesClassName";
                errors.push(FieldError::required(SPEC.field("csi"), words));
            }
        }
        errors
    }

    fn validate_update(&self, scope: Scope<'_>, volume: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = self.validate(scope, volume);
        let secret = ["spec", "csi", "controllerExpandSecretRef"];
        let mut before = old.clone();
        // Secrets for growing may come later.
        if old.at(&secret).is_none()
            && let Some(secret_now) = volume.at(&secret)
            && old.at(&["spec", "csi"]).is_some()
        {
            before.set_at(&secret, secret_now.clone());
        }
        if source_of(volume) != source_of(&before) {
            let words = "spec.persistentvolumesource is immutable after creation";
            errors.push(FieldError::forbidden("spec.persistentvolumesource", words));
        }
        immutable(&mut errors, Path::Root("volumeMode"), at(volume, "spec.volumeMode"), at(old, "spec.volumeMode"));
        if at(old, "spec.nodeAffinity").is_some() && at(volume, "spec.nodeAffinity") != at(old, "spec.nodeAffinity") {
            let value = at(volume, "spec.nodeAffinity").unwrap_or(&Value::Null);
            let words = "field is immutable, except for updating from beta label to GA";
            errors.push(FieldError::invalid("nodeAffinity", value, words));
        }
        let class = "spec.volumeAttributesClassName";
        if at(old, class).is_some() && at(volume, class).is_none() {
            errors.push(FieldError::forbidden(class, "update from non-nil value to nil is forbidden"));
        }
        errors
    }

    fn warnings(&self, _: Scope<'_>, volume: &Value, _: Option<&Value>) -> Vec<String> {
        let mut warnings = Vec::new();
        if text(volume, "spec.persistentVolumeReclaimPolicy") == "Recycle" {
            warnings.push("spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. Instead, the recommended approach is to use dynamic provisioning.".to_owned());
        }
        warnings
    }
}
