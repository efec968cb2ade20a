//! Devices: classes, claims and their templates, and what drivers offer.

mod capacity;
mod claims;
mod requests;
mod results;
mod slices;
mod supply;
mod values;

pub(super) use claims::{Claims, Classes, Templates};
pub(super) use slices::Slices;

use corten_schema::Value;

use super::expressions::compiled;
use super::forms::{csi_driver as driver, distinct};
use super::validation::{Errors, Path, invalid_all, names};
use crate::cel::Type;
use crate::status::FieldError;
use crate::view::{at, text};

/// The names of requests that a claim, a constraint, a result or a configuration may have or refer to.
const MOST_REQUESTS: usize = 32;
const MOST_CONFIGS: usize = 32;
/// The most bytes of parameters and data that only drivers understand.
const LONGEST_PARAMETERS: usize = 10 * 1024;

/// Looks at each item of a list. Of a list that is too long only that is said.
fn each(errors: &mut Errors, path: Path<'_>, items: &[Value], most: usize, mut check: impl FnMut(&mut Errors, Path<'_>, &Value)) -> bool {
    if items.len() > most {
        errors.push(FieldError::too_many(path, items.len(), most));
        return false;
    }
    for (number, item) in items.iter().enumerate() {
        check(errors, path.index(number), item);
    }
    true
}

/// The same for items of which each has a key of its own.
fn set(
    errors: &mut Errors,
    path: Path<'_>,
    items: &[Value],
    most: usize,
    key: impl Fn(&Value) -> String,
    check: impl FnMut(&mut Errors, Path<'_>, &Value),
) {
    if each(errors, path, items, most, check) {
        distinct(errors, path, items.iter().map(key));
    }
}

/// The items of the list at a path.
fn items<'a>(object: &'a Value, path: &str) -> &'a [Value] {
    at(object, path).and_then(Value::as_list).unwrap_or_default()
}

fn itself(item: &Value) -> String {
    item.as_str().unwrap_or_default().to_owned()
}

fn name(item: &Value) -> String {
    text(item, "name").to_owned()
}

/// A DNS label.
fn label(errors: &mut Errors, path: Path<'_>, name: &str) {
    invalid_all(errors, path, name, names::label(name));
}

/// The name of a pool: DNS subdomains with slashes between them.
fn pool(errors: &mut Errors, path: Path<'_>, name: &str) {
    const LONGEST: usize = 253;
    if name.is_empty() {
        errors.push(FieldError::required(path, ""));
        return;
    }
    if name.len() > LONGEST {
        errors.push(FieldError::too_long(path, LONGEST));
    }
    for part in name.split('/') {
        invalid_all(errors, path, part, names::subdomain(part));
    }
}

/// Expressions that choose devices.
fn selectors(errors: &mut Errors, path: Path<'_>, of: &Value) {
    const MOST: usize = 32;
    const LONGEST: usize = 10 * 1024;
    let environment = crate::cel::devices();
    each(errors, path, items(of, "selectors"), MOST, |errors, path, selector| {
        let cel = path.field("cel");
        let (place, expression) = (cel.field("expression"), text(selector, "cel.expression"));
        if at(selector, "cel").is_none() {
            errors.push(FieldError::required(cel, ""));
        } else if expression.len() > LONGEST {
            errors.push(FieldError::too_long(place, LONGEST));
        } else if let Some(other) = compiled(errors, place, expression, &environment, &[])
            && !matches!(other, Type::Bool | Type::Any)
        {
            let words = format!("must evaluate to bool or the unknown type, not {other}");
            errors.push(FieldError::invalid(place, expression, words));
        }
    });
}

/// Parameters that only a driver understands. What was `stored` before may be longer than is allowed today.
fn opaque(errors: &mut Errors, path: Path<'_>, config: &Value, stored: bool) {
    let path = path.field("opaque");
    let Some(opaque) = at(config, "opaque") else {
        errors.push(FieldError::required(path, ""));
        return;
    };
    driver(errors, path.field("driver"), text(opaque, "driver"));
    raw(errors, path.field("parameters"), at(opaque, "parameters"), stored);
}

/// An object of any form, of bounded length.
fn raw(errors: &mut Errors, path: Path<'_>, value: Option<&Value>, stored: bool) {
    let length = |value: &Value| serde_json::to_vec(value).map_or(0, |bytes| bytes.len());
    match value {
        None => errors.push(FieldError::required(path, "")),
        Some(value) if !stored && length(value) > LONGEST_PARAMETERS => errors.push(FieldError::too_long(path, LONGEST_PARAMETERS)),
        Some(Value::Map(_)) => {}
        Some(Value::Json(text)) if text.text().trim_start().starts_with('{') => {}
        Some(_) => errors.push(FieldError::invalid(path, "<value omitted>", "must be a valid JSON object")),
    }
}
