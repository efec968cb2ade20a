//! Patches that mean harm: each is answered soon, in the reference's way, and leaves the server as it was.

use std::time::Instant;

use http::Method;
use serde_json::{Value, json};

use crate::apply::APPLY;
use crate::common::{Api, CONFIG_MAPS, DEADLINE, DEPLOYMENTS, config_map, deployment};

const JSON: &str = "application/json-patch+json";
const MERGE: &str = "application/merge-patch+json";
const STRATEGIC: &str = "application/strategic-merge-patch+json";

/// Sends a patch that must be refused with this code, soon; the answer's message.
async fn refused(api: &Api, path: &str, media_type: &str, body: String, code: u16) -> String {
    let began = Instant::now();
    let status = api.call(Method::PATCH, path).body(media_type, body).fails(code).await;
    assert!(began.elapsed() < DEADLINE, "{media_type}: {:?}", began.elapsed());
    status["message"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn operations_are_counted() {
    let api = Api::start().await;
    api.created(CONFIG_MAPS, config_map("one")).await;
    let path = format!("{CONFIG_MAPS}/one");
    let operations = |count: usize, operation: &str| format!("[{}]", vec![operation; count].join(","));
    let add = r#"{"op":"add","path":"/data/a","value":"b"}"#;
    let message = refused(&api, &path, JSON, operations(10_001, add), 413).await;
    assert_eq!(message, "Request entity too large: The allowed maximum operations in a JSON patch is 10000, got 10001");
    // A million of them are more than a body may be.
    refused(&api, &path, JSON, operations(1_000_000, add), 413).await;
    let fine = api.call(Method::PATCH, &path).body(JSON, operations(10_000, add)).ok().await;
    assert_eq!(fine["data"], json!({"a": "b"}));
    // Tests are cheap, however large what they look at is.
    let large = json!({"data": {"a": "x".repeat(200_000)}});
    api.patch(&path, "merge", large).ok().await;
    let test = r#"{"op":"test","path":"/data","value":{"a":"y"}}"#;
    let message = refused(&api, &path, JSON, operations(9_000, test), 422).await;
    assert!(message.ends_with("testing value /data failed: test failed"), "{message}");
    let test = r#"{"op":"test","path":"/metadata/name","value":"one"}"#;
    api.call(Method::PATCH, &path).body(JSON, operations(10_000, test)).ok().await;
}

#[tokio::test]
async fn what_grows_is_stopped() {
    let api = Api::start().await;
    api.created(CONFIG_MAPS, config_map("one")).await;
    let path = format!("{CONFIG_MAPS}/one");
    // Each copy doubles what there is.
    let doubling: Vec<Value> = (0..64).map(|n| json!({"op": "copy", "from": "/data", "path": format!("/data/k{n}")})).collect();
    let message = refused(&api, &path, JSON, Value::from(doubling).to_string(), 422).await;
    assert!(message.contains("Unable to copy, the accumulated size increase of copy is"), "{message}");
    api.patch(&path, "merge", json!({"data": {"a": "x".repeat(100_000)}})).ok().await;
    let copies: Vec<Value> = (0..10_000).map(|n| json!({"op": "copy", "from": "/data/a", "path": format!("/data/k{n}")})).collect();
    refused(&api, &path, JSON, Value::from(copies).to_string(), 422).await;
    // Each operation hangs what was there under something deeper.
    let deeper: Vec<Value> = (0..400)
        .flat_map(|_| {
            let below = format!("/b{}", "/a".repeat(100));
            let chain = (0..100).fold(json!("x"), |below, _| json!({"a": below}));
            [
                json!({"op": "add", "path": "/b", "value": chain}),
                json!({"op": "move", "from": "/data", "path": below}),
                json!({"op": "move", "from": "/b", "path": "/data"}),
            ]
        })
        .collect();
    let message = refused(&api, &path, JSON, Value::from(deeper).to_string(), 413).await;
    assert!(message.contains("would be nested more than"), "{message}");
    refused(&api, &path, JSON, json!([{"op": "add", "path": "/a".repeat(100_000), "value": 1}]).to_string(), 413).await;
    assert_eq!(api.get(&path).ok().await["data"].as_object().unwrap().len(), 1);
}

#[tokio::test]
async fn directives_deep_down_are_bounded() {
    let api = Api::start().await;
    api.created(DEPLOYMENTS, deployment("web")).await;
    let path = format!("{DEPLOYMENTS}/web");
    for depth in [50, 90] {
        for directive in [json!({"$patch": "delete"}), json!({"$patch": "replace"}), json!({"$retainKeys": ["a"]})] {
            let body = (0..depth).fold(directive, |below, _| json!({"spec": below})).to_string();
            let began = Instant::now();
            let answer = api.call(Method::PATCH, &path).body(STRATEGIC, body).send().await;
            assert!(answer.code.is_success(), "{}: {}", answer.code, answer.text());
            assert!(began.elapsed() < DEADLINE);
        }
    }
    for depth in [10_000, 200_000] {
        let body = "{\"spec\":".repeat(depth) + "{\"$patch\":\"delete\"}" + &"}".repeat(depth);
        refused(&api, &path, STRATEGIC, body.clone(), 400).await;
        refused(&api, &path, MERGE, body, 400).await;
    }
    // A long list of items to delete, and a long order.
    let items: Vec<Value> = (0..20_000).map(|n| json!({"name": format!("c{n}"), "$patch": "delete"})).collect();
    let order: Vec<Value> = (0..20_000).map(|n| json!({"name": format!("c{n}")})).collect();
    let containers = json!({"containers": items, "$setElementOrder/containers": order});
    let object = api.patch(&path, "strategic", json!({"spec": {"template": {"spec": containers}}})).ok().await;
    assert_eq!(object["spec"]["template"]["spec"]["containers"].as_array().unwrap().len(), 1);
    for (patch, code, words) in [
        (json!({"spec": {"$patch": "explode"}}), 500, "unknown patch type: explode in map: map[$patch:explode]"),
        (
            json!({"spec": {"template": {"spec": {"containers": [{"image": "x"}]}}}}),
            500,
            "map: map[image:x] does not contain declared merge key: name",
        ),
        (json!({"spec": {"template": {"spec": {"containers": [["x"]]}}}}), 422, "lists of lists are not supported"),
        (json!({"spec": {"strategy": {"$retainKeys": "x"}}}), 400, "invalid patch format of retainKeys"),
        (json!([]), 400, "error decoding patch: json: cannot unmarshal array into Go value of type map[string]interface {}"),
    ] {
        let message = refused(&api, &path, STRATEGIC, patch.to_string(), code).await;
        assert!(message.contains(words), "{message}");
    }
}

#[tokio::test]
async fn configurations_that_explode_are_refused() {
    let api = Api::start().await;
    let path = format!("{CONFIG_MAPS}/one?fieldManager=a");
    let head = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: one}\n";
    // Nine levels of ten aliases each.
    let mut bomb = format!("{head}a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
    for level in 1..9 {
        let before = vec![format!("*a{}", level - 1); 10].join(",");
        bomb.push_str(&format!("a{level}: &a{level} [{before}]\n"));
    }
    let message = refused(&api, &path, APPLY, bomb, 400).await;
    assert!(message.starts_with("error decoding YAML: "), "{message}");
    for deep in [format!("{head}data: {}", "[".repeat(100_000)), format!("{head}data: {}", "{a: ".repeat(100_000))] {
        refused(&api, &path, APPLY, deep, 400).await;
    }
    refused(&api, &path, APPLY, "{\"a\":".repeat(100_000), 400).await;
    refused(&api, &path, APPLY, format!("{head}data: {{a: '{}'}}", "x".repeat(4 << 20)), 413).await;
    // Of many fields that are wrong, only some are told.
    let wrong: String = (0..10_000).map(|n| format!("wrong{n}: 1\n")).collect();
    let message = refused(&api, &path, APPLY, format!("{head}{wrong}"), 500).await;
    assert!(message.contains(": field not declared in schema") && message.len() < 16 * 1024, "{}", message.len());
    // Many that are right are owned one by one.
    let right: String = (0..10_000).map(|n| format!("  k{n}: v\n")).collect();
    let began = Instant::now();
    let answer = api.call(Method::PATCH, &path).body(APPLY, format!("{head}data:\n{right}")).send().await;
    assert_eq!(answer.code.as_u16(), 201, "{}", answer.text());
    assert!(began.elapsed() < DEADLINE);
}

#[tokio::test]
async fn what_no_patch_can_be_is_said_in_known_words() {
    let api = Api::start().await;
    api.created(CONFIG_MAPS, config_map("one")).await;
    let path = format!("{CONFIG_MAPS}/one");
    for (media_type, body, code, words) in [
        (JSON, "{}", 400, "error decoding patch: json: cannot unmarshal object into Go value of type []handlers.jsonPatchOp"),
        (JSON, "[1]", 400, "json: cannot unmarshal number into Go value of type jsonpatch.Operation"),
        (JSON, "- op: remove\n", 400, "error decoding patch: "),
        (JSON, r#"[{"op":"jump","path":"/data"}]"#, 422, "the server rejected our request due to an error in our request"),
        (JSON, r#"[{"op":"replace","path":"/data","value":7}]"#, 422, " \"\" is invalid: patch: Invalid value: \"{"),
        (MERGE, "[]", 400, "error decoding patch: json: cannot unmarshal array into Go value of type map[string]interface {}"),
        (MERGE, r#"{"data":"x"}"#, 422, "json: cannot unmarshal string into Go"),
        (STRATEGIC, r#"{"data":"x"}"#, 422, " \"\" is invalid: patch: Invalid value: \"map[data:x]\": "),
        (MERGE, r#"{"metadata":{"name":"two"}}"#, 400, "the name of the object (two) does not match the name on the URL (one)"),
        (
            MERGE,
            r#"{"metadata":{"name":null}}"#,
            400,
            "the name of the object (one based on URL) was undeterminable: name must be provided",
        ),
        (
            MERGE,
            r#"{"metadata":{"namespace":"other"}}"#,
            400,
            "the namespace of the provided object does not match the namespace sent on the request",
        ),
    ] {
        let message = refused(&api, &path, media_type, body.to_owned(), code).await;
        assert!(message.contains(words), "{message}");
    }
    let strict = format!("{path}?fieldValidation=Strict");
    for (media_type, body, words) in [
        (JSON, r#"[{"op":"test","path":"/data/a","value":"b","why":1}]"#, "strict decoding error: json patch unknown field \"[0].why\""),
        (MERGE, r#"{"datum":{},"data":{}}"#, "strict decoding error: unknown field \"datum\""),
        (MERGE, r#"{"data":{"x":"1"},"data":{"x":"2"}}"#, "strict decoding error: duplicate field \"data\""),
        (STRATEGIC, r#"{"datum":{}}"#, "Invalid value: \"map[datum:map[]]\": strict decoding error: unknown field \"datum\""),
    ] {
        let message = refused(&api, &strict, media_type, body.to_owned(), 422).await;
        assert!(message.contains(words), "{message}");
    }
    assert_eq!(api.get(&path).ok().await["data"], json!({"a": "b"}));
}
