//! What the server says to requests that are wrong.

use http::Method;
use serde_json::json;

use crate::common::{Api, CONFIG_MAPS, DEPLOYMENTS, config_map, deployment};

#[tokio::test]
async fn unknown_fields_by_field_validation() {
    let api = Api::start().await;
    let mut object = deployment("web");
    object["spec"]["replicsa"] = json!(3);
    let status = api.post(&format!("{DEPLOYMENTS}?fieldValidation=Strict"), object.clone()).fails(400).await;
    assert_eq!(status["reason"], "BadRequest");
    assert_eq!(
        status["message"],
        "Deployment in version \"v1\" cannot be handled as a Deployment: strict decoding error: unknown field \
         \"spec.replicsa\""
    );
    let warned = api.post(&format!("{DEPLOYMENTS}?fieldValidation=Warn"), object.clone()).send().await;
    assert_eq!(warned.header("warning"), "299 - \"unknown field \\\"spec.replicsa\\\"\"");
    assert!(warned.json()["spec"].get("replicsa").is_none());
    object["metadata"]["name"] = json!("other");
    let ignored = api.post(&format!("{DEPLOYMENTS}?fieldValidation=Ignore"), object.clone()).send().await;
    assert_eq!((ignored.code.as_u16(), ignored.header("warning")), (201, ""));
    let status = api.post(&format!("{DEPLOYMENTS}?fieldValidation=Maybe"), object).fails(422).await;
    assert_eq!(status["details"]["causes"][0]["field"], "fieldValidation");
}

#[tokio::test]
async fn wrong_types_and_syntax() {
    let api = Api::start().await;
    let mut object = deployment("web");
    object["spec"]["replicas"] = json!("three");
    let status = api.post(DEPLOYMENTS, object).fails(400).await;
    let message = status["message"].as_str().unwrap();
    assert!(message.starts_with("Deployment in version \"v1\" cannot be handled as a Deployment: json: cannot unmarshal"), "{message}");
    for (media_type, body) in [
        ("application/json", "{\"metadata\": {"),
        ("application/json", "nonsense"),
        ("application/json", ""),
        ("application/yaml", "a: [b\nc: d"),
        ("application/json", "[1, 2]"),
    ] {
        let status = api.call(Method::POST, DEPLOYMENTS).body(media_type, body).fails(400).await;
        assert_eq!(status["reason"], "BadRequest", "{body}");
    }
    let deep = format!("{}{}", "{\"a\":".repeat(100_000), "1");
    api.call(Method::POST, DEPLOYMENTS).body("application/json", deep).fails(400).await;
    let status = api.call(Method::POST, DEPLOYMENTS).body("text/plain", "x").fails(415).await;
    assert_eq!(status["reason"], "UnsupportedMediaType");
}

#[tokio::test]
async fn wrong_kinds_names_and_namespaces() {
    let api = Api::start().await;
    let mut object = config_map("one");
    object["apiVersion"] = json!("v2");
    let status = api.post(CONFIG_MAPS, object).fails(400).await;
    assert_eq!(status["message"], "the API version in the data (v2) does not match the expected API version (v1)");
    api.post(DEPLOYMENTS, json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": "x"}})).fails(400).await;
    let mut object = config_map("one");
    object["metadata"]["namespace"] = json!("other");
    let status = api.post(CONFIG_MAPS, object).fails(400).await;
    assert_eq!(status["message"], "the namespace of the provided object does not match the namespace sent on the request");
    let status = api.post(CONFIG_MAPS, config_map("Upper_Case")).fails(422).await;
    assert_eq!(status["reason"], "Invalid");
    assert_eq!(status["details"]["kind"], "ConfigMap");
    let cause = &status["details"]["causes"][0];
    assert_eq!((&cause["reason"], &cause["field"]), (&json!("FieldValueInvalid"), &json!("metadata.name")));
    assert!(cause["message"].as_str().unwrap().starts_with("Invalid value: \"Upper_Case\": a lowercase RFC 1123 subdomain"));
    let status = api.post(CONFIG_MAPS, json!({})).fails(422).await;
    assert_eq!(status["message"], "ConfigMap \"\" is invalid: metadata.name: Required value: name or generateName is required");
    let mut object = config_map("one");
    object["metadata"]["labels"] = json!({"bad key": "x", "ok": "bad value"});
    let status = api.post(CONFIG_MAPS, object).fails(422).await;
    assert_eq!(status["details"]["causes"].as_array().unwrap().len(), 2);
    api.created(CONFIG_MAPS, config_map("one")).await;
    let status = api.put(&format!("{CONFIG_MAPS}/one"), config_map("two")).fails(400).await;
    assert_eq!(status["message"], "the name of the object (two) does not match the name on the URL (one)");
    let mut object = config_map("one");
    object["metadata"]["resourceVersion"] = json!("7");
    object["metadata"]["name"] = json!("three");
    let status = api.post(CONFIG_MAPS, object).fails(400).await;
    assert_eq!(status["message"], "resourceVersion should not be set on objects to be created");
}

#[tokio::test]
async fn a_namespace_that_is_missing_or_that_cannot_be_is_that_of_the_path() {
    const CLASSES: &str = "/apis/scheduling.k8s.io/v1/priorityclasses";
    let api = Api::start().await;
    let class = json!({"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": "high", "namespace": "other"}, "value": 1});
    let one = format!("{CLASSES}/high");
    let moved = json!({"metadata": {"namespace": "other"}});
    for object in [api.created(CLASSES, class.clone()).await, api.put(&one, class).ok().await, api.patch(&one, "merge", moved).ok().await] {
        assert!(object["metadata"].get("namespace").is_none(), "{object}");
    }
    let one = format!("{CONFIG_MAPS}/one");
    let bare = json!({"metadata": {"namespace": null}});
    for object in [
        api.created(CONFIG_MAPS, config_map("one")).await,
        api.put(&one, config_map("one")).ok().await,
        api.patch(&one, "merge", bare).ok().await,
    ] {
        assert_eq!(object["metadata"]["namespace"], "default");
    }
}

#[tokio::test]
async fn a_namespace_must_exist() {
    let api = Api::start().await;
    let status = api.post("/api/v1/namespaces/nowhere/configmaps", config_map("one")).fails(404).await;
    assert_eq!(status["message"], "namespaces \"nowhere\" not found");
}

#[tokio::test]
async fn bodies_have_a_limit() {
    let api = Api::start().await;
    let mut object = config_map("one");
    object["data"]["a"] = json!("x".repeat(4 << 20));
    let status = api.post(CONFIG_MAPS, object).fails(413).await;
    assert_eq!(status["reason"], "RequestEntityTooLarge");
    assert_eq!(status["message"], "Request entity too large: limit is 3145728");
    assert_eq!(api.get(&format!("{CONFIG_MAPS}?limit=500")).send().await.code, 200);
}

#[tokio::test]
async fn paths_and_methods_that_do_not_exist() {
    let api = Api::start().await;
    for path in ["/api/v1/namespaces/default/nonsense", "/apis/none/v1/things", "/api/v1/pods/x", "/nonsense"] {
        let status = api.get(path).fails(404).await;
        assert_eq!(status["reason"], "NotFound", "{path}");
    }
    let status = api.get("/api/v1/namespaces/default/nonsense").fails(404).await;
    assert_eq!(status["message"], "the server could not find the requested resource");
    let status = api.post(&format!("{CONFIG_MAPS}/x"), json!({})).send().await;
    assert!(status.code.is_client_error());
    assert_eq!(api.call(Method::OPTIONS, CONFIG_MAPS).fails(405).await["reason"], "MethodNotAllowed");
}
