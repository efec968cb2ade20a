use super::*;
use crate::{table, value};

#[test]
fn yaml_1_1_as_manifests_use_it() {
    for (text, expected) in [
        ("a: yes\nb: off\nc: 'yes'\nd: True", value!({"a": true, "b": false, "c": "yes", "d": true})),
        ("mode: 0644\nhex: 0x10\nbig: 1_000\nf: 1.5\ns: \"017\"", value!({"mode": 420, "hex": 16, "big": 1000, "f": 1.5, "s": "017"})),
        ("a: ~\nb:\nc: null\nd: ''", value!({"a": null, "b": null, "c": null, "d": ""})),
        ("1: x\ntrue: y", value!({"1": "x", "true": true})),
        ("a: &x {k: v}\nb: *x\nc:\n  <<: *x\n  l: w", value!({"a": {"k": "v"}, "b": {"k": "v"}, "c": {"k": "v", "l": "w"}})),
        ("s: |\n  one\n  two\n", value!({"s": "one\ntwo\n"})),
        ("version: 1.14.2\nip: 10.0.0.1\ntime: 12:30", value!({"version": "1.14.2", "ip": "10.0.0.1", "time": "12:30"})),
        ("{\"a\": [1, {\"b\": null}]}", value!({"a": [1, {"b": null}]})),
    ] {
        assert_eq!(decode_untyped(text.as_bytes()).unwrap(), expected, "{text}");
    }
}

#[test]
fn broken_yaml_says_where() {
    for (text, expected) in [
        ("a: b: c", "line 1: mapping values are not allowed in this context"),
        ("a: 1\na: 2", "line 2: duplicate mapping key: a"),
        ("a:\n\t- b", "line 2: tabs disallowed within this context (block indentation)"),
        ("a: [1", "line 1: unclosed bracket '['"),
        ("a: 1\n---\nb: 2", "line 3: multiple YAML documents detected"),
        ("a: *x", "line 1: alias references unknown anchor"),
    ] {
        let error = decode_untyped(text.as_bytes()).unwrap_err().to_string();
        assert_eq!(error, format!("error converting YAML to JSON: yaml: {expected}"));
    }
}

#[test]
fn a_manifest() {
    let text = "
apiVersion: apps/v1
kind: Deployment
metadata:
  name: nginx-deployment
spec:
  replicas: 3
  selector:
    matchLabels: {app: nginx}
  template:
    metadata:
      labels: {app: nginx}
    spec:
      containers:
      - name: nginx
        image: nginx:1.14.2
        ports: [{containerPort: 80}]
";
    let schema = &table().kind_of("apps/v1", "Deployment").unwrap().schema;
    let deployment = decode(schema, text.as_bytes(), Strictness::Strict).unwrap().value;
    assert_eq!(deployment.pointer("/spec/template/spec/containers/0/image").and_then(Value::as_str), Some("nginx:1.14.2"));
    let error = decode(schema, b"spec: {replicas: yes}", Strictness::Strict).unwrap_err();
    assert_eq!(error.to_string(), "json: cannot unmarshal bool into Go struct field DeploymentSpec.spec.replicas of type int32");
}

#[test]
fn alias_bombs_are_refused() {
    let mut text = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n".to_owned();
    for level in 1..9 {
        let items = vec![format!("*a{}", level - 1); 9].join(",");
        text.push_str(&format!("a{level}: &a{level} [{items}]\n"));
    }
    assert!(decode_untyped(text.as_bytes()).is_err());
}

#[test]
fn depth_is_bounded() {
    let deep = |levels: usize| format!("a: {}1{}", "[".repeat(levels), "]".repeat(levels));
    assert!(decode_untyped(deep(60).as_bytes()).is_ok());
    assert!(decode_untyped(deep(100_000).as_bytes()).is_err());
}
