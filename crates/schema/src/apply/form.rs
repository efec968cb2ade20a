//! What owners say, but for the values that mostly one object has. So nearly everything they say, others say as well.

use super::entry::Writer;
use super::fields::{self, Fields};
use super::pack::{pack, pack_well};
use crate::{Str, json};
use std::ops::Range;
use std::sync::OnceLock;

/// An entry of `managedFields` but for its time, with blanks for values of its own.
///
/// It stands apart from the number of those who have it, which all processors change all the time.
#[derive(Debug)]
#[repr(align(64))]
pub(super) struct Form {
    pub(super) writer: Writer,
    /// The whole as JSON without a time.
    text: Str,
    /// Where the time goes in it.
    time: usize,
    /// Where the fields stand in it.
    fields: Range<usize>,
    /// Where in them the values go, in their order.
    blanks: Box<[usize]>,
    /// Whether all such values are taken out, as far as can be seen.
    seems_clear: bool,
    /// The text in less room.
    packed: OnceLock<Box<[u8]>>,
    /// Set if several have it: the fields, and what is found out about them, if nobody has values of its own.
    pub(super) shared: OnceLock<Option<Fields>>,
}

impl Form {
    /// The form of what this writer says of these fields, and the values that were taken out.
    pub(super) fn of(writer: &Writer, fields: &Fields) -> (Self, Str) {
        let Writer { manager, operation, api_version, subresource } = writer;
        json::in_buffer(|out| {
            let member = |name: &str, value: &str, out: &mut Vec<u8>| {
                if !value.is_empty() {
                    out.extend_from_slice(name.as_bytes());
                    json::encode_string(value, out);
                    out.push(b',');
                }
            };
            out.push(b'{');
            member("\"manager\":", manager, out);
            member("\"operation\":", operation.as_str(), out);
            member("\"apiVersion\":", api_version, out);
            let time = out.len();
            out.extend_from_slice(b"\"fieldsType\":\"FieldsV1\",\"fieldsV1\":");
            let begin = out.len();
            let (mut blanks, mut values) = (Vec::new(), String::new());
            let seems_clear = take_out(fields.text(), |before, value| {
                out.extend_from_slice(before.as_bytes());
                if let Some(value) = value {
                    blanks.push(out.len());
                    push_value(value, &mut values);
                }
            });
            let fields = begin..out.len();
            if !subresource.is_empty() {
                out.extend_from_slice(b",\"subresource\":");
                json::encode_string(subresource, out);
            }
            out.push(b'}');
            let (writer, text) = (writer.clone(), std::str::from_utf8(out).unwrap_or_default().into());
            let (packed, shared) = (OnceLock::new(), OnceLock::new());
            (Self { writer, text, time, fields, blanks: blanks.into(), seems_clear, packed, shared }, values.into())
        })
    }

    /// The text, without a time and without values.
    pub(super) const fn text(&self) -> &Str {
        &self.text
    }

    /// Whether these values go into it.
    pub(super) fn fits(&self, all: &str) -> bool {
        let is_ended = all.is_empty() || all.ends_with(END);
        is_ended && values(all).count() == self.blanks.len() && values(all).all(json::is_plain)
    }

    /// Whether several have it, as far as is known.
    pub(super) fn is_shared(&self) -> bool {
        self.shared.get().is_some()
    }

    /// How many values go into it.
    pub(super) const fn blanks(&self) -> usize {
        self.blanks.len()
    }

    /// The text of its fields with these values.
    pub(super) fn fields(&self, values: &str) -> Str {
        if self.blanks.is_empty() {
            return self.text.get(self.fields.clone()).unwrap_or_default().into();
        }
        let mut text = String::with_capacity(self.fields.len() + values.len());
        self.fill(self.fields.clone(), values, |part| text.push_str(part));
        text.into()
    }

    /// Whether all values of its own are taken out of it, so that no other part of it can be equal to one.
    pub(super) fn is_clear(&self, values: &str) -> bool {
        let text = self.fields(values);
        self.seems_clear && fields::decode(&text).is_ok_and(|set| *fields::encode(&set) == *text)
    }

    /// What stands before the time.
    pub(super) fn before_time(&self) -> &str {
        self.text.get(..self.time).unwrap_or_default()
    }

    /// Gives `write` the parts of what stands after the time, with these values.
    pub(super) fn write_after_time(&self, values: &str, write: impl FnMut(&str)) {
        self.fill(self.time..self.text.len(), values, write);
    }

    fn fill(&self, range: Range<usize>, all: &str, mut write: impl FnMut(&str)) {
        let Range { mut start, end } = range;
        for (blank, value) in self.blanks.iter().zip(values(all)) {
            write(self.text.get(start..*blank).unwrap_or_default());
            write(value);
            start = *blank;
        }
        write(self.text.get(start..end).unwrap_or_default());
    }

    /// The text, packed when it is asked for first.
    pub(super) fn packed(&self) -> &[u8] {
        self.packed.get_or_init(|| if self.is_shared() { pack_well(&self.text) } else { pack(&self.text) }.into())
    }
}

