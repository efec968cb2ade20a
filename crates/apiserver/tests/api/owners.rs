//! Who owns what after each kind of write: by subresources, by what the server does itself, and when there are too many.

use http::Method;
use serde_json::{Value, json};

use crate::apply::{APPLY, applied, data, fields, owners, refused};
use crate::common::{Api, CONFIG_MAPS, DEPLOYMENTS, PODS, config_map, deployment, pod};
use crate::kinds::signing_request;

const PDBS: &str = "/apis/policy/v1/namespaces/default/poddisruptionbudgets";

/// A configuration of the pod `web`.
fn of_pod(spec: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web", "labels": {"not": "mine"}}, "spec": spec})
}

#[tokio::test]
async fn parts_of_pods_are_applied() {
    let api = Api::start().await;
    let mut made = pod("web");
    made["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": "10m", "memory": "32Mi"}});
    api.created(&format!("{PODS}?fieldManager=maker"), made).await;

    let path = format!("{PODS}/web/ephemeralcontainers");
    let debug = of_pod(json!({"hostname": "other", "ephemeralContainers": [{"name": "debug", "image": "busybox"}]}));
    let object = applied(&api, &path, "debugger", debug).await;
    assert_eq!(object["spec"]["ephemeralContainers"][0]["name"], "debug");
    assert_eq!((object["spec"].get("hostname"), object["metadata"].get("labels")), (None, None));
    let item = json!({".": {}, "f:image": {}, "f:name": {}});
    assert_eq!(
        fields(&object, "debugger Apply v1 ephemeralcontainers"),
        json!({"f:spec": {"f:ephemeralContainers": {"k:{\"name\":\"debug\"}": item}}})
    );

    let path = format!("{PODS}/web/resize");
    let larger = of_pod(json!({"containers": [{"name": "main", "image": "other", "resources": {"requests": {"cpu": "20m"}}}]}));
    let status = refused(&api, &path, "sizer", larger.clone(), 409).await;
    assert_eq!(
        status["message"],
        "Apply failed with 1 conflict: conflict with \"maker\" using v1: .spec.containers[name=\"main\"].resources.requests.cpu"
    );
    let object = api.patch(&format!("{path}?fieldManager=sizer&force=true"), APPLY, larger).ok().await;
    let main = &object["spec"]["containers"][0];
    assert_eq!((&main["resources"]["requests"]["cpu"], &main["image"]), (&json!("20m"), &json!("corten.local/pause")));
    let resources = json!({".": {}, "f:resources": {"f:requests": {"f:cpu": {}}}});
    assert_eq!(fields(&object, "sizer Apply v1 resize"), json!({"f:spec": {"f:containers": {"k:{\"name\":\"main\"}": resources}}}));
    let makers = fields(&object, "maker Update v1");
    let requests = &makers["f:spec"]["f:containers"]["k:{\"name\":\"main\"}"]["f:resources"]["f:requests"];
    assert_eq!((requests.get("f:cpu"), requests.get("f:memory")), (None, Some(&json!({}))));
}

#[tokio::test]
async fn certificate_requests_are_approved_by_applying() {
    let api = Api::start().await;
    let path = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
    let request = json!({
        "apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest", "metadata": {"name": "c", "labels": {"a": "b"}},
        "spec": {"request": signing_request(), "signerName": "example.com/signer", "usages": ["client auth"]},
    });
    let made = api.created(&format!("{path}?fieldManager=maker"), request).await;
    // What is asked for never changes, so nobody owns it.
    assert_eq!(fields(&made, "maker Update certificates.k8s.io/v1"), json!({"f:metadata": {"f:labels": {".": {}, "f:a": {}}}}));
    let approval = json!({
        "apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest", "metadata": {"name": "c"},
        "status": {"conditions": [{"type": "Approved", "status": "True", "reason": "Auto"}], "certificate": "bm9uZQ=="},
    });
    let object = applied(&api, &format!("{path}/c/approval"), "approver", approval).await;
    assert_eq!((&object["status"]["conditions"][0]["type"], object["status"].get("certificate")), (&json!("Approved"), None));
    let condition = json!({".": {}, "f:reason": {}, "f:status": {}, "f:type": {}});
    assert_eq!(
        fields(&object, "approver Apply certificates.k8s.io/v1 approval"),
        json!({"f:status": {"f:conditions": {"k:{\"type\":\"Approved\"}": condition}}})
    );
}

