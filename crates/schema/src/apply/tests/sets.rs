//! Sets, their text, and what differs between objects.

use super::*;

#[track_caller]
fn same(set: &FieldSet, fields: &str) {
    assert_eq!(encode_fields(set), fields);
    assert_eq!(decode_fields(fields).unwrap(), *set);
}

#[test]
fn texts() {
    for fields in [
        "{}",
        r#"{"f:a":{}}"#,
        r#"{"f:a":{".":{},"f:b":{}},"f:c":{"f:d":{}}}"#,
        r#"{"f:ports":{"k:{\"containerPort\":80,\"protocol\":\"TCP\"}":{".":{},"f:name":{}}}}"#,
        r#"{"f:metadata":{"f:finalizers":{".":{},"v:\"a/b\"":{},"v:\"c\\\"d\"":{}}}}"#,
        r#"{"f:x":{"i:0":{},"i:2":{}}}"#,
        r#"{"f:q\"uote":{"f:dots.and/slashes":{}}}"#,
    ] {
        same(&decode_fields(fields).unwrap(), fields);
    }
    // What is not known is passed over, order does not count, and a path that ends and goes on is one.
    same(&decode_fields(r#"{"z:new":{"f:a":{}},"f:b":null,"f:a":{".":{}}}"#).unwrap(), r#"{"f:a":{},"f:b":{}}"#);
    for broken in ["", "[]", "{", r#"{"f:a":1}"#, r#"{"k:{":{}}"#, r#"{"k:[]":{}}"#, r#"{"i:x":{}}"#, r#"{"f":{}}"#, "{} {}"] {
        assert!(decode_fields(broken).is_err(), "{broken}");
    }
    let deep = format!("{}{}", r#"{"f:a":"#.repeat(100_000), "}".repeat(100_000));
    assert!(decode_fields(&deep).is_err());
}

#[test]
fn operations() {
    let set = |fields: &str| decode_fields(fields).unwrap();
    let a = set(r#"{"f:a":{".":{},"f:x":{},"f:y":{}},"f:b":{},"f:c":{"f:d":{"f:e":{}}}}"#);
    let b = set(r#"{"f:a":{"f:y":{},"f:z":{}},"f:c":{"f:d":{}},"f:e":{}}"#);
    same(&a.union(&b), r#"{"f:a":{".":{},"f:x":{},"f:y":{},"f:z":{}},"f:b":{},"f:c":{"f:d":{".":{},"f:e":{}}},"f:e":{}}"#);
    same(&a.intersection(&b), r#"{"f:a":{"f:y":{}}}"#);
    same(&a.difference(&b), r#"{"f:a":{".":{},"f:x":{}},"f:b":{},"f:c":{"f:d":{"f:e":{}}}}"#);
    same(&a.recursive_difference(&b), r#"{"f:a":{".":{},"f:x":{}},"f:b":{}}"#);
    assert!(a.intersects(&b) && b.intersects(&a));
    assert!(!a.intersects(&set(r#"{"f:c":{"f:d":{}}}"#)));
    assert!(a.is_reduced_by(&set(r#"{"f:c":{"f:d":{}}}"#)));
    assert!(!a.is_reduced_by(&set(r#"{"f:c":{"f:x":{}},"f:z":{}}"#)));
    assert!(a.contains_all(&set(r#"{"f:a":{"f:y":{}},"f:c":{"f:d":{"f:e":{}}}}"#)));
    assert!(!a.contains_all(&set(r#"{"f:c":{"f:d":{}}}"#)));
    assert!(!a.contains_all(&set(r#"{"f:z":{}}"#)));
}

#[test]
fn a_new_deployment_is_owned_as_the_reference_has_it() {
    let schema = schema("apps/v1", "Deployment");
    let mut deployment = canonical(
        schema,
        &value!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "uid": "u", "labels": {"app": "web"}}, "spec": {
            "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "nginx", "image": "nginx",
                "ports": [{"containerPort": 80}]}]}}}}),
    );
    crate::defaults::apply_to(schema, &mut deployment);
    let difference = compare(schema, &canonical(schema, &value!({})), &deployment);
    assert!(difference.removed.is_empty());
    assert_eq!(
        encode_fields(&difference.changed()),
        concat!(
            r#"{"f:metadata":{"f:labels":{".":{},"f:app":{}}},"f:spec":{"f:progressDeadlineSeconds":{},"f:replicas":{},"#,
            r#""f:revisionHistoryLimit":{},"f:selector":{},"f:strategy":{"f:rollingUpdate":{".":{},"f:maxSurge":{},"f:maxUnavailable":{}},"#,
            r#""f:type":{}},"f:template":{"f:metadata":{"f:labels":{".":{},"f:app":{}}},"f:spec":{"f:containers":{"#,
            r#""k:{\"name\":\"nginx\"}":{".":{},"f:image":{},"f:imagePullPolicy":{},"f:name":{},"f:ports":{".":{},"#,
            r#""k:{\"containerPort\":80,\"protocol\":\"TCP\"}":{".":{},"f:containerPort":{},"f:protocol":{}}},"f:resources":{},"#,
            r#""f:terminationMessagePath":{},"f:terminationMessagePolicy":{}}},"f:dnsPolicy":{},"f:restartPolicy":{},"f:schedulerName":{},"#,
            r#""f:securityContext":{},"f:terminationGracePeriodSeconds":{}}}}}"#
        )
    );
}

#[test]
fn an_applied_configuration_owns_its_leaves() {
    let schema = schema("apps/v1", "Deployment");
    let configuration = value!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "default", "labels": {"app": "web"},
        "finalizers": ["x/y"]},
        "spec": {"replicas": 3, "selector": {"matchLabels": {"app": "web"}}, "paused": null, "strategy": {},
            "template": {"spec": {"containers": [{"name": "nginx", "ports": [{"containerPort": 80}], "args": ["a"], "resources": {"limits": {"cpu": 1}}}]}}}});
    assert_eq!(
        encode_fields(&owned(schema, &configuration)),
        concat!(
            r#"{"f:metadata":{"f:finalizers":{"v:\"x/y\"":{}},"f:labels":{"f:app":{}}},"f:spec":{"f:paused":{},"f:replicas":{},"f:selector":{},"#,
            r#""f:strategy":{},"f:template":{"f:spec":{"f:containers":{"k:{\"name\":\"nginx\"}":{".":{},"f:args":{},"f:name":{},"f:ports":{"#,
            r#""k:{\"containerPort\":80,\"protocol\":\"TCP\"}":{".":{},"f:containerPort":{}}},"f:resources":{"f:limits":{"f:cpu":{}}}}}}}}}"#
        )
    );
}

#[track_caller]
fn differs(old: Value, new: Value, [added, modified, removed]: [&str; 3]) {
    let schema = schema("v1", "Pod");
    let found = compare(schema, &old, &new);
    assert_eq!([encode_fields(&found.added), encode_fields(&found.modified), encode_fields(&found.removed)], [added, modified, removed]);
}

#[test]
fn differences() {
    const NONE: &str = "{}";
    let pod = |spec: Value| value!({"spec": (spec)});
    differs(pod(value!({"nodeName": "a"})), pod(value!({"nodeName": "b"})), [NONE, r#"{"f:spec":{"f:nodeName":{}}}"#, NONE]);
    differs(pod(value!({})), pod(value!({"nodeName": "b"})), [r#"{"f:spec":{"f:nodeName":{}}}"#, NONE, NONE]);
    differs(pod(value!({"nodeName": "a"})), pod(value!({})), [NONE, NONE, r#"{"f:spec":{"f:nodeName":{}}}"#]);
    // Atomic lists and maps change as a whole.
    differs(
        pod(value!({"tolerations": [{"key": "a"}], "nodeSelector": {"a": "b"}})),
        pod(value!({"tolerations": [{"key": "b"}], "nodeSelector": {"a": "b", "c": "d"}})),
        [NONE, r#"{"f:spec":{"f:nodeSelector":{},"f:tolerations":{}}}"#, NONE],
    );
    // Items by key, whatever their order.
    differs(
        pod(value!({"containers": [{"name": "a", "image": "x"}, {"name": "b"}]})),
        pod(value!({"containers": [{"name": "c"}, {"name": "a", "image": "y"}]})),
        [
            r#"{"f:spec":{"f:containers":{"k:{\"name\":\"c\"}":{".":{},"f:name":{}}}}}"#,
            r#"{"f:spec":{"f:containers":{"k:{\"name\":\"a\"}":{"f:image":{}}}}}"#,
            r#"{"f:spec":{"f:containers":{"k:{\"name\":\"b\"}":{".":{},"f:name":{}}}}}"#,
        ],
    );
    // A key that is not given has its default.
    let ports = |ports: Value| pod(value!({"containers": [{"name": "a", "ports": (ports)}]}));
    differs(
        ports(value!([{"containerPort": 80}])),
        ports(value!([{"containerPort": 80, "protocol": "TCP"}])),
        [
            r#"{"f:spec":{"f:containers":{"k:{\"name\":\"a\"}":{"f:ports":{"k:{\"containerPort\":80,\"protocol\":\"TCP\"}":{"f:protocol":{}}}}}}}"#,
            NONE,
            NONE,
        ],
    );
    // Repeated items are one that changes as a whole.
    let env = |env: Value| pod(value!({"containers": [{"name": "a", "env": (env)}]}));
    let item = r#"{"f:spec":{"f:containers":{"k:{\"name\":\"a\"}":{"f:env":{"k:{\"name\":\"E\"}":{}}}}}}"#;
    let whole = r#"{"f:spec":{"f:containers":{"k:{\"name\":\"a\"}":{"f:env":{"k:{\"name\":\"E\"}":{".":{},"f:name":{},"f:value":{}}}}}}}"#;
    let (one, two) = (value!([{"name": "E", "value": "1"}]), value!([{"name": "E", "value": "1"}, {"name": "E", "value": "2"}]));
    let other = value!([{"name": "E", "value": "1"}, {"name": "E", "value": "3"}]);
    differs(env(two.clone()), env(other), [NONE, item, NONE]);
    differs(env(two.clone()), env(one.clone()), [whole, NONE, item]);
    differs(env(one), env(two), [item, NONE, whole]);
    // Nobody owns identity.
    let metadata = |uid: &str| value!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": (uid), "uid": (uid), "resourceVersion": (uid), "generation": 1}});
    differs(metadata("1"), metadata("2"), [NONE, NONE, NONE]);
}

#[test]
fn what_the_schema_does_not_know_follows_from_the_value() {
    let schema = schema("apps/v1", "ControllerRevision");
    let data = |data: Value| value!({"data": (data)});
    let found =
        compare(schema, &data(value!({"a": {"b": 1}, "l": [1], "m": {"x": 1}})), &data(value!({"a": {"b": 2, "c": 3}, "l": [2], "m": 1})));
    assert_eq!(encode_fields(&found.added), r#"{"f:data":{"f:a":{"f:c":{}}}}"#);
    assert_eq!(encode_fields(&found.modified), r#"{"f:data":{"f:a":{"f:b":{}},"f:l":{},"f:m":{}}}"#);
    assert_eq!(encode_fields(&found.removed), r#"{"f:data":{"f:m":{"f:x":{}}}}"#);
}

#[test]
fn differences_are_found_at_every_depth() {
    let schema = schema("apps/v1", "ControllerRevision");
    for depth in 0..40 {
        let chain = |inner: Value| (0..depth).fold(inner, |below, _| value!({"a": "same", "b": (below), "l": [1, {"x": 1}]}));
        let data = |inner: Value| value!({"data": (chain(inner))});
        let found = compare(schema, &data(value!({"m": 1, "r": 1, "s": 1})), &data(value!({"a": 1, "m": 2, "s": 1})));
        let at = |name: &str| format!("{{\"f:data\":{}{{\"f:{name}\":{{}}}}{}", "{\"f:b\":".repeat(depth), "}".repeat(depth + 1));
        let sets = [&found.added, &found.modified, &found.removed].map(encode_fields);
        assert_eq!(sets, ["a", "m", "r"].map(at), "{depth}");
        assert!(compare(schema, &data(value!({"s": 1})), &data(value!({"s": 1}))).is_empty());
    }
}

#[test]
fn taking_out_and_taking_only() {
    let schema = schema("v1", "Pod");
    let pod = value!({"metadata": {"labels": {"a": "1", "b": "2"}, "finalizers": ["x/y", "z/w"]},
        "spec": {"containers": [{"name": "a", "image": "x", "args": ["1"]}, {"name": "b"}], "nodeSelector": {"n": "1"}}});
    let paths = decode_fields(
        r#"{"f:metadata":{"f:finalizers":{"v:\"x/y\"":{}},"f:labels":{"f:a":{}}},"f:spec":{"f:containers":{"k:{\"name\":\"a\"}":{"f:args":{}},"k:{\"name\":\"b\"}":{".":{},"f:name":{}}},"f:nodeSelector":{}}}"#,
    )
    .unwrap();
    let left = remove(schema, &pod, &paths);
    assert_eq!(
        left,
        value!({"metadata": {"labels": {"b": "2"}, "finalizers": ["z/w"]}, "spec": {"containers": [{"name": "a", "image": "x"}]}}),
        "{}",
        text(&left)
    );
    let only = extract(schema, &pod, &paths);
    assert_eq!(
        only,
        value!({"metadata": {"labels": {"a": "1"}, "finalizers": ["x/y"]},
            "spec": {"containers": [{"args": ["1"]}, {"name": "b"}], "nodeSelector": {"n": "1"}}}),
        "{}",
        text(&only)
    );
}
