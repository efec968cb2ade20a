//! Whether a schema is *structural*: it says for every field what type it has, outside of `allOf`, `anyOf`, `oneOf` and `not`,
//! and these say nothing but what values are allowed. Only then objects can be pruned, defaulted and merged.

use corten_schema::Value;

use crate::cel;
use crate::status::FieldError;
use crate::strategies::validation::{Errors, Path};
use crate::view::{at, entries, flag, list, text};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Root,
    Item,
    Field,
}

/// The schemas below one, wherever they are.
fn below(schema: &Value) -> impl Iterator<Item = &Value> {
    let single = ["items", "additionalProperties", "not"].into_iter().filter_map(|field| at(schema, field));
    let lists = ["allOf", "anyOf", "oneOf", "items"].into_iter().flat_map(|field| list(schema, field));
    single.filter(|schema| schema.as_map().is_some()).chain(lists).chain(entries(schema, "properties").map(|(_, schema)| schema))
}

/// The first thing because of which a schema can be no structural one at all.
pub(super) fn unsupported(schema: &Value) -> Option<String> {
    let given = |field: &str| match at(schema, field) {
        None => false,
        Some(Value::String(text)) => !text.as_str().is_empty(),
        Some(Value::Map(map)) => !map.is_empty(),
        Some(_) => true,
    };
    let words = |field: &str| format!("OpenAPIV3Schema '{field}' is not supported");
    let fields = [
        ("id", "id"),
        ("$schema", "schema"),
        ("$ref", "$ref"),
        ("patternProperties", "patternProperties"),
        ("dependencies", "dependencies"),
        ("additionalItems", "additionalItems"),
        ("definitions", "definitions"),
    ];
    if let Some((_, shown)) = fields.iter().find(|(field, _)| given(field)) {
        return Some(words(shown));
    }
    if at(schema, "items").and_then(Value::as_list).is_some() {
        return Some("OpenAPIV3Schema 'items' must be a schema, but is an array".to_owned());
    }
    if at(schema, "x-kubernetes-preserve-unknown-fields").and_then(Value::as_bool) == Some(false) {
        return Some("internal error: 'x-kubernetes-preserve-unknown-fields' must be true or undefined".to_owned());
    }
    below(schema).find_map(unsupported)
}

/// Why a schema is not structural, sorted; nothing for one that is.
pub(super) fn check(path: Path<'_>, schema: &Value) -> Errors {
    let mut errors = Errors::new();
    invariants(&mut errors, path, schema, Level::Root);
    complete(&mut errors, path, path, schema, Some(schema), false);
    errors.sort_by_cached_key(ToString::to_string);
    errors
}

/// `anyOf: [{type: integer}, {type: string}]`, the one place where types may be inside.
fn int_or_string(of: &Value) -> bool {
    let is = |schema: &Value, kind: &str| {
        let mut fields = schema.as_map().into_iter().flatten().filter(|(_, value)| !value.is_null());
        matches!((fields.next(), fields.next()), (Some((name, value)), None) if name == "type" && value.as_str() == Some(kind))
    };
    let mut all = list(of, "anyOf");
    matches!((all.next(), all.next(), all.next()), (Some(one), Some(two), None) if is(one, "integer") && is(two, "string"))
}

