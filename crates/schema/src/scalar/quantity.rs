//! Resource quantities: fixed-point numbers with a suffix.
//!
//! <https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/>

use std::cmp::Ordering;
use std::fmt;
use std::ops::{Add, Sub};
use std::str::FromStr;

/// Units of a quantity: a billionth.
const NANO: i128 = 1_000_000_000;
/// The largest amount: larger ones become it.
const MAX: i128 = i64::MAX as i128 * NANO;

/// How a quantity is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// Suffixes `n u m k M G T P E`.
    DecimalSi,
    /// Suffixes `Ki Mi Gi Ti Pi Ei`.
    BinarySi,
    /// `1e3`.
    DecimalExponent,
}

/// An amount with a precision of a billionth, and the way to write it.
///
/// Comparison is by amount: `1024Mi` equals `1Gi`.
#[derive(Clone, Copy, Debug)]
pub struct Quantity {
    nano: i128,
    format: Format,
}

/// Text that is no quantity. `Display` is the reference's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// Not of the right form.
    #[error("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")]
    Form,
    /// An unknown suffix.
    #[error("unable to parse quantity's suffix")]
    Suffix,
}

impl Quantity {
    /// A whole amount.
    pub const fn new(value: i64, format: Format) -> Self {
        Self { nano: value as i128 * NANO, format }
    }

    /// An amount in thousandths.
    pub const fn from_milli(value: i64) -> Self {
        Self { nano: value as i128 * (NANO / 1000), format: Format::DecimalSi }
    }

    /// The amount, rounded up.
    pub fn value(self) -> i64 {
        clamp(div_up(self.nano, NANO))
    }

    /// The amount in thousandths, rounded up.
    pub fn milli_value(self) -> i64 {
        clamp(div_up(self.nano, NANO / 1000))
    }

    /// The same amount, rounded up to a thousandth.
    pub fn round_to_milli(self) -> Self {
        Self { nano: div_up(self.nano, NANO / 1000) * (NANO / 1000), ..self }
    }

    /// True for zero.
    pub fn is_zero(self) -> bool {
        self.nano == 0
    }

    /// True for less than zero.
    pub fn is_negative(self) -> bool {
        self.nano < 0
    }

    /// How it is written.
    pub fn format(self) -> Format {
        self.format
    }
}

fn clamp(value: i128) -> i64 {
    i64::try_from(value).unwrap_or(if value < 0 { i64::MIN } else { i64::MAX })
}

/// Division that rounds away from zero.
fn div_up(value: i128, by: i128) -> i128 {
    value / by + if value % by == 0 { 0 } else { value.signum() }
}

impl FromStr for Quantity {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let (negative, digits) = match text.as_bytes().first() {
            Some(b'-') => (true, text.get(1..).unwrap_or_default()),
            Some(b'+') => (false, text.get(1..).unwrap_or_default()),
            _ => (false, text),
        };
        let end = digits.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(digits.len());
        let (number, suffix) = digits.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
            return Err(QuantityError::Form);
        }
        let (base, exponent, mut format) = read_suffix(suffix)?;
        let nano = if base == 2 {
            scale(whole, fraction, 9).and_then(|scaled| shift(scaled, exponent))
        } else {
            scale(whole, fraction, exponent.saturating_add(9))
        };
        let mut nano = nano.map_or(MAX, |nano| nano.min(MAX));
        if format == Format::BinarySi && nano > 0 && nano < NANO {
            format = Format::DecimalSi;
        }
        if negative {
            nano = -nano;
        }
        Ok(Self { nano, format })
    }
}

