//! Patches of every type, and configurations that are applied. An input is an object and a patch, a line each.

use corten_schema::{
    Schema, Str, Value,
    apply::{Application, Managed, OneVersion, Operation, Paths, Writer, decode_fields, encode_fields, owned},
    json::{Strictness, canonicalize, decode_untyped},
    patch, table,
};

/// Words of patches.
pub const PATCH_WORDS: &[&str] = &[
    "\"op\":\"copy\"",
    "\"op\":\"move\"",
    "\"op\":\"test\"",
    "\"from\":\"/spec\"",
    "\"path\":\"/spec/containers/0\"",
    "\"$patch\":\"delete\"",
    "\"$patch\":\"replace\"",
    "\"$retainKeys\":[\"name\"]",
    "\"$setElementOrder/containers\":[{\"name\":\"a\"}]",
    "\"$deleteFromPrimitiveList/finalizers\":[\"x/y\"]",
    "\"containers\":[{\"name\":\"a\"}]",
    "null",
    "[]",
    "{}",
];

/// Words of sets of fields.
pub const FIELD_WORDS: &[&str] = &["\"f:a\":", "\"k:{\\\"name\\\":\\\"a\\\"}\":", "\"v:1\":", "\"i:0\":", "\".\":{}", "{}"];

fn pods() -> Option<&'static Schema> {
    table().kind_of("v1", "Pod").map(|row| &row.schema)
}

/// Object and patch.
fn parts(data: &[u8]) -> Option<(&'static Schema, Value, Value)> {
    let schema = pods()?;
    let at = data.iter().position(|byte| *byte == b'\n')?;
    let (object, patch) = (data.get(..at)?, data.get(at..)?);
    let object = canonicalize(schema, &decode_untyped(object).ok()?, Strictness::Ignore).ok()?.value;
    Some((schema, object, decode_untyped(patch).ok()?))
}

/// Every patch type: what comes of it can be read or is refused, and a merge patch does nothing the second time.
pub fn patches(data: &[u8]) {
    let Some((schema, object, patch)) = parts(data) else { return };
    let _ = patch::json(&object, &patch).map(|patched| canonicalize(schema, &patched, Strictness::Ignore));
    let merged = patch::merge(&object, &patch);
    assert_eq!(patch::merge(&merged, &patch), merged);
    let _ = patch::strategic(schema, &object, &patch).map(|patched| canonicalize(schema, &patched, Strictness::Ignore));
}

/// Apply: what is applied is owned, and applying it again changes nothing.
pub fn apply(data: &[u8]) {
    let Some((schema, object, configuration)) = parts(data) else { return };
    let versions = OneVersion { api_version: "v1", schema };
    let writer = Writer {
        manager: Str::from_static("a"),
        operation: Operation::Apply,
        api_version: Str::from_static("v1"),
        subresource: Str::default(),
    };
    let (empty, now, reset) = (schema.empty(), Str::from_static("2026-01-01T00:00:00Z"), Paths::none());
    let application = |live| Application {
        schema,
        versions: &versions,
        live,
        empty: &empty,
        configuration: &configuration,
        reset: &reset,
        writer: &writer,
        force: true,
        now: &now,
    };
    let Ok(first) = application(&object).run(&Managed::default()) else { return };
    let Ok(again) = application(&first.object).run(&first.managed) else { panic!("what was applied once is refused") };
    assert_eq!(again.object, first.object);
    assert!(again.managed.same_apart_from_times(&first.managed));
    let set = owned(schema, &configuration);
    let mine = first.managed.entries().iter().find(|entry| entry.writer == writer).map(|entry| entry.fields.set());
    assert_eq!(mine.and_then(Result::ok).is_some_and(|mine| *mine == set), !set.is_empty());
}

/// `FieldsV1`: what can be read is written so that it reads the same.
pub fn fields(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(set) = decode_fields(text) else { return };
    let written = encode_fields(&set);
    assert_eq!(decode_fields(&written).as_ref(), Ok(&set), "{written}");
    assert_eq!(set.union(&set), set);
    assert!(set.difference(&set).is_empty() && set.contains_all(&set));
}