fn invariants(errors: &mut Errors, path: Path<'_>, schema: &Value, level: Level) {
    let kind = text(schema, "type");
    let items = at(schema, "items");
    if kind == "array" && items.is_none() {
        errors.push(FieldError::required(path.field("items"), "must be specified"));
    }
    if let Some(items) = items {
        invariants(errors, path.field("items"), items, Level::Item);
    }
    let properties = path.field("properties");
    for (name, property) in entries(schema, "properties") {
        invariants(errors, properties.key(name), property, Level::Field);
    }
    let more = at(schema, "additionalProperties");
    if let Some(more) = more {
        if level == Level::Root {
            errors.push(FieldError::forbidden(path.field("additionalProperties"), "must not be used at the root"));
        }
        if more.as_map().is_some() {
            invariants(errors, path.field("additionalProperties"), more, Level::Field);
        }
    }
    extensions(errors, path, schema);
    let first = list(schema, "allOf").next();
    junctors(errors, path, schema, int_or_string(schema), first.is_some_and(int_or_string));
    kind_of(errors, path, schema, level);
    let embedded = flag(schema, "x-kubernetes-embedded-resource");
    if embedded && more.is_some() {
        let words = "must not be used if x-kubernetes-embedded-resource is set";
        errors.push(FieldError::forbidden(path.field("additionalProperties"), words));
    }
    metadata(errors, path, schema, level);
    let open = flag(schema, "x-kubernetes-preserve-unknown-fields");
    if embedded && !open && entries(schema, "properties").next().is_none() {
        let words = "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields";
        errors.push(FieldError::required(properties, words));
    }
}

/// Every field has a type.
fn kind_of(errors: &mut Errors, path: Path<'_>, schema: &Value, level: Level) {
    let kind = text(schema, "type");
    let at_type = path.field("type");
    let any = flag(schema, "x-kubernetes-int-or-string") || flag(schema, "x-kubernetes-preserve-unknown-fields");
    if flag(schema, "x-kubernetes-embedded-resource") && kind != "object" {
        let words = "must be object if x-kubernetes-embedded-resource is true";
        errors.push(if kind.is_empty() { FieldError::required(at_type, words) } else { FieldError::invalid(at_type, kind, words) });
    } else if kind.is_empty() && !any {
        let words = match level {
            Level::Root => "must not be empty at the root",
            Level::Item => "must not be empty for specified array items",
            Level::Field => "must not be empty for specified object fields",
        };
        errors.push(FieldError::required(at_type, words));
    }
    if level == Level::Root && !kind.is_empty() && kind != "object" {
        errors.push(FieldError::invalid(at_type, kind, "must be object at the root"));
    }
}

fn extensions(errors: &mut Errors, path: Path<'_>, schema: &Value) {
    for field in ["x-kubernetes-preserve-unknown-fields", "x-kubernetes-embedded-resource"] {
        if flag(schema, "x-kubernetes-int-or-string") && flag(schema, field) {
            errors.push(FieldError::invalid(path.field(field), true, "must be false if x-kubernetes-int-or-string is true"));
        }
    }
}

/// What every object has is described already.
fn metadata(errors: &mut Errors, path: Path<'_>, schema: &Value, level: Level) {
    let is_object = level == Level::Root || flag(schema, "x-kubernetes-embedded-resource");
    let properties = path.field("properties");
    for name in ["kind", "apiVersion"] {
        if let Some(property) = at(schema, "properties").and_then(|all| all.get(name)).filter(|_| is_object)
            && text(property, "type") != "string"
        {
            let path = properties.key(name);
            errors.push(FieldError::invalid(path.field("type"), text(property, "type"), "must be string"));
        }
    }
    let Some(described) = at(schema, "properties.metadata") else { return };
    let path = properties.key("metadata");
    if is_object && text(described, "type") != "object" {
        errors.push(FieldError::invalid(path.field("type"), text(described, "type"), "must be object"));
    }
    let only_names = entries(described, "properties").all(|(name, _)| matches!(name, "name" | "generateName"));
    let given = |value: &Value| match value {
        Value::Null | Value::Bool(false) => false,
        Value::String(text) => !text.as_str().is_empty(),
        Value::List(items) => !items.is_empty(),
        Value::Map(map) => !map.is_empty(),
        _ => true,
    };
    let allowed = ["type", "default", "properties", "externalDocs", "example"];
    let more = described.as_map().into_iter().flatten().any(|(name, value)| !allowed.contains(&name.as_str()) && given(value));
    if level == Level::Root && (more || !only_names) {
        let words = "must not specify anything other than name and generateName, but metadata is implicitly specified";
        errors.push(FieldError::forbidden(path, words));
    }
}

