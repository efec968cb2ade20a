//! Server-side apply and `managedFields`.

use http::StatusCode;
use serde_json::{Value, json};

use crate::common::{Answer, Api, CONFIG_MAPS, DEPLOYMENTS, PODS, config_map, deployment, pod};

pub const APPLY: &str = "application/apply-patch+yaml";

/// Applies a configuration as a manager.
async fn apply(api: &Api, path: &str, manager: &str, configuration: Value) -> Answer {
    api.patch(&format!("{path}?fieldManager={manager}"), APPLY, configuration).send().await
}

pub async fn applied(api: &Api, path: &str, manager: &str, configuration: Value) -> Value {
    let answer = apply(api, path, manager, configuration).await;
    assert!(answer.code.is_success(), "{}", answer.text());
    answer.json()
}

pub async fn refused(api: &Api, path: &str, manager: &str, configuration: Value, code: u16) -> Value {
    api.patch(&format!("{path}?fieldManager={manager}"), APPLY, configuration).fails(code).await
}

/// Owners as `manager operation [version] [subresource]` and fields.
pub fn owners(object: &Value) -> Vec<(String, Value)> {
    let entries = object["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    let describe = |entry: &Value| {
        let words = ["manager", "operation", "apiVersion", "subresource"].map(|field| entry[field].as_str().unwrap_or_default().to_owned());
        assert_eq!(entry["fieldsType"], "FieldsV1");
        words.join(" ").trim().to_owned()
    };
    entries.iter().map(|entry| (describe(entry), entry["fieldsV1"].clone())).collect()
}

pub fn fields(object: &Value, owner: &str) -> Value {
    let found = owners(object).into_iter().find(|(name, _)| name == owner);
    found.unwrap_or_else(|| panic!("{owner} owns nothing: {}", object["metadata"]["managedFields"])).1
}

pub fn data(values: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one"}, "data": values})
}

#[tokio::test]
async fn every_write_is_recorded() {
    let api = Api::start().await;
    let path = format!("{CONFIG_MAPS}/one");
    let created = api.post(CONFIG_MAPS, config_map("one")).header("user-agent", "tool/1.2 (linux)").send().await.json();
    assert_eq!(owners(&created), [("tool Update v1".to_owned(), json!({"f:data": {".": {}, "f:a": {}}}))]);
    let patched = api.patch(&format!("{path}?fieldManager=two"), "merge", json!({"data": {"c": "d"}})).ok().await;
    assert_eq!(fields(&patched, "two Update v1"), json!({"f:data": {"f:c": {}}}));
    let mut put = patched.clone();
    put["data"]["a"] = json!("x");
    put["metadata"]["labels"] = json!({"l": "m"});
    let updated = api.put(&format!("{path}?fieldManager=three"), put).ok().await;
    assert_eq!(fields(&updated, "three Update v1"), json!({"f:data": {"f:a": {}}, "f:metadata": {"f:labels": {".": {}, "f:l": {}}}}));
    assert_eq!(fields(&updated, "tool Update v1"), json!({"f:data": {}}));
    let operations = json!([{"op": "remove", "path": "/data/c"}]);
    let removed = api.patch(&format!("{path}?fieldManager=four"), "json", operations).ok().await;
    assert!(owners(&removed).iter().all(|(name, _)| name != "two Update v1" && name != "four Update v1"), "{removed}");
    // The object that is stored says the same, and so do lists and metadata alone.
    let read = api.get(&path).ok().await;
    assert_eq!(read["metadata"]["managedFields"], removed["metadata"]["managedFields"]);
    let partial = api.get(&path).header("accept", "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1").ok().await;
    assert_eq!(partial["metadata"]["managedFields"], removed["metadata"]["managedFields"]);
}

#[tokio::test]
async fn a_write_that_changes_nothing_is_not_written() {
    let api = Api::start().await;
    let path = format!("{CONFIG_MAPS}/one");
    let first = applied(&api, &path, "a", data(json!({"a": "b"}))).await;
    let again = applied(&api, &path, "a", data(json!({"a": "b"}))).await;
    assert_eq!(again, first);
    // Another manager of the same value is a change.
    let shared = applied(&api, &path, "b", data(json!({"a": "b"}))).await;
    assert_ne!(shared["metadata"]["resourceVersion"], first["metadata"]["resourceVersion"]);
    let put = api.put(&format!("{path}?fieldManager=c"), shared.clone()).ok().await;
    assert_eq!(put, shared);
    // Times alone are no change.
    let mut later = shared.clone();
    for entry in later["metadata"]["managedFields"].as_array_mut().unwrap() {
        entry["time"] = json!("2031-01-01T00:00:00Z");
    }
    assert_eq!(api.put(&path, later).ok().await, shared);
}

