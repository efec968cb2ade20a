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
    for (patch, message) in [
        (value!([{"op": "jump", "path": "/a"}]), "Unexpected kind: jump"),
        (value!([{"path": "/a"}]), "Unexpected kind: unknown"),
        (value!([{"op": "add"}]), "add operation does not apply: operation has no path: missing value"),
        (value!([{"op": "add", "path": "a"}]), "add operation does not apply: doc is missing path: \"a\": missing value"),
        (value!([{"op": "copy", "path": "/c"}]), "copy operation does not apply: operation has no from: missing value"),
        (value!([{"op": "remove", "path": "/a/b/-3"}]), "remove operation does not apply: doc is missing path: \"/a/b/-3\": missing value"),
    ] {
        assert_eq!(json(&target, &patch), Err(PatchError::Unprocessable(message.to_owned())));
    }
    for patch in [value!({}), value!([1]), value!("add")] {
        assert!(matches!(json(&target, &patch), Err(PatchError::Malformed(_))), "{patch:?}");
    }
}

#[test]
fn places_in_lists_may_count_from_the_end() {
    let target = value!({"l": [1, 2, 3]});
    for (patch, expected) in [
        (value!([{"op": "remove", "path": "/l/-1"}]), value!({"l": [1, 2]})),
        (value!([{"op": "add", "path": "/l/-1", "value": 4}]), value!({"l": [1, 2, 3, 4]})),
        (value!([{"op": "add", "path": "/l/-2", "value": 4}]), value!({"l": [1, 2, 4, 3]})),
        (value!([{"op": "replace", "path": "/l/01", "value": 4}]), value!({"l": [1, 4, 3]})),
        (value!([{"op": "test", "path": "/l/-3", "value": 1}]), target.clone()),
        (value!([{"op": "test", "path": "/none", "value": null}]), target.clone()),
    ] {
        assert_eq!(json(&target, &patch), Ok(expected));
    }
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
    assert_eq!(error, PatchError::Senseless("map: map[image:z] does not contain declared merge key: name".to_owned()));
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
        pod(
            value!({"containers": [{"$patch": "replace"}, {"name": "a"}, {"$patch": "delete", "name": "b"}], "nodeSelector": {"$patch": "delete"}}),
        ),
        pod(value!({"containers": [{"name": "a"}]})),
    );
    apply(&value!({}), value!({"spec": {"$patch": "replace", "hostname": "h"}}), value!({}));
}

/// As in the example of the documentation: an item that is new comes before those that the patch does not name.
#[test]
fn what_a_patch_gives_has_its_order() {
    let names = |names: &[&str]| Value::List(names.iter().map(|name| value!({"name": (*name)})).collect());
    for (before, patch, after) in [
        (&["a"][..], &["n"][..], &["n", "a"][..]),
        (&["a", "b"], &["b", "n"], &["a", "b", "n"]),
        (&["a", "b", "c"], &["c", "a"], &["b", "c", "a"]),
        (&["a", "b", "c"], &["n", "b"], &["n", "a", "b", "c"]),
        (&["a", "b", "c", "d"], &["d", "b"], &["a", "c", "d", "b"]),
    ] {
        let list = |items: &[&str]| pod(value!({"containers": (names(items))}));
        apply(&list(before), list(patch), list(after));
    }
    apply(
        &value!({"metadata": {"finalizers": ["a", "b"]}}),
        value!({"metadata": {"finalizers": ["c", "a"]}}),
        value!({"metadata": {"finalizers": ["c", "a", "b"]}}),
    );
}

#[test]
fn patches_without_sense() {
    let target = pod(value!({"containers": [{"name": "a"}], "nodeSelector": {"a": "b"}}));
    let schema = &table().kind_of("v1", "Pod").unwrap().schema;
    let senseless = |text: &str| PatchError::Senseless(text.to_owned());
    for (patch, error) in [
        (value!({"nodeSelector": {"$patch": "merge"}}), senseless("unknown patch type: merge in map: map[$patch:merge]")),
        (value!({"containers": [{"name": "a", "$patch": "merge"}]}), senseless("merging lists cannot yet be specified in the patch")),
        (value!({"containers": [{"name": "a", "$patch": "x"}]}), senseless("unknown patch type: x in map: map[$patch:x name:a]")),
        (value!({"containers": ["a"]}), senseless("list element types are not identical: [[map[name:a]] [a]]")),
        (value!({"containers": [["a"]]}), PatchError::Unprocessable("lists of lists are not supported".to_owned())),
        (
            value!({"$setElementOrder/containers": [{"name": "a"}, {"name": "b"}], "containers": [{"name": "b"}, {"name": "a"}]}),
            senseless(
                "The order in patch list:\n[map[name:b] map[name:a]]\n doesn't match $setElementOrder list:\n[map[name:a] map[name:b]]\n",
            ),
        ),
        (value!({"$setElementOrder/containers": "a"}), senseless("expected a []interface {}, but received a string")),
        (value!({"$setElementOrder": []}), PatchError::Malformed("invalid patch format of setElementOrder list".to_owned())),
        (value!({"$deleteFromPrimitiveList": []}), PatchError::Malformed("invalid patch format of primitive list".to_owned())),
        (value!({"$retainKeys": "a"}), PatchError::Malformed("invalid patch format of retainKeys".to_owned())),
    ] {
        assert_eq!(strategic(schema, &target, &pod(patch)), Err(error));
    }
}

