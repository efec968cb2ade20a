//! What structural schemas of custom kinds have beside lists and maps: fields that the schema does not know, embedded objects,
//! numbers or texts.

use std::sync::Arc;

use super::*;
use crate::model::{Field, Presence, Struct, Type, TypeId, TypeSet};

/// `spec.port` is a number or text, `spec.free` whatever its writers like, `spec.template` an embedded object.
fn custom() -> Schema {
    let field = |name: &str, ty: Type| Field { name: name.into(), ty, presence: Presence::Pointer, ..Field::text("") };
    let spec = vec![field("port", Type::IntOrString), field("free", Type::RawExtension), field("template", Type::RawExtension)];
    let root = vec![field("apiVersion", Type::String), field("kind", Type::String), field("spec", Type::Struct(TypeId(1)))];
    let structs = [("Root", root), ("Spec", spec)];
    let structs = structs.into_iter().map(|(name, fields)| Struct::new(name.into(), fields, Vec::new(), false, false));
    Schema::new(Arc::new(TypeSet::new(structs.collect())), TypeId(0))
}

fn apply(schema: &Schema, live: &Value, owners: &Managed, manager: &str, spec: Value) -> Result<Applied, String> {
    let versions = OneVersion { api_version: "example.com/v1", schema };
    let writer =
        Writer { manager: manager.into(), operation: Operation::Apply, api_version: "example.com/v1".into(), subresource: Str::default() };
    let application = Application {
        schema,
        versions: &versions,
        live,
        empty: &canonical(schema, &value!({})),
        configuration: &value!({"spec": (spec)}),
        reset: &Paths::none(),
        writer: &writer,
        force: false,
        now: &"2026-01-01T00:00:00Z".into(),
    };
    application.run(owners).map_err(|error| error.to_string())
}

#[test]
fn what_the_schema_does_not_know_is_shared_by_its_fields() {
    let schema = custom();
    let template = value!({"apiVersion": "v1", "kind": "Pod", "metadata": {"labels": {"a": "1"}}});
    let first = value!({"port": 80, "free": {"deep": {"x": "1"}, "list": [1, 2]}, "template": (template.clone())});
    let one = apply(&schema, &canonical(&schema, &value!({})), &Managed::default(), "one", first).unwrap();
    let second = value!({"free": {"deep": {"y": "2"}}, "template": {"metadata": {"labels": {"b": "2"}}}});
    let two = apply(&schema, &one.object, &one.managed, "two", second).unwrap();
    let both = value!({
        "port": 80,
        "free": {"deep": {"x": "1", "y": "2"}, "list": [1, 2]},
        "template": {"apiVersion": "v1", "kind": "Pod", "metadata": {"labels": {"a": "1", "b": "2"}}},
    });
    assert_eq!(two.object.get("spec"), Some(&both), "{}", text(&two.object));

    // Texts are no numbers, and lists of nothing known are one thing.
    let conflict = |spec: Value| apply(&schema, &two.object, &two.managed, "two", spec).map(|_| ()).unwrap_err();
    assert_eq!(
        conflict(value!({"port": "80", "free": {"list": [1, 2, 3]}})),
        "Apply failed with 2 conflicts: conflicts with \"one\":\n- .spec.port\n- .spec.free.list"
    );
    // What is given up goes, and only that.
    let left = apply(&schema, &two.object, &two.managed, "one", value!({"port": 80, "template": (template)})).unwrap();
    let rest = value!({
        "port": 80,
        "free": {"deep": {"y": "2"}},
        "template": {"apiVersion": "v1", "kind": "Pod", "metadata": {"labels": {"a": "1", "b": "2"}}},
    });
    assert_eq!(left.object.get("spec"), Some(&rest), "{}", text(&left.object));
}
