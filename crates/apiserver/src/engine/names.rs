//! Names: which are valid, and how they are made up.

use ring::rand::{SecureRandom, SystemRandom};

use crate::strategy::NameRule;

/// The most characters of a name before the random part.
const GENERATED_BASE: usize = 58;

/// The characters of random parts: no vowels, nothing that looks like another.
const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and \
     must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
     '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start \
     and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is \
     '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const LABEL_1035: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an \
     alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for \
     validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";

/// What is wrong with a name, in the reference's words; nothing if it is valid.
pub(super) fn violations(rule: NameRule, name: &str) -> Vec<String> {
    match rule {
        NameRule::Subdomain => limited(name, 253, is_dns_subdomain(name), SUBDOMAIN),
        NameRule::Label => limited(name, 63, is_dns_label(name), LABEL),
        NameRule::Label1035 => {
            let starts_with_letter = name.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase());
            limited(name, 63, starts_with_letter && is_dns_label(name), LABEL_1035)
        }
        NameRule::PathSegment => path_segment(name),
    }
}

fn limited(name: &str, limit: usize, valid: bool, words: &str) -> Vec<String> {
    let mut found = Vec::new();
    if name.len() > limit {
        found.push(format!("must be no more than {limit} characters"));
    }
    // Too long alone is said once.
    if !valid && (name.len() <= limit || !has_label_characters(name)) {
        found.push(words.to_owned());
    }
    found
}

fn has_label_characters(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.'))
}

fn path_segment(name: &str) -> Vec<String> {
    if matches!(name, "." | "..") {
        return vec![format!("may not be '{name}'")];
    }
    ['/', '%']
        .into_iter()
        .filter(|c| name.contains(*c))
        .map(|c| format!("may not contain '{c}'"))
        .collect()
}

/// Whether `name` is an RFC 1123 label: at most 63 lower-case letters, digits and inner dashes.
pub(crate) fn is_dns_label(name: &str) -> bool {
    name.len() <= 63 && is_label_of_any_length(name)
}

fn is_label_of_any_length(name: &str) -> bool {
    let alphanumeric = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = name.as_bytes();
    bytes.first().is_some_and(alphanumeric)
        && bytes.last().is_some_and(alphanumeric)
        && bytes.iter().all(|byte| alphanumeric(byte) || *byte == b'-')
}

/// Whether `name` is an RFC 1123 subdomain: labels with dots between, 253 characters at most.
pub(crate) fn is_dns_subdomain(name: &str) -> bool {
    name.len() <= 253 && name.split('.').all(is_label_of_any_length)
}

/// A name made of `base` and five random characters.
pub(crate) fn generate(base: &str) -> String {
    let mut end = base.len().min(GENERATED_BASE);
    while !base.is_char_boundary(end) {
        end -= 1;
    }
    let mut name = base.get(..end).unwrap_or_default().to_owned();
    let mut random = [0_u8; 5];
    // Without random bytes the name would only be likelier to exist already, which is found out.
    let _ = SystemRandom::new().fill(&mut random);
    name.extend(random.iter().filter_map(|byte| {
        ALPHABET.get(usize::from(*byte) * ALPHABET.len() / 256).map(|byte| char::from(*byte))
    }));
    name
}
