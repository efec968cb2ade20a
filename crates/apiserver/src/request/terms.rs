//! The terms of a field selector. Authorization and selection read them here alike: a selector never means one object to
//! the one and others to the other.

/// One term: `field=value`, `field==value` or `field!=value`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Term {
    /// The field's path.
    pub(crate) field: String,
    /// Whether it must have the value, or must not.
    pub(crate) equal: bool,
    /// The value, without its escapes.
    pub(crate) value: String,
}

impl Term {
    /// The terms of `text`, in order.
    ///
    /// # Errors
    ///
    /// The first term without an operator.
    pub(crate) fn parse_all(text: &str) -> Result<Vec<Self>, String> {
        split(text).into_iter().filter(|term| !term.is_empty()).map(|term| Self::parse(&term).ok_or(term)).collect()
    }

    fn parse(term: &str) -> Option<Self> {
        let at = term.find(['=', '!'])?;
        let (field, rest) = term.split_at(at);
        let (equal, value) = match rest.strip_prefix("!=") {
            Some(value) => (false, value),
            None => (true, rest.strip_prefix("==").or_else(|| rest.strip_prefix('='))?),
        };
        Some(Self { field: field.trim().to_owned(), equal, value: unescape(value) })
    }
}

/// `selector` with the further condition that the object has this name.
pub(super) fn with_name(name: &str, selector: &str) -> String {
    let mut text = String::from("metadata.name=");
    for c in name.chars() {
        if matches!(c, '\\' | ',' | '=') {
            text.push('\\');
        }
        text.push(c);
    }
    if selector.is_empty() { text } else { format!("{text},{selector}") }
}

/// Splits at commas that are not escaped.
fn split(text: &str) -> Vec<String> {
    let mut terms = vec![String::new()];
    let mut escaped = false;
    for c in text.chars() {
        if c == ',' && !escaped {
            terms.push(String::new());
            continue;
        }
        escaped = c == '\\' && !escaped;
        if let Some(term) = terms.last_mut() {
            term.push(c);
        }
    }
    terms
}

fn unescape(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        out.push(if c == '\\' { chars.next().unwrap_or(c) } else { c });
    }
    out
}
