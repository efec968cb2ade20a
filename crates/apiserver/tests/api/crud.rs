//! Create, get, update, delete.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::common::{Api, CONFIG_MAPS, DEPLOYMENTS, PODS, config_map, deployment, pod};

#[tokio::test]
async fn an_object_lives_and_dies() {
    let api = Api::start().await;
    let made = api.created(CONFIG_MAPS, config_map("one")).await;
    let meta = &made["metadata"];
    assert_eq!((&made["kind"], &made["apiVersion"]), (&json!("ConfigMap"), &json!("v1")));
    assert_eq!(meta["namespace"], "default");
    assert_eq!(meta["uid"].as_str().unwrap().len(), 36);
    assert!(meta["creationTimestamp"].as_str().unwrap().ends_with('Z'));
    assert!(meta["resourceVersion"].as_str().unwrap().parse::<u64>().unwrap() > 0);

    let path = format!("{CONFIG_MAPS}/one");
    assert_eq!(api.get(&path).ok().await, made);

    let mut changed = made.clone();
    changed["data"]["c"] = json!("d");
    let changed = api.put(&path, changed).ok().await;
    assert_eq!(changed["data"], json!({"a": "b", "c": "d"}));
    assert_ne!(changed["metadata"]["resourceVersion"], meta["resourceVersion"]);
    assert_eq!(changed["metadata"]["uid"], meta["uid"]);

    let gone = api.delete(&path).ok().await;
    assert_eq!((&gone["kind"], &gone["status"]), (&json!("Status"), &json!("Success")));
    assert_eq!(gone["details"], json!({"name": "one", "kind": "configmaps", "uid": meta["uid"]}));
    let status = api.get(&path).fails(404).await;
    assert_eq!(status["message"], "configmaps \"one\" not found");
    assert_eq!(status["details"], json!({"name": "one", "kind": "configmaps"}));
}

#[tokio::test]
async fn names_must_be_free() {
    let api = Api::start().await;
    api.created(DEPLOYMENTS, deployment("web")).await;
    let status = api.post(DEPLOYMENTS, deployment("web")).fails(409).await;
    assert_eq!(status["reason"], "AlreadyExists");
    assert_eq!(status["message"], "deployments.apps \"web\" already exists");
}

#[tokio::test]
async fn generated_names_are_unique() {
    let api = Api::start().await;
    let template = json!({"metadata": {"generateName": "job-"}});
    let first = api.created(CONFIG_MAPS, template.clone()).await;
    let second = api.created(CONFIG_MAPS, template).await;
    let name = |object: &Value| object["metadata"]["name"].as_str().unwrap().to_owned();
    assert_eq!(name(&first).len(), "job-".len() + 5);
    assert_ne!(name(&first), name(&second));
    assert_eq!(first["kind"], "ConfigMap", "kind and version are filled in");
}

#[tokio::test]
async fn a_stale_writer_is_told() {
    let api = Api::start().await;
    let made = api.created(CONFIG_MAPS, config_map("one")).await;
    let path = format!("{CONFIG_MAPS}/one");
    let mut newer = made.clone();
    newer["data"]["a"] = json!("2");
    api.put(&path, newer).ok().await;
    let status = api.put(&path, made).fails(409).await;
    assert_eq!(status["reason"], "Conflict");
    assert_eq!(
        status["message"],
        "Operation cannot be fulfilled on configmaps \"one\": the object has been modified; please apply your changes to \
         the latest version and try again"
    );
    let mut other = config_map("one");
    other["metadata"]["uid"] = json!("00000000-0000-0000-0000-000000000000");
    let status = api.put(&path, other).fails(409).await;
    assert!(status["message"].as_str().unwrap().contains("Precondition failed: UID in precondition"), "{status}");
}

#[tokio::test]
async fn a_write_that_changes_nothing_is_none() {
    let api = Api::start().await;
    let made = api.created(DEPLOYMENTS, deployment("web")).await;
    let same = api.put(&format!("{DEPLOYMENTS}/web"), deployment("web")).ok().await;
    assert_eq!(same["metadata"]["resourceVersion"], made["metadata"]["resourceVersion"]);
}