#[tokio::test]
async fn creating_changing_and_giving_up() {
    let api = Api::start().await;
    let path = format!("{CONFIG_MAPS}/one");
    let answer = apply(&api, &path, "a", data(json!({"x": "1", "y": "1"}))).await;
    assert_eq!(answer.code, StatusCode::CREATED, "{}", answer.text());
    assert_eq!(owners(&answer.json()), [("a Apply v1".to_owned(), json!({"f:data": {"f:x": {}, "f:y": {}}}))]);
    let answer = apply(&api, &path, "b", data(json!({"y": "1", "z": "1"}))).await;
    assert_eq!(answer.code, StatusCode::OK);
    let object = applied(&api, &path, "a", data(json!({"x": "2"}))).await;
    assert_eq!(object["data"], json!({"x": "2", "y": "1", "z": "1"}));
    let object = applied(&api, &path, "b", data(json!({}))).await;
    assert_eq!(object["data"], json!({"x": "2"}));
    let dry = api.patch(&format!("{path}?fieldManager=a&dryRun=All"), APPLY, data(json!({"x": "3"}))).ok().await;
    assert_eq!(dry["data"], json!({"x": "3"}));
    assert_eq!(api.get(&path).ok().await["data"], json!({"x": "2"}));
    let dry = format!("{CONFIG_MAPS}/none?fieldManager=a&dryRun=All");
    let named = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "none"}});
    assert_eq!(api.patch(&dry, APPLY, named).send().await.code, StatusCode::CREATED);
    api.get(&format!("{CONFIG_MAPS}/none")).fails(404).await;
}

#[tokio::test]
async fn conflicts() {
    let api = Api::start().await;
    let path = format!("{DEPLOYMENTS}/web");
    applied(&api, &path, "a", deployment("web")).await;
    let scaled = json!({"spec": {"replicas": 5}});
    let merged = api.patch(&format!("{path}?fieldManager=kubectl-client-side-apply"), "merge", scaled).ok().await;
    assert_eq!(fields(&merged, "kubectl-client-side-apply Update apps/v1"), json!({"f:spec": {"f:replicas": {}}}));
    let status = refused(&api, &path, "b", deployment("web"), 409).await;
    assert_eq!(
        status["message"],
        "Apply failed with 1 conflict: conflict with \"kubectl-client-side-apply\" using apps/v1: .spec.replicas"
    );
    assert_eq!(status["reason"], "Conflict");
    assert_eq!(
        status["details"]["causes"],
        json!([{"reason": "FieldManagerConflict", "message": "conflict with \"kubectl-client-side-apply\" using apps/v1", "field": ".spec.replicas"}])
    );
    let mut other = deployment("web");
    other["spec"]["template"]["spec"]["containers"][0]["image"] = json!("nginx:2");
    let status = refused(&api, &path, "b", other.clone(), 409).await;
    assert_eq!(
        status["message"],
        "Apply failed with 2 conflicts: conflicts with \"a\":\n- .spec.template.spec.containers[name=\"main\"].image\n\
         conflicts with \"kubectl-client-side-apply\" using apps/v1:\n- .spec.replicas"
    );
    let forced = api.patch(&format!("{path}?fieldManager=b&force=true"), APPLY, other).ok().await;
    assert_eq!(forced["spec"]["replicas"], 3);
    assert!(owners(&forced).iter().all(|(name, _)| !name.starts_with("kubectl")), "{forced}");
    let containers = &fields(&forced, "a Apply apps/v1")["f:spec"]["f:template"]["f:spec"]["f:containers"];
    let main = &containers["k:{\"name\":\"main\"}"];
    assert_eq!(main["f:image"], Value::Null);
    assert_eq!(main["f:ports"], json!({"k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {".": {}, "f:containerPort": {}}}));
}

#[tokio::test]
async fn configurations_that_are_refused() {
    let api = Api::start().await;
    let path = format!("{CONFIG_MAPS}/one");
    let status = api.patch(&path, APPLY, data(json!({}))).fails(422).await;
    assert_eq!(status["message"], "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch");
    let long = "x".repeat(129);
    let status = refused(&api, &path, &long, data(json!({})), 422).await;
    assert!(status["message"].as_str().unwrap().contains("fieldManager: Too long"), "{status}");
    let status = refused(&api, &path, "a%07", data(json!({})), 422).await;
    assert!(status["message"].as_str().unwrap().contains("invalid character U+0007"), "{status}");
    let status = api.patch(&format!("{path}?force=true"), "merge", json!({})).fails(422).await;
    assert!(status["message"].as_str().unwrap().contains("force: Forbidden: may not be specified for non-apply patch"), "{status}");
    for (configuration, code, words) in [
        (json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "one"}}), 400, "invalid object type: /v1, Kind=Secret"),
        (json!({"metadata": {"name": "one"}}), 400, "invalid object type: /, Kind="),
        (
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "two"}}),
            400,
            "the name of the object (two) does not match the name on the URL (one)",
        ),
        (
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one", "namespace": "other"}}),
            400,
            "the namespace of the provided object does not match the namespace sent on the request",
        ),
        (
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one", "managedFields": []}}),
            400,
            "metadata.managedFields must be nil",
        ),
        (
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one", "namespace": "default"}, "datum": {}}),
            500,
            "failed to create typed patch object (default/one; /v1, Kind=ConfigMap): .datum: field not declared in schema",
        ),
        (
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one"}, "data": {"a": 1}}),
            500,
            "failed to create typed patch object (/one; /v1, Kind=ConfigMap): .data.a: expected string, got &value.valueUnstructured{Value:1}",
        ),
        (json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one", "labels": {"-": "x"}}}), 422, "metadata.labels"),
    ] {
        let status = refused(&api, &path, "a", configuration, code).await;
        assert!(status["message"].as_str().unwrap().contains(words), "{status}");
    }
    api.get(&path).fails(404).await;
    let call = |query: &str, body: &'static str| api.call(http::Method::PATCH, &format!("{path}?fieldManager=a{query}")).body(APPLY, body);
    let status = call("", "a: [").fails(400).await;
    assert!(status["message"].as_str().unwrap().starts_with("error decoding YAML"), "{status}");
    let twice = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: one\ndata:\n  a: b\n  a: c\n";
    let status = call("&fieldValidation=Strict", twice).fails(400).await;
    assert!(status["message"].as_str().unwrap().starts_with("error strict decoding YAML"), "{status}");
    let warned = call("", twice).send().await;
    assert_eq!(warned.code, StatusCode::CREATED);
    assert!(!warned.header("warning").is_empty());
    assert_eq!(warned.json()["data"]["a"], "c");
    let stale = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one", "resourceVersion": "1"}, "data": {"z": "z"}});
    assert_eq!(refused(&api, &path, "b", stale, 409).await["reason"], "Conflict");
}