#[tokio::test]
async fn what_a_status_cannot_change_is_not_owned_by_it() {
    let api = Api::start().await;
    let path = "/apis/storage.k8s.io/v1/volumeattachments";
    let attachment = json!({
        "apiVersion": "storage.k8s.io/v1", "kind": "VolumeAttachment", "metadata": {"name": "a"},
        "spec": {"attacher": "x", "nodeName": "n1", "source": {"persistentVolumeName": "pv"}},
    });
    api.created(path, attachment.clone()).await;
    let mut attached = attachment;
    attached["metadata"]["labels"] = json!({"a": "b"});
    attached["status"] = json!({"attached": true});
    let object = applied(&api, &format!("{path}/a/status"), "s", attached).await;
    assert_eq!(fields(&object, "s Apply storage.k8s.io/v1 status"), json!({"f:status": {"f:attached": {}}}));

    api.created(&format!("{DEPLOYMENTS}?fieldManager=maker"), deployment("web")).await;
    let mut object = api.get(&format!("{DEPLOYMENTS}/web")).ok().await;
    object["status"] = json!({"replicas": 3, "observedGeneration": 1});
    object["spec"]["replicas"] = json!(9);
    let object = api.put(&format!("{DEPLOYMENTS}/web/status?fieldManager=controller"), object).ok().await;
    let status = json!({"f:status": {"f:observedGeneration": {}, "f:replicas": {}}});
    assert_eq!(fields(&object, "controller Update apps/v1 status"), status);
}

#[tokio::test]
async fn what_the_server_does_itself_changes_no_owners() {
    let api = Api::start().await;
    let mut waiting = pod("web");
    waiting["metadata"]["labels"] = json!({"app": "web"});
    waiting["metadata"]["finalizers"] = json!(["example.com/wait"]);
    let made = api.created(&format!("{PODS}?fieldManager=maker"), waiting).await;
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}});
    api.created("/api/v1/nodes", node).await;

    // A binding, as the scheduler writes it.
    let binding = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "web"}, "target": {"kind": "Node", "name": "n1"}});
    api.created(&format!("{PODS}/web/binding?fieldManager=scheduler"), binding).await;
    let bound = api.get(&format!("{PODS}/web")).ok().await;
    assert_eq!(bound["spec"]["nodeName"], "n1");
    assert_eq!(bound["metadata"]["managedFields"], made["metadata"]["managedFields"]);

    // An eviction, which takes from a budget.
    let budget = json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "b"},
        "spec": {"minAvailable": 0, "selector": {"matchLabels": {"app": "web"}}}});
    api.created(PDBS, budget).await;
    let allowed =
        json!({"status": {"observedGeneration": 1, "disruptionsAllowed": 1, "currentHealthy": 1, "desiredHealthy": 0, "expectedPods": 1}});
    let budget = api.patch(&format!("{PDBS}/b/status?fieldManager=controller"), "merge", allowed).ok().await;
    let running = json!({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}});
    let before = api.patch(&format!("{PODS}/web/status?fieldManager=kubelet"), "strategic", running).ok().await;
    assert_eq!(owners(&before).len(), 2);
    let eviction =
        json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "web"}, "deleteOptions": {"gracePeriodSeconds": 0}});
    api.created(&format!("{PODS}/web/eviction?fieldManager=evictor"), eviction).await;
    let evicted = api.get(&format!("{PODS}/web")).ok().await;
    assert!(evicted["metadata"]["deletionTimestamp"].is_string());
    assert_eq!(evicted["metadata"]["managedFields"], before["metadata"]["managedFields"]);
    let taken = api.get(&format!("{PDBS}/b")).ok().await;
    assert_eq!(taken["status"]["disruptionsAllowed"], 0);
    assert_eq!(taken["metadata"]["managedFields"], budget["metadata"]["managedFields"]);

    // A deletion that waits for a finalizer.
    let mut held = config_map("held");
    held["metadata"]["finalizers"] = json!(["example.com/wait"]);
    let made = api.created(&format!("{CONFIG_MAPS}?fieldManager=maker"), held).await;
    api.call(Method::DELETE, CONFIG_MAPS).send().await;
    let dying = api.get(&format!("{CONFIG_MAPS}/held")).ok().await;
    assert!(dying["metadata"]["deletionTimestamp"].is_string());
    assert_eq!(dying["metadata"]["managedFields"], made["metadata"]["managedFields"]);
}

