//! Paths from an object to one of its fields: `.spec.replicas`, `.spec['a.b'].c`.

use corten_schema::Value;

use crate::view::at;

/// The pieces of a path: delimiters, quoted names, plain names.
fn pieces(path: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = path;
    while let Some(first) = rest.chars().next() {
        let end = match first {
            '.' | '[' | ']' => 1,
            '\'' => {
                let mut escaped = false;
                let closing = rest.char_indices().skip(1).find(|(_, c)| {
                    let closes = *c == '\'' && !escaped;
                    escaped = *c == '\\' && !escaped;
                    closes
                });
                closing.map_or(rest.len(), |(at, _)| at + 1)
            }
            _ => rest.find(['.', '[', ']', '\'']).unwrap_or(rest.len()),
        };
        let (piece, after) = rest.split_at(end);
        found.push(piece);
        rest = after;
    }
    found
}

/// The field names on the way, and the schema at its end.
///
/// # Errors
///
/// Why the path leads nowhere, in the reference's words.
pub(super) fn resolve<'s>(path: &str, schema: &'s Value) -> Result<(Vec<String>, &'s Value), String> {
    let mut steps = Vec::new();
    let mut schema = schema;
    let mut all = pieces(path).into_iter();
    while let Some(piece) = all.next() {
        let end = || "unexpected end of JSON path".to_owned();
        let (name, quoted) = match piece {
            "." => (all.next().ok_or_else(end)?.to_owned(), false),
            "[" => {
                let text = all.next().ok_or_else(end)?;
                let inner = text.strip_prefix('\'').and_then(|text| text.strip_suffix('\''));
                let name = inner.ok_or_else(|| format!("expected single quoted string but got {text}"))?;
                match all.next() {
                    Some("]") => (name.replace("\\'", "'").replace("\\\\", "\\"), true),
                    other => return Err(format!("expected ] but got {}", other.unwrap_or_default())),
                }
            }
            other => return Err(format!("expected [ or . but got: {other}")),
        };
        let property = at(schema, "properties").and_then(|properties| properties.get(&name));
        let keyed = at(schema, "additionalProperties").filter(|_| quoted).filter(|more| more.as_map().is_some());
        schema = keyed.or(property).ok_or("does not refer to a valid field")?;
        steps.push(name);
    }
    if steps.is_empty() { Err("must not be empty".to_owned()) } else { Ok((steps, schema)) }
}
