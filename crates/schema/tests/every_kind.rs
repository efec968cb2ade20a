//! What must hold for every kind of the table, on objects made from its schema.

use corten_schema::json::{self, Strictness};
use corten_schema::model::{ListType, SchemaOr, Type, TypeSet};
use corten_schema::{Map, Resource, Str, Value, apply_defaults, patch, proto, table};

/// An object with every field set; recursion ends at the second level of a type within itself.
fn example(types: &TypeSet, ty: &Type, name: &str, open: &mut Vec<String>) -> Value {
    match ty {
        Type::Bool => true.into(),
        Type::Int32 => (-3).into(),
        Type::Int64 => (1_i64 << 40).into(),
        Type::Double => 1.5.into(),
        Type::String => format!("{name} \"é\" \n").into(),
        Type::Bytes => "AQL/".into(),
        Type::Time => "2024-02-29T12:00:00Z".into(),
        Type::MicroTime => "2024-02-29T12:00:00.000123Z".into(),
        Type::Quantity => "1536Mi".into(),
        Type::IntOrString => {
            if name.len().is_multiple_of(2) {
                "25%".into()
            } else {
                Value::from(80)
            }
        }
        Type::RawExtension | Type::Json | Type::FieldsV1 => corten_schema::value!({"f:a": {}, "list": [1, null, "x", false]}),
        Type::Strings => Value::List(vec!["a".into(), "b".into()]),
        Type::SchemaOr(SchemaOr::Bool, _) => false.into(),
        Type::SchemaOr(SchemaOr::Schemas, id) => Value::List(vec![example(types, &Type::Struct(*id), name, open)]),
        Type::SchemaOr(SchemaOr::Strings, _) => Value::List(vec!["a".into()]),
        Type::Struct(id) => {
            let structure = types.get(*id);
            let mut map = Map::new();
            if open.iter().filter(|other| **other == *structure.name).count() < 2 {
                // Protobuf has no kind for an object within another; defaults give it back where it counts.
                let nested = !open.is_empty();
                open.push(structure.name.to_string());
                for field in structure.fields.iter().filter(|field| field.tag != 0 || !nested) {
                    map.insert(field.name.clone(), example(types, &field.ty, &field.name, open));
                }
                open.pop();
            }
            Value::Map(map)
        }
        Type::List(item) => Value::List(vec![example(types, item, name, open)]),
        Type::Map(item) => [("key.io/a", example(types, item, name, open))].into_iter().collect::<Map>().into(),
    }
}

fn full(resource: &Resource) -> Value {
    let types = resource.schema.types();
    let mut value = example(types, &Type::Struct(resource.schema.root()), "", &mut Vec::new());
    value.insert("kind", resource.kind.clone());
    value.insert("apiVersion", resource.api_version());
    value
}

fn text(value: &Value) -> String {
    String::from_utf8_lossy(&json::encode(value)).into_owned()
}

/// Full and empty objects of every kind in canonical form.
fn objects() -> impl Iterator<Item = (&'static Resource, Value)> {
    table().resources().iter().flat_map(|resource| {
        [full(resource), Value::map()].map(|value| {
            let decoded = json::canonicalize(&resource.schema, &value, Strictness::Strict);
            (&**resource, decoded.unwrap_or_else(|error| panic!("{}: {error}", resource.kind)).value)
        })
    })
}

#[test]
fn json_and_protobuf_keep_the_canonical_tree() {
    for (resource, value) in objects() {
        let again = json::decode(&resource.schema, &json::encode(&value), Strictness::Strict).unwrap().value;
        assert_eq!(again, value, "{}", resource.kind);
        let again = proto::decode(&resource.schema, &proto::encode(&resource.schema, &value)).unwrap().value;
        assert_eq!(text(&sorted(&again)), text(&sorted(&value)), "{}", resource.kind);
    }
}

