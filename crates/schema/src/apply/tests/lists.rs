//! Merging and checking configurations.

use super::*;

#[track_caller]
fn merges(live: Value, change: Value, expected: Value) {
    let merged = merge(schema("v1", "Pod"), &value!({"spec": (live)}), &value!({"spec": (change)}));
    assert_eq!(merged, value!({"spec": (expected)}), "{}", text(&merged));
}

#[test]
fn maps_and_atomic_values() {
    merges(
        value!({"nodeSelector": {"a": "b"}, "hostname": "h", "tolerations": [{"key": "a"}], "securityContext": {"runAsUser": 1}}),
        value!({"nodeSelector": {"c": "d"}, "tolerations": [{"key": "b"}], "securityContext": {"runAsGroup": 2}}),
        value!({"nodeSelector": {"c": "d"}, "hostname": "h", "tolerations": [{"key": "b"}], "securityContext": {"runAsUser": 1, "runAsGroup": 2}}),
    );
    // Null and nothing take nothing away from what has parts.
    merges(
        value!({"securityContext": {"runAsUser": 1}, "containers": [{"name": "a"}], "hostname": "h"}),
        value!({"securityContext": null, "containers": [], "hostname": null}),
        value!({"securityContext": {"runAsUser": 1}, "containers": [{"name": "a"}], "hostname": null}),
    );
}

/// Names of containers before, in the configuration, and after.
#[track_caller]
fn order(live: &[&str], change: &[&str], expected: &[&str]) {
    let named = |names: &[&str]| Value::List(names.iter().map(|name| value!({"name": (*name)})).collect());
    let list = |names: &[&str]| value!({"containers": (named(names))});
    merges(list(live), list(change), list(expected));
}

#[test]
fn the_order_of_items() {
    order(&["a", "b"], &["a", "b"], &["a", "b"]);
    order(&["a", "b", "c"], &["b", "n"], &["a", "b", "c", "n"]);
    order(&["a", "x", "b"], &["b", "a"], &["x", "b", "a"]);
    order(&["a", "x", "b", "y"], &["b", "a"], &["x", "b", "y", "a"]);
    order(&["x", "a"], &["n", "a"], &["x", "n", "a"]);
    order(&["a", "x"], &["a", "n"], &["a", "x", "n"]);
    order(&[], &["b", "a"], &["b", "a"]);
    order(&["c", "b", "a"], &["a", "b", "c"], &["a", "b", "c"]);
}

#[test]
fn items_merge_by_all_their_keys() {
    let ports = |ports: Value| value!({"containers": [{"name": "a", "ports": (ports)}]});
    merges(
        ports(value!([{"containerPort": 80, "protocol": "TCP", "name": "web"}, {"containerPort": 80, "protocol": "UDP"}])),
        ports(value!([{"containerPort": 80, "hostPort": 8080}, {"containerPort": 81}])),
        ports(
            value!([{"containerPort": 80, "protocol": "TCP", "name": "web", "hostPort": 8080}, {"containerPort": 80, "protocol": "UDP"}, {"containerPort": 81}]),
        ),
    );
    // Repeated items give way to the one applied.
    let env = |env: Value| value!({"containers": [{"name": "a", "env": (env)}]});
    merges(
        env(value!([{"name": "E", "value": "1"}, {"name": "F"}, {"name": "E", "value": "2"}])),
        env(value!([{"name": "E", "value": "3"}])),
        env(value!([{"name": "E", "value": "3"}, {"name": "F"}])),
    );
}

#[test]
fn what_is_wrong_with_a_configuration() {
    let schema = schema("v1", "Pod");
    for (configuration, message) in [
        (value!({"spek": {}}), ".spek: field not declared in schema"),
        (value!({"spec": {"containers": [{"name": "a", "imag": "x"}]}}), ".spec.containers[name=\"a\"].imag: field not declared in schema"),
        (value!({"spec": {"containers": {"a": 1}}}), ".spec.containers: expected list, got &{map[a:1]}"),
        (value!({"spec": ["a"]}), ".spec: expected map, got &{[a]}"),
        (value!({"spec": {"hostname": 8080}}), ".spec.hostname: expected string, got &value.valueUnstructured{Value:8080}"),
        (value!({"spec": {"hostNetwork": "yes"}}), ".spec.hostNetwork: expected boolean, got &value.valueUnstructured{Value:\"yes\"}"),
        (
            value!({"spec": {"terminationGracePeriodSeconds": "5"}}),
            ".spec.terminationGracePeriodSeconds: expected numeric (int or float), got string",
        ),
        (value!({"spec": {"containers": [{"name": "a"}, {"name": "a"}]}}), ".spec.containers: duplicate entries for key [name=\"a\"]"),
        (
            value!({"spec": {"containers": [{"name": "a", "ports": [{"containerPort": 80}, {"containerPort": 80, "protocol": "TCP"}]}]}}),
            ".spec.containers[name=\"a\"].ports: duplicate entries for key [containerPort=80,protocol=\"TCP\"]",
        ),
        (
            value!({"spec": {"containers": [{"image": "a"}]}}),
            ".spec.containers: element 0: associative list with keys has an element that omits key field \"name\" (and doesn't have default value)",
        ),
        (
            value!({"metadata": {"finalizers": [null]}}),
            ".metadata.finalizers: element 0: associative list without keys has an element that's an explicit null",
        ),
        (value!({"a": 1, "b": 2}), "errors:\n  .a: field not declared in schema\n  .b: field not declared in schema"),
    ] {
        assert_eq!(check(schema, &configuration), Err(message.to_owned()));
    }
    let fine = value!({"spec": {"containers": [{"name": "a", "resources": {"limits": {"cpu": 1}}, "ports": [{"containerPort": 80}, {"containerPort": 80, "protocol": "UDP"}],
        "livenessProbe": {"httpGet": {"port": "web"}}, "args": null}]}});
    assert_eq!(check(schema, &fine), Ok(()));
}
