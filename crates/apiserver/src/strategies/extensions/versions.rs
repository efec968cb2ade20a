//! The versions of a custom kind.
//!
//! What all versions have in common (schema, subresources, columns, selectable fields) the reference keeps, and reports,
//! beside the versions: a schema that is the only one is at `spec.validation`, not at `spec.versions[0].schema`.

use std::collections::{BTreeSet, HashSet};

use corten_schema::{Value, value};

use super::{field_path, names, schema};
use crate::status::FieldError;
use crate::strategies::validation::{Errors, Path, names as forms};
use crate::view::{at, flag, list, text};

/// Where the specification is.
pub(super) const SPEC: Path<'static> = Path::Root("spec");

const COLUMN_TYPES: &str = "boolean,date,integer,number,string";
const COLUMN_FORMATS: [&str; 8] = ["byte", "date", "date-time", "double", "float", "int32", "int64", "password"];
const LONGEST_WARNING: usize = 256;
const MOST_SELECTABLE: usize = 8;

/// What versions may have in common.
const SHARED: [&str; 4] = ["schema", "subresources", "additionalPrinterColumns", "selectableFields"];

/// The value of a field if all versions have the same.
fn common<'a>(definition: &'a Value, field: &str) -> Option<&'a Value> {
    let mut all = list(definition, "spec.versions").map(|version| at(version, field));
    let first = all.next()??;
    all.all(|other| other == Some(first)).then_some(first)
}

/// The fields of which all versions have the same value.
fn in_common(definition: &Value) -> Vec<&'static str> {
    SHARED.into_iter().filter(|field| common(definition, field).is_some()).collect()
}

fn has_status(version: &Value) -> bool {
    at(version, "subresources.status").is_some()
}

/// The list as the reference prints it: in its inner form, without what is common.
fn shown(definition: &Value) -> Vec<Value> {
    let shared = in_common(definition);
    let own = |version: &Value, field: &str| match shared.contains(&field) {
        true => Value::Null,
        false => at(version, field).cloned().unwrap_or_default(),
    };
    let inner = |version: &Value| {
        value!({
            "Name": (text(version, "name")), "Served": (flag(version, "served")), "Storage": (flag(version, "storage")),
            "Deprecated": (flag(version, "deprecated")), "DeprecationWarning": (at(version, "deprecationWarning").cloned().unwrap_or_default()),
            "Schema": (own(version, "schema")), "Subresources": (own(version, "subresources")),
            "AdditionalPrinterColumns": (own(version, "additionalPrinterColumns")),
            "SelectableFields": (own(version, "selectableFields")),
        })
    };
    list(definition, "spec.versions").map(inner).collect()
}

/// What is wrong with each version, and with the list as a whole.
pub(super) fn check(errors: &mut Errors, definition: &Value) {
    let all = SPEC.field("versions");
    for (number, version) in list(definition, "spec.versions").enumerate() {
        if at(version, "schema.openAPIV3Schema").is_none() {
            let path = all.index(number);
            let path = path.field("schema");
            errors.push(FieldError::required(path.field("openAPIV3Schema"), "schemas are required"));
        }
    }
    let shared = in_common(definition);
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    let mut twice = false;
    for (number, version) in list(definition, "spec.versions").enumerate() {
        let path = all.index(number);
        let name = text(version, "name");
        twice |= !seen.insert(name);
        names::joined(errors, path.field("name"), name, "", &forms::label_1035(name));
        one(errors, path, &shared, version);
    }
    if twice {
        errors.push(FieldError::invalid(all, shown(definition), "must contain unique version names"));
    }
    if list(definition, "spec.versions").filter(|version| flag(version, "storage")).count() != 1 {
        errors.push(FieldError::invalid(all, shown(definition), "must have exactly one version marked as storage version"));
    }
    if let Some(first) = list(definition, "spec.versions").next().map(|version| text(version, "name")) {
        names::joined(errors, SPEC.field("version"), first, "", &forms::label_1035(first));
    }
}

fn one(errors: &mut Errors, path: Path<'_>, shared: &[&str], version: &Value) {
    let warning = at(version, "deprecationWarning").and_then(Value::as_str);
    deprecation(errors, path.field("deprecationWarning"), flag(version, "deprecated"), warning);
    let schema = at(version, "schema.openAPIV3Schema");
    if !shared.contains(&"schema")
        && let Some(schema) = schema
    {
        schema::check(errors, path.field("schema"), schema, has_status(version));
    }
    if !shared.contains(&"subresources") {
        subresources(errors, path.field("subresources"), version);
    }
    if !shared.contains(&"additionalPrinterColumns") {
        columns(errors, path.field("additionalPrinterColumns"), version);
    }
    if !shared.contains(&"selectableFields") {
        selectable(errors, path.field("selectableFields"), version, schema);
    }
}