#[tokio::test]
async fn owners_can_be_changed_and_forgotten() {
    let api = Api::start().await;
    let path = format!("{CONFIG_MAPS}/one");
    applied(&api, &path, "a", data(json!({"x": "1"}))).await;
    // Nothing and nonsense leave them as they are.
    for sent in [json!(null), json!([{"manager": "a", "operation": "Nothing"}])] {
        let same = api.patch(&path, "merge", json!({"metadata": {"managedFields": sent}})).ok().await;
        assert_eq!(fields(&same, "a Apply v1"), json!({"f:data": {"f:x": {}}}));
    }
    // A client may write them: kubectl does so to move an object to server-side apply.
    let operations = json!([{"op": "remove", "path": "/metadata/managedFields/0/fieldsV1/f:data/f:x"},
        {"op": "add", "path": "/metadata/managedFields/0/fieldsV1/f:data/f:y", "value": {}}]);
    let patched = api.patch(&path, "json", operations).ok().await;
    assert_eq!(fields(&patched, "a Apply v1"), json!({"f:data": {"f:y": {}}}));
    let entry =
        json!([{"manager": "b", "operation": "Apply", "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": {"f:data": {"f:x": {}}}}]);
    let replaced = api.patch(&path, "merge", json!({"metadata": {"managedFields": entry}})).ok().await;
    assert_eq!(owners(&replaced), [("b Apply v1".to_owned(), json!({"f:data": {"f:x": {}}}))]);
    let cleared = api.patch(&path, "merge", json!({"metadata": {"managedFields": [{}]}, "data": {"y": "2"}})).ok().await;
    assert_eq!(cleared["metadata"].get("managedFields"), None);
    // Who is forgotten stays so until somebody applies.
    let changed = api.patch(&path, "merge", json!({"data": {"w": "3"}})).ok().await;
    assert_eq!(owners(&changed), []);
    let again = applied(&api, &path, "a", data(json!({"x": "1"}))).await;
    assert_eq!(fields(&again, "before-first-apply Update v1"), json!({"f:data": {".": {}, "f:w": {}, "f:x": {}, "f:y": {}}}));
}

