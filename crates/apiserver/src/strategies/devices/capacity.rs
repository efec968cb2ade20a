//! How much of a device's capacity one request may take, where several may use the device.

use std::collections::HashSet;

use corten_schema::Value;

use super::{Errors, Path};
use crate::status::FieldError;
use crate::strategies::validation::quantity;
use crate::view::{at, list};

const MOST_VALUES: usize = 10;
/// Billionths in one: amounts are counted in these.
const ONE: i128 = 1_000_000_000;

/// An amount with its text.
#[derive(Clone, Copy)]
struct Amount<'a> {
    text: &'a str,
    is: i128,
}

fn amount<'a>(of: &'a Value, field: &str) -> Option<Amount<'a>> {
    let text = at(of, field)?.as_str()?;
    Some(Amount { text, is: quantity::parse(text)? })
}

/// The policy of a capacity of a device that several may use.
pub(super) fn policy(errors: &mut Errors, path: Path<'_>, capacity: &Value) {
    let Some(policy) = at(capacity, "requestPolicy") else { return };
    let path = path.field("requestPolicy");
    let (values, range) = (list(policy, "validValues").len() > 0, at(policy, "validRange"));
    if values && range.is_some() {
        let words = "exactly one policy can be specified, cannot specify \"validValues\" and \"validRange\" at the same time";
        errors.push(FieldError::forbidden(path, words));
        return;
    }
    let name = if values { "validValues" } else { "validRange" };
    if !values && range.is_none() {
        return;
    }
    let Some(default) = amount(policy, "default") else {
        errors.push(FieldError::required(path.field("default"), format!("required when {name} is defined")));
        return;
    };
    let whole = amount(capacity, "value").unwrap_or(Amount { text: "0", is: 0 });
    match range {
        Some(range) => within(errors, path.field(name), range, default, whole),
        None => listed(errors, path.field(name), policy, default, whole),
    }
}

fn listed(errors: &mut Errors, path: Path<'_>, policy: &Value, default: Amount<'_>, whole: Amount<'_>) {
    let texts = list(policy, "validValues").filter_map(Value::as_str);
    let values: Vec<Amount<'_>> = texts.filter_map(|text| Some(Amount { text, is: quantity::parse(text)? })).collect();
    for (number, pair) in values.windows(2).enumerate() {
        if let [before, after] = pair
            && before.is > after.is
        {
            errors.push(FieldError::invalid(path.index(number + 1), after.text, "values must be sorted in ascending order"));
        }
    }
    if values.len() > MOST_VALUES {
        errors.push(FieldError::too_many(path, values.len(), MOST_VALUES));
    } else {
        for (number, value) in values.iter().enumerate().filter(|(_, value)| value.is > whole.is) {
            let words = format!("option is larger than capacity value: {}", whole.text);
            errors.push(FieldError::invalid(path.index(number), value.text, words));
        }
        let mut seen = HashSet::new();
        for (number, value) in values.iter().enumerate() {
            // They are told apart by whole numbers.
            let key = rounded(value.is);
            if !seen.insert(key) {
                errors.push(FieldError::duplicate(path.index(number), key.to_string()));
            }
        }
    }
    if values.len() > MOST_VALUES || !values.iter().any(|value| value.is == default.is) {
        errors.push(FieldError::invalid(path, default.text, "default value is not valid according to the requestPolicy"));
    }
}

fn rounded(amount: i128) -> i128 {
    amount.div_euclid(ONE) + i128::from(amount.rem_euclid(ONE) != 0)
}

fn within(errors: &mut Errors, path: Path<'_>, range: &Value, default: Amount<'_>, whole: Amount<'_>) {
    let Some(min) = amount(range, "min") else {
        errors.push(FieldError::required(path.field("min"), "required when validRange is defined"));
        return;
    };
    let mut refuse = |name: &str, value: &str, words: String| errors.push(FieldError::invalid(path.field(name), value, words));
    if min.is > whole.is {
        refuse("min", min.text, format!("min is larger than capacity value: {}", whole.text));
    }
    if default.is < min.is {
        refuse("min", default.text, format!("default is less than min: {}", min.text));
    }
    let max = amount(range, "max");
    if let Some(max) = max {
        if min.is > max.is {
            refuse("max", min.text, format!("min is larger than max: {}", max.text));
        }
        if max.is > whole.is {
            refuse("max", max.text, format!("max is larger than capacity value: {}", whole.text));
        }
        if default.is > max.is {
            refuse("max", default.text, format!("default is more than max: {}", max.text));
        }
    }
    let Some(step) = amount(range, "step") else { return };
    let next = min.is.saturating_add(step.is);
    if next > whole.is {
        let words = format!("one step {} is larger than capacity value: {}", quantity::print(next, min.text), whole.text);
        refuse("step", step.text, words);
    }
    for value in [Some(default), max].into_iter().flatten() {
        let (by, from, to) = (rounded(step.is), rounded(min.is), rounded(value.is));
        if by == 0 || (to - from) % by != 0 {
            refuse("step", value.text, format!("value is not a multiple of a given step ({}) from ({})", step.text, min.text));
        }
    }
}