/// Keys in order, so that differences are easy to see.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Map(map) => Value::Map(map.iter().map(|(key, value)| (key.clone(), sorted(value))).collect()),
        Value::List(items) => Value::List(items.iter().map(sorted).collect()),
        Value::Json(text) => sorted(&json::decode_untyped(text.text().as_bytes()).unwrap_or(Value::Null)),
        other => other.clone(),
    }
}

#[test]
fn nothing_of_a_full_object_is_lost() {
    for resource in table().resources() {
        let value = full(resource);
        let decoded = json::canonicalize(&resource.schema, &value, Strictness::Strict).unwrap().value;
        let fields = |value: &Value| value.as_map().map_or(0, Map::len);
        assert_eq!(fields(&decoded), fields(&value), "{}", resource.kind);
        assert_eq!(
            fields(decoded.get("spec").unwrap_or(&Value::Null)),
            fields(value.get("spec").unwrap_or(&Value::Null)),
            "{}",
            resource.kind
        );
    }
}

#[test]
fn defaults_are_canonical_and_settle_at_once() {
    for (resource, value) in objects() {
        let mut once = value;
        apply_defaults(resource, &mut once);
        let canonical = json::canonicalize(&resource.schema, &once, Strictness::Strict).unwrap().value;
        assert_eq!(text(&sorted(&canonical)), text(&sorted(&once)), "{}", resource.kind);
        let mut twice = once.clone();
        apply_defaults(resource, &mut twice);
        assert_eq!(once, twice, "{}", resource.kind);
    }
}

#[test]
fn patching_an_object_with_itself_changes_nothing() {
    for (resource, value) in objects() {
        let patched = patch::strategic(&resource.schema, &value, &value).unwrap_or_else(|error| panic!("{}: {error}", resource.kind));
        let patched = json::canonicalize(&resource.schema, &patched, Strictness::Strict).unwrap().value;
        assert_eq!(text(&sorted(&patched)), text(&sorted(&value)), "{}", resource.kind);
        let merged = json::canonicalize(&resource.schema, &patch::merge(&value, &value), Strictness::Strict).unwrap().value;
        assert_eq!(merged, value, "{}", resource.kind);
    }
}

#[test]
fn merge_keys_are_fields_of_their_items() {
    let types = table().types();
    for structure in types.structs() {
        for field in &structure.fields {
            let Type::List(item) = &field.ty else { continue };
            let Type::Struct(id) = **item else { continue };
            let item = types.get(id);
            let keys: Vec<&Str> = match &field.list_type {
                ListType::Map(keys) => keys.iter().chain(&field.patch.key).collect(),
                _ => field.patch.key.iter().collect(),
            };
            for key in keys {
                assert!(item.field(key).is_some(), "{}.{}: {key}", structure.name, field.name);
            }
        }
    }
}

/// Broken input ends in an error or an object, never in a panic.
#[test]
fn damaged_bytes() {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 16) as usize % below
    };
    for kind in ["Pod", "CustomResourceDefinition", "HorizontalPodAutoscaler", "Event"] {
        let resource = table().resources().iter().find(|resource| *resource.kind == *kind).unwrap();
        let value = json::canonicalize(&resource.schema, &full(resource), Strictness::Strict).unwrap().value;
        let texts = [json::encode(&value), proto::encode(&resource.schema, &value)];
        for _ in 0..150 {
            for (which, bytes) in texts.iter().enumerate() {
                let mut bytes = bytes.clone();
                for _ in 0..=random(4) {
                    let at = random(bytes.len());
                    match random(3) {
                        0 => bytes[at] = random(256) as u8,
                        1 => bytes.truncate(at.max(1)),
                        _ => bytes.insert(at, b"{}[]\",:0\\\xff"[random(10)]),
                    }
                }
                let decoded = match which {
                    0 => json::decode(&resource.schema, &bytes, Strictness::Warn),
                    _ => proto::decode(&resource.schema, &bytes),
                };
                if let Ok(mut decoded) = decoded {
                    apply_defaults(resource, &mut decoded.value);
                    proto::encode(&resource.schema, &decoded.value);
                }
            }
        }
    }
}
