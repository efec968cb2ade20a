use super::*;
use crate::{table, value};

#[track_caller]
fn apply(target: &Value, patch: Value, expected: Value) {
    let schema = &table().kind_of("v1", "Pod").unwrap().schema;
    let patched = strategic(schema, target, &patch).unwrap();
    let text = |value: &Value| String::from_utf8(crate::json::encode(value)).unwrap();
    assert_eq!(text(&patched), text(&expected));
}

fn pod(spec: Value) -> Value {
    value!({"spec": (spec)})
}

#[test]
fn merge_patches() {
    // The examples of RFC 7396, appendix A.
    for (target, patch, expected) in [
        (value!({"a": "b"}), value!({"a": "c"}), value!({"a": "c"})),
        (value!({"a": "b"}), value!({"b": "c"}), value!({"a": "b", "b": "c"})),
        (value!({"a": "b"}), value!({"a": null}), value!({})),
        (value!({"a": ["b"]}), value!({"a": "c"}), value!({"a": "c"})),
        (value!({"a": {"b": "c"}}), value!({"a": {"b": "d", "c": null}}), value!({"a": {"b": "d"}})),
        (value!({"a": "foo"}), value!(null), value!(null)),
        (value!({"e": null}), value!({"a": 1}), value!({"e": null, "a": 1})),
        (value!([1, 2]), value!({"a": "b", "c": null}), value!({"a": "b"})),
        (value!({}), value!({"a": {"bb": {"ccc": null}}}), value!({"a": {"bb": {}}})),
    ] {
        assert_eq!(merge(&target, &patch), expected);
    }
}

#[test]
fn json_patches() {
    let target = value!({"a": {"b": [1, 2]}, "m~n": {"x/y": 1}});
    for (patch, expected) in [
        (value!([{"op": "add", "path": "/a/b/1", "value": 9}]), value!({"a": {"b": [1, 9, 2]}, "m~n": {"x/y": 1}})),
        (value!([{"op": "add", "path": "/a/b/-", "value": 9}]), value!({"a": {"b": [1, 2, 9]}, "m~n": {"x/y": 1}})),
        (value!([{"op": "replace", "path": "/m~0n/x~1y", "value": 2}]), value!({"a": {"b": [1, 2]}, "m~n": {"x/y": 2}})),
        (value!([{"op": "move", "from": "/a/b/0", "path": "/c"}]), value!({"a": {"b": [2]}, "m~n": {"x/y": 1}, "c": 1})),
        (value!([{"op": "copy", "from": "/a/b", "path": "/c"}, {"op": "remove", "path": "/a"}]), value!({"m~n": {"x/y": 1}, "c": [1, 2]})),
        (value!([{"op": "test", "path": "/a/b/0", "value": 1}, {"op": "remove", "path": "/m~0n"}]), value!({"a": {"b": [1, 2]}})),
    ] {
        assert_eq!(json(&target, &patch), Ok(expected));
    }
    for (patch, message) in [
        (value!([{"op": "test", "path": "/a/b/0", "value": 2}]), "testing value /a/b/0 failed: test failed"),
        (value!([{"op": "remove", "path": "/x"}]), "remove operation does not apply: doc is missing path: \"/x\": missing value"),
        (
            value!([{"op": "add", "path": "/a/b/7", "value": 1}]),
            "add operation does not apply: doc is missing path: \"/a/b/7\": missing value",
        ),
        (
            value!([{"op": "move", "from": "/a", "path": "/a/b/c"}]),
            "move operation does not apply: doc is missing path: \"/a/b/c\": missing value",
        ),
        (
            value!([{"op": "replace", "path": "/a/c/d", "value": 1}]),
            "replace operation does not apply: doc is missing path: \"/a/c/d\": missing value",
        ),
    ] {
        assert_eq!(json(&target, &patch), Err(PatchError::Unprocessable(message.to_owned())));
    }
    for patch in
        [value!({}), value!([{"op": "jump", "path": "/a"}]), value!([{"path": "/a"}]), value!([{"op": "add", "path": "a"}]), value!([1])]
    {
        assert!(matches!(json(&target, &patch), Err(PatchError::Malformed(_))), "{patch:?}");
    }
    let bomb = (0..60).map(|_| value!({"op": "copy", "from": "/a", "path": "/a/b/-"})).collect::<Vec<_>>();
    assert!(matches!(json(&target, &Value::List(bomb)), Err(PatchError::TooLarge(_))));
}

