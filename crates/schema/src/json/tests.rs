use super::*;
use crate::{table, value};

fn schema(group: &str, version: &str, kind: &str) -> Schema {
    table().kind(group, version, kind).unwrap().schema.clone()
}

fn pod() -> Schema {
    schema("", "v1", "Pod")
}

#[track_caller]
fn check(schema: &Schema, text: &str, expected: Value) {
    let decoded = decode(schema, text.as_bytes(), Strictness::Strict).unwrap();
    assert_eq!(decoded.value, expected);
    let again = decode(schema, &encode(&decoded.value), Strictness::Strict).unwrap();
    assert_eq!(again.value, decoded.value, "canonical");
}

#[track_caller]
fn refused(schema: &Schema, text: &str, expected: &str) {
    assert_eq!(decode(schema, text.as_bytes(), Strictness::Strict).unwrap_err().to_string(), expected);
}

#[test]
fn canonical_form_follows_presence() {
    check(
        &pod(),
        r#"{"kind":"Pod","apiVersion":"v1","metadata":{"name":"a","creationTimestamp":null,"labels":{},"finalizers":[]},
            "spec":{"nodeName":"","hostNetwork":false,"terminationGracePeriodSeconds":0,"securityContext":{},
                    "containers":[{"name":"c","command":[],"env":null,"securityContext":{"privileged":false}}]},"status":null}"#,
        value!({
            "kind": "Pod", "apiVersion": "v1", "metadata": {"name": "a"},
            "spec": {"terminationGracePeriodSeconds": 0, "securityContext": {},
                     "containers": [{"name": "c", "resources": {}, "securityContext": {"privileged": false}}]},
            "status": {}
        }),
    );
    check(
        &schema("", "v1", "PersistentVolumeClaim"),
        r#"{"spec":{"storageClassName":""}}"#,
        value!({"metadata": {}, "spec": {"storageClassName": "", "resources": {}}, "status": {}}),
    );
    check(
        &schema("apps", "v1", "StatefulSet"),
        r#"{"spec":{"serviceName":""}}"#,
        value!({"metadata": {}, "spec": {"selector": null, "template": {"metadata": {}, "spec": {"containers": null}}, "serviceName": "", "updateStrategy": {}},
                "status": {"replicas": 0, "availableReplicas": 0}}),
    );
    check(&schema("rbac.authorization.k8s.io", "v1", "Role"), r#"{"rules":[]}"#, value!({"metadata": {}, "rules": null}));
    check(
        &schema("", "v1", "Event"),
        r#"{"firstTimestamp":"2024-01-01T00:00:00.5+01:00"}"#,
        value!({"metadata": {}, "involvedObject": {}, "source": {}, "firstTimestamp": "2023-12-31T23:00:00Z", "lastTimestamp": null,
                "eventTime": null, "reportingComponent": "", "reportingInstance": ""}),
    );
}

#[test]
fn scalars_get_their_canonical_text() {
    check(
        &pod(),
        r#"{"spec":{"containers":[{"name":"c","resources":{"limits":{"memory":"1024Mi","cpu":0.5}},
            "livenessProbe":{"httpGet":{"port":80}},"readinessProbe":{"httpGet":{"port":"web"}}}]}}"#,
        value!({"metadata": {}, "spec": {"containers": [{"name": "c",
            "resources": {"limits": {"cpu": "500m", "memory": "1Gi"}},
            "livenessProbe": {"httpGet": {"port": 80}}, "readinessProbe": {"httpGet": {"port": "web"}}}]}, "status": {}}),
    );
    check(
        &schema("", "v1", "Secret"),
        r#"{"data":{"a":"aGk=","b":null,"c":""}}"#,
        value!({"metadata": {}, "data": {"a": "aGk=", "b": null, "c": ""}}),
    );
    check(
        &schema("", "v1", "ConfigMap"),
        r#"{"data":{"b":"2","a":"\u00e9\ud83d\ude00\n"}}"#,
        value!({"metadata": {}, "data": {"a": "é😀\n", "b": "2"}}),
    );
}

