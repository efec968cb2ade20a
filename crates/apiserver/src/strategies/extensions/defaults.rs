//! Defaults in schemas: they fit the schema that they are in, and have no fields that it does not know.

use corten_schema::Value;

use super::values::Checker;
use crate::status::FieldError;
use crate::strategies::validation::{Errors, Path};
use crate::view::{at, entries, flag};

/// Whether a value has fields that pruning would remove.
fn has_unknown(value: &Value, schema: &Value, is_object: bool) -> bool {
    match value {
        Value::Map(map) => map.iter().any(|(name, value)| {
            let known = at(schema, "properties").and_then(|properties| properties.get(name));
            match (known, at(schema, "additionalProperties")) {
                (Some(known), _) => has_unknown(value, known, flag(known, "x-kubernetes-embedded-resource")),
                (None, _) if is_object && matches!(name.as_str(), "apiVersion" | "kind" | "metadata") => false,
                (None, Some(more)) if more.as_map().is_some() => has_unknown(value, more, flag(more, "x-kubernetes-embedded-resource")),
                (None, Some(more)) => more.as_bool() != Some(true),
                (None, None) => !flag(schema, "x-kubernetes-preserve-unknown-fields"),
            }
        }),
        Value::List(items) => {
            let schema = at(schema, "items");
            schema.is_some_and(|schema| items.iter().any(|item| has_unknown(item, schema, flag(schema, "x-kubernetes-embedded-resource"))))
        }
        _ => false,
    }
}

/// What is wrong with the defaults in a structural schema.
pub(super) fn check(errors: &mut Errors, path: Path<'_>, schema: &Value) {
    let mut checker = Checker::default();
    below(&mut checker, errors, path, schema);
    if checker.gave_up() {
        errors.push(FieldError::forbidden(path, "checking its defaults takes too long"));
    }
}

fn below<'s>(checker: &mut Checker<'s>, errors: &mut Errors, path: Path<'_>, schema: &'s Value) {
    if let Some(default) = at(schema, "default") {
        let path = path.field("default");
        if has_unknown(default, schema, flag(schema, "x-kubernetes-embedded-resource")) {
            errors.push(FieldError::invalid(path, default, "must not have unknown fields"));
        }
        checker.check(errors, path, "", default, schema);
    }
    // There are no defaults below additionalProperties.
    if let Some(items) = at(schema, "items") {
        below(checker, errors, path.field("items"), items);
    }
    let properties = path.field("properties");
    for (name, property) in entries(schema, "properties") {
        below(checker, errors, properties.key(name), property);
    }
}
