//! The schema of a version of a custom kind, field by field.

use std::collections::BTreeSet;

use corten_schema::Value;

use super::{defaults, rules, structural};
use crate::status::FieldError;
use crate::strategies::validation::{Errors, Path};
use crate::view::{at, entries, flag, list, text, texts};

/// The deepest schema that is looked at, in levels of JSON: the rest of this folder calls itself.
const DEEPEST: usize = 200;
/// What is wrong with the keys of one list is told so often at most.
const MOST_TOLD: usize = 10;

const TYPES: [&str; 6] = ["array", "boolean", "integer", "number", "object", "string"];

/// What may be said of the root when there is a status subresource: the reference's names of the fields.
const AT_ROOT: [(&str, &str); 22] = [
    ("Description", "description"),
    ("Type", "type"),
    ("Format", "format"),
    ("Title", "title"),
    ("Maximum", "maximum"),
    ("ExclusiveMaximum", "exclusiveMaximum"),
    ("Minimum", "minimum"),
    ("ExclusiveMinimum", "exclusiveMinimum"),
    ("MaxLength", "maxLength"),
    ("MinLength", "minLength"),
    ("Pattern", "pattern"),
    ("MaxItems", "maxItems"),
    ("MinItems", "minItems"),
    ("UniqueItems", "uniqueItems"),
    ("MultipleOf", "multipleOf"),
    ("Required", "required"),
    ("Items", "items"),
    ("Properties", "properties"),
    ("ExternalDocs", "externalDocs"),
    ("Example", "example"),
    ("XPreserveUnknownFields", "x-kubernetes-preserve-unknown-fields"),
    ("XValidations", "x-kubernetes-validations"),
];

/// What is allowed depends on where a schema is.
#[derive(Clone, Copy)]
struct Place<'a> {
    /// Whether rules are compiled here: not inside of junctors, and only in schemas that are right so far.
    rules: bool,
    /// The outermost list or map whose items have no old selves.
    no_old: Option<&'a Path<'a>>,
    /// Why there may be no default; empty if there may.
    no_default: &'a str,
    /// Inside of what describes an object's metadata.
    in_metadata: bool,
    root: bool,
}

/// What is wrong with the schema at `path`.
pub(super) fn check(errors: &mut Errors, path: Path<'_>, schema: &Value, has_status: bool) {
    let before = errors.len();
    let root = path.field("openAPIV3Schema");
    if is_deeper(schema, DEEPEST) {
        errors.push(FieldError::invalid(root, "", format!("must not be nested more than {DEEPEST} deep")));
        return;
    }
    if has_status {
        at_root(errors, path, schema);
    }
    if flag(schema, "nullable") {
        errors.push(FieldError::forbidden(root.field("nullable"), "nullable cannot be true at the root"));
    }
    let unsupported = structural::unsupported(schema);
    if unsupported.is_none() {
        let found = structural::check(root, schema);
        if found.is_empty() {
            defaults::check(errors, root, schema);
        }
        errors.extend(found);
    }
    let rules = errors.len() == before && unsupported.is_none();
    let mut compiled = Errors::new();
    walk(errors, &mut compiled, root, schema, Place { rules, no_old: None, no_default: "", in_metadata: false, root: true });
    errors.append(&mut compiled);
    if let Some(why) = unsupported.filter(|_| errors.len() == before) {
        errors.push(FieldError::invalid(root, "", why));
    }
}

/// Whether a value is nested deeper than that.
fn is_deeper(value: &Value, most: usize) -> bool {
    let Some(left) = most.checked_sub(1) else { return true };
    match value {
        Value::List(items) => items.iter().any(|item| is_deeper(item, left)),
        Value::Map(map) => map.values().any(|value| is_deeper(value, left)),
        _ => false,
    }
}

fn at_root(errors: &mut Errors, path: Path<'_>, schema: &Value) {
    let root = path.field("openAPIV3Schema");
    let kind = text(schema, "type");
    if !kind.is_empty() && kind != "object" {
        let words = "only \"object\" is allowed as the type at the root of the schema if the status subresource is enabled";
        errors.push(FieldError::invalid(root.field("type"), kind, words));
    }
    let given = |value: &Value| !matches!(value, Value::Null | Value::Bool(false));
    let mut fields = schema.as_map().into_iter().flatten().filter(|(_, value)| given(value));
    if fields.any(|(name, _)| !AT_ROOT.iter().any(|(_, field)| *field == name.as_str())) {
        let names = AT_ROOT.map(|(name, _)| name).join(" ");
        let words = format!("only [{names}] fields are allowed at the root of the schema if the status subresource is enabled");
        errors.push(FieldError::invalid(root, schema, words));
    }
}