#[test]
fn unknown_and_repeated_fields() {
    refused(
        &pod(),
        r#"{"spec":{"foo":1,"containers":[{"name":"a","bar":{"x":[1]}}]}}"#,
        r#"strict decoding error: unknown field "spec.foo", unknown field "spec.containers[0].bar""#,
    );
    refused(
        &pod(),
        r#"{"spec":{"nodeName":"a","nodeName":"b"},"metadata":{"labels":{"a":"1","a":"2"}}}"#,
        r#"strict decoding error: duplicate field "spec.nodeName", duplicate field "metadata.labels.a""#,
    );
    let text = br#"{"spec":{"foo":1,"nodeName":"a","nodeName":"b"}}"#;
    let warned = decode(&pod(), text, Strictness::Warn).unwrap();
    assert_eq!(warned.warnings, [r#"unknown field "spec.foo""#, r#"duplicate field "spec.nodeName""#]);
    assert_eq!(warned.value.str_at(&["spec", "nodeName"]), "b");
    assert!(decode(&pod(), text, Strictness::Ignore).unwrap().warnings.is_empty());
    refused(&pod(), r#"{"Spec":{}}"#, r#"strict decoding error: unknown field "Spec""#);
}

#[test]
fn wrong_types() {
    let deployment = schema("apps", "v1", "Deployment");
    refused(
        &deployment,
        r#"{"spec":{"replicas":"3"}}"#,
        "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32",
    );
    refused(
        &deployment,
        r#"{"spec":{"replicas":1.5}}"#,
        "json: cannot unmarshal number 1.5 into Go struct field DeploymentSpec.spec.replicas of type int32",
    );
    refused(
        &deployment,
        r#"{"spec":{"template":{"spec":{"containers":[{"env":[{"value":1}]}]}}}}"#,
        "json: cannot unmarshal number into Go struct field EnvVar.spec.template.spec.containers.env.value of type string",
    );
    refused(
        &deployment,
        r#"{"spec":{"template":{"spec":{"containers":{}}}}}"#,
        "json: cannot unmarshal object into Go struct field PodSpec.spec.template.spec.containers of type []v1.Container",
    );
    refused(
        &deployment,
        r#"{"metadata":[]}"#,
        "json: cannot unmarshal array into Go struct field Deployment.metadata of type v1.ObjectMeta",
    );
    refused(
        &deployment,
        r#"{"metadata":{"labels":{"a":1}}}"#,
        "json: cannot unmarshal number into Go struct field ObjectMeta.metadata.labels of type string",
    );
    refused(
        &schema("apps", "v1", "ControllerRevision"),
        r#"{"data":{"a":1e400}}"#,
        "json: cannot unmarshal number 1e400 into Go value of type float64",
    );
    refused(&deployment, "[]", "json: cannot unmarshal array into Go value of type v1.Deployment");
    refused(&schema("", "v1", "Secret"), r#"{"data":{"a":"!"}}"#, "illegal base64 data at input byte 0");
    refused(
        &pod(),
        r#"{"spec":{"containers":[{"resources":{"limits":{"cpu":"x"}}}]}}"#,
        "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
    );
}

#[test]
fn broken_text() {
    for (text, expected) in [
        ("", "unexpected end of JSON input"),
        ("{", "unexpected end of JSON input"),
        (r#"{"a"}"#, "invalid character '}' after object key"),
        (r#"{"spec":{}"#, "unexpected end of JSON input"),
        (r#"{"spec":}"#, "invalid character '}' looking for beginning of value"),
        (r#"{"spec":{},}"#, "invalid character '}' looking for beginning of object key string"),
        (r#"{} x"#, "invalid character 'x' after top-level value"),
        (r#"{"kind":"a\x"}"#, "invalid character 'x' in string escape code"),
        ("{\"kind\":\"a\nb\"}", "invalid character '\\n' in string literal"),
        (r#"{"spec":nul}"#, "invalid character '}' in literal null (expecting 'l')"),
    ] {
        refused(&pod(), text, expected);
    }
    let deep = format!(r#"{{"x":{}1{}}}"#, "[".repeat(5000), "]".repeat(5000));
    refused(&pod(), &deep, "exceeded max depth");
    assert_eq!(decode_untyped(deep.as_bytes()).unwrap_err().to_string(), "exceeded max depth");
    assert!(decode(&pod(), b"{\"metadata\":{\"name\":\"\xff\"}}", Strictness::Strict).is_ok(), "as Go: replaced");
}

#[test]
fn depth_fits_a_small_stack() {
    let schema = schema("apiextensions.k8s.io", "v1", "CustomResourceDefinition");
    let levels = 190;
    let text = format!(
        r#"{{"spec":{{"versions":[{{"schema":{{"openAPIV3Schema":{}{{}}{}}}}}]}}}}"#,
        r#"{"not":"#.repeat(levels),
        "}".repeat(levels)
    );
    let run = move || decode(&schema, text.as_bytes(), Strictness::Strict).map(|decoded| encode(&decoded.value).len());
    let thread = std::thread::Builder::new().stack_size(2 << 20).spawn(run).unwrap();
    assert!(thread.join().unwrap().unwrap() > levels * 6);
}

#[test]
fn opaque_parts_are_kept() {
    let text = r#"{"metadata":{"managedFields":[{"manager":"m","fieldsType":"FieldsV1","fieldsV1":{"f:spec":{"f:x":{}},".":{}}}]},"data":{"n":null,"e":[],"f":1.5,"i":3}}"#;
    check(
        &schema("apps", "v1", "ControllerRevision"),
        text,
        value!({"metadata": {"managedFields": [{"manager": "m", "fieldsType": "FieldsV1", "fieldsV1": (Value::Json(r#"{"f:spec":{"f:x":{}},".":{}}"#.into()))}]},
                "data": {"n": null, "e": [], "f": 1.5, "i": 3}, "revision": 0}),
    );
}

/// Owners as they are shown are taken as they are; all others are read by the schema. Whichever way, the same comes of it.
#[test]
fn owners_are_read_alike_in_any_spacing() {
    const PLAIN: &str = r#"{"manager":"a","operation":"Update","apiVersion":"v1","time":"2026-01-01T00:00:00Z","fieldsType":"FieldsV1","fieldsV1":{"f:a":{}}}"#;
    let (spaced, doubled) = (PLAIN.replace("2026", " 2026"), format!("{PLAIN},{PLAIN}"));
    let with = |old: &str, new: &str| PLAIN.replacen(old, new, 1);
    let more = |member: &str| with("}}}", &format!("}}}},{member}}}"));
    let cases = [
        PLAIN.to_owned(),
        doubled,
        String::new(),
        "{}".to_owned(),
        "null".to_owned(),
        "1".to_owned(),
        "[]".to_owned(),
        r#""a""#.to_owned(),
        spaced,
        more(r#""subresource":"status""#),
        more(r#""subresource":"""#),
        more(r#""subresource":null"#),
        more(r#""subresource":1"#),
        more(r#""unknown":{"deep":[]}"#),
        more(r#""manager":"b""#),
        more(r#""fieldsV1":{"f:b":{}}"#),
        with(r#""a""#, "null"),
        with(r#""a""#, "1"),
        with(r#""a""#, r#""""#),
        with(r#""a""#, r#""two words""#),
        with(r#""a""#, r#""\u0061\n""#),
        with("manager", "man\\u0061ger"),
        with("manager", "Manager"),
        with("00Z", "00.5+01:00"),
        with("00Z", "00z"),
        with("2026-01-01T00:00:00Z", ""),
        with("2026-01-01T00:00:00Z", "yesterday"),
        with(r#""2026-01-01T00:00:00Z""#, "null"),
        with("01-01", "13-01"),
        with("Update", "Steal"),
        with("FieldsV1", "FieldsV2"),
        with(r#"{"f:a":{}}"#, "{}"),
        with(r#"{"f:a":{}}"#, "null"),
        with(r#"{"f:a":{}}"#, "[]"),
        with(r#"{"f:a":{}}"#, r#""text""#),
        with(r#"{"f:a":{}}"#, r#"{"f:a":{},"f:a":{".":{}}}"#),
        with(r#"{"f:a":{}}"#, r#"{"k:{\"a\":\"b c\"}":{}}"#),
    ];
    for case in &cases {
        for strictness in [Strictness::Ignore, Strictness::Warn, Strictness::Strict] {
            let read = |open: &str| {
                let text = format!(r#"{{"metadata":{{"managedFields":{open}{case}]}}}}"#);
                let decoded = decode(&pod(), text.as_bytes(), strictness)?;
                let owners = decoded.value.at(&["metadata", "managedFields"]).cloned();
                let managed = crate::apply::Managed::read(owners.as_ref()).map_err(|error| error.to_string());
                Ok::<_, DecodeError>((decoded, managed.map(|managed| managed.value())))
            };
            // What comes again is known.
            for _ in 0..4 {
                let (plain, spaced) = (read("["), read("[ "));
                assert_eq!(plain, spaced, "{case}");
            }
        }
    }
    let entries = |case: &str| decode(&pod(), format!(r#"{{"metadata":{{"managedFields":[{case}]}}}}"#).as_bytes(), Strictness::Strict);
    assert_eq!(cases.iter().filter(|case| entries(case).is_ok()).count(), 24, "some are taken, some refused");
}

#[test]
fn schemas_in_schemas() {
    check(
        &schema("apiextensions.k8s.io", "v1", "CustomResourceDefinition"),
        r#"{"spec":{"group":"g","scope":"Namespaced","names":{"plural":"a","kind":"A"},"versions":[{"name":"v1","served":true,"storage":true,"schema":{"openAPIV3Schema":
            {"additionalProperties":false,"items":{"type":"string"},"dependencies":{"a":["b"]},"default":null,"maximum":2.0}}}]}}"#,
        value!({"metadata": {}, "spec": {"group": "g", "scope": "Namespaced", "names": {"plural": "a", "kind": "A"}, "versions": [
            {"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema":
                {"additionalProperties": false, "items": {"type": "string"}, "dependencies": {"a": ["b"]}, "maximum": 2}}}]},
            "status": {"conditions": null, "acceptedNames": {"plural": "", "kind": ""}, "storedVersions": null}}),
    );
}

#[test]
fn type_meta_is_read_alone() {
    let meta = type_meta(br#"{"spec":{"kind":"no"},"kind":"Pod","apiVersion":"v1"}"#).unwrap();
    assert_eq!((meta.kind.as_str(), meta.api_version.as_str()), ("Pod", "v1"));
    assert!(type_meta(b"{").is_err());
    assert_eq!(type_meta(b"{}").unwrap(), TypeMeta::default());
}

#[test]
fn stored_owners_end_where_their_brackets_do() {
    let path = ["metadata", "managedFields"];
    for owners in [
        r#"[]"#,
        r#"[{"manager":"}]\"\\","fieldsV1":{"f:a":{"k:{\"name\":\"[{\"}":{}}}},{"manager":"\\\\"}]"#,
        r#"[{"fieldsV1":{"f:metadata":{"f:labels":{".":{},"f:]}":{}}}}}]"#,
    ] {
        let stored = format!(r#"{{"kind":"Pod","metadata":{{"managedFields":{owners},"name":"a"}},"spec":{{}}}}"#);
        let object = decode_stored(stored.as_bytes(), None).unwrap();
        assert_eq!((object.at(&path), object.name()), (Some(&Value::Json(owners.into())), "a"));
        assert_eq!(encode(&object), stored.as_bytes());
        // What ends too early is no object, wherever it ends.
        for end in 0..stored.len() {
            assert!(decode_stored(&stored.as_bytes()[..end], None).is_err(), "{end}");
        }
    }
}

/// What a change left as it was is taken over, and comes to the same as if all were brought into the form again.
#[test]
fn only_what_has_changed_is_brought_into_the_canonical_form() {
    let text = r#"{"kind":"Pod","apiVersion":"v1","metadata":{"name":"a"},"spec":{"containers":[{"name":"c","image":"i"}]}}"#;
    let before = decode(&pod(), text.as_bytes(), Strictness::Strict).unwrap().value;
    let mut after = before.clone();
    after.set_at(&["metadata", "labels"], Value::map());
    after.set_at(&["metadata", "annotations", "a"], "b");
    after.set_at(&["metadata", "odd"], 1);
    let changed = canonicalize_changed(&pod(), &before, &after, Strictness::Warn).unwrap();
    let all = canonicalize(&pod(), &after, Strictness::Warn).unwrap();
    assert_eq!((&changed.value, &changed.warnings), (&all.value, &all.warnings));
    assert_eq!(changed.warnings, [r#"unknown field "metadata.odd""#]);
    assert_eq!(changed.value.at(&["metadata", "annotations", "a"]), Some(&Value::from("b")));
    assert!(canonicalize_changed(&pod(), &before, &value!({"kind": "Pod", "spec": {"containers": 1}}), Strictness::Warn).is_err());
}
