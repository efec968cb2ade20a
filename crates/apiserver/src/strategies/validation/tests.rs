//! The words in which objects are refused.

use corten_schema::{Value, json as codec};
use serde_json::json;

use super::{Errors, Path, differences, labels, names, quality, quantity};

fn value(json: &serde_json::Value) -> Value {
    codec::decode_untyped(json.to_string().as_bytes()).unwrap()
}

fn texts(errors: &Errors) -> Vec<String> {
    errors.iter().map(ToString::to_string).collect()
}

#[test]
fn names_are_explained() {
    let label = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an \
                 alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
    assert_eq!(names::label("My"), [label]);
    assert_eq!(names::label("a.b"), ["must not contain dots"]);
    assert_eq!(names::label(&"a".repeat(64)), ["must be no more than 63 bytes"]);
    assert!(names::label("a-1").is_empty() && names::subdomain("a.b-c.d").is_empty());
    assert!(names::subdomain("a..b")[0].contains("(e.g. 'example.com', regex used for validation is"));
    assert_eq!(names::qualified_name("/x"), ["prefix part must be non-empty"]);
    assert!(names::qualified_name("example.com/My_name").is_empty());
    assert_eq!(names::qualified_name("a/b/c").len(), 1);
    assert!(names::label_value("").is_empty() && !names::label_value("-x").is_empty());
    assert!(names::variable("my.var-1 x").is_empty() && !names::variable("a=b").is_empty());
    assert_eq!(names::port_name("123"), ["must contain at least one letter (a-z)"]);
    assert_eq!(names::config_key(".."), ["must not be '..'"]);
}

#[test]
fn quantities_compare_across_suffixes() {
    let parse = |text| quantity::parse(text).unwrap();
    assert_eq!(parse("1"), parse("1000m"));
    assert_eq!(parse("1Gi"), parse("1024Mi"));
    assert_eq!(parse("1.5k"), parse("1500"));
    assert_eq!(parse("1e3"), parse("1k"));
    assert!(parse("-1") < 0 && parse("100m") < parse("0.2"));
    assert!(quantity::is_whole(parse("2")) && !quantity::is_whole(parse("200m")));
    assert_eq!(quantity::print(parse("1536Mi"), "1Gi"), "1536Mi");
    assert_eq!(quantity::print(parse("2.5"), "1"), "2500m");
    assert_eq!(quantity::print(parse("3k"), "1"), "3k");
    for bad in ["", ".", "1x", "abc", "1 Gi"] {
        assert_eq!(quantity::parse(bad), None, "{bad}");
    }
}

#[test]
fn selectors_match_labels() {
    let selector = value(&json!({"matchLabels": {"a": "1"}, "matchExpressions": [
        {"key": "b", "operator": "In", "values": ["x", "y"]}, {"key": "c", "operator": "DoesNotExist"}]}));
    let matches = |labels: serde_json::Value| labels::matches(&selector, Some(&value(&labels)));
    assert!(matches(json!({"a": "1", "b": "y"})));
    assert!(!matches(json!({"a": "1", "b": "z"})));
    assert!(!matches(json!({"a": "1", "b": "x", "c": ""})));
    assert!(!labels::matches(&selector, None));
    let mut errors = Errors::new();
    let bad = value(&json!({"matchExpressions": [{"key": "b", "operator": "In"}]}));
    labels::selector(&mut errors, Path::Root("spec.selector"), &bad);
    assert_eq!(
        texts(&errors),
        ["spec.selector.matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'"]
    );
}

#[test]
fn quality_classes_follow_requests_and_limits() {
    let class = |resources: serde_json::Value| quality::class(&value(&json!({"containers": [{"resources": resources}]}))).to_owned();
    assert_eq!(class(json!({})), "BestEffort");
    assert_eq!(class(json!({"requests": {"cpu": "1"}})), "Burstable");
    assert_eq!(class(json!({"limits": {"cpu": "1", "memory": "1Gi"}})), "Guaranteed");
    assert_eq!(class(json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1000m", "memory": "1Gi"}})), "Guaranteed");
    assert_eq!(class(json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}})), "Burstable");
}

#[test]
fn differences_are_named_by_path() {
    let old = value(&json!({"a": {"b": 1, "c": [1, 2]}, "x": "y"}));
    let new = value(&json!({"a": {"b": 2, "c": [1]}, "x": "y", "z": true}));
    assert_eq!(differences::between(&old, &new), "- a.b: 1\n+ a.b: 2\n- a.c[1]: 2\n+ z: true\n");
}