#[tokio::test]
async fn subresources_own_their_fields() {
    let api = Api::start().await;
    let path = format!("{DEPLOYMENTS}/web");
    let created = applied(&api, &path, "a", deployment("web")).await;
    assert_eq!(fields(&created, "a Apply apps/v1").get("f:status"), None);
    let status = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {"replicas": 9}, "status": {"replicas": 3}});
    let object = applied(&api, &format!("{path}/status"), "s", status.clone()).await;
    assert_eq!(object["status"]["replicas"], 3);
    assert_eq!(object["spec"]["replicas"], 3);
    assert_eq!(fields(&object, "s Apply apps/v1 status"), json!({"f:status": {"f:replicas": {}}}));
    let status = refused(
        &api,
        &format!("{path}/status"),
        "t",
        {
            let mut other = status.clone();
            other["status"]["replicas"] = json!(4);
            other
        },
        409,
    )
    .await;
    assert_eq!(status["message"], "Apply failed with 1 conflict: conflict with \"s\" with subresource \"status\": .status.replicas");
    refused(
        &api,
        &format!("{DEPLOYMENTS}/none/status"),
        "s",
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "none"}}),
        404,
    )
    .await;

    let scale = |replicas: Value| json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "web"}, "spec": replicas});
    let path_of_scale = format!("{path}/scale");
    let status = refused(&api, &path_of_scale, "x", scale(json!({"replicas": 7})), 409).await;
    assert_eq!(status["message"], "Apply failed with 1 conflict: conflict with \"a\": .spec.replicas");
    let forced = api.patch(&format!("{path_of_scale}?fieldManager=x&force=true"), APPLY, scale(json!({"replicas": 7}))).ok().await;
    assert_eq!((&forced["kind"], &forced["spec"]["replicas"]), (&json!("Scale"), &json!(7)));
    let object = api.get(&path).ok().await;
    assert_eq!(fields(&object, "x Apply apps/v1 scale"), json!({"f:spec": {"f:replicas": {}}}));
    assert_eq!(fields(&object, "a Apply apps/v1")["f:spec"].get("f:replicas"), None);
    api.patch(&format!("{path_of_scale}?fieldManager=y"), "merge", json!({"spec": {"replicas": 8}})).ok().await;
    let object = api.get(&path).ok().await;
    assert_eq!(fields(&object, "y Update apps/v1 scale"), json!({"f:spec": {"f:replicas": {}}}));
    let status =
        refused(&api, &path_of_scale, "x", json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}}), 400).await;
    assert!(status["message"].as_str().unwrap().starts_with("invalid object type"), "{status}");
}

#[tokio::test]
async fn what_admission_and_the_server_set_nobody_owns() {
    let api = Api::start().await;
    let created = api.post(&format!("{PODS}?fieldManager=a"), pod("p")).send().await.json();
    let spec = &fields(&created, "a Update v1")["f:spec"];
    assert!(spec.get("f:containers").is_some() && spec.get("f:restartPolicy").is_some(), "{spec}");
    for field in ["f:serviceAccountName", "f:tolerations", "f:volumes", "f:priority"] {
        assert_eq!(spec.get(field), None, "{spec}");
    }
    assert_eq!(fields(&created, "a Update v1").get("f:status"), None);
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}], "selector": {"a": "b"}}});
    let created = api.post("/api/v1/namespaces/default/services?fieldManager=a", service).send().await.json();
    assert!(created["spec"]["clusterIP"].is_string());
    assert_eq!(fields(&created, "a Update v1")["f:spec"].get("f:clusterIP"), None);
}

