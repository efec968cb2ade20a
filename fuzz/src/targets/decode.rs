//! Objects in requests: whatever can be read is canonical, and survives every encoding.

use corten_schema::{Resource, Strictness, Value, json as json_codec, proto, table, yaml as yaml_codec};

/// Words of JSON objects.
pub const JSON_WORDS: &[&str] = &[
    "null",
    "true",
    "[]",
    "{}",
    "\"\"",
    "1e400",
    "-0",
    "9223372036854775808",
    "1.5",
    "\"\\ud800\"",
    "\"\\u0000\"",
    "\"kind\":",
    "\"metadata\":",
    "\"labels\":",
    "\"creationTimestamp\":",
    "\"managedFields\":[{}],",
    "\"fieldsV1\":{\"f:spec\":{}}",
    "\"fieldsType\":\"FieldsV1\",",
    "\"operation\":\"Apply\",",
    "\"time\":\"2026-01-01T00:00:00Z\",",
    "\"2024-02-30T25:61:61Z\"",
    "\"1e99\"",
    "\"100m\"",
    "\"spec\":",
    "\"status\":",
    "[[[[",
    "\u{feff}",
];

/// Words of YAML objects.
pub const YAML_WORDS: &[&str] = &[
    "null",
    "~",
    "yes",
    "017",
    "0x1f",
    "1_000",
    "- ",
    "? ",
    "&a ",
    "*a",
    "<<: *a",
    "!!binary ",
    "|\n ",
    ">-\n ",
    "{",
    "[",
    ": ",
    "\n---\n",
    "\t",
    "2001-01-01",
    ".inf",
    "'",
    "\"",
];

/// The kind that an object says it is; Pods where it is none.
fn row(api_version: &str, kind: &str) -> Option<&'static Resource> {
    let table = table();
    table.kind_of(api_version, kind).or_else(|| table.kind_of("v1", "Pod")).map(AsRef::as_ref)
}

/// Reading what was written gives the same tree, in JSON and in protobuf.
fn survives(row: &Resource, value: &Value) {
    let text = json_codec::encode(value);
    let again = json_codec::decode(&row.schema, &text, Strictness::Strict);
    let again = again.unwrap_or_else(|error| panic!("own JSON is refused: {error}: {}", String::from_utf8_lossy(&text)));
    assert_eq!(again.value, *value, "JSON changed it");
    let bytes = proto::encode(&row.schema, value);
    let again = proto::decode(&row.schema, &bytes).unwrap_or_else(|error| panic!("own protobuf is refused: {error}")).value;
    // Protobuf has no null among a map's or a list's values (`data: {a: null}`): it comes back as an empty value, and stays one.
    assert!(again == *value || has_null(value), "protobuf changed it: {value:?} became {again:?}");
    assert_eq!(proto::encode(&row.schema, &again), bytes, "protobuf is not stable");
}

fn has_null(value: &Value) -> bool {
    match value {
        Value::List(items) => items.iter().any(|item| item.is_null() || has_null(item)),
        Value::Map(map) => map.iter().any(|(key, item)| (item.is_null() && key.as_str() != "creationTimestamp") || has_null(item)),
        _ => false,
    }
}

/// JSON.
pub fn json(data: &[u8]) {
    let meta = json_codec::type_meta(data).unwrap_or_default();
    let Some(row) = row(&meta.api_version, &meta.kind) else { return };
    // What is dropped in silence by one is refused by the other; both refuse what is no object.
    let strict = json_codec::decode(&row.schema, data, Strictness::Strict);
    match json_codec::decode(&row.schema, data, Strictness::Warn) {
        Ok(decoded) => {
            assert_eq!(strict.is_ok(), decoded.warnings.is_empty(), "{strict:?} and {:?}", decoded.warnings);
            survives(row, &decoded.value);
        }
        Err(_) => assert!(strict.is_err(), "strict decoding accepts what is refused otherwise"),
    }
    if let Ok(value) = json_codec::decode_untyped(data) {
        assert_eq!(json_codec::decode_untyped(&json_codec::encode(&value)).ok(), Some(value));
    }
}

/// YAML.
pub fn yaml(data: &[u8]) {
    let Ok(value) = yaml_codec::decode_untyped(data) else { return };
    let Some(row) = row(value.api_version(), value.kind()) else { return };
    if let Ok(decoded) = yaml_codec::decode(&row.schema, data, Strictness::Warn) {
        survives(row, &decoded.value);
    }
}

/// Protobuf.
pub fn protobuf(data: &[u8]) {
    let meta = proto::type_meta(data).unwrap_or_default();
    let Some(row) = row(&meta.api_version, &meta.kind) else { return };
    if let Ok(decoded) = proto::decode(&row.schema, data) {
        survives(row, &decoded.value);
    }
    // The contents without their envelope.
    if let Ok(value) = proto::decode_message(&row.schema, data) {
        survives(row, &value);
    }
}