#[tokio::test]
async fn the_oldest_of_too_many_managers_are_merged() {
    let api = Api::start().await;
    let path = format!("{CONFIG_MAPS}/one");
    applied(&api, &path, "applier", data(json!({"x": "1"}))).await;
    for number in 0..13 {
        let change = json!({"data": {format!("k{number:02}"): "v"}});
        api.patch(&format!("{path}?fieldManager=m{number:02}"), "merge", change).ok().await;
    }
    let object = api.get(&path).ok().await;
    let owners = owners(&object);
    assert_eq!(owners.len(), 11, "{owners:?}");
    assert_eq!(owners[0].0, "applier Apply v1");
    let ancient = fields(&object, "ancient-changes Update v1");
    assert!(ancient["f:data"].as_object().unwrap().len() >= 2, "{ancient}");
    let all: usize = owners.iter().map(|(_, fields)| fields["f:data"].as_object().unwrap().keys().filter(|key| *key != ".").count()).sum();
    assert_eq!(all, 14, "nothing is lost: {owners:?}");
}

#[tokio::test]
async fn an_empty_list_forgets_all_owners() {
    let api = Api::start().await;
    let path = format!("{CONFIG_MAPS}/one");
    for how in ["put", "merge", "strategic", "json"] {
        applied(&api, &path, "a", data(json!({"x": "1"}))).await;
        let object = match how {
            "put" => {
                let mut object = api.get(&path).ok().await;
                object["metadata"]["managedFields"] = json!([]);
                api.put(&path, object).ok().await
            }
            "json" => {
                let operation = json!([{"op": "replace", "path": "/metadata/managedFields", "value": []}]);
                api.patch(&path, "json", operation).ok().await
            }
            patch => api.patch(&path, patch, json!({"metadata": {"managedFields": []}})).ok().await,
        };
        assert_eq!(object["metadata"].get("managedFields"), None, "{how}");
    }
    // A body that says nothing of them leaves them.
    applied(&api, &path, "a", data(json!({"x": "1"}))).await;
    let object = api.put(&path, data(json!({"x": "1"}))).ok().await;
    assert_eq!(owners(&object).len(), 2);
}

#[tokio::test]
async fn times_say_when_the_object_was_changed() {
    let api = Api::start().await;
    let path = format!("{CONFIG_MAPS}/one");
    let object = applied(&api, &path, "a", data(json!({"x": "1"}))).await;
    let time = |object: &Value, manager: &str| {
        let entries = object["metadata"]["managedFields"].as_array().unwrap();
        entries.iter().find(|entry| entry["manager"] == manager).unwrap().get("time").cloned()
    };
    let first = time(&object, "a").expect("a time");
    let text = first.as_str().unwrap();
    assert!(text.len() == 20 && text.ends_with('Z'), "{text}");
    // Who owns what is there already, has changed nothing.
    let object = applied(&api, &path, "b", data(json!({"x": "1"}))).await;
    assert_eq!((time(&object, "a"), time(&object, "b")), (Some(first), None));
    let object = applied(&api, &path, "b", data(json!({"x": "1", "y": "2"}))).await;
    assert!(time(&object, "b").is_some());
}