/// Base, exponent and format of a suffix.
fn read_suffix(suffix: &str) -> Result<(u8, i32, Format), QuantityError> {
    let decimal = |exponent| Ok((10, exponent, Format::DecimalSi));
    let binary = |exponent| Ok((2, exponent, Format::BinarySi));
    match suffix {
        "" => decimal(0),
        "n" => decimal(-9),
        "u" => decimal(-6),
        "m" => decimal(-3),
        "k" => decimal(3),
        "M" => decimal(6),
        "G" => decimal(9),
        "T" => decimal(12),
        "P" => decimal(15),
        "E" => decimal(18),
        "Ki" => binary(10),
        "Mi" => binary(20),
        "Gi" => binary(30),
        "Ti" => binary(40),
        "Pi" => binary(50),
        "Ei" => binary(60),
        _ => match suffix.strip_prefix(['e', 'E']).map(str::parse::<i32>) {
            Some(Ok(exponent)) => Ok((10, exponent, Format::DecimalExponent)),
            _ if well_formed(suffix) => Err(QuantityError::Suffix),
            _ => Err(QuantityError::Form),
        },
    }
}

/// True if the form alone allows the suffix.
fn well_formed(suffix: &str) -> bool {
    let rest = suffix.trim_start_matches(|c| "eEinumkKMGTP".contains(c));
    let rest = rest.strip_prefix(['-', '+']).unwrap_or(rest);
    rest.bytes().all(|byte| byte.is_ascii_digit())
}

/// `whole.fraction` × 10^`exponent`, rounded up to a whole number; `None` on overflow.
fn scale(whole: &str, fraction: &str, exponent: i32) -> Option<i128> {
    let whole = whole.trim_start_matches('0');
    let keep = i32::try_from(whole.len()).ok()?.saturating_add(exponent);
    let mut digits = whole.bytes().chain(fraction.bytes());
    let mut value: i128 = 0;
    for _ in 0..keep.max(0) {
        let digit = match digits.next() {
            Some(byte) => byte - b'0',
            None if value == 0 => break,
            None => 0,
        };
        value = value.checked_mul(10)?.checked_add(digit.into())?;
    }
    // A negative `keep` means that even the first digit lies below the unit.
    let below = digits.any(|byte| byte != b'0');
    Some(value + i128::from(below))
}

/// `value` × 2^`bits`; `None` on overflow.
fn shift(value: i128, bits: i32) -> Option<i128> {
    value.checked_mul(1i128.checked_shl(u32::try_from(bits).ok()?)?)
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nano == 0 {
            return f.write_str("0");
        }
        let small = self.nano > -1024 * NANO && self.nano < 1024 * NANO;
        // A fraction is not lost: then the decimal form is used.
        if self.format == Format::BinarySi && !small && self.nano % NANO == 0 {
            let mut value = self.nano / NANO;
            let mut suffixes = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"].into_iter().peekable();
            while value % 1024 == 0 && suffixes.len() > 1 {
                value /= 1024;
                suffixes.next();
            }
            return write!(f, "{value}{}", suffixes.next().unwrap_or_default());
        }
        let (mut value, mut exponent) = (self.nano, -9);
        while value % 1000 == 0 && exponent < 18 {
            value /= 1000;
            exponent += 3;
        }
        match (self.format, exponent) {
            (_, 0) => write!(f, "{value}"),
            (Format::DecimalExponent, _) => write!(f, "{value}e{exponent}"),
            _ => {
                let suffix = match exponent {
                    -9 => "n",
                    -6 => "u",
                    -3 => "m",
                    3 => "k",
                    6 => "M",
                    9 => "G",
                    12 => "T",
                    15 => "P",
                    _ => "E",
                };
                write!(f, "{value}{suffix}")
            }
        }
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nano == other.nano
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.nano.cmp(&other.nano)
    }
}

impl Add for Quantity {
    type Output = Self;
    /// The sum, written like the left one (or the right one if the left is zero).
    fn add(self, other: Self) -> Self {
        let format = if self.nano == 0 { other.format } else { self.format };
        Self { nano: self.nano.saturating_add(other.nano), format }
    }
}

impl Sub for Quantity {
    type Output = Self;
    /// The difference, written like the left one (or the right one if the left is zero).
    fn sub(self, other: Self) -> Self {
        let format = if self.nano == 0 { other.format } else { self.format };
        Self { nano: self.nano.saturating_sub(other.nano), format }
    }
}
