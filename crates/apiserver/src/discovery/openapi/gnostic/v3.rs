//! OpenAPI 3: the messages of gnostic's `openapi.v3` package, by their field numbers.

use corten_schema::Value;

use super::{
    Message,
    Shape::{Any, Anys, Default, Flag, In, Map, One, OrReference, Text, Texts},
    message,
};

static DOCUMENT: Message = Message {
    fields: &[("openapi", 1, Text), ("info", 2, One(&INFO)), ("paths", 4, Map(1, &One(&PATH_ITEM))), ("components", 5, One(&COMPONENTS))],
    extensions: 9,
};

static INFO: Message = Message { fields: &[("title", 1, Text), ("description", 2, Text), ("version", 6, Text)], extensions: 7 };

static COMPONENTS: Message = Message { fields: &[("schemas", 1, Map(1, &OrReference(&SCHEMA)))], extensions: 10 };

static PATH_ITEM: Message = Message {
    fields: &[
        ("summary", 2, Text),
        ("description", 3, Text),
        ("get", 4, One(&OPERATION)),
        ("put", 5, One(&OPERATION)),
        ("post", 6, One(&OPERATION)),
        ("delete", 7, One(&OPERATION)),
        ("options", 8, One(&OPERATION)),
        ("head", 9, One(&OPERATION)),
        ("patch", 10, One(&OPERATION)),
        ("parameters", 13, OrReference(&PARAMETER)),
    ],
    extensions: 14,
};

static OPERATION: Message = Message {
    fields: &[
        ("tags", 1, Texts),
        ("summary", 2, Text),
        ("description", 3, Text),
        ("operationId", 5, Text),
        ("parameters", 6, OrReference(&PARAMETER)),
        ("requestBody", 7, OrReference(&REQUEST_BODY)),
        ("responses", 8, Map(2, &OrReference(&RESPONSE))),
        ("deprecated", 10, Flag),
    ],
    extensions: 13,
};

static PARAMETER: Message = Message {
    fields: &[("name", 1, Text), ("in", 2, Text), ("description", 3, Text), ("required", 4, Flag), ("schema", 10, OrReference(&SCHEMA))],
    extensions: 14,
};

static REQUEST_BODY: Message =
    Message { fields: &[("description", 1, Text), ("content", 2, Map(1, &One(&MEDIA_TYPE))), ("required", 3, Flag)], extensions: 4 };

static RESPONSE: Message = Message { fields: &[("description", 1, Text), ("content", 3, Map(1, &One(&MEDIA_TYPE)))], extensions: 5 };

static MEDIA_TYPE: Message = Message { fields: &[("schema", 1, OrReference(&SCHEMA))], extensions: 5 };

static SCHEMA: Message = Message {
    fields: &[
        ("nullable", 1, Flag),
        ("title", 9, Text),
        ("pattern", 17, Text),
        ("required", 23, Texts),
        ("enum", 24, Anys),
        ("type", 25, Text),
        ("allOf", 26, OrReference(&SCHEMA)),
        ("oneOf", 27, OrReference(&SCHEMA)),
        ("anyOf", 28, OrReference(&SCHEMA)),
        ("items", 30, In(1, &OrReference(&SCHEMA))),
        ("properties", 31, Map(1, &OrReference(&SCHEMA))),
        ("additionalProperties", 32, In(1, &OrReference(&SCHEMA))),
        ("default", 33, Default),
        ("description", 34, Text),
        ("format", 35, Text),
        ("example", 7, Any),
    ],
    extensions: 36,
};

/// The message `openapi.v3.Document` of a document.
pub(in crate::discovery::openapi) fn encode(document: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    message(&DOCUMENT, document, &mut out);
    out
}
