//! From a tree to text.

use super::reader::plain;
use crate::Value;
use std::io::Write;

/// Writes a tree without spaces.
pub(super) fn encode_into(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Int(number) => integer(*number, out),
        Value::Float(number) => float(*number, out),
        Value::String(text) => string(text, out),
        Value::List(items) => {
            out.push(b'[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                encode_into(item, out);
            }
            out.push(b']');
        }
        Value::Map(map) => members(map.iter().map(|(name, value)| (&**name, value)), out),
        Value::Json(text) => text.write(out),
    }
}

/// Writes an object.
pub(super) fn members<'a>(members: impl IntoIterator<Item = (&'a str, &'a Value)>, out: &mut Vec<u8>) {
    out.push(b'{');
    for (index, (name, value)) in members.into_iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        string(name, out);
        out.push(b':');
        encode_into(value, out);
    }
    out.push(b'}');
}

fn integer(number: i64, out: &mut Vec<u8>) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    let mut rest = number.unsigned_abs();
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if number < 0 {
        out.push(b'-');
    }
    out.extend_from_slice(digits.get(at..).unwrap_or_default());
}

/// As Go does: whole numbers without a fraction, an exponent for very large and small ones; JSON has no infinity.
fn float(number: f64, out: &mut Vec<u8>) {
    let size = number.abs();
    // Writing to a Vec does not fail.
    let _ = if !number.is_finite() {
        write!(out, "null")
    } else if size != 0.0 && !(1e-6..1e21).contains(&size) {
        write!(out, "{number:e}")
    } else {
        write!(out, "{number}")
    };
}

/// Writes a JSON string.
pub(crate) fn string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    escape(text, out);
    out.push(b'"');
}

/// Writes what stands between the quotes of a JSON string.
pub(crate) fn escape(text: &str, out: &mut Vec<u8>) {
    let mut rest = text.as_bytes();
    loop {
        let (plain, special) = rest.split_at(plain(rest));
        out.extend_from_slice(plain);
        let Some((byte, after)) = special.split_first() else { return };
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            _ => {
                let _ = write!(out, "\\u{byte:04x}");
            }
        }
        rest = after;
    }
}
