//! The forms of names, keys and ports. Each check returns what is wrong, in the reference's words; nothing when all is well.

/// A check's findings.
pub type Findings = Vec<String>;

fn too_long(limit: usize) -> String {
    format!("must be no more than {limit} bytes")
}

/// The reference's way to explain a form.
fn form(message: &str, regex: &str, examples: &[&str]) -> String {
    let examples: Vec<String> = examples.iter().map(|example| format!("'{example}', ")).collect();
    format!("{message} (e.g. {} regex used for validation is '{regex}')", examples.join(" or ").trim_end())
}

fn lower(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

/// First and last bytes of one class, those between of another; not empty.
fn framed(text: &str, edge: impl Fn(u8) -> bool, inner: impl Fn(u8) -> bool) -> bool {
    match text.as_bytes() {
        [] => false,
        [only] => edge(*only),
        [first, middle @ .., last] => edge(*first) && edge(*last) && middle.iter().all(|byte| inner(*byte)),
    }
}

fn is_label(text: &str) -> bool {
    framed(text, lower, |byte| lower(byte) || byte == b'-')
}

fn is_subdomain(text: &str) -> bool {
    text.split('.').all(is_label)
}

const LABEL: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";

/// A DNS label (RFC 1123).
pub fn label(text: &str) -> Findings {
    let mut found = Findings::new();
    if text.len() > 63 {
        found.push(too_long(63));
    }
    if !is_label(text) {
        found.push(if is_subdomain(text) {
            "must not contain dots".to_owned()
        } else {
            form(
                "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and \
                 end with an alphanumeric character",
                LABEL,
                &["my-name", "123-abc"],
            )
        });
    }
    found
}

/// A DNS subdomain (RFC 1123).
pub fn subdomain(text: &str) -> Findings {
    let mut found = Findings::new();
    if text.len() > 253 {
        found.push(too_long(253));
    }
    if !is_subdomain(text) {
        found.push(form(
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start \
             and end with an alphanumeric character",
            &format!("{LABEL}(\\.{LABEL})*"),
            &["example.com"],
        ));
    }
    found
}

/// A DNS label that begins with a letter (RFC 1035).
pub fn label_1035(text: &str) -> Findings {
    let mut found = Findings::new();
    if text.len() > 63 {
        found.push(too_long(63));
    }
    if !(is_label(text) && text.starts_with(|first: char| first.is_ascii_lowercase())) {
        found.push(form(
            "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic \
             character, and end with an alphanumeric character",
            "[a-z]([-a-z0-9]*[a-z0-9])?",
            &["my-name", "abc-123"],
        ));
    }
    found
}

/// What can be one part of a URL's path (RBAC names).
pub fn path_segment(text: &str) -> Findings {
    match text {
        "." | ".." => vec![format!("may not be '{text}'")],
        _ => ["/", "%"].iter().filter(|piece| text.contains(**piece)).map(|piece| format!("may not contain '{piece}'")).collect(),
    }
}

fn alphanumeric_framed(text: &str) -> bool {
    framed(text, |byte| byte.is_ascii_alphanumeric(), |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

const NAME_PART: &str = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";
const NAME_MESSAGE: &str =
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character";
const NAME_EXAMPLES: [&str; 3] = ["MyName", "my.name", "123-abc"];

/// A key of labels and annotations: a name, with a DNS subdomain and a slash before it if there is a prefix.
pub fn qualified_name(text: &str) -> Findings {
    let mut found = Findings::new();
    let mut parts = text.split('/');
    let name = match (parts.next(), parts.next(), parts.next()) {
        (Some(name), None, _) => name,
        (Some(prefix), Some(name), None) => {
            if prefix.is_empty() {
                found.push("prefix part must be non-empty".to_owned());
            } else {
                found.extend(subdomain(prefix).into_iter().map(|finding| format!("prefix part {finding}")));
            }
            name
        }
        _ => {
            let message = form(&format!("a qualified name {NAME_MESSAGE}"), NAME_PART, &NAME_EXAMPLES);
            found.push(format!("{message} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"));
            return found;
        }
    };
    if name.is_empty() {
        found.push("name part must be non-empty".to_owned());
    } else if name.len() > 63 {
        found.push(format!("name part {}", too_long(63)));
    }
    if !alphanumeric_framed(name) {
        found.push(form(&format!("name part {NAME_MESSAGE}"), NAME_PART, &NAME_EXAMPLES));
    }
    found
}

/// The value of a label.
pub fn label_value(text: &str) -> Findings {
    let mut found = Findings::new();
    if text.len() > 63 {
        found.push(too_long(63));
    }
    if !text.is_empty() && !alphanumeric_framed(text) {
        found.push(form(
            "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start \
             and end with an alphanumeric character",
            "(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?",
            &["MyValue", "my_value", "12345"],
        ));
    }
    found
}

/// A key of a ConfigMap or Secret.
pub fn config_key(text: &str) -> Findings {
    let mut found = Findings::new();
    if text.len() > 253 {
        found.push(too_long(253));
    }
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')) {
        found.push(form(
            "a valid config key must consist of alphanumeric characters, '-', '_' or '.'",
            "[-._a-zA-Z0-9]+",
            &["key.name", "KEY_NAME", "key-name"],
        ));
    }
    match text {
        "." => found.push("must not be '.'".to_owned()),
        ".." => found.push("must not be '..'".to_owned()),
        _ if text.starts_with("..") => found.push("must not start with '..'".to_owned()),
        _ => {}
    }
    found
}

/// The name of an environment variable.
pub fn variable(text: &str) -> Findings {
    if text.is_empty() {
        return vec!["environment variable name must be non-empty".to_owned()];
    }
    if text.bytes().all(|byte| (b' '..=b'~').contains(&byte) && byte != b'=') {
        return Findings::new();
    }
    vec!["a valid environment variable name must consist only of printable ASCII characters other than '='".to_owned()]
}

/// The name of a port (RFC 6335, lower case).
pub fn port_name(text: &str) -> Findings {
    let mut found = Findings::new();
    if text.len() > 15 {
        found.push(too_long(15));
    }
    if text.is_empty() || !text.bytes().all(|byte| lower(byte) || byte == b'-') {
        found.push("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)".to_owned());
    }
    if !text.bytes().any(|byte| byte.is_ascii_lowercase()) {
        found.push("must contain at least one letter (a-z)".to_owned());
    }
    if text.contains("--") {
        found.push("must not contain consecutive hyphens".to_owned());
    }
    if text.starts_with('-') || text.ends_with('-') {
        found.push("must not begin or end with a hyphen".to_owned());
    }
    found
}

/// A number within limits.
pub fn in_range(number: i64, low: i64, high: i64) -> Findings {
    if (low..=high).contains(&number) { Findings::new() } else { vec![format!("must be between {low} and {high}, inclusive")] }
}

/// A port's number.
pub fn port_number(number: i64) -> Findings {
    in_range(number, 1, 65535)
}

/// An IP address.
pub fn ip(text: &str) -> Findings {
    if super::net::lenient(text).is_some() {
        Findings::new()
    } else {
        vec!["must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)".to_owned()]
    }
}

/// A user's or group's number.
pub fn id(number: i64) -> Findings {
    in_range(number, 0, i64::from(i32::MAX))
}

/// A range of addresses.
pub fn cidr(text: &str) -> Findings {
    if text.parse::<ipnet::IpNet>().is_ok() {
        Findings::new()
    } else {
        vec!["must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)".to_owned()]
    }
}

/// A domain in a search list: a DNS subdomain whose labels may begin with an underscore and have more inside.
pub fn search_domain(text: &str) -> Findings {
    const PART: &str = "_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?";
    let mut found = Findings::new();
    if text.len() > 253 {
        found.push(too_long(253));
    }
    let inner = |byte: u8| lower(byte) || matches!(byte, b'-' | b'_');
    if !text.split('.').all(|label| framed(label.strip_prefix('_').unwrap_or(label), lower, inner)) {
        found.push(form(
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or '.', and must start \
             and end with an alphanumeric character",
            &format!("{PART}(\\.{PART})*"),
            &["example.com"],
        ));
    }
    found
}

/// The name of a header of an HTTP request.
pub fn http_header(text: &str) -> Findings {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
        return Findings::new();
    }
    vec![form("a valid HTTP header must consist of alphanumeric characters or '-'", "[-A-Za-z0-9]+", &["X-Header-Name"])]
}

/// The name of a kernel parameter, with dots or slashes.
pub fn sysctl(text: &str) -> Findings {
    const PART: &str = "[a-z0-9]([-_a-z0-9]*[a-z0-9])?";
    let inner = |byte: u8| lower(byte) || matches!(byte, b'-' | b'_');
    if text.len() <= 253 && text.split(['.', '/']).all(|part| framed(part, lower, inner)) {
        return Findings::new();
    }
    vec![format!("must have at most 253 characters and match regex ^({PART}[\\./])*{PART}$")]
}

/// A percentage: digits and `%`.
pub fn percent(text: &str) -> Findings {
    match text.strip_suffix('%') {
        Some(digits) if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) => Findings::new(),
        _ => vec![form("a valid percent string must be a numeric string followed by an ending '%'", "[0-9]+%", &["1%", "93%"])],
    }
}

/// The driver of a CSI volume: a DNS subdomain in any case.
pub fn driver(text: &str) -> Findings {
    subdomain(&text.to_lowercase())
}