/// Key fields whose values mostly one object has: of an address in `podIPs`, and of an owner.
const NAMES: [&str; 2] = ["ip", "uid"];
/// Stands behind each value, and in none.
const END: char = '"';

/// Whether a value is taken out where it alone tells an item apart.
pub(super) fn is_own(name: &str, value: &str) -> bool {
    NAMES.contains(&name) && json::is_plain(value)
}

/// Appends a value to others.
pub(super) fn push_value(value: &str, values: &mut String) {
    values.push_str(value);
    values.push(END);
}

/// All of them.
pub(super) fn values(values: &str) -> impl Iterator<Item = &str> + Clone {
    values.split_terminator(END)
}

/// Gives `part` what stands before each value that is taken out of the text of fields, with that value, and what stands behind the
/// last one. False if there is a value that cannot be taken out.
fn take_out<'t>(text: &'t str, mut part: impl FnMut(&'t str, Option<&'t str>)) -> bool {
    const KEY: &str = r#""k:{\""#;
    let (mut is_clear, mut begin) = (true, 0);
    for (at, _) in text.match_indices(KEY) {
        let (before, key) = text.split_at_checked(at).unwrap_or_default();
        let value_of = |name: &&str| key.strip_prefix(KEY)?.strip_prefix(*name)?.strip_prefix(r#"\":"#);
        let Some(rest) = NAMES.iter().find_map(value_of) else { continue };
        // Whatever follows a backslash stands in a name.
        if before.ends_with('\\') {
            continue;
        }
        let value = rest.strip_prefix(r#"\""#).and_then(|rest| {
            let (value, end) = rest.split_at_checked(rest.find('\\')?)?;
            end.starts_with(r#"\"}""#).then_some((value, text.len() - rest.len()))
        });
        match value.filter(|(value, _)| json::is_plain(value)) {
            Some((value, place)) => {
                part(text.get(begin..place).unwrap_or_default(), Some(value));
                begin = place + value.len();
            }
            None => is_clear = false,
        }
    }
    part(text.get(begin..).unwrap_or_default(), None);
    is_clear
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apply::Operation;

    fn form(fields: &str) -> (Form, Str) {
        let writer = Writer { manager: "a".into(), operation: Operation::Update, api_version: "v1".into(), subresource: "status".into() };
        Form::of(&writer, &Fields::from_text(fields.into()))
    }

    #[test]
    fn values_of_its_own_are_taken_out() {
        let text = r#"{"f:a":{"k:{\"ip\":\"\"}":{},"k:{\"ip\":\"10.0.0.1\"}":{".":{},"f:ip":{}}},"f:b":{"k:{\"uid\":\"u\"}":{}}}"#;
        let (form, values) = form(text);
        assert_eq!(*values, *"\"10.0.0.1\"u\"");
        assert_eq!(form.blanks(), 3);
        assert_eq!(*form.fields(&values), *text);
        assert!(form.is_clear(&values));
        let without = text.replace("10.0.0.1", "").replace(r#"\"u\""#, r#"\"\""#);
        assert!(form.text().contains(&without));
        let mut written = form.before_time().to_owned();
        form.write_after_time(&values, |part| written.push_str(part));
        assert_eq!(written, form.text().replace(&without, text));
        // What others have is the same form.
        let (other, values) = self::form(&text.replace("10.0.0.1", "10.0.0.2"));
        assert_eq!((other.text(), &*values), (form.text(), "\"10.0.0.2\"u\""));
    }

    #[test]
    fn what_is_no_value_of_its_own_stays() {
        for text in [
            "{}",
            r#"{"f:a":{"k:{\"name\":\"ip\"}":{}}}"#,
            r#"{"f:a":{"v:\"ip\"":{}}}"#,
            r#"{"f:a":{"k:{\"port\":1,\"uid\":\"a\"}":{}}}"#,
            // A name of a map's entry that looks like it.
            r#"{"f:a":{"f:\"k:{\"ip\":\"a\"}":{}}}"#,
        ] {
            let (form, values) = form(text);
            assert_eq!((&*values, &*form.fields(&values)), ("", text));
            assert!(form.is_clear(&values), "{text}");
        }
    }

    /// Where the like of a value stays in the text, it is not compared with those that were taken out.
    #[test]
    fn what_cannot_be_taken_out_is_told() {
        for text in [
            r#"{"f:a":{"k:{\"ip\":\"a\\\"b\"}":{}}}"#,
            r#"{"f:a":{"k:{\"ip\":\"a\",\"port\":1}":{}}}"#,
            r#"{"f:a":{"k:{\"ip\":1}":{}}}"#,
            r#"{"f:a":{"k:{\"ip\":\"é"#,
            r#"{"f:a":{"k:{\"ip\": \"a\"}":{}}}"#,
            r#"{"f:a":{"k:{ \"ip\":\"a\"}":{}}}"#,
            r#"{"f:a":{"\u006b:{\"ip\":\"a\"}":{}}}"#,
            r#"{"f:a":{"k:{\"\u0069p\":\"a\"}":{}}}"#,
        ] {
            let (form, values) = form(text);
            assert_eq!((&*values, &*form.fields(&values)), ("", text));
            assert!(!form.is_clear(&values), "{text}");
        }
    }
}