#[tokio::test]
async fn what_is_applied_has_the_name_of_the_url_and_no_identity_yet() {
    let api = Api::start().await;
    let path = format!("{CONFIG_MAPS}/one");
    let generated = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "one-"}});
    let status = refused(&api, &path, "a", generated, 400).await;
    assert_eq!(status["message"], "the name of the object (one based on URL) was undeterminable: name must be provided");
    let uid = "3f1a6a1c-7d5b-4f6c-9a55-000000000000";
    let known = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one", "uid": uid}});
    let status = refused(&api, &path, "a", known, 409).await;
    assert_eq!(
        status["message"],
        format!(
            "Operation cannot be fulfilled on configmaps \"one\": uid mismatch: the provided object specified uid {uid}, \
             and no existing object was found"
        )
    );
    api.get(&path).fails(404).await;
}

#[tokio::test]
async fn an_application_is_answered_in_protobuf() {
    let api = Api::start().await;
    let path = format!("{CONFIG_MAPS}/one?fieldManager=a");
    let call = api.patch(&path, APPLY, data(json!({"x": "1"}))).header("accept", "application/vnd.kubernetes.protobuf");
    let answer = call.send().await;
    assert_eq!((answer.code.as_u16(), answer.header("content-type")), (201, "application/vnd.kubernetes.protobuf"));
    let schema = &corten_schema::table().kind_of("v1", "ConfigMap").unwrap().schema;
    let object = corten_schema::proto::decode(schema, &answer.bytes).unwrap().value;
    let object: Value = serde_json::from_slice(&corten_schema::json::encode(&object)).unwrap();
    assert_eq!(fields(&object, "a Apply v1"), json!({"f:data": {"f:x": {}}}));
    // And the other way round: what is written in protobuf has owners too.
    let sent = corten_schema::json::decode_untyped(config_map("two").to_string().as_bytes()).unwrap();
    let body = corten_schema::proto::encode(schema, &sent);
    let call = api.call(Method::POST, &format!("{CONFIG_MAPS}?fieldManager=p")).body("application/vnd.kubernetes.protobuf", body);
    let answer = call.header("accept", "application/json").send().await;
    assert_eq!(fields(&answer.json(), "p Update v1"), json!({"f:data": {".": {}, "f:a": {}}}));
}

/// In the metadata of a template, owners are a value like any other: nobody keeps them.
#[tokio::test]
async fn owners_in_a_template_are_only_data() {
    let api = Api::start().await;
    let owner = json!({"manager": "x", "operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {}}});
    let mut web = deployment("web");
    web["spec"]["template"]["metadata"]["managedFields"] = json!([owner]);
    let made = api.created(DEPLOYMENTS, web.clone()).await;
    assert_eq!(made["spec"]["template"]["metadata"]["managedFields"], json!([owner]));
    let path = format!("{DEPLOYMENTS}/web");
    let version = |object: &Value| object["metadata"]["resourceVersion"].clone();
    let again = api.put(&path, web.clone()).ok().await;
    assert_eq!(version(&again), version(&made), "nothing changed");
    let patch = json!({"spec": {"template": {"metadata": {"managedFields": [owner]}}}});
    for kind in ["merge", "strategic"] {
        let patched = api.patch(&path, kind, patch.clone()).ok().await;
        assert_eq!(version(&patched), version(&made), "nothing changed by {kind}");
    }
    let change = json!([{"op": "replace", "path": "/spec/template/metadata/managedFields/0/manager", "value": "y"}]);
    let changed = api.patch(&path, "json", change).ok().await;
    assert_eq!(changed["spec"]["template"]["metadata"]["managedFields"][0]["manager"], "y");
    assert_eq!(changed["metadata"]["generation"], 2);
}
