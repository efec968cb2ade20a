//! Watches: order, resumption, selectors, bookmarks, ends.

use serde_json::{Value, json};

use crate::common::{Api, CONFIG_MAPS, PODS, config_map, pod};

fn pair(kind: &str, name: &str) -> (String, String) {
    (kind.to_owned(), name.to_owned())
}

#[tokio::test]
async fn every_change_in_order() {
    let api = Api::start().await;
    let list = api.get(CONFIG_MAPS).ok().await;
    let from = list["metadata"]["resourceVersion"].as_str().unwrap();
    let mut watch = api.watch(&format!("{CONFIG_MAPS}?watch=1&resourceVersion={from}")).await;
    for index in 0..50 {
        let name = format!("m{index}");
        let mut object = api.created(CONFIG_MAPS, config_map(&name)).await;
        object["data"]["a"] = json!("2");
        api.put(&format!("{CONFIG_MAPS}/{name}"), object).ok().await;
        api.delete(&format!("{CONFIG_MAPS}/{name}")).ok().await;
    }
    let mut last = 0;
    for index in 0..50 {
        for kind in ["ADDED", "MODIFIED", "DELETED"] {
            let event = watch.next().await;
            assert_eq!(event["type"], kind);
            assert_eq!(event["object"]["metadata"]["name"], format!("m{index}"));
            assert_eq!(event["object"]["kind"], "ConfigMap");
            let revision: u64 = event["object"]["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
            assert!(revision > last, "revisions ascend");
            last = revision;
        }
    }
}

#[tokio::test]
async fn a_watch_ends_in_time_however_much_there_is_to_tell() {
    let api = Api::start().await;
    let path = |name: &str| format!("{CONFIG_MAPS}?watch=1&timeoutSeconds=1&fieldSelector=metadata.name={name}");
    let made = api.created(CONFIG_MAPS, config_map("busy")).await;
    let from = made["metadata"]["resourceVersion"].as_str().unwrap();
    let mut busy = api.watch(&format!("{}&resourceVersion={from}", path("busy"))).await;
    for update in 0..20 {
        api.patch(&format!("{CONFIG_MAPS}/busy"), "merge", json!({"data": {"n": update.to_string()}})).ok().await;
    }
    // The same time passes for another one, which began later.
    let mut quiet = api.watch(&path("quiet")).await;
    assert_eq!(quiet.try_next().await, None);
    assert_eq!(busy.try_next().await, None, "its time is over, though nothing was read");
}

#[tokio::test]
async fn the_state_comes_first_without_a_revision() {
    let api = Api::start().await;
    api.created(PODS, pod("a")).await;
    let mut watch = api.watch("/api/v1/watch/namespaces/default/pods").await;
    assert_eq!(watch.summary().await, pair("ADDED", "a"));
    api.created(PODS, pod("b")).await;
    assert_eq!(watch.summary().await, pair("ADDED", "b"));
}

#[tokio::test]
async fn a_streaming_list_says_where_the_state_ends() {
    let api = Api::start().await;
    api.created(PODS, pod("a")).await;
    let query = "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let mut watch = api.watch(&format!("{PODS}?{query}")).await;
    assert_eq!(watch.summary().await, pair("ADDED", "a"));
    let mark = watch.next().await;
    assert_eq!(mark["type"], "BOOKMARK");
    assert_eq!(mark["object"]["kind"], "Pod");
    assert_eq!(mark["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
    api.get(&format!("{PODS}?watch=1&sendInitialEvents=true")).fails(422).await;
}

#[tokio::test]
async fn an_object_that_leaves_the_selector_is_told_as_deleted() {
    let api = Api::start().await;
    let mut object = config_map("a");
    object["metadata"]["labels"] = json!({"app": "x"});
    let mut made = api.created(CONFIG_MAPS, object).await;
    let from = made["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
    let mut watch = api.watch(&format!("{CONFIG_MAPS}?watch=1&labelSelector=app%3Dx&resourceVersion={from}")).await;
    api.created(CONFIG_MAPS, config_map("unseen")).await;
    made["metadata"]["labels"] = json!({"app": "y"});
    let left = api.put(&format!("{CONFIG_MAPS}/a"), made).ok().await;
    let event = watch.next().await;
    assert_eq!(event["type"], "DELETED");
    assert_eq!(event["object"]["metadata"]["resourceVersion"], left["metadata"]["resourceVersion"]);
}

#[tokio::test]
async fn a_pinned_field_is_followed() {
    let api = Api::start().await;
    let mut watch = api.watch("/api/v1/pods?watch=1&fieldSelector=spec.nodeName%3Dn1&resourceVersion=0").await;
    api.created(PODS, pod("unscheduled")).await;
    let mut mine = pod("mine");
    mine["spec"]["nodeName"] = json!("n1");
    api.created(PODS, mine).await;
    assert_eq!(watch.summary().await, pair("ADDED", "mine"));
}

#[tokio::test]
async fn one_object_is_followed_by_name() {
    let api = Api::start().await;
    let mut watch = api.watch(&format!("{CONFIG_MAPS}?watch=1&fieldSelector=metadata.name%3Db&resourceVersion=0")).await;
    for name in ["a", "b", "bb"] {
        api.created(CONFIG_MAPS, config_map(name)).await;
    }
    assert_eq!(watch.summary().await, pair("ADDED", "b"));
    api.delete(&format!("{CONFIG_MAPS}/bb")).ok().await;
    api.delete(&format!("{CONFIG_MAPS}/b")).ok().await;
    assert_eq!(watch.summary().await, pair("DELETED", "b"));
}

#[tokio::test]
async fn tables_are_watched() {
    let api = Api::start().await;
    api.created(PODS, pod("a")).await;
    let request = api.get(&format!("{PODS}?watch=1")).header("accept", "application/json;as=Table;v=v1;g=meta.k8s.io");
    let mut watch = request.watch().await;
    let event = watch.next().await;
    assert_eq!((&event["type"], &event["object"]["kind"]), (&json!("ADDED"), &json!("Table")));
    assert_eq!(event["object"]["rows"][0]["cells"][0], "a");
    assert_eq!(event["object"]["columnDefinitions"][0]["name"], "Name");
    // The columns are told once.
    api.created(PODS, pod("b")).await;
    let event = watch.next().await;
    assert_eq!((&event["object"]["rows"][0]["cells"][0], &event["object"]["columnDefinitions"]), (&json!("b"), &Value::Null));
}

#[tokio::test]
async fn watches_end_in_time_and_with_the_server() {
    let api = Api::start().await;
    let mut timed = api.watch(&format!("{PODS}?watch=1&timeoutSeconds=1")).await;
    assert_eq!(timed.try_next().await, None);
    let mut open = api.watch(&format!("{PODS}?watch=1")).await;
    api.server.close().await;
    assert_eq!(open.try_next().await, None);
}
