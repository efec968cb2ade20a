//! OpenAPI as protobuf: the messages of gnostic's `openapi.v2` package (here) and `openapi.v3`, by their field numbers.
//!
//! Only what the documents here contain is known. Maps are lists of name and value, alternatives are messages with a field
//! each, and what has no shape (vendor extensions, enumerations, defaults) is YAML text, for which JSON will do.

mod v3;

use corten_schema::{Value, json};

pub(super) use v3::encode as encode_v3;

/// How a value of the document is written.
enum Shape {
    /// A string.
    Text,
    /// A list of strings.
    Texts,
    /// A boolean; false is not written.
    Flag,
    /// Anything, as text.
    Any,
    /// A list of anything.
    Anys,
    /// A message.
    One(&'static Message),
    /// A message with one field, which has the value.
    In(u64, &'static Shape),
    /// A message whose entries are in one repeated field.
    Map(u64, &'static Shape),
    /// A message (field 1 of what stands for either), or a reference to one (field 2).
    OrReference(&'static Message),
    /// A default: a number, a boolean or a string. Others have no place in the message.
    Default,
    /// A list of parameters, whose message depends on their place.
    Parameters,
}

use Shape::{Any, Anys, Default, Flag, In, Map, One, OrReference, Parameters, Text, Texts};

struct Message {
    /// Name in JSON, number, shape.
    fields: &'static [(&'static str, u64, Shape)],
    /// The number of the field for all names that begin with `x-`.
    extensions: u64,
}

static DOCUMENT: Message = Message {
    fields: &[
        ("swagger", 1, Text),
        ("info", 2, One(&INFO)),
        ("paths", 8, Map(2, &One(&PATH_ITEM))),
        ("definitions", 9, Map(1, &One(&SCHEMA))),
    ],
    extensions: 16,
};

static INFO: Message = Message { fields: &[("title", 1, Text), ("version", 2, Text), ("description", 3, Text)], extensions: 7 };

static PATH_ITEM: Message = Message {
    fields: &[
        ("get", 2, One(&OPERATION)),
        ("put", 3, One(&OPERATION)),
        ("post", 4, One(&OPERATION)),
        ("delete", 5, One(&OPERATION)),
        ("options", 6, One(&OPERATION)),
        ("head", 7, One(&OPERATION)),
        ("patch", 8, One(&OPERATION)),
        ("parameters", 9, Parameters),
    ],
    extensions: 10,
};

static OPERATION: Message = Message {
    fields: &[
        ("tags", 1, Texts),
        ("summary", 2, Text),
        ("description", 3, Text),
        ("operationId", 5, Text),
        ("produces", 6, Texts),
        ("consumes", 7, Texts),
        ("parameters", 8, Parameters),
        ("responses", 9, Map(1, &In(1, &One(&RESPONSE)))),
        ("schemes", 10, Texts),
        ("deprecated", 11, Flag),
    ],
    extensions: 13,
};

static RESPONSE: Message = Message { fields: &[("description", 1, Text), ("schema", 2, In(1, &One(&SCHEMA)))], extensions: 5 };

static BODY: Message = Message {
    fields: &[("description", 1, Text), ("name", 2, Text), ("in", 3, Text), ("required", 4, Flag), ("schema", 5, One(&SCHEMA))],
    extensions: 6,
};

static QUERY: Message = Message {
    fields: &[
        ("required", 1, Flag),
        ("in", 2, Text),
        ("description", 3, Text),
        ("name", 4, Text),
        ("type", 6, Text),
        ("format", 7, Text),
        ("uniqueItems", 20, Flag),
    ],
    extensions: 23,
};

static PATH: Message = Message {
    fields: &[
        ("required", 1, Flag),
        ("in", 2, Text),
        ("description", 3, Text),
        ("name", 4, Text),
        ("type", 5, Text),
        ("format", 6, Text),
        ("uniqueItems", 19, Flag),
    ],
    extensions: 22,
};

static SCHEMA: Message = Message {
    fields: &[
        ("$ref", 1, Text),
        ("format", 2, Text),
        ("title", 3, Text),
        ("description", 4, Text),
        ("default", 5, Any),
        ("pattern", 13, Text),
        ("required", 19, Texts),
        ("enum", 20, Anys),
        ("additionalProperties", 21, In(1, &One(&SCHEMA))),
        ("type", 22, In(1, &Text)),
        ("items", 23, In(1, &One(&SCHEMA))),
        ("allOf", 24, One(&SCHEMA)),
        ("properties", 25, Map(1, &One(&SCHEMA))),
    ],
    extensions: 31,
};

/// Eight bytes, in the wire's words.
const FIXED: u64 = 1;

/// Length-delimited, in the wire's words.
const DELIMITED: u64 = 2;

/// The message `openapi.v2.Document` of a document.
pub(super) fn encode(document: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    message(&DOCUMENT, document, &mut out);
    out
}

fn message(of: &Message, value: &Value, out: &mut Vec<u8>) {
    for (name, value) in value.as_map().into_iter().flatten() {
        match of.fields.iter().find(|(known, ..)| *known == name.as_str()) {
            Some((_, number, shape)) => write(shape, *number, value, out),
            None if name.starts_with("x-") => entry(of.extensions, name, &Any, value, out),
            None => {}
        }
    }
}

fn write(shape: &Shape, number: u64, value: &Value, out: &mut Vec<u8>) {
    let items = || value.as_list().unwrap_or_default();
    match shape {
        Text => bytes(number, value.as_str().unwrap_or_default().as_bytes(), out),
        Texts => items().iter().for_each(|item| write(&Text, number, item, out)),
        Flag if value.as_bool() == Some(true) => {
            varint(number << 3, out);
            varint(1, out);
        }
        Flag => {}
        Any => nested(number, out, |out| {
            let mut text = json::encode(value);
            text.push(b'\n');
            bytes(2, &text, out);
        }),
        Anys => items().iter().for_each(|item| write(&Any, number, item, out)),
        // A message that may occur several times is a list in JSON.
        One(of) if value.as_list().is_some() => items().iter().for_each(|item| write(&One(of), number, item, out)),
        One(of) => nested(number, out, |out| message(of, value, out)),
        In(inner, shape) => nested(number, out, |out| write(shape, *inner, value, out)),
        Map(inner, shape) => nested(number, out, |out| {
            for (name, value) in value.as_map().into_iter().flatten() {
                entry(*inner, name, shape, value, out);
            }
        }),
        OrReference(of) if value.as_list().is_some() => items().iter().for_each(|item| write(&OrReference(of), number, item, out)),
        OrReference(of) => nested(number, out, |out| match value.get("$ref") {
            Some(reference) => nested(2, out, |out| write(&Text, 1, reference, out)),
            None => nested(1, out, |out| message(of, value, out)),
        }),
        Default => match value {
            Value::Bool(flag) => nested(number, out, |out| {
                varint(2 << 3, out);
                varint(u64::from(*flag), out);
            }),
            Value::String(_) => nested(number, out, |out| write(&Text, 3, value, out)),
            _ => {
                if let Some(double) = value.as_f64() {
                    nested(number, out, |out| {
                        varint(1 << 3 | FIXED, out);
                        out.extend_from_slice(&double.to_le_bytes());
                    });
                }
            }
        },
        Parameters => {
            for item in items() {
                // ParametersItem.parameter, then Parameter.body_parameter or non_body_parameter and its kinds.
                nested(number, out, |out| {
                    nested(1, out, |out| match item.str_at(&["in"]) {
                        "body" => write(&One(&BODY), 1, item, out),
                        "path" => nested(2, out, |out| write(&One(&PATH), 4, item, out)),
                        _ => nested(2, out, |out| write(&One(&QUERY), 3, item, out)),
                    });
                });
            }
        }
    }
}

/// An entry of a map: its name and its value.
fn entry(number: u64, name: &str, shape: &Shape, value: &Value, out: &mut Vec<u8>) {
    nested(number, out, |out| {
        bytes(1, name.as_bytes(), out);
        write(shape, 2, value, out);
    });
}

fn nested(number: u64, out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    let mut inner = Vec::new();
    body(&mut inner);
    bytes(number, &inner, out);
}

fn bytes(number: u64, value: &[u8], out: &mut Vec<u8>) {
    varint(number << 3 | DELIMITED, out);
    varint(value.len() as u64, out);
    out.extend_from_slice(value);
}

fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