#[test]
fn element_order() {
    let target = pod(value!({"containers": [{"name": "a"}, {"name": "server"}, {"name": "b"}]}));
    apply(
        &target,
        pod(
            value!({"$setElementOrder/containers": [{"name": "b"}, {"name": "new"}, {"name": "a"}], "containers": [{"name": "b", "image": "x"}, {"name": "new"}]}),
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

/// What would take a second for each of a million steps, or a byte of stack for each level.
#[test]
fn hostile_patches_are_bounded() {
    let began = std::time::Instant::now();
    let operation = |n: usize| value!({"op": "test", "path": "/a", "value": (n as i64)});
    let many = Value::List((0..1_000_000).map(operation).collect());
    assert!(matches!(json(&value!({}), &many), Err(PatchError::TooLarge(_))));

    // Each operation hangs what was there under something deeper.
    let chain = |depth: usize| (0..depth).fold(value!(1), |below, _| value!({"a": (below)}));
    for word in ["move", "copy"] {
        let deeper: Vec<Value> = (0..1_000)
            .flat_map(|_| {
                let to = "/b".to_owned() + &"/a".repeat(100);
                [
                    value!({"op": "add", "path": "/b", "value": (chain(100))}),
                    value!({"op": (word), "from": "/a", "path": (to)}),
                    value!({"op": "move", "from": "/b", "path": "/a"}),
                ]
            })
            .collect();
        assert!(matches!(json(&value!({"a": 1}), &Value::List(deeper)), Err(PatchError::TooLarge(_))), "{word}");
    }
    // Each copy would double the object; a long text is as large as many values.
    for bomb in [value!({"b": [1, 2]}), value!({"b": [("x".repeat(10_000))]})] {
        let copies = (0..60).map(|_| value!({"op": "copy", "from": "/a", "path": "/a/b/-"})).collect::<Vec<_>>();
        let error = json(&value!({"a": (bomb)}), &Value::List(copies)).unwrap_err();
        assert!(error.to_string().starts_with("Unable to copy, the accumulated size increase of copy is "), "{error}");
    }
    let path = "/a".repeat(500);
    let deep = value!([{"op": "add", "path": (path), "value": 1}]);
    assert!(json(&value!({}), &deep).is_err());

    // A test does not copy what it looks at.
    let large = Value::List((0..200_000).map(Value::from).collect());
    let tests = (0..10_000).map(|_| value!({"op": "test", "path": "/l", "value": []})).collect::<Vec<_>>();
    assert!(json(&value!({"l": (large.clone())}), &Value::List(tests)).is_err());
    let tests = (0..10_000).map(|_| value!({"op": "test", "path": "/l/7", "value": 7})).collect::<Vec<_>>();
    assert!(json(&value!({"l": (large.clone())}), &Value::List(tests)).is_ok());
    // Each operation makes room at the beginning of a long list.
    let adds = (0..10_000).map(|_| value!({"op": "add", "path": "/l/0", "value": 7})).collect::<Vec<_>>();
    assert!(matches!(json(&value!({"l": (large)}), &Value::List(adds)), Err(PatchError::TooLarge(_))));

    // Long lists and maps.
    let schema = &table().kind_of("v1", "Pod").unwrap().schema;
    let names = |from: usize| (from..from + 50_000).map(|n| value!({"name": (format!("c{n}"))})).collect::<Vec<_>>();
    let pod = |names: Vec<Value>| value!({"spec": {"containers": (names)}});
    let mut patch = pod(names(25_000));
    patch.set_at(&["spec", "$setElementOrder/containers"], Value::List(names(25_000)));
    let merged = strategic(schema, &pod(names(0)), &patch).unwrap();
    assert_eq!(merged.at(&["spec", "containers"]).unwrap().as_list().unwrap().len(), 75_000);
    let same = pod(vec![value!({"name": "c"}); 100_000]);
    assert_eq!(strategic(schema, &same, &same).unwrap(), same);
    let merged = crate::apply::merge(schema, &pod(names(0)), &pod(names(25_000)));
    assert_eq!(merged.at(&["spec", "containers"]).unwrap().as_list().unwrap().len(), 75_000);
    let finalizers = Value::List((0..50_000).map(|n| Value::from(format!("x/{n}"))).collect());
    let patch = value!({"metadata": {"$deleteFromPrimitiveList/finalizers": (finalizers.clone())}});
    let merged = strategic(schema, &value!({"metadata": {"finalizers": (finalizers)}}), &patch).unwrap();
    assert_eq!(merged.at(&["metadata", "finalizers"]).unwrap().as_list().unwrap().len(), 0);
    let labels: Map = (0..100_000).map(|n| (format!("k{n}"), "v")).collect();
    let labelled = value!({"metadata": {"labels": (labels)}});
    assert_eq!(strategic(schema, &value!({"metadata": {"labels": {}}}), &labelled).unwrap(), labelled);
    assert_eq!(merge(&value!({}), &labelled), labelled);
    let owned = crate::apply::owned(schema, &labelled);
    assert_eq!(crate::apply::remove(schema, &labelled, &owned), value!({"metadata": {"labels": null}}));
    // Generous: in a debug build on a busy machine. What is quadratic in these sizes takes minutes.
    assert!(began.elapsed().as_secs() < 60, "{:?}", began.elapsed());
}