#[tokio::test]
async fn generation_counts_changes_of_the_desired_state() {
    let api = Api::start().await;
    let mut made = api.created(DEPLOYMENTS, deployment("web")).await;
    assert_eq!(made["metadata"]["generation"], 1);
    made["metadata"]["labels"] = json!({"x": "y"});
    let mut labelled = api.put(&format!("{DEPLOYMENTS}/web"), made).ok().await;
    assert_eq!(labelled["metadata"]["generation"], 1);
    labelled["spec"]["replicas"] = json!(5);
    labelled["metadata"]["generation"] = json!(77);
    let scaled = api.put(&format!("{DEPLOYMENTS}/web"), labelled).ok().await;
    assert_eq!(scaled["metadata"]["generation"], 2);
}

#[tokio::test]
async fn dry_run_writes_nothing() {
    let api = Api::start().await;
    let answer = api.post(&format!("{CONFIG_MAPS}?dryRun=All"), config_map("one")).send().await;
    assert_eq!(answer.code, StatusCode::CREATED);
    assert_eq!(answer.json()["data"]["a"], "b");
    api.get(&format!("{CONFIG_MAPS}/one")).fails(404).await;
    api.created(CONFIG_MAPS, config_map("one")).await;
    let mut changed = config_map("one");
    changed["data"]["a"] = json!("2");
    let shown = api.put(&format!("{CONFIG_MAPS}/one?dryRun=All"), changed).ok().await;
    assert_eq!(shown["data"]["a"], "2");
    api.delete(&format!("{CONFIG_MAPS}/one?dryRun=All")).ok().await;
    assert_eq!(api.get(&format!("{CONFIG_MAPS}/one")).ok().await["data"]["a"], "b");
    api.post(&format!("{CONFIG_MAPS}?dryRun=All"), config_map("one")).fails(409).await;
}

#[tokio::test]
async fn finalizers_hold_a_deleted_object() {
    let api = Api::start().await;
    let mut held = config_map("one");
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    api.created(CONFIG_MAPS, held).await;
    let path = format!("{CONFIG_MAPS}/one");
    let pending = api.delete(&path).ok().await;
    assert!(pending["metadata"]["deletionTimestamp"].is_string(), "{pending}");
    assert_eq!(pending["metadata"]["deletionGracePeriodSeconds"], 0);
    let again = api.delete(&path).ok().await;
    assert_eq!(again, pending, "a second delete changes nothing");

    let mut more = pending.clone();
    more["metadata"]["finalizers"] = json!(["example.com/hold", "example.com/more"]);
    let status = api.put(&path, more).fails(422).await;
    assert!(status["message"].as_str().unwrap().contains("no new finalizers can be added"), "{status}");

    let mut released = pending;
    released["metadata"].as_object_mut().unwrap().remove("finalizers");
    api.put(&path, released).ok().await;
    api.get(&path).fails(404).await;
}

#[tokio::test]
async fn propagation_becomes_a_finalizer() {
    let api = Api::start().await;
    for (name, options, finalizers) in [
        ("orphan", json!({"propagationPolicy": "Orphan"}), json!(["orphan"])),
        ("foreground", json!({"propagationPolicy": "Foreground"}), json!(["foregroundDeletion"])),
        ("old", json!({"orphanDependents": true}), json!(["orphan"])),
    ] {
        api.created(CONFIG_MAPS, config_map(name)).await;
        let answer = api.delete(&format!("{CONFIG_MAPS}/{name}")).json(options).send().await;
        let expected = if name == "foreground" { StatusCode::ACCEPTED } else { StatusCode::OK };
        assert_eq!(answer.code, expected);
        assert_eq!(answer.json()["metadata"]["finalizers"], finalizers);
    }
    api.created(CONFIG_MAPS, config_map("background")).await;
    api.delete(&format!("{CONFIG_MAPS}/background?propagationPolicy=Background")).ok().await;
    api.get(&format!("{CONFIG_MAPS}/background")).fails(404).await;
    let status = api.delete(&format!("{CONFIG_MAPS}/orphan?propagationPolicy=Other")).fails(422).await;
    assert_eq!(status["details"]["causes"][0]["field"], "propagationPolicy");
}

#[tokio::test]
async fn deletions_have_preconditions() {
    let api = Api::start().await;
    let made = api.created(CONFIG_MAPS, config_map("one")).await;
    let path = format!("{CONFIG_MAPS}/one");
    let status = api.delete(&path).json(json!({"preconditions": {"uid": "other"}})).fails(409).await;
    assert_eq!(status["reason"], "Conflict");
    api.delete(&path).json(json!({"preconditions": {"resourceVersion": "1"}})).fails(409).await;
    let uid = &made["metadata"]["uid"];
    api.delete(&path).json(json!({"kind": "DeleteOptions", "preconditions": {"uid": uid}})).ok().await;
}

