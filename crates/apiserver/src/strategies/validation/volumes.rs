//! Volumes of a pod.

use std::collections::HashSet;

use corten_schema::Value;

use super::containers::{field_reference, relative};
use super::{Errors, Path, invalid_all, names};
use crate::status::FieldError;
use crate::view::{at, int, list, text};

/// Validates the volumes and returns the names of those that can be mounted.
pub fn validate<'a>(errors: &mut Errors, path: Path<'_>, spec: &'a Value) -> HashSet<&'a str> {
    let mut seen = HashSet::new();
    for (number, volume) in list(spec, "volumes").enumerate() {
        let path = path.index(number);
        let name = text(volume, "name");
        if name.is_empty() {
            errors.push(FieldError::required(path.field("name"), ""));
        } else {
            invalid_all(errors, path.field("name"), name, names::label(name));
            if !seen.insert(name) {
                errors.push(FieldError::duplicate(path.field("name"), name));
            }
        }
        source(errors, path, volume);
    }
    seen
}

fn source(errors: &mut Errors, path: Path<'_>, volume: &Value) {
    let mut found = 0;
    for (kind, source) in volume.as_map().into_iter().flatten() {
        if *kind == "name" || source.is_null() {
            continue;
        }
        found += 1;
        let path = path.field(kind);
        if found > 1 {
            errors.push(FieldError::forbidden(path, "may not specify more than 1 volume type"));
            continue;
        }
        let required = |errors: &mut Errors, field: &str| {
            if text(source, field).is_empty() {
                errors.push(FieldError::required(path.field(field), ""));
            }
        };
        match kind.as_str() {
            "hostPath" => {
                required(errors, "path");
                if text(source, "path").split('/').any(|part| part == "..") {
                    errors.push(FieldError::invalid(path.field("path"), text(source, "path"), "must not contain '..'"));
                }
            }
            "secret" => {
                required(errors, "secretName");
                keys(errors, path, source);
            }
            "configMap" => {
                required(errors, "name");
                keys(errors, path, source);
            }
            "persistentVolumeClaim" => required(errors, "claimName"),
            "nfs" => {
                required(errors, "server");
                required(errors, "path");
            }
            "csi" => required(errors, "driver"),
            "downwardAPI" => downward(errors, path, source),
            "projected" => projected(errors, path, source),
            _ => {}
        }
    }
    if found == 0 {
        errors.push(FieldError::required(path, "must specify a volume type"));
    }
}

fn mode(errors: &mut Errors, path: Path<'_>, value: Option<i64>) {
    if let Some(mode) = value
        && !(0..=0o777).contains(&mode)
    {
        let words = "must be a number between 0 and 0777 (octal), both inclusive";
        errors.push(FieldError::invalid(path, mode, words));
    }
}

fn keys(errors: &mut Errors, path: Path<'_>, source: &Value) {
    mode(errors, path.field("defaultMode"), int(source, "defaultMode"));
    let items = path.field("items");
    for (number, item) in list(source, "items").enumerate() {
        let path = items.index(number);
        for field in ["key", "path"] {
            if text(item, field).is_empty() {
                errors.push(FieldError::required(path.field(field), ""));
            }
        }
        relative(errors, path.field("path"), text(item, "path"));
        mode(errors, path.field("mode"), int(item, "mode"));
    }
}

const FIELDS: &[&str] = &["metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"];

fn downward(errors: &mut Errors, path: Path<'_>, source: &Value) {
    mode(errors, path.field("defaultMode"), int(source, "defaultMode"));
    for (number, item) in list(source, "items").enumerate() {
        let items = path.field("items");
        let path = items.index(number);
        if text(item, "path").is_empty() {
            errors.push(FieldError::required(path.field("path"), ""));
        }
        relative(errors, path.field("path"), text(item, "path"));
        match (at(item, "fieldRef"), at(item, "resourceFieldRef")) {
            (Some(_), Some(_)) => {
                errors.push(FieldError::invalid(path, "resource", "fieldRef and resourceFieldRef can not be specified simultaneously"))
            }
            (Some(reference), None) => field_reference(errors, path.field("fieldRef"), reference, FIELDS),
            (None, Some(_)) => {}
            (None, None) => {
                errors.push(FieldError::required(path, "one of fieldRef and resourceFieldRef is required"));
            }
        }
    }
}

fn projected(errors: &mut Errors, path: Path<'_>, source: &Value) {
    mode(errors, path.field("defaultMode"), int(source, "defaultMode"));
    for (number, part) in list(source, "sources").enumerate() {
        let sources = path.field("sources");
        let path = sources.index(number);
        for kind in ["secret", "configMap"] {
            if let Some(reference) = at(part, kind) {
                let path = path.field(kind);
                if text(reference, "name").is_empty() {
                    errors.push(FieldError::required(path.field("name"), ""));
                }
                keys(errors, path, reference);
            }
        }
        if let Some(items) = at(part, "downwardAPI") {
            downward(errors, path.field("downwardAPI"), items);
        }
        if let Some(token) = at(part, "serviceAccountToken") {
            let path = path.field("serviceAccountToken");
            if let Some(seconds) = int(token, "expirationSeconds")
                && seconds < 600
            {
                let words = "may not specify a duration less than 10 minutes";
                errors.push(FieldError::invalid(path.field("expirationSeconds"), seconds, words));
            }
            if text(token, "path").is_empty() {
                errors.push(FieldError::required(path.field("path"), ""));
            }
        }
    }
}