fn junctors(errors: &mut Errors, path: Path<'_>, schema: &Value, skip_any_of: bool, skip_in_first: bool) {
    for (field, skip) in [("anyOf", skip_any_of), ("allOf", false), ("oneOf", false)] {
        let all = path.field(field);
        for (number, part) in list(schema, field).enumerate().filter(|_| !skip) {
            nested(errors, all.index(number), part, field == "allOf" && number == 0 && skip_in_first);
        }
    }
    if let Some(part) = at(schema, "not") {
        nested(errors, path.field("not"), part, false);
    }
    let pattern = text(schema, "pattern");
    if let Some(why) = cel::wrong_pattern(pattern) {
        let why = why.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
        let words = format!("must be a valid regular expression, but isn't: error parsing regexp: {why}");
        errors.push(FieldError::invalid(path.field("pattern"), pattern, words));
    }
}

/// What must not be said inside of junctors.
fn nested(errors: &mut Errors, path: Path<'_>, part: &Value, skip_any_of: bool) {
    const EMPTY: &str = "must be empty to be structural";
    const UNDEFINED: &str = "must be undefined to be structural";
    const FALSE: &str = "must be false to be structural";
    junctors(errors, path, part, skip_any_of, false);
    if let Some(items) = at(part, "items") {
        nested(errors, path.field("items"), items, false);
    }
    let properties = path.field("properties");
    for (name, property) in entries(part, "properties") {
        nested(errors, properties.key(name), property, false);
    }
    let forbid = |errors: &mut Errors, field: &str, words: &str| errors.push(FieldError::forbidden(path.field(field), words));
    for field in ["type", "title", "description"] {
        if !text(part, field).is_empty() {
            forbid(errors, field, EMPTY);
        }
    }
    for field in ["additionalProperties", "default", "x-kubernetes-list-type", "x-kubernetes-map-type"] {
        if at(part, field).is_some() {
            forbid(errors, field, UNDEFINED);
        }
    }
    let flags = ["nullable", "x-kubernetes-preserve-unknown-fields", "x-kubernetes-embedded-resource", "x-kubernetes-int-or-string"];
    for field in flags.into_iter().filter(|field| flag(part, field)) {
        forbid(errors, field, FALSE);
    }
    for field in ["x-kubernetes-list-map-keys", "x-kubernetes-validations"] {
        if list(part, field).len() > 0 {
            forbid(errors, field, EMPTY);
        }
    }
    if at(part, "properties.metadata").is_some() {
        errors.push(FieldError::forbidden(properties.key("metadata"), "must not be specified in a nested context"));
    }
}

/// What junctors talk about must exist outside of them. `at_path` is where it must be, `said` where it is talked about.
fn complete(errors: &mut Errors, at_path: Path<'_>, said: Path<'_>, part: &Value, schema: Option<&Value>, inner: bool) {
    let Some(schema) = schema else {
        errors.push(FieldError::required(at_path, format!("because it is defined in {said}")));
        return;
    };
    if let Some(not) = at(part, "not") {
        complete(errors, at_path, said.field("not"), not, Some(schema), true);
    }
    for field in ["allOf", "anyOf", "oneOf"] {
        let all = said.field(field);
        for (number, part) in list(part, field).enumerate() {
            complete(errors, at_path, all.index(number), part, Some(schema), true);
        }
    }
    if !inner {
        return;
    }
    if let Some(items) = at(part, "items") {
        complete(errors, at_path.field("items"), said.field("items"), items, at(schema, "items"), true);
    }
    let (here, there) = (at_path.field("properties"), said.field("properties"));
    for (name, property) in entries(part, "properties") {
        let known = at(schema, "properties").and_then(|properties| properties.get(name));
        complete(errors, here.key(name), there.key(name), property, known, true);
    }
}