#[tokio::test]
async fn versions_of_a_kind_know_each_others_owners() {
    let api = Api::start().await;
    const V1: &str = "/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers";
    const V2: &str = "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers";
    let target = json!({"kind": "Deployment", "name": "web", "apiVersion": "apps/v1"});
    let one = json!({"apiVersion": "autoscaling/v1", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "h"},
        "spec": {"scaleTargetRef": target, "maxReplicas": 5, "targetCPUUtilizationPercentage": 70}});
    let object = applied(&api, &format!("{V1}/h"), "one", one).await;
    let owned = json!({"f:spec": {"f:maxReplicas": {}, "f:scaleTargetRef": {}, "f:targetCPUUtilizationPercentage": {}}});
    assert_eq!(fields(&object, "one Apply autoscaling/v1"), owned);
    let two =
        json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "h"}, "spec": {"maxReplicas": 6}});
    let status = refused(&api, &format!("{V2}/h"), "two", two.clone(), 409).await;
    assert_eq!(status["message"], "Apply failed with 1 conflict: conflict with \"one\": .spec.maxReplicas");
    let forced = api.patch(&format!("{V2}/h?fieldManager=two&force=true"), APPLY, two).ok().await;
    assert_eq!(fields(&forced, "two Apply autoscaling/v2"), json!({"f:spec": {"f:maxReplicas": {}}}));
    assert_eq!(
        fields(&forced, "one Apply autoscaling/v1"),
        json!({"f:spec": {"f:scaleTargetRef": {}, "f:targetCPUUtilizationPercentage": {}}})
    );
    let read = api.get(&format!("{V1}/h")).ok().await;
    assert_eq!(read["spec"]["maxReplicas"], 6);
    // Owners of a version that is not served are dropped by the next write.
    let stale = json!([{"manager": "old", "operation": "Update", "apiVersion": "autoscaling/v2beta2", "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {"f:maxReplicas": {}}}},
        {"manager": "two", "operation": "Apply", "apiVersion": "autoscaling/v2", "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {"f:maxReplicas": {}}}}]);
    let changed = api.patch(&format!("{V2}/h"), "merge", json!({"metadata": {"managedFields": stale, "labels": {"a": "b"}}})).ok().await;
    assert!(owners(&changed).iter().all(|(name, _)| !name.starts_with("old")), "{changed}");
}

#[tokio::test]
async fn applying_creates_only_for_those_who_may() {
    let api = Api::start().await;
    let path = format!("{CONFIG_MAPS}/one");
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "patcher"},
        "rules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["patch", "get"]}]});
    api.created("/apis/rbac.authorization.k8s.io/v1/namespaces/default/roles", role).await;
    let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "patcher"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "patcher"},
        "subjects": [{"kind": "User", "name": "jane", "apiGroup": "rbac.authorization.k8s.io"}]});
    api.created("/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings", binding).await;
    let jane = corten_pki::Identity { user: "jane".to_owned(), groups: vec!["system:authenticated".to_owned()] };
    let call = || api.patch(&format!("{path}?fieldManager=a"), APPLY, data(json!({"a": "b"}))).identity(jane.clone());
    let status = call().fails(403).await;
    assert!(status["message"].as_str().unwrap().contains("cannot create resource \"configmaps\""), "{status}");
    api.created(CONFIG_MAPS, config_map("one")).await;
    call().ok().await;
}

#[tokio::test]
async fn kubectls_own_fields_move_over() {
    let api = Api::start().await;
    let path = format!("{CONFIG_MAPS}/one");
    let mut first = data(json!({"a": "1"}));
    let last = first.to_string();
    first["metadata"]["annotations"] = json!({"kubectl.kubernetes.io/last-applied-configuration": last});
    let created = api.post(&format!("{CONFIG_MAPS}?fieldManager=kubectl-client-side-apply"), first).send().await;
    assert_eq!(created.code, StatusCode::CREATED);
    // Somebody else who applies is in conflict with it, kubectl is not.
    refused(&api, &path, "other", data(json!({"a": "2"})), 409).await;
    let object = applied(&api, &path, "kubectl", data(json!({"a": "2"}))).await;
    assert_eq!(object["data"]["a"], "2");
    let kept = object["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"].as_str().unwrap();
    assert_eq!(kept, "{\"apiVersion\":\"v1\",\"data\":{\"a\":\"2\"},\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"one\"}}\n");
    // What was changed since is not kubectl's any more.
    api.patch(&format!("{path}?fieldManager=hand"), "merge", json!({"data": {"a": "3"}})).ok().await;
    let status = refused(&api, &path, "kubectl", data(json!({"a": "4"})), 409).await;
    assert_eq!(status["message"], "Apply failed with 1 conflict: conflict with \"hand\" using v1: .data.a");
}

#[tokio::test]
async fn applying_at_once_loses_nothing() {
    let api = Api::start().await;
    let path = format!("{CONFIG_MAPS}/one");
    let applies = (0..8).map(|n| {
        let (api, path) = (&api, &path);
        async move { applied(api, path, &format!("m{n}"), data(json!({format!("k{n}"): "v"}))).await }
    });
    futures::future::join_all(applies).await;
    let object = api.get(&path).ok().await;
    assert_eq!(object["data"].as_object().unwrap().len(), 8);
    assert_eq!(owners(&object).len(), 8);
}
