//! Labels and label selectors.

use corten_schema::Value;

use super::{Errors, Path, invalid_all, names};
use crate::status::FieldError;
use crate::view::{at, entries, list, text, texts};

/// The labels in the map at `path` of an object.
pub fn labels(errors: &mut Errors, path: Path<'_>, map: Option<&Value>) {
    for (key, value) in map.and_then(Value::as_map).into_iter().flatten() {
        invalid_all(errors, path, key, names::qualified_name(key));
        let value = value.as_str().unwrap_or_default();
        invalid_all(errors, path, value, names::label_value(value));
    }
}

/// The keys of an annotation map.
pub fn annotations(errors: &mut Errors, path: Path<'_>, map: Option<&Value>) {
    const MOST: usize = 256 * 1024;
    let mut size = 0;
    for (key, value) in map.and_then(Value::as_map).into_iter().flatten() {
        let lower = key.to_lowercase();
        invalid_all(errors, path, key, names::qualified_name(&lower));
        size += key.len() + value.as_str().map_or(0, str::len);
    }
    if size > MOST {
        errors.push(FieldError::too_long(path, MOST));
    }
}

/// A LabelSelector.
pub fn selector(errors: &mut Errors, path: Path<'_>, selector: &Value) {
    labels(errors, path.field("matchLabels"), at(selector, "matchLabels"));
    let terms = path.field("matchExpressions");
    for (number, term) in list(selector, "matchExpressions").enumerate() {
        let path = terms.index(number);
        let operator = text(term, "operator");
        if !values_fit_operator(errors, path, term) {
            errors.push(FieldError::invalid(path.field("operator"), operator, "not a valid selector operator"));
        }
        self::term(errors, path, term);
    }
}

/// Whether a term's operator is known; its values are there if it needs any, and only then.
pub fn values_fit_operator(errors: &mut Errors, path: Path<'_>, term: &Value) -> bool {
    let values = list(term, "values").len();
    match text(term, "operator") {
        "In" | "NotIn" if values == 0 => {
            errors.push(FieldError::required(path.field("values"), "must be specified when `operator` is 'In' or 'NotIn'"));
        }
        "Exists" | "DoesNotExist" if values > 0 => {
            errors.push(FieldError::forbidden(path.field("values"), "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"));
        }
        operator => return matches!(operator, "In" | "NotIn" | "Exists" | "DoesNotExist"),
    }
    true
}

/// The label and the values of a term.
pub fn term(errors: &mut Errors, path: Path<'_>, term: &Value) {
    let key = text(term, "key");
    invalid_all(errors, path.field("key"), key, names::qualified_name(key));
    let at = path.field("values");
    for (index, value) in texts(term, "values").enumerate() {
        invalid_all(errors, at.index(index), value, names::label_value(value));
    }
}

/// Whether a LabelSelector has no terms.
pub fn is_empty(selector: &Value) -> bool {
    entries(selector, "matchLabels").next().is_none() && list(selector, "matchExpressions").len() == 0
}

/// Whether labels match a LabelSelector; an empty one matches everything.
pub fn matches(selector: &Value, labels: Option<&Value>) -> bool {
    let label = |key: &str| labels.and_then(|labels| labels.get(key)).and_then(Value::as_str);
    entries(selector, "matchLabels").all(|(key, value)| label(key) == value.as_str())
        && list(selector, "matchExpressions").all(|term| {
            let value = label(text(term, "key"));
            let listed = value.is_some_and(|value| texts(term, "values").any(|item| item == value));
            match text(term, "operator") {
                "In" => listed,
                "NotIn" => !listed,
                "Exists" => value.is_some(),
                "DoesNotExist" => value.is_none(),
                _ => false,
            }
        })
}
