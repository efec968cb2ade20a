//! Arithmetic on resource quantities, as far as components need it.
//!
//! The grammar is that of
//! <https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/>. Values are
//! rounded up, as the reference does when a smaller unit is asked for than it can express.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// Thousandths of the unit, rounded up; `None` if the text is not a quantity or does not fit.
pub fn millis(quantity: &Quantity) -> Option<i64> {
    scaled(&quantity.0, 1_000)
}

/// Whole units, rounded up; `None` if the text is not a quantity or does not fit.
pub fn units(quantity: &Quantity) -> Option<i64> {
    scaled(&quantity.0, 1)
}

/// A quantity of thousandths in canonical decimal form: `250m`, `2`.
pub fn from_millis(value: i64) -> Quantity {
    if value % 1000 == 0 { Quantity((value / 1000).to_string()) } else { Quantity(format!("{value}m")) }
}

/// A quantity of bytes in canonical binary form: `512Mi`, `1000`.
pub fn from_bytes(value: i64) -> Quantity {
    const UNITS: [&str; 7] = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
    let mut value = value;
    let mut unit = 0;
    while value != 0 && value % 1024 == 0 && unit + 1 < UNITS.len() {
        value /= 1024;
        unit += 1;
    }
    Quantity(format!("{value}{}", UNITS.get(unit).copied().unwrap_or_default()))
}

fn scaled(text: &str, scale: i128) -> Option<i64> {
    let number_end = text.find(|c: char| !matches!(c, '0'..='9' | '.' | '+' | '-')).unwrap_or(text.len());
    let (number, suffix) = text.split_at_checked(number_end)?;
    let (numerator, denominator) = multiplier(suffix)?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if fraction.len() > 18 || (whole.trim_start_matches(['+', '-']).is_empty() && fraction.is_empty()) {
        return None;
    }
    let negative = whole.starts_with('-');
    let digits = format!("{}{fraction}", whole.trim_start_matches(['+', '-']));
    let digits: i128 = digits.parse().ok()?;
    let fraction_scale = 10_i128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let product = digits.checked_mul(numerator)?.checked_mul(scale)?;
    let divisor = denominator.checked_mul(fraction_scale)?;
    let rounded = product.checked_add(divisor - 1)? / divisor;
    i64::try_from(if negative { -rounded } else { rounded }).ok()
}

fn multiplier(suffix: &str) -> Option<(i128, i128)> {
    Some(match suffix {
        "" => (1, 1),
        "n" => (1, 1_000_000_000),
        "u" => (1, 1_000_000),
        "m" => (1, 1_000),
        "k" => (1_000, 1),
        "M" => (1_000_000, 1),
        "G" => (1_000_000_000, 1),
        "T" => (1_000_000_000_000, 1),
        "P" => (1_000_000_000_000_000, 1),
        "E" => (1_000_000_000_000_000_000, 1),
        "Ki" => (1 << 10, 1),
        "Mi" => (1 << 20, 1),
        "Gi" => (1 << 30, 1),
        "Ti" => (1 << 40, 1),
        "Pi" => (1 << 50, 1),
        "Ei" => (1 << 60, 1),
        other => {
            let exponent: i32 = other.strip_prefix(['e', 'E'])?.parse().ok()?;
            let power = 10_i128.checked_pow(exponent.unsigned_abs().min(18))?;
            if exponent < 0 { (1, power) } else { (power, 1) }
        }
    })
}

#[cfg(test)]
mod tests;