/// Goes through a schema. What is wrong with compiled rules is kept apart; rules are compiled when nothing else is wrong below.
fn walk(errors: &mut Errors, compiled: &mut Errors, path: Path<'_>, schema: &Value, place: Place<'_>) {
    let before = errors.len();
    plain(errors, path, schema, place);
    if flag(schema, "uniqueItems") {
        let words = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic";
        errors.push(FieldError::forbidden(path.field("uniqueItems"), words));
    }
    let inner = Place { root: false, ..place };
    if let Some(more) = at(schema, "additionalProperties") {
        if entries(schema, "properties").next().is_some() && more.as_bool() != Some(true) {
            let words = "additionalProperties and properties are mutual exclusive";
            errors.push(FieldError::forbidden(path.field("additionalProperties"), words));
        }
        let mut inner = inner;
        if place.in_metadata {
            inner.no_default = "inside additionalProperties applying to object metadata";
        }
        if more.as_map().is_some() {
            walk(errors, compiled, path.field("additionalProperties"), more, inner);
        }
    }
    let properties = path.field("properties");
    let is_object = place.root || flag(schema, "x-kubernetes-embedded-resource");
    let atomic = text(schema, "x-kubernetes-map-type") == "atomic";
    for (name, property) in entries(schema, "properties") {
        let mut inner = inner;
        if atomic {
            inner.no_old = inner.no_old.or(Some(&path));
        }
        let why = format!("in top-level {name}");
        if is_object && matches!(name, "metadata" | "kind" | "apiVersion") {
            inner.in_metadata = true;
            if place.root {
                inner.no_default = &why;
            }
        }
        walk(errors, compiled, properties.key(name), property, inner);
    }
    junctors(errors, compiled, path, schema, Place { rules: false, ..inner });
    let mut of_items = inner;
    if text(schema, "x-kubernetes-list-type") != "map" {
        of_items.no_old = of_items.no_old.or(Some(&path));
    }
    let items = path.field("items");
    match at(schema, "items") {
        Some(Value::List(all)) => {
            for (number, part) in all.iter().enumerate() {
                walk(errors, compiled, items.index(number), part, of_items);
            }
        }
        Some(part) => walk(errors, compiled, items, part, of_items),
        None => {}
    }
    maps_and_lists(errors, path, schema);
    rules::form(errors, path, schema);
    if place.rules && errors.len() == before {
        rules::compile(compiled, path, schema, place.root, place.no_old);
    }
}

fn junctors(errors: &mut Errors, compiled: &mut Errors, path: Path<'_>, schema: &Value, inner: Place<'_>) {
    if let Some(not) = at(schema, "not") {
        walk(errors, compiled, path.field("not"), not, inner);
    }
    for field in ["allOf", "oneOf", "anyOf"] {
        let all = path.field(field);
        for (number, part) in list(schema, field).enumerate() {
            walk(errors, compiled, all.index(number), part, inner);
        }
    }
    let definitions = path.field("definitions");
    for (name, part) in entries(schema, "definitions") {
        walk(errors, compiled, definitions.key(name), part, inner);
    }
}

/// What is forbidden everywhere.
fn plain(errors: &mut Errors, path: Path<'_>, schema: &Value, place: Place<'_>) {
    let kind = text(schema, "type");
    if !kind.is_empty() && !TYPES.contains(&kind) {
        errors.push(FieldError::not_supported(path.field("type"), kind, &TYPES));
    }
    if at(schema, "default").is_some() && !place.no_default.is_empty() {
        errors.push(FieldError::forbidden(path.field("default"), format!("must not be set {}", place.no_default)));
    }
    if !text(schema, "id").is_empty() {
        errors.push(FieldError::forbidden(path.field("id"), "id is not supported"));
    }
    for field in ["additionalItems", "patternProperties", "definitions", "dependencies", "$ref"] {
        let given = at(schema, field).is_some_and(|value| value.as_map().is_none_or(|map| !map.is_empty() || field == "dependencies"));
        if given {
            errors.push(FieldError::forbidden(path.field(field), format!("{field} is not supported")));
        }
    }
    if kind == "null" {
        let words = "type cannot be set to null, use nullable as an alternative";
        errors.push(FieldError::forbidden(path.field("type"), words));
    }
    if at(schema, "items").and_then(Value::as_list).is_some_and(|items| !items.is_empty()) {
        errors.push(FieldError::forbidden(path.field("items"), "items must be a schema object and not an array"));
    }
    if place.in_metadata && flag(schema, "x-kubernetes-embedded-resource") {
        let words = "must not be used inside of resource meta";
        errors.push(FieldError::forbidden(path.field("x-kubernetes-embedded-resource"), words));
    }
}

/// A type that an extension demands.
fn demand(errors: &mut Errors, path: Path<'_>, kind: &str, wanted: &str, words: &str) {
    if kind == wanted {
        return;
    }
    let path = path.field("type");
    errors.push(if kind.is_empty() { FieldError::required(path, words) } else { FieldError::invalid(path, kind, words) });
}

