//! Patches of every type, and configurations that are applied. An input is an object and a patch, a line each; a third line is
//! what somebody else applies.

use corten_schema::{
    Schema, Str, Value,
    apply::{
        Application, Applied, ApplyError, FieldSet, Managed, OneVersion, Operation, Paths, Writer, decode_fields, encode_fields, owned,
    },
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
    "\"managedFields\":[{}],",
    "\"path\":\"/metadata/managedFields/0\"",
    "\"operation\":\"Apply\"",
    "\"manager\":\"b\"",
    "\"f:containers\":{\"k:{\\\"name\\\":\\\"a\\\"}\":{\".\":{}}}",
    "\n",
    "null",
    "[]",
    "{}",
];

/// Words of sets of fields.
pub const FIELD_WORDS: &[&str] = &["\"f:a\":", "\"k:{\\\"name\\\":\\\"a\\\"}\":", "\"v:1\":", "\"i:0\":", "\".\":{}", "{}"];

fn pods() -> Option<&'static Schema> {
    table().kind_of("v1", "Pod").map(|row| &row.schema)
}

/// An object, a patch, and what somebody else applies.
struct Input {
    schema: &'static Schema,
    object: Value,
    patch: Value,
    other: Option<Value>,
}

fn parts(data: &[u8]) -> Option<Input> {
    let schema = pods()?;
    let mut lines = data.splitn(3, |byte| *byte == b'\n');
    let (object, patch, other) = (lines.next()?, lines.next()?, lines.next());
    let object = canonicalize(schema, &decode_untyped(object).ok()?, Strictness::Ignore).ok()?.value;
    Some(Input { schema, object, patch: decode_untyped(patch).ok()?, other: other.and_then(|other| decode_untyped(other).ok()) })
}

/// Every patch type: what comes of it can be read or is refused, and a merge patch does nothing the second time.
pub fn patches(data: &[u8]) {
    let Some(Input { schema, object, patch, .. }) = parts(data) else { return };
    let _ = patch::json(&object, &patch).map(|patched| canonicalize(schema, &patched, Strictness::Ignore));
    let merged = patch::merge(&object, &patch);
    assert_eq!(patch::merge(&merged, &patch), merged);
    let _ = patch::strategic(schema, &object, &patch).map(|patched| canonicalize(schema, &patched, Strictness::Ignore));
}

fn writer(manager: &'static str) -> Writer {
    Writer {
        manager: Str::from_static(manager),
        operation: Operation::Apply,
        api_version: Str::from_static("v1"),
        subresource: Str::default(),
    }
}

/// Somebody applies a configuration to an object.
fn applied(
    schema: &'static Schema,
    manager: &'static str,
    (live, owners): (&Value, &Managed),
    configuration: &Value,
    force: bool,
) -> Result<Applied, ApplyError> {
    let application = Application {
        schema,
        versions: &OneVersion { api_version: "v1", schema },
        live,
        empty: &schema.empty(),
        configuration,
        reset: &Paths::none(),
        writer: &writer(manager),
        force,
        now: &Str::from_static("2026-01-01T00:00:00Z"),
    };
    application.run(owners)
}

/// What somebody owns who applies.
fn set_of(managed: &Managed, manager: &'static str) -> Option<FieldSet> {
    let writer = writer(manager);
    let entry = managed.entries().iter().find(|entry| *entry.writer() == writer)?;
    entry.fields().set().ok()
}

/// Apply: what is applied is owned, and applying it again changes nothing. With force somebody else gets the same as without,
/// unless others are in the way; who applies nothing any more owns nothing, and takes nothing from others.
pub fn apply(data: &[u8]) {
    let Some(Input { schema, object, patch: configuration, other }) = parts(data) else { return };
    let owners = Managed::read(object.at(&["metadata", "managedFields"])).unwrap_or_default();
    let Ok(first) = applied(schema, "a", (&object, &owners), &configuration, true) else { return };
    let state = (&first.object, &first.managed);
    let Ok(again) = applied(schema, "a", state, &configuration, true) else { panic!("what was applied once is refused") };
    assert_eq!(again.object, first.object);
    assert!(again.managed.same_apart_from_times(&first.managed));
    let set = owned(schema, &configuration);
    assert_eq!(set_of(&first.managed, "a"), Some(set).filter(|set| !set.is_empty()));

    let other = other.unwrap_or(configuration);
    let Ok(forced) = applied(schema, "b", state, &other, true) else { return };
    match applied(schema, "b", state, &other, false) {
        Ok(free) => {
            assert_eq!(free.object, forced.object);
            assert!(free.managed.same_apart_from_times(&forced.managed));
        }
        Err(ApplyError::Conflicts(conflicts)) => assert!(!conflicts.is_empty()),
        Err(error) => panic!("with force it is taken: {error}"),
    }
    let read = Managed::read(forced.managed.value().as_ref()).unwrap_or_else(|error| panic!("own text is refused: {error}"));
    assert!(read.same_apart_from_times(&forced.managed));

    let left = applied(schema, "b", (&forced.object, &forced.managed), &Value::map(), false);
    let left = left.unwrap_or_else(|error| panic!("nothing is refused: {error}"));
    assert_eq!(set_of(&left.managed, "b"), None);
    assert_eq!(set_of(&left.managed, "a"), set_of(&forced.managed, "a"));
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
