//! Where a container sees volumes, as directories and as block devices; and the paths in them.

use std::collections::HashSet;

use corten_schema::Value;

use super::volumes::Volumes;
use super::{Errors, Path, one_of, values_of};
use crate::status::FieldError;
use crate::view::{at, flag, list, text};

/// `volumeMounts` and `volumeDevices` of a container.
pub fn validate(errors: &mut Errors, path: Path<'_>, container: &Value, volumes: &Volumes<'_>) {
    let all = path.field("volumeMounts");
    let (mounts, devices) = (Seen::of(container, "volumeMounts", "mountPath"), Seen::of(container, "volumeDevices", "devicePath"));
    let mut targets = HashSet::new();
    for (number, mount) in list(container, "volumeMounts").enumerate() {
        let (path, again) = (all.index(number), !targets.insert(text(mount, "mountPath")));
        place(errors, path, mount, again, volumes, &devices);
        part(errors, all, path, mount, container);
    }
    let all = path.field("volumeDevices");
    let mut before = Seen::default();
    for (number, one) in list(container, "volumeDevices").enumerate() {
        device(errors, all.index(number), one, &before, volumes, &mounts);
        before.add(one, "devicePath");
    }
}

/// The names of volumes, and where they are seen.
#[derive(Default)]
struct Seen<'a> {
    names: HashSet<&'a str>,
    targets: HashSet<&'a str>,
}

impl<'a> Seen<'a> {
    fn of(container: &'a Value, field: &str, target: &str) -> Self {
        let mut seen = Self::default();
        list(container, field).for_each(|one| seen.add(one, target));
        seen
    }

    fn add(&mut self, one: &'a Value, target: &str) {
        self.names.insert(text(one, "name"));
        self.targets.insert(text(one, target));
    }
}

/// Which volume it is, and where it is seen.
fn place(errors: &mut Errors, path: Path<'_>, mount: &Value, again: bool, volumes: &Volumes<'_>, devices: &Seen<'_>) {
    let (name, target) = (text(mount, "name"), text(mount, "mountPath"));
    if name.is_empty() {
        errors.push(FieldError::required(path.field("name"), ""));
    }
    if !volumes.contains_key(name) {
        errors.push(FieldError::not_found(path.field("name"), name));
    }
    if target.is_empty() {
        errors.push(FieldError::required(path.field("mountPath"), ""));
    }
    if again {
        errors.push(FieldError::invalid(path.field("mountPath"), target, "must be unique"));
    }
    if devices.names.contains(name) {
        errors.push(FieldError::invalid(path.field("name"), name, "must not already exist in volumeDevices"));
    }
    if devices.targets.contains(target) {
        errors.push(FieldError::invalid(path.field("mountPath"), target, "must not already exist as a path in volumeDevices"));
    }
}

/// Which part of the volume, and how.
fn part(errors: &mut Errors, all: Path<'_>, path: Path<'_>, mount: &Value, container: &Value) {
    let (plain, expression) = (text(mount, "subPath"), text(mount, "subPathExpr"));
    descending(errors, all.field("subPath"), plain);
    if !expression.is_empty() && !plain.is_empty() {
        let words = "subPathExpr and subPath are mutually exclusive";
        errors.push(FieldError::invalid(path.field("subPathExpr"), expression, words));
    }
    descending(errors, all.field("subPathExpr"), expression);
    let propagation = text(mount, "mountPropagation");
    if at(mount, "mountPropagation").is_some() {
        let path = all.field("mountPropagation");
        one_of(errors, path, propagation, values_of("core.v1.VolumeMount", "mountPropagation"));
        if propagation == "Bidirectional" && !flag(container, "securityContext.privileged") {
            errors.push(FieldError::forbidden(path, "Bidirectional mount propagation is available only to privileged containers"));
        }
    }
    recursive_read_only(errors, all.field("recursiveReadOnly"), mount, propagation);
}

fn recursive_read_only(errors: &mut Errors, path: Path<'_>, mount: &Value, propagation: &str) {
    if at(mount, "recursiveReadOnly").is_none() {
        return;
    }
    match text(mount, "recursiveReadOnly") {
        "Disabled" => {}
        "Enabled" | "IfPossible" => {
            if !flag(mount, "readOnly") {
                errors.push(FieldError::forbidden(path, "may only be specified when readOnly is true"));
            }
            if !matches!(propagation, "" | "None") {
                errors.push(FieldError::forbidden(path, "may only be specified when mountPropagation is None or not specified"));
            }
        }
        other => errors.push(FieldError::not_supported(path, other, &["Disabled", "Enabled", "IfPossible"])),
    }
}

fn device(errors: &mut Errors, path: Path<'_>, device: &Value, before: &Seen<'_>, volumes: &Volumes<'_>, mounts: &Seen<'_>) {
    let (name, target) = (text(device, "name"), text(device, "devicePath"));
    if name.is_empty() {
        errors.push(FieldError::required(path.field("name"), ""));
    } else if before.names.contains(name) {
        errors.push(FieldError::invalid(path.field("name"), name, "must be unique"));
    }
    match volumes.get(name) {
        None => errors.push(FieldError::not_found(path.field("name"), name)),
        Some(volume) if at(volume, "persistentVolumeClaim").is_none() && at(volume, "ephemeral").is_none() => {
            let words = "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode";
            errors.push(FieldError::invalid(path.field("name"), name, words));
        }
        Some(_) => {}
    }
    if target.is_empty() {
        errors.push(FieldError::required(path.field("devicePath"), ""));
    } else if before.targets.contains(target) {
        errors.push(FieldError::invalid(path.field("devicePath"), target, "must be unique"));
    }
    if steps_back(target) {
        errors.push(FieldError::invalid(path.field("devicePath"), target, "can not contain backsteps ('..')"));
    }
    if mounts.names.contains(name) {
        errors.push(FieldError::invalid(path.field("name"), name, "must not already exist in volumeMounts"));
    }
    if mounts.targets.contains(target) {
        errors.push(FieldError::invalid(path.field("devicePath"), target, "must not already exist as a path in volumeMounts"));
    }
}

fn steps_back(target: &str) -> bool {
    target.split('/').any(|part| part == "..")
}

/// A path without `..` in it.
pub fn no_steps_back(errors: &mut Errors, path: Path<'_>, target: &str) {
    if steps_back(target) {
        errors.push(FieldError::invalid(path, target, "must not contain '..'"));
    }
}

/// A path that stays below the one it is relative to.
pub fn descending(errors: &mut Errors, path: Path<'_>, target: &str) {
    if target.starts_with('/') {
        errors.push(FieldError::invalid(path, target, "must be a relative path"));
    }
    no_steps_back(errors, path, target);
}

/// The same for files that are projected: names that begin with `..` are the kubelet's own.
pub fn projected(errors: &mut Errors, path: Path<'_>, target: &str) {
    descending(errors, path, target);
    if target.starts_with("..") && !target.starts_with("../") {
        errors.push(FieldError::invalid(path, target, "must not start with '..'"));
    }
}