fn maps_and_lists(errors: &mut Errors, path: Path<'_>, schema: &Value) {
    const OPEN: &str = "x-kubernetes-preserve-unknown-fields";
    if at(schema, OPEN).and_then(Value::as_bool) == Some(false) {
        errors.push(FieldError::invalid(path.field(OPEN), false, "must be true or undefined"));
    }
    let kind = text(schema, "type");
    if let Some(word) = at(schema, "x-kubernetes-map-type").and_then(Value::as_str) {
        demand(errors, path, kind, "object", "must be object if x-kubernetes-map-type is specified");
        if !matches!(word, "atomic" | "granular") {
            errors.push(FieldError::not_supported(path.field("x-kubernetes-map-type"), word, &["atomic", "granular"]));
        }
    }
    let list_type = at(schema, "x-kubernetes-list-type").and_then(Value::as_str);
    let items = at(schema, "items").filter(|items| items.as_map().is_some());
    let at_items = path.field("items");
    if list_type.is_some() && kind != "array" {
        demand(errors, path, kind, "array", "must be array if x-kubernetes-list-type is specified");
    } else if let (Some("set"), Some(item)) = (list_type, items) {
        let words = "must be atomic as item of a list with x-kubernetes-list-type=set";
        let (list_word, map_word) = (at(item, "x-kubernetes-list-type"), at(item, "x-kubernetes-map-type"));
        let shown = list_word.unwrap_or(&Value::Null);
        match text(item, "type") {
            "array" if list_word.is_some_and(|word| word.as_str() != Some("atomic")) => {
                errors.push(FieldError::invalid(at_items.field("x-kubernetes-list-type"), shown, words));
            }
            "object" if map_word.and_then(Value::as_str) != Some("atomic") => {
                errors.push(FieldError::invalid(at_items.field("x-kubernetes-map-type"), shown, words));
            }
            _ => {}
        }
    }
    if let Some(word) = list_type.filter(|word| !matches!(*word, "atomic" | "set" | "map")) {
        errors.push(FieldError::not_supported(path.field("x-kubernetes-list-type"), word, &["atomic", "set", "map"]));
    }
    if list(schema, "x-kubernetes-list-map-keys").len() > 0 && list_type != Some("map") {
        let words = "must be map if x-kubernetes-list-map-keys is non-empty";
        let path = path.field("x-kubernetes-list-type");
        errors.push(list_type.map_or_else(|| FieldError::required(path, words), |word| FieldError::invalid(path, word, words)));
    }
    if list_type == Some("map") {
        keyed(errors, path, schema, items);
    }
    if let (Some(word @ ("set" | "map")), Some(item)) = (list_type, items) {
        certain_keys(errors, path, schema, item, word);
    }
}

/// A list whose items are known by some of their fields.
fn keyed(errors: &mut Errors, path: Path<'_>, schema: &Value, items: Option<&Value>) {
    let keys_path = path.field("x-kubernetes-list-map-keys");
    let keys: Vec<&str> = texts(schema, "x-kubernetes-list-map-keys").collect();
    if keys.is_empty() {
        errors.push(FieldError::required(keys_path, "must not be empty if x-kubernetes-list-type is map"));
    }
    let at_items = path.field("items");
    let Some(item) = items else {
        errors.push(match at(schema, "items") {
            None => FieldError::required(at_items, "must have a schema if x-kubernetes-list-type is map"),
            Some(all) => FieldError::invalid(at_items, all, "must only have a single schema if x-kubernetes-list-type is map"),
        });
        return;
    };
    let kind = text(item, "type");
    if kind != "object" {
        let words = "must be object if parent array's x-kubernetes-list-type is map";
        errors.push(FieldError::invalid(at_items.field("type"), kind, words));
        return;
    }
    let properties = at_items.field("properties");
    let mut seen = BTreeSet::new();
    let before = errors.len();
    for key in &keys {
        // Each shows all keys.
        if errors.len() >= before + MOST_TOLD {
            break;
        }
        match at(item, "properties").and_then(|properties| properties.get(key)) {
            Some(property) if matches!(text(property, "type"), "array" | "object") => {
                let path = properties.key(key);
                let words = "must be a scalar type if parent array's x-kubernetes-list-type is map";
                errors.push(FieldError::invalid(path.field("type"), kind, words));
            }
            Some(_) => {}
            None => errors.push(FieldError::invalid(keys_path, &keys, "entries must all be names of item properties")),
        }
        if !seen.insert(key) {
            errors.push(FieldError::invalid(keys_path, &keys, "must not contain duplicate entries"));
        }
    }
}

/// Items and keys must be there to be told apart.
fn certain_keys(errors: &mut Errors, path: Path<'_>, schema: &Value, item: &Value, word: &str) {
    let at_items = path.field("items");
    if flag(item, "nullable") {
        let words = format!("cannot be nullable when x-kubernetes-list-type is {word}");
        errors.push(FieldError::forbidden(at_items.field("nullable"), words));
    }
    let properties = at_items.field("properties");
    for key in texts(schema, "x-kubernetes-list-map-keys").filter(|_| word == "map") {
        let Some(property) = at(item, "properties").and_then(|properties| properties.get(key)) else { continue };
        let path = properties.key(key);
        if !texts(item, "required").any(|required| required == key) && at(property, "default").is_none() {
            let words = "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property";
            errors.push(FieldError::required(path.field("default"), words));
        }
        if flag(property, "nullable") {
            let words = "this property is in x-kubernetes-list-map-keys, so it cannot be nullable";
            errors.push(FieldError::forbidden(path.field("nullable"), words));
        }
    }
}
