//! The words in which objects are refused.

use corten_schema::{Value, json as codec};
use serde_json::json;

use super::{Errors, Path, labels, names, pod_spec, quantity};

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
    for bad in ["", ".", "1x", "abc", "1 Gi"] {
        assert_eq!(quantity::parse(bad), None, "{bad}");
    }
}

/// A pod specification with all defaults, changed by `change`, and what is wrong with it.
fn refused(change: impl FnOnce(&mut serde_json::Value)) -> Vec<String> {
    let mut spec = json!({
        "restartPolicy": "Always", "dnsPolicy": "ClusterFirst",
        "containers": [{
            "name": "main", "image": "nginx", "imagePullPolicy": "IfNotPresent", "terminationMessagePolicy": "File",
            "resources": {},
        }],
    });
    change(&mut spec);
    let mut errors = Errors::new();
    pod_spec::validate(&mut errors, Path::Root("spec"), &value(&spec));
    texts(&errors)
}

#[test]
fn pods_are_refused_field_by_field() {
    assert_eq!(refused(|_| ()), Vec::<String>::new());
    type Change = fn(&mut serde_json::Value);
    let cases: &[(Change, &str)] = &[
        (|s| s["containers"] = json!([]), "spec.containers: Required value"),
        (|s| s["containers"][0]["image"] = json!(""), "spec.containers[0].image: Required value"),
        (|s| s["containers"][0]["name"] = json!("a.b"), "spec.containers[0].name: Invalid value: \"a.b\": must not contain dots"),
        (|s| s["containers"] = json!([s["containers"][0], s["containers"][0]]), "spec.containers[1].name: Duplicate value: \"main\""),
        (
            |s| s["containers"][0]["ports"] = json!([{"containerPort": 70000, "protocol": "TCP"}]),
            "spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive",
        ),
        (
            |s| s["containers"][0]["ports"] = json!([{"containerPort": 80, "protocol": "HTTP"}]),
            "spec.containers[0].ports[0].protocol: Unsupported value: \"HTTP\": supported values: \"SCTP\", \"TCP\", \"UDP\"",
        ),
        (
            |s| s["containers"][0]["volumeMounts"] = json!([{"name": "data", "mountPath": "/data"}]),
            "spec.containers[0].volumeMounts[0].name: Not found: \"data\"",
        ),
        (
            |s| s["containers"][0]["resources"] = json!({"limits": {"memory": "1Gi"}, "requests": {"memory": "2Gi"}}),
            "spec.containers[0].resources.requests: Invalid value: \"2Gi\": must be less than or equal to memory limit of 1Gi",
        ),
        (
            |s| s["containers"][0]["livenessProbe"] = json!({"periodSeconds": 10, "successThreshold": 1}),
            "spec.containers[0].livenessProbe: Required value: must specify a handler type",
        ),
        (
            |s| s["containers"][0]["env"] = json!([{"name": "A", "value": "x", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]),
            "spec.containers[0].env[0].valueFrom: Invalid value: \"\": may not be specified when `value` is not empty",
        ),
        (
            |s| s["restartPolicy"] = json!("Sometimes"),
            "spec.restartPolicy: Unsupported value: \"Sometimes\": supported values: \"Always\", \"Never\", \"OnFailure\"",
        ),
        (|s| s["volumes"] = json!([{"name": "a"}]), "spec.volumes[0]: Required value: must specify a volume type"),
        (
            |s| s["volumes"] = json!([{"name": "a", "emptyDir": {}}, {"name": "a", "emptyDir": {}}]),
            "spec.volumes[1].name: Duplicate value: \"a\"",
        ),
        (
            |s| s["tolerations"] = json!([{"operator": "Exists", "tolerationSeconds": 5}]),
            "spec.tolerations[0].effect: Invalid value: \"\": effect must be 'NoExecute' when `tolerationSeconds` is set",
        ),
        (
            |s| s["terminationGracePeriodSeconds"] = json!(-1),
            "spec.terminationGracePeriodSeconds: Invalid value: -1: must be greater than or equal to 0",
        ),
        (
            |s| {
                s["initContainers"] = json!([{
                    "name": "i", "image": "x", "imagePullPolicy": "Always", "terminationMessagePolicy": "File", "startupProbe": {"exec": {}},
                }])
            },
            "spec.initContainers[0].startupProbe: Forbidden: may not be set for init containers without restartPolicy=Always",
        ),
    ];
    for (change, expected) in cases {
        assert_eq!(refused(*change), [*expected]);
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
    let class =
        |resources: serde_json::Value| pod_spec::quality_class(&value(&json!({"containers": [{"resources": resources}]}))).to_owned();
    assert_eq!(class(json!({})), "BestEffort");
    assert_eq!(class(json!({"requests": {"cpu": "1"}})), "Burstable");
    assert_eq!(class(json!({"limits": {"cpu": "1", "memory": "1Gi"}})), "Guaranteed");
    assert_eq!(class(json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1000m", "memory": "1Gi"}})), "Guaranteed");
    assert_eq!(class(json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}})), "Burstable");
}
