//! Owners over a series of writes.

use super::*;
use std::collections::BTreeMap;

/// An object that several write to.
struct Object {
    schema: &'static Schema,
    version: &'static str,
    live: Value,
    managed: Managed,
    clock: u32,
}

fn text_of(fields: &Fields) -> String {
    encode_fields(&fields.set().unwrap())
}

fn writer(manager: &str, operation: Operation, version: &'static str) -> Writer {
    Writer { manager: manager.into(), operation, api_version: Str::from_static(version), subresource: Str::default() }
}

impl Object {
    fn new(version: &'static str, kind: &str) -> Self {
        let schema = schema(version, kind);
        Self { schema, version, live: canonical(schema, &value!({})), managed: Managed::default(), clock: 0 }
    }

    fn now(&mut self) -> Str {
        self.clock += 1;
        format!("2026-01-01T00:{:02}:{:02}Z", self.clock / 60, self.clock % 60).into()
    }

    fn update(&mut self, manager: &str, new: Value) {
        let now = self.now();
        let new = canonical(self.schema, &new);
        let versions = OneVersion { api_version: self.version, schema: self.schema };
        let write = Write { versions: &versions, old: &self.live, new: &new, reset: &Paths::none() };
        let writer = writer(manager, Operation::Update, self.version);
        tracked(self.schema, write, &mut self.managed, &writer, &now);
        self.live = new;
    }

    fn apply(&mut self, manager: &str, configuration: Value, force: bool) -> Result<(), String> {
        let now = self.now();
        let versions = OneVersion { api_version: self.version, schema: self.schema };
        let writer = writer(manager, Operation::Apply, self.version);
        let empty = canonical(self.schema, &value!({}));
        let application = Application {
            schema: self.schema,
            versions: &versions,
            live: &self.live,
            empty: &empty,
            configuration: &configuration,
            reset: &Paths::none(),
            writer: &writer,
            force,
            now: &now,
        };
        let applied = application.run(&self.managed).map_err(|error| error.to_string())?;
        (self.live, self.managed) = (applied.object, applied.managed);
        Ok(())
    }

    /// Manager to fields.
    fn owners(&self) -> BTreeMap<String, String> {
        let entries = self.managed.entries().iter();
        entries
            .map(|entry| (format!("{} {}", entry.writer().manager, entry.writer().operation.as_str()), text_of(entry.fields())))
            .collect()
    }

    #[track_caller]
    fn is(&self, live: Value, owners: &[(&str, &str)]) {
        assert_eq!(self.live, canonical(self.schema, &live), "{}", text(&self.live));
        let owners: BTreeMap<String, String> = owners.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
        assert_eq!(self.owners(), owners);
    }
}

