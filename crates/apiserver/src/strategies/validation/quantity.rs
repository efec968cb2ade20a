//! Amounts of resources (`100m`, `1.5`, `2Gi`, `1e3`), for comparing.

/// Billionths, the finest that the API keeps.
const SCALE: i128 = 1_000_000_000;

/// The number of a suffix in billionths: binary, decimal, or nothing.
fn suffix(text: &str) -> Option<i128> {
    let binary = |power: u32| Some(SCALE << (10 * power));
    match text {
        "n" => Some(1),
        "u" => Some(1_000),
        "m" => Some(1_000_000),
        "" => Some(SCALE),
        "k" => Some(SCALE * 1_000),
        "M" => Some(SCALE * 1_000_000),
        "G" => Some(SCALE * 1_000_000_000),
        "T" => Some(SCALE * 1_000_000_000_000),
        "P" => Some(SCALE * 1_000_000_000_000_000),
        "E" => Some(SCALE * 1_000_000_000_000_000_000),
        "Ki" => binary(1),
        "Mi" => binary(2),
        "Gi" => binary(3),
        "Ti" => binary(4),
        "Pi" => binary(5),
        "Ei" => binary(6),
        _ => {
            let exponent: i32 = text.strip_prefix(['e', 'E'])?.parse().ok()?;
            let factor = 10_i128.checked_pow(exponent.unsigned_abs())?;
            if exponent >= 0 { SCALE.checked_mul(factor) } else { Some(SCALE / factor) }
        }
    }
}

/// The amount in billionths, rounded up; `None` when it is no amount.
pub fn parse(text: &str) -> Option<i128> {
    let (negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(end)?;
    let unit = suffix(unit)?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let digits = |text: &str| if text.is_empty() { Some(0) } else { text.parse::<i128>().ok() };
    let mut amount = digits(whole)?.checked_mul(unit)?;
    if !fraction.is_empty() {
        let divisor = 10_i128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
        let part = digits(fraction)?.checked_mul(unit)?;
        amount = amount.checked_add(part / divisor + i128::from(part % divisor != 0))?;
    }
    Some(if negative { -amount } else { amount })
}

/// Whether an amount is a whole number.
pub fn is_whole(amount: i128) -> bool {
    amount % SCALE == 0
}

/// An amount as text, in the manner (binary or decimal) of another one.
pub fn print(amount: i128, like: &str) -> String {
    let binary = like.ends_with('i');
    let steps: &[(&str, i128)] = if binary {
        &[("Ei", SCALE << 60), ("Pi", SCALE << 50), ("Ti", SCALE << 40), ("Gi", SCALE << 30), ("Mi", SCALE << 20), ("Ki", SCALE << 10)]
    } else {
        &[
            ("E", SCALE * 1_000_000_000_000_000_000),
            ("P", SCALE * 1_000_000_000_000_000),
            ("T", SCALE * 1_000_000_000_000),
            ("G", SCALE * 1_000_000_000),
            ("M", SCALE * 1_000_000),
            ("k", SCALE * 1_000),
        ]
    };
    let small: [(&str, i128); 4] = [("", SCALE), ("m", 1_000_000), ("u", 1_000), ("n", 1)];
    let fits = |(_, unit): &&(&str, i128)| amount != 0 && amount % unit == 0;
    let (suffix, unit) = steps.iter().find(fits).or_else(|| small.iter().find(fits)).copied().unwrap_or(("", SCALE));
    format!("{}{suffix}", amount / unit)
}
