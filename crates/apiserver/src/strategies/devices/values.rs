//! Forms of names and values of devices.

use super::{Errors, Path, driver};
use crate::status::FieldError;
use crate::strategies::forms::identifier;
use crate::strategies::validation::invalid_all;

/// The longest name of an attribute without its domain.
const LONGEST_ID: usize = 32;
/// The longest with its domain, and how much of a longer one is shown in a path.
pub(super) const LONGEST_NAME: usize = 63 + 1 + LONGEST_ID;

fn id(errors: &mut Errors, path: Path<'_>, text: &str) {
    if text.len() > LONGEST_ID {
        errors.push(FieldError::too_long(path, LONGEST_ID));
    }
    invalid_all(errors, path, text, identifier(text));
}

/// `example.com/model`, of which the domain may be missing. More than one slash is let through, as in the reference.
pub(super) fn qualified(errors: &mut Errors, path: Path<'_>, text: &str) {
    let parts: Vec<&str> = text.split('/').collect();
    match parts.as_slice() {
        [name] => id(errors, path, name),
        [domain, name] => {
            if domain.is_empty() {
                errors.push(FieldError::invalid(path, "", "the domain must not be empty"));
            } else {
                driver(errors, path, domain);
            }
            if name.is_empty() {
                errors.push(FieldError::invalid(path, "", "the name must not be empty"));
            } else {
                id(errors, path, name);
            }
        }
        _ => {}
    }
}

/// The same with a domain.
pub(super) fn fully_qualified(errors: &mut Errors, path: Path<'_>, text: &str) {
    qualified(errors, path, text);
    if !text.contains('/') {
        errors.push(FieldError::invalid(path, text, "a fully qualified name must be a domain and a name separated by a slash"));
    }
}

/// A key as it stands in a path: of one that is too long the middle is left out.
pub(super) fn shown(key: &str, longest: usize) -> String {
    if key.len() <= longest {
        return key.to_owned();
    }
    let left = longest - 3;
    let (head, tail) = (left.div_ceil(2), key.len() - left / 2);
    match (key.get(..head), key.get(tail..)) {
        (Some(head), Some(tail)) => format!("{head}...{tail}"),
        // The cut would go through a character.
        _ => key.chars().take(head).chain("...".chars()).collect(),
    }
}

/// A version in the form of semver.org.
pub(super) fn is_version(text: &str) -> bool {
    let number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()) && (part == "0" || !part.starts_with('0'));
    let plain = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let (text, build) = text.split_once('+').map_or((text, None), |(text, build)| (text, Some(build)));
    let (core, early) = text.split_once('-').map_or((text, None), |(core, early)| (core, Some(early)));
    core.split('.').count() == 3
        && core.split('.').all(number)
        && early.is_none_or(|early| early.split('.').all(|part| plain(part) && (!digits(part) || number(part))))
        && build.is_none_or(|build| build.split('.').all(plain))
}

/// What is wrong with a UUID; its one spelling has lower case and four dashes.
pub(super) fn uid(errors: &mut Errors, path: Path<'_>, text: &str) {
    const WORDS: &str =
        "uid must be in RFC 4122 normalized form, `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx` with lowercase hexadecimal characters";
    match parsed(text) {
        Err(words) => errors.push(FieldError::invalid(path, text, format!("error validating uid: {words}"))),
        Ok(()) if text.len() != 36 || text.bytes().any(|byte| byte.is_ascii_uppercase()) => {
            errors.push(FieldError::invalid(path, text, WORDS));
        }
        Ok(()) => {}
    }
}

fn parsed(text: &str) -> Result<(), String> {
    let hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let bad = || "invalid UUID format".to_owned();
    let body = match text.len() {
        32 => return if hex(text) { Ok(()) } else { Err(bad()) },
        36 => text,
        38 => text.strip_prefix('{').and_then(|text| text.strip_suffix('}')).ok_or("invalid bracketed UUID format")?,
        45 => {
            let (prefix, rest) = text.split_at_checked(9).ok_or_else(bad)?;
            if !prefix.eq_ignore_ascii_case("urn:uuid:") {
                return Err(format!("invalid urn prefix: {prefix:?}"));
            }
            rest
        }
        length => return Err(format!("invalid UUID length: {length}")),
    };
    let parts: Vec<&str> = body.split('-').collect();
    let lengths: Vec<usize> = parts.iter().map(|part| part.len()).collect();
    if lengths == [8, 4, 4, 4, 12] && parts.iter().all(|part| hex(part)) { Ok(()) } else { Err(bad()) }
}