/// What is wrong with what the versions have in common.
pub(super) fn shared(errors: &mut Errors, definition: &Value) {
    let Some(version) = list(definition, "spec.versions").next() else { return };
    let schema = at(version, "schema.openAPIV3Schema");
    if common(definition, "schema").is_some()
        && let Some(schema) = schema
    {
        let status = list(definition, "spec.versions").any(has_status);
        schema::check(errors, SPEC.field("validation"), schema, status);
    }
    if common(definition, "subresources").is_some() {
        subresources(errors, SPEC.field("subresources"), version);
    }
    if common(definition, "additionalPrinterColumns").is_some() {
        columns(errors, SPEC.field("additionalPrinterColumns"), version);
    }
    if common(definition, "selectableFields").is_some() {
        selectable(errors, SPEC.field("selectableFields"), version, schema);
    }
}

fn deprecation(errors: &mut Errors, path: Path<'_>, deprecated: bool, warning: Option<&str>) {
    let Some(warning) = warning else { return };
    if !deprecated {
        errors.push(FieldError::invalid(path, warning, "can only be set for deprecated versions"));
        return;
    }
    if warning.len() > LONGEST_WARNING {
        errors.push(FieldError::invalid(path, warning, format!("must be <= {LONGEST_WARNING} characters long")));
    }
    if warning.is_empty() {
        errors.push(FieldError::invalid(path, warning, "must not be an empty string"));
    }
    let unprintable = |c: char| c.is_control() || (c.is_whitespace() && c != ' ');
    if let Some(index) = warning.find(unprintable) {
        let words = format!("must only contain printable UTF-8 characters; non-printable character found at index {index}");
        errors.push(FieldError::invalid(path, warning, words));
    }
}

fn simple_path(errors: &mut Errors, path: Path<'_>, value: &str, roots: &[&str], words: &str) {
    if !value.starts_with('.') {
        errors.push(FieldError::invalid(path, value, "must be a simple json path starting with ."));
    } else if !roots.is_empty() && !roots.iter().any(|root| value.starts_with(root)) {
        errors.push(FieldError::invalid(path, value, words));
    }
}

fn subresources(errors: &mut Errors, path: Path<'_>, version: &Value) {
    let Some(scale) = at(version, "subresources.scale") else { return };
    let path = path.field("scale");
    for (field, root, words) in [
        ("specReplicasPath", ".spec.", "should be a json path under .spec"),
        ("statusReplicasPath", ".status.", "should be a json path under .status"),
    ] {
        match text(scale, field) {
            "" => errors.push(FieldError::required(path.field(field), "")),
            value => simple_path(errors, path.field(field), value, &[root], words),
        }
    }
    let selector = text(scale, "labelSelectorPath");
    if !selector.is_empty() {
        let words = "should be a json path under either .spec or .status";
        simple_path(errors, path.field("labelSelectorPath"), selector, &[".spec.", ".status."], words);
    }
}

fn columns(errors: &mut Errors, path: Path<'_>, version: &Value) {
    for (number, column) in list(version, "additionalPrinterColumns").enumerate() {
        let path = path.index(number);
        if text(column, "name").is_empty() {
            errors.push(FieldError::required(path.field("name"), ""));
        }
        let words = format!("must be one of {COLUMN_TYPES}");
        match text(column, "type") {
            "" => errors.push(FieldError::required(path.field("type"), words)),
            kind if !COLUMN_TYPES.split(',').any(|known| known == kind) => {
                errors.push(FieldError::invalid(path.field("type"), kind, words));
            }
            _ => {}
        }
        let format = text(column, "format");
        if !format.is_empty() && !COLUMN_FORMATS.contains(&format) {
            errors.push(FieldError::invalid(path.field("format"), format, format!("must be one of {}", COLUMN_FORMATS.join(","))));
        }
        match text(column, "jsonPath") {
            "" => errors.push(FieldError::required(path.field("JSONPath"), "")),
            value => simple_path(errors, path.field("JSONPath"), value, &[], ""),
        }
    }
}

fn selectable(errors: &mut Errors, path: Path<'_>, version: &Value, schema: Option<&Value>) {
    let Some(schema) = schema else { return };
    let mut seen: HashSet<String> = HashSet::new();
    for (number, item) in list(version, "selectableFields").enumerate() {
        let path = path.index(number);
        let path = path.field("jsonPath");
        let value = text(item, "jsonPath");
        if value.is_empty() {
            errors.push(FieldError::required(path, ""));
            continue;
        }
        let (steps, found) = match field_path::resolve(value, schema) {
            Ok(found) => found,
            Err(why) => {
                errors.push(FieldError::invalid(path, value, format!("is an invalid path: {why}")));
                continue;
            }
        };
        if steps.first().is_some_and(|first| first == "metadata") {
            errors.push(FieldError::invalid(path, value, "must not point to fields in metadata"));
        }
        if !matches!(text(found, "type"), "string" | "boolean" | "integer") {
            let words =
                "must point to a field of type string, boolean or integer. Enum string fields and strings with formats are allowed.";
            errors.push(FieldError::invalid(path, value, words));
        }
        if !seen.insert(steps.join(".")) {
            errors.push(FieldError::duplicate(path, value));
        }
    }
    if seen.len() > MOST_SELECTABLE {
        errors.push(FieldError::too_many(path, seen.len(), MOST_SELECTABLE));
    }
}