#[tokio::test]
async fn an_unscheduled_pod_goes_at_once_and_a_running_one_gracefully() {
    let api = Api::start().await;
    api.created(PODS, pod("waiting")).await;
    let gone = api.delete(&format!("{PODS}/waiting")).ok().await;
    assert_eq!(gone["kind"], "Pod");
    api.get(&format!("{PODS}/waiting")).fails(404).await;

    let mut running = pod("running");
    running["spec"]["nodeName"] = json!("node-1");
    api.created(PODS, running).await;
    let ending = api.delete(&format!("{PODS}/running?gracePeriodSeconds=7")).ok().await;
    assert_eq!(ending["metadata"]["deletionGracePeriodSeconds"], 7);
    let sooner = api.delete(&format!("{PODS}/running?gracePeriodSeconds=3")).ok().await;
    assert_eq!(sooner["metadata"]["deletionGracePeriodSeconds"], 3);
    let later = api.delete(&format!("{PODS}/running?gracePeriodSeconds=9")).ok().await;
    assert_eq!(later["metadata"]["deletionGracePeriodSeconds"], 3);
    api.delete(&format!("{PODS}/running?gracePeriodSeconds=0")).ok().await;
    api.get(&format!("{PODS}/running")).fails(404).await;
}

#[tokio::test]
async fn yaml_is_read_and_written() {
    let api = Api::start().await;
    let text = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: one\ndata:\n  a: b\n";
    let answer = api.call(http::Method::POST, CONFIG_MAPS).body("application/yaml", text).send().await;
    assert_eq!(answer.code, StatusCode::CREATED, "{}", answer.text());
    let shown = api.get(&format!("{CONFIG_MAPS}/one")).header("accept", "application/yaml").send().await;
    assert_eq!(shown.header("content-type"), "application/yaml");
    assert!(shown.text().contains("kind: ConfigMap\n"), "{}", shown.text());
}

#[tokio::test]
async fn acknowledged_writes_survive_a_restart() {
    let api = Api::start().await;
    let made = api.created(CONFIG_MAPS, config_map("one")).await;
    let api = api.restart().await;
    assert_eq!(api.get(&format!("{CONFIG_MAPS}/one")).ok().await, made);
    let listed = api.get(&format!("{CONFIG_MAPS}?labelSelector=!x")).ok().await;
    assert!(listed["items"].as_array().unwrap().iter().any(|item| item["metadata"]["name"] == "one"));
}

#[tokio::test]
async fn a_kind_served_in_two_versions_is_one_object() {
    let api = Api::start().await;
    let event = json!({
        "metadata": {"name": "e"},
        "involvedObject": {"kind": "Pod", "name": "p", "namespace": "default"},
        "reason": "Started", "message": "it runs", "type": "Normal",
        "firstTimestamp": "2026-01-01T00:00:00Z", "lastTimestamp": "2026-01-01T00:00:00Z", "count": 1,
    });
    api.created("/api/v1/namespaces/default/events", event).await;
    let newer = api.get("/apis/events.k8s.io/v1/namespaces/default/events/e").ok().await;
    assert_eq!(newer["apiVersion"], "events.k8s.io/v1");
    assert_eq!(newer["regarding"]["name"], "p");
    assert_eq!(newer["note"], "it runs");
    let list = api.get("/apis/events.k8s.io/v1/events").ok().await;
    assert_eq!((&list["apiVersion"], &list["items"][0]["note"]), (&json!("events.k8s.io/v1"), &json!("it runs")));
    assert_eq!(list["items"][0].get("apiVersion"), None, "the list tells the type of its items");
}

#[tokio::test]
async fn type_and_metadata_come_first_whatever_was_sent_first() {
    let api = Api::start().await;
    let sent = r#"{"data":{"b":"2","a":"1"},"metadata":{"name":"late"},"apiVersion":"v1","kind":"ConfigMap"}"#;
    assert_eq!(api.call(Method::POST, CONFIG_MAPS).body("application/json", sent).send().await.code, StatusCode::CREATED);
    let one = api.get(&format!("{CONFIG_MAPS}/late")).send().await.text();
    assert!(one.starts_with(r#"{"kind":"ConfigMap","apiVersion":"v1","metadata":{"resourceVersion":"#), "{one}");
    let list = api.get(CONFIG_MAPS).send().await;
    let cut = list.text().matches(r#"{"metadata":{"resourceVersion":"#).count();
    assert_eq!(cut, list.json()["items"].as_array().unwrap().len(), "{}", list.text());
}