#[test]
fn what_is_not_applied_any_more_goes_unless_others_want_it() {
    let mut map = Object::new("v1", "ConfigMap");
    map.apply("a", value!({"data": {"x": "1", "y": "1"}}), false).unwrap();
    map.apply("b", value!({"data": {"y": "1", "z": "2"}}), false).unwrap();
    map.is(
        value!({"data": {"x": "1", "y": "1", "z": "2"}}),
        &[("a Apply", r#"{"f:data":{"f:x":{},"f:y":{}}}"#), ("b Apply", r#"{"f:data":{"f:y":{},"f:z":{}}}"#)],
    );
    map.apply("a", value!({"data": {}}), false).unwrap();
    map.is(value!({"data": {"y": "1", "z": "2"}}), &[("a Apply", r#"{"f:data":{}}"#), ("b Apply", r#"{"f:data":{"f:y":{},"f:z":{}}}"#)]);
    map.apply("b", value!({}), false).unwrap();
    // With the last entry goes the map.
    map.is(value!({}), &[]);
}

#[test]
fn conflicts_and_force() {
    let mut map = Object::new("v1", "ConfigMap");
    map.apply("a", value!({"data": {"x": "1"}}), false).unwrap();
    map.update("b", value!({"data": {"x": "2", "w": "1"}}));
    assert_eq!(map.owners()["b Update"], r#"{"f:data":{"f:w":{},"f:x":{}}}"#);
    let before = map.owners();
    let error = map.apply("a", value!({"data": {"x": "1"}}), false).unwrap_err();
    assert_eq!(error, "Apply failed with 1 conflict: conflict with \"b\" using v1: .data.x");
    assert_eq!(map.owners(), before);
    map.apply("c", value!({"data": {"x": "2"}}), false).unwrap();
    let error = map.apply("a", value!({"data": {"x": "1", "w": "2"}}), false).unwrap_err();
    assert_eq!(
        error,
        "Apply failed with 3 conflicts: conflicts with \"b\" using v1:\n- .data.w\n- .data.x\nconflicts with \"c\":\n- .data.x"
    );
    map.apply("a", value!({"data": {"x": "1"}}), true).unwrap();
    map.is(value!({"data": {"x": "1", "w": "1"}}), &[("a Apply", r#"{"f:data":{"f:x":{}}}"#), ("b Update", r#"{"f:data":{"f:w":{}}}"#)]);
}

#[test]
fn what_nobody_owned_is_asked_for() {
    let mut map = Object::new("v1", "ConfigMap");
    map.live = canonical(map.schema, &value!({"data": {"x": "1", "y": "2"}}));
    let error = map.apply("a", value!({"data": {"x": "2"}}), false).unwrap_err();
    assert_eq!(error, "Apply failed with 1 conflict: conflict with \"before-first-apply\" using v1: .data.x");
    map.apply("a", value!({"data": {"x": "1"}}), false).unwrap();
    map.is(
        value!({"data": {"x": "1", "y": "2"}}),
        &[("a Apply", r#"{"f:data":{"f:x":{}}}"#), ("before-first-apply Update", r#"{"f:data":{".":{},"f:x":{},"f:y":{}}}"#)],
    );
}

#[test]
fn items_of_lists_come_and_go() {
    let mut service = Object::new("v1", "Service");
    let port = |number: i64, name: &str| value!({"port": (number), "name": (name), "protocol": "TCP"});
    let ports = |ports: Vec<Value>| value!({"spec": {"ports": (ports)}});
    service.apply("a", ports(vec![port(80, "web"), port(443, "tls")]), false).unwrap();
    service.apply("b", ports(vec![port(9000, "metrics")]), false).unwrap();
    let named = |service: &Object| -> Vec<String> {
        service.live.at(&["spec", "ports"]).and_then(Value::as_list).unwrap().iter().map(|port| port.str_at(&["name"]).to_owned()).collect()
    };
    assert_eq!(named(&service), ["web", "tls", "metrics"]);
    service.apply("a", ports(vec![port(443, "tls")]), false).unwrap();
    assert_eq!(named(&service), ["tls", "metrics"]);
    // An item goes with the last who applied it as such, whoever owns parts of it.
    service.update("c", {
        let mut live = service.live.clone();
        live.at_mut(&["spec", "ports"]).and_then(Value::as_list_mut).unwrap()[0].insert("nodePort", 30000);
        live
    });
    service.apply("a", value!({"spec": {}}), false).unwrap();
    assert_eq!(named(&service), ["metrics"]);
    assert_eq!(service.owners()["a Apply"], r#"{"f:spec":{}}"#);
    assert!(!service.owners().contains_key("c Update"));
}

#[test]
fn times_and_order() {
    let mut map = Object::new("v1", "ConfigMap");
    map.update("u", value!({"data": {"x": "1"}}));
    map.apply("b", value!({"data": {"y": "1"}}), false).unwrap();
    map.apply("a", value!({"data": {"z": "1"}}), false).unwrap();
    let shown = |map: &Object| -> Vec<String> {
        map.managed.entries().iter().map(|entry| format!("{} {}", entry.writer().manager, entry.time.as_deref().unwrap())).collect()
    };
    assert_eq!(shown(&map), ["b 2026-01-01T00:00:02Z", "a 2026-01-01T00:00:03Z", "u 2026-01-01T00:00:01Z"]);
    // The same again changes nothing, not even the time; and who begins to own what is there has none.
    map.apply("b", value!({"data": {"y": "1"}}), false).unwrap();
    map.update("u", map.live.clone());
    assert_eq!(shown(&map), ["b 2026-01-01T00:00:02Z", "a 2026-01-01T00:00:03Z", "u 2026-01-01T00:00:01Z"]);
    map.update("u", value!({"data": {"x": "2", "y": "1", "z": "1"}}));
    assert_eq!(shown(&map), ["b 2026-01-01T00:00:02Z", "a 2026-01-01T00:00:03Z", "u 2026-01-01T00:00:06Z"]);
}

#[test]
fn the_oldest_updates_are_merged() {
    let mut map = Object::new("v1", "ConfigMap");
    let mut data = crate::Map::new();
    for number in 0..13 {
        data.insert(format!("k{number:02}"), "v");
        map.update(&format!("m{number:02}"), value!({"data": (Value::Map(data.clone()))}));
    }
    let owners = map.owners();
    assert_eq!(owners.len(), 10);
    assert_eq!(owners["ancient-changes Update"], r#"{"f:data":{".":{},"f:k00":{},"f:k01":{},"f:k02":{},"f:k03":{}}}"#);
    assert_eq!(owners["m12 Update"], r#"{"f:data":{"f:k12":{}}}"#);
    let ancient = map.managed.entries().iter().find(|entry| entry.writer().manager == "ancient-changes").unwrap();
    assert_eq!(ancient.time.as_deref(), Some("2026-01-01T00:00:04Z"));
}

#[test]
fn what_a_write_cannot_change_is_not_owned() {
    let deployment = schema("apps/v1", "Deployment");
    let versions = OneVersion { api_version: "apps/v1", schema: deployment };
    let writer = writer("a", Operation::Update, "apps/v1");
    let (old, new) =
        (canonical(deployment, &value!({})), canonical(deployment, &value!({"spec": {"replicas": 2}, "status": {"replicas": 2}})));
    for (paths, expected) in [
        (Paths::none(), r#"{"f:spec":{"f:replicas":{}},"f:status":{"f:replicas":{}}}"#),
        (Paths::except(&["status"]), r#"{"f:spec":{"f:replicas":{}}}"#),
        (Paths::only(&["status.replicas"]), r#"{"f:status":{"f:replicas":{}}}"#),
        (Paths::only(&["spec.*"]), r#"{"f:spec":{"f:replicas":{}}}"#),
    ] {
        let write = Write { versions: &versions, old: &old, new: &new, reset: &paths };
        let mut managed = Managed::default();
        assert!(tracked(deployment, write, &mut managed, &writer, &"2026-01-01T00:00:00Z".into()));
        assert_eq!(text_of(managed.entries()[0].fields()), expected);
    }
}

#[test]
fn reading_and_writing_entries() {
    let entries = value!([{"manager": "m", "operation": "Apply", "apiVersion": "v1", "time": "2026-01-01T00:00:00Z", "fieldsType": "FieldsV1",
        "fieldsV1": (Value::Json(r#"{"f:data":{}}"#.into())), "subresource": "status"}]);
    let managed = Managed::read(Some(&entries)).unwrap();
    assert_eq!(managed.value().unwrap(), entries);
    for (change, message) in [
        (("operation", "Patch"), "operation must be `Apply` or `Update`"),
        (("apiVersion", ""), "apiVersion must not be empty"),
        (("fieldsType", ""), "missing fieldsType in managed fields entry 0"),
        (("fieldsType", "FieldsV2"), "invalid fieldsType \"FieldsV2\" in managed fields entry 0"),
    ] {
        let mut broken = entries.clone();
        broken.as_list_mut().unwrap()[0].insert(change.0, change.1);
        assert_eq!(Managed::read(Some(&broken)).unwrap_err().to_string(), message);
    }
    let mut broken = entries.clone();
    broken.as_list_mut().unwrap()[0].insert("fieldsV1", value!({"f:data": 1}));
    assert!(Managed::read_sent(Some(&broken)).is_err());
    assert!(is_reset(Some(&value!([{}]))));
    assert!(!is_reset(Some(&value!([]))) && !is_reset(None) && !is_reset(Some(&entries)));
}

/// Entries are remembered by what stands around their times.
#[test]
fn entries_are_read_as_they_are() {
    let entry = |time: &str, fields: &str, rest: &str| {
        format!(
            r#"{{"manager":"m","operation":"Update","apiVersion":"v1","time":"{time}","fieldsType":"FieldsV1","fieldsV1":{fields}{rest}}}"#
        )
    };
    let read = |text: &str| Managed::read(Some(&Value::Json(Str::from(format!("[{text}]")).into()))).map_err(|error| error.to_string());
    let shown = |text: &str| {
        let managed = read(text).unwrap();
        let [entry] = managed.entries() else { panic!("{text}") };
        (entry.time.as_deref().unwrap().to_owned(), text_of(entry.fields()), entry.writer().subresource.to_string())
    };
    let (first, second) = ("2026-01-01T00:00:01Z", "2026-01-01T00:00:02Z");
    // What is asked twice is remembered the third time.
    for _ in 0..3 {
        for (time, fields, rest, subresource) in [
            (first, r#"{"f:data":{"f:x":{}}}"#, "", ""),
            (second, r#"{"f:data":{"f:x":{}}}"#, "", ""),
            (second, r#"{"f:data":{"f:y":{}}}"#, "", ""),
            // A time that is the name of a field, and others that are as long.
            (first, r#"{"f:data":{"f:2026-01-01T00:00:01Z":{}}}"#, "", ""),
            (first, r#"{"f:data":{"f:2026-01-01T00:00:02Z":{}}}"#, "", ""),
            (second, r#"{"f:data":{"f:2026-01-01T00:00:01Z":{}}}"#, "", ""),
            (first, "{}", r#","subresource":"status""#, "status"),
            (second, "{}", r#","subresource":"scales""#, "scales"),
        ] {
            assert_eq!(shown(&entry(time, fields, rest)), (time.to_owned(), fields.to_owned(), subresource.to_owned()));
        }
        // Only plain times are passed over.
        assert_eq!(shown(&entry(r"2026-01-01T00:00:A", "{}", "")).0, "2026-01-01T00:00:A");
        assert!(read(&entry(r#"2026-01-01T00:00"01Z"#, "{}", "")).is_err());
        assert!(read(&entry(first, "{", "")).is_err());
    }
    let two = format!("{},{}", entry(first, "{}", ""), entry(second, "{}", r#","subresource":"status""#));
    assert_eq!(read(&two).unwrap().entries().len(), 2);
    assert_eq!(read(&two).unwrap().value(), Some(Value::Json(Str::from(format!("[{two}]")).into())));
}

/// A custom kind of two versions in time: first its list `l` and its struct `s` were owned by their parts, then as wholes.
#[test]
fn what_became_atomic_is_owned_as_a_whole() {
    use crate::model::{Field, ListType, Presence, Struct, Type, TypeId, TypeSet};
    use std::sync::Arc;
    let schema = |lists: ListType, structs: ListType| {
        let field =
            |name: &str, ty: Type, list_type: ListType, presence| Field { name: name.into(), ty, list_type, presence, ..Field::text("") };
        let text = |name: &str| field(name, Type::String, ListType::Default, Presence::Omit);
        let spec = vec![
            field("l", Type::List(Box::new(Type::Struct(TypeId(2)))), lists, Presence::Omit),
            field("s", Type::Struct(TypeId(2)), structs, Presence::Pointer),
        ];
        let root = vec![text("apiVersion"), text("kind"), field("spec", Type::Struct(TypeId(1)), ListType::Default, Presence::Pointer)];
        let structs = [("Root", root), ("Spec", spec), ("Item", vec![text("name"), text("a"), text("b")])];
        let structs = structs.into_iter().map(|(name, fields)| Struct::new(name.into(), fields, Vec::new(), false, false));
        Schema::new(Arc::new(TypeSet::new(structs.collect())), TypeId(0))
    };
    let granular = schema(ListType::Map(vec!["name".into()]), ListType::Default);
    let atomic = schema(ListType::Atomic, ListType::Atomic);
    let run = |schema: &Schema, live: &Value, owners: &Managed, configuration: &Value, force: bool| {
        let versions = OneVersion { api_version: "example.com/v1", schema };
        let application = Application {
            schema,
            versions: &versions,
            live,
            empty: &canonical(schema, &value!({})),
            configuration,
            reset: &Paths::none(),
            writer: &writer("a", Operation::Apply, "example.com/v1"),
            force,
            now: &"2026-01-01T00:00:00Z".into(),
        };
        application.run(owners).map_err(|error| error.to_string())
    };
    let update = |schema: &Schema, manager: &str, old: &Value, new: &Value, owners: &Managed| {
        let versions = OneVersion { api_version: "example.com/v1", schema };
        let write = Write { versions: &versions, old, new, reset: &Paths::none() };
        let now = "2026-01-01T00:00:00Z".into();
        let mut owners = owners.clone();
        assert!(tracked(schema, write, &mut owners, &writer(manager, Operation::Update, "example.com/v1"), &now));
        owners
    };
    // Owners as they are stored: text.
    let stored = |managed: &Managed| Managed::read(managed.value().as_ref()).unwrap();
    let fields_of = |managed: &Managed, manager: &str| -> Option<String> {
        managed.entries().iter().find(|entry| entry.writer().manager == *manager).map(|entry| text_of(entry.fields()))
    };

    let configuration = value!({"spec": {"l": [{"name": "x", "a": "1"}], "s": {"a": "1"}}});
    let first = run(&granular, &canonical(&granular, &value!({})), &Managed::default(), &configuration, false).unwrap();
    assert_eq!(
        fields_of(&first.managed, "a").unwrap(),
        r#"{"f:spec":{"f:l":{"k:{\"name\":\"x\"}":{".":{},"f:a":{},"f:name":{}}},"f:s":{"f:a":{}}}}"#
    );
    let changed = canonical(&granular, &value!({"spec": {"l": [{"name": "x", "a": "1", "b": "2"}], "s": {"a": "1", "b": "2"}}}));
    let owners = update(&granular, "u", &first.object, &changed, &first.managed);

    // The next write finds another schema: both own both as wholes, and who changes one takes it.
    let newer = canonical(&atomic, &value!({"spec": {"l": [{"name": "y"}], "s": {"a": "1", "b": "2"}}}));
    let after = update(&atomic, "w", &canonical(&atomic, &changed), &newer, &stored(&owners));
    assert_eq!(fields_of(&after, "w").unwrap(), r#"{"f:spec":{"f:l":{}}}"#);
    assert_eq!(fields_of(&after, "a").unwrap(), r#"{"f:spec":{"f:s":{}}}"#);
    assert_eq!(fields_of(&after, "u").unwrap(), r#"{"f:spec":{"f:s":{}}}"#);
    let error = run(&atomic, &newer, &stored(&owners), &value!({"spec": {"s": {"a": "2"}}}), false).unwrap_err();
    assert_eq!(error, "Apply failed with 1 conflict: conflict with \"u\" using example.com/v1: .spec.s");
    // What the applier gives up goes as a whole, unless somebody else has it.
    let given_up = run(&atomic, &newer, &stored(&after), &value!({"spec": {}}), false).unwrap();
    assert_eq!(given_up.object, newer);

    // The other way round, who owned the whole owns it as such: a part of it is free to take.
    let whole = run(&atomic, &canonical(&atomic, &value!({})), &Managed::default(), &value!({"spec": {"s": {"a": "1"}}}), false).unwrap();
    let newer = canonical(&granular, &value!({"spec": {"s": {"a": "2"}}}));
    let after = update(&granular, "w", &whole.object, &newer, &stored(&whole.managed));
    assert_eq!(fields_of(&after, "a").unwrap(), r#"{"f:spec":{"f:s":{}}}"#);
    assert_eq!(fields_of(&after, "w").unwrap(), r#"{"f:spec":{"f:s":{"f:a":{}}}}"#);
}

/// What pods' own addresses and their owners' UIDs make of their owners, others tell of other pods' in the same way; and whichever way
/// these compare with each other, it is the same that is worked out anew.
#[test]
fn what_only_one_pod_says() {
    let schema = schema("v1", "Pod");
    let versions = OneVersion { api_version: "v1", schema };
    for number in 0..32 {
        let (mut live, mut managed, mut kept) = (canonical(schema, &value!({})), Managed::default(), None);
        let mut write = |manager: &str, changed: Value| {
            let mut new = live.clone();
            for (name, value) in changed.as_map().unwrap() {
                new.insert(name.clone(), value.clone());
            }
            let new = canonical(schema, &new);
            let write = Write { versions: &versions, old: &live, new: &new, reset: &Paths::none() };
            let (writer, now) = (writer(manager, Operation::Update, "v1"), Str::from("2026-01-01T00:00:00Z"));
            assert!(track(schema, write, &mut managed, &writer, &now));
            kept = track_kept(schema, write, kept.as_ref(), &writer, &now).unwrap();
            // What is compared so is not made again, so that it does not come to be shared.
            assert_eq!(kept.as_ref().unwrap().managed(), managed, "{number} {manager}");
            live = new;
        };
        let owners = value!([{"apiVersion": "v1", "kind": "Node", "name": "a", "uid": (format!("u{number}"))}]);
        write("creator", value!({"metadata": {"ownerReferences": (owners)}, "spec": {"nodeName": "a"}}));
        // Sometimes the first is less, sometimes the second; and sometimes one stays.
        let addresses = |parts: [usize; 2]| {
            let ip = |part: usize| value!({"ip": (format!("{}.0.0.{number}", part % 3))});
            Value::List(parts.map(ip).into())
        };
        write("kubelet", value!({"status": {"phase": "Running", "podIPs": (addresses([number, number + 1]))}}));
        for label in ["a", "b"] {
            write("somebody", value!({"metadata": {"labels": {"seen": label}}}));
        }
        write("somebody", value!({"status": {"phase": "Failed", "podIPs": (addresses([number + 2 - number % 2, number]))}}));
        write("kubelet", value!({"status": {"phase": "Failed", "podIPs": [{"ip": "0.0.0.7"}]}}));
    }
}