#[test]
fn lists_merge_by_key() {
    let target = pod(value!({"containers": [{"name": "a", "image": "x", "ports": [{"containerPort": 80}]}, {"name": "b", "image": "y"}]}));
    apply(
        &target,
        pod(value!({"containers": [{"name": "b", "image": "z"}, {"name": "c", "image": "w", "command": null}]})),
        pod(
            value!({"containers": [{"name": "a", "image": "x", "ports": [{"containerPort": 80}]}, {"name": "b", "image": "z"}, {"name": "c", "image": "w"}]}),
        ),
    );
    apply(
        &target,
        pod(value!({"containers": [{"name": "a", "$patch": "delete"}]})),
        pod(value!({"containers": [{"name": "b", "image": "y"}]})),
    );
    apply(&target, pod(value!({"containers": [{"name": "n"}, {"$patch": "replace"}]})), pod(value!({"containers": [{"name": "n"}]})));
    apply(
        &target,
        pod(value!({"containers": [{"name": "a", "ports": [{"containerPort": 80, "name": "web"}], "image": null}]})),
        pod(value!({"containers": [{"name": "a", "ports": [{"containerPort": 80, "name": "web"}]}, {"name": "b", "image": "y"}]})),
    );
    let schema = &table().kind_of("v1", "Pod").unwrap().schema;
    let error = strategic(schema, &target, &pod(value!({"containers": [{"image": "z"}]}))).unwrap_err();
    assert_eq!(error.to_string(), "map: {\"image\":\"z\"} does not contain declared merge key: name");
}

#[test]
fn atomic_lists_and_maps() {
    let target = pod(value!({"tolerations": [{"key": "a"}], "nodeSelector": {"a": "1", "b": "2"}, "nodeName": "n"}));
    apply(
        &target,
        pod(value!({"tolerations": [{"key": "b"}], "nodeSelector": {"b": null, "c": "3"}, "nodeName": null})),
        pod(value!({"tolerations": [{"key": "b"}], "nodeSelector": {"a": "1", "c": "3"}})),
    );
    apply(&target, pod(value!({"$patch": "replace", "hostname": "h"})), pod(value!({"hostname": "h"})));
    apply(&target, value!({"spec": {"$patch": "delete"}}), pod(value!({})));
}

#[test]
fn directives_where_nothing_was_leave_nothing() {
    apply(
        &pod(value!({})),
        pod(value!({"containers": [{"$patch": "replace"}, {"name": "a"}, {"$patch": "delete", "name": "b"}]})),
        pod(value!({"containers": [{"name": "a"}]})),
    );
}

#[test]
fn element_order() {
    let target = pod(value!({"containers": [{"name": "a"}, {"name": "server"}, {"name": "b"}]}));
    apply(
        &target,
        pod(
            value!({"$setElementOrder/containers": [{"name": "b"}, {"name": "new"}, {"name": "a"}], "containers": [{"name": "new"}, {"name": "b", "image": "x"}]}),
        ),
        pod(value!({"containers": [{"name": "server"}, {"name": "b", "image": "x"}, {"name": "new"}, {"name": "a"}]})),
    );
    apply(
        &target,
        pod(value!({"$setElementOrder/containers": [{"name": "a"}, {"name": "b"}], "containers": [{"name": "b", "image": "x"}]})),
        pod(value!({"containers": [{"name": "a"}, {"name": "server"}, {"name": "b", "image": "x"}]})),
    );
    apply(
        &value!({"metadata": {"finalizers": ["a", "b"]}}),
        value!({"metadata": {"$setElementOrder/finalizers": ["c", "a"], "finalizers": ["c"], "$deleteFromPrimitiveList/finalizers": ["b"]}}),
        value!({"metadata": {"finalizers": ["c", "a"]}}),
    );
    apply(
        &value!({"metadata": {}}),
        value!({"metadata": {"$setElementOrder/finalizers": ["c"], "finalizers": ["c"]}}),
        value!({"metadata": {"finalizers": ["c"]}}),
    );
}

#[test]
fn retain_keys() {
    let target = pod(value!({"volumes": [{"name": "v", "emptyDir": {}}]}));
    apply(
        &target,
        pod(value!({"volumes": [{"name": "v", "$retainKeys": ["name", "hostPath"], "hostPath": {"path": "/x"}}]})),
        pod(value!({"volumes": [{"name": "v", "hostPath": {"path": "/x"}}]})),
    );
    let schema = &table().kind_of("v1", "Pod").unwrap().schema;
    let wrong = pod(value!({"volumes": [{"name": "v", "$retainKeys": ["name"], "hostPath": {"path": "/x"}}]}));
    assert_eq!(strategic(schema, &target, &wrong).unwrap_err().to_string(), "invalid patch format of retainKeys");
}
