//! History that is gone: 410, and how to go on after it.

use corten_schema::{json as schema_json, proto, table};
use http_body_util::BodyExt;
use serde_json::{Value, json};

use crate::common::{Api, CONFIG_MAPS, config_map};

fn names(list: &Value) -> Vec<&str> {
    list["items"].as_array().unwrap().iter().map(|item| item["metadata"]["name"].as_str().unwrap()).collect()
}

/// A server that has forgotten everything before the objects `m3` and `m4`, and what was answered before it forgot:
/// the first page of a list, and a resourceVersion.
async fn forgetful() -> (Api, Value, String) {
    let api = Api::start_with_history(1).await;
    let mut first = Value::Null;
    let mut at = String::new();
    for index in 0..5 {
        let mut object = config_map(&format!("m{index}"));
        object["metadata"]["labels"] = json!({"mine": ""});
        let made = api.created(CONFIG_MAPS, object).await;
        if index == 2 {
            first = api.get(&format!("{CONFIG_MAPS}?labelSelector=mine&limit=2")).ok().await;
            made["metadata"]["resourceVersion"].as_str().unwrap().clone_into(&mut at);
        }
    }
    (api.restart().await, first, at)
}

#[tokio::test]
async fn an_old_continue_token_is_answered_with_one_that_works() {
    let (api, first, _) = forgetful().await;
    assert_eq!(names(&first), ["m0", "m1"]);
    let base = format!("{CONFIG_MAPS}?labelSelector=mine&limit=2");
    let token = first["metadata"]["continue"].as_str().unwrap();
    let status = api.get(&format!("{base}&continue={token}")).fails(410).await;
    assert_eq!(status["reason"], "Expired");
    assert!(status["message"].as_str().unwrap().starts_with("The provided continue parameter is too old"), "{status}");
    let token = status["metadata"]["continue"].as_str().unwrap();
    // The rest, as it is now, from where the first page ended.
    let second = api.get(&format!("{base}&continue={token}")).ok().await;
    assert_eq!(names(&second), ["m2", "m3"]);
    assert_ne!(second["metadata"]["resourceVersion"], first["metadata"]["resourceVersion"]);
    let token = second["metadata"]["continue"].as_str().unwrap();
    let third = api.get(&format!("{base}&continue={token}")).ok().await;
    assert_eq!(names(&third), ["m4"]);
    assert_eq!(third["metadata"]["resourceVersion"], second["metadata"]["resourceVersion"]);
}

#[tokio::test]
async fn a_list_of_an_old_version_is_gone() {
    let (api, _, at) = forgetful().await;
    for query in [format!("resourceVersion={at}&resourceVersionMatch=Exact"), format!("resourceVersion={at}&limit=1")] {
        let status = api.get(&format!("{CONFIG_MAPS}?{query}")).fails(410).await;
        assert_eq!(status["reason"], "Expired");
        assert_eq!(status["message"], "The resourceVersion for the provided list is too old.");
        assert_eq!(status["metadata"].get("continue"), None, "{status}");
    }
    let list = api.get(&format!("{CONFIG_MAPS}?labelSelector=mine&resourceVersion={at}")).ok().await;
    assert_eq!(names(&list).len(), 5, "not older than it is always possible");
}

#[tokio::test]
async fn a_watch_of_what_is_gone_ends_with_an_error_event() {
    let (api, _, at) = forgetful().await;
    for form in ["application/json", "application/json;as=Table;v=v1;g=meta.k8s.io"] {
        let request = api.get(&format!("{CONFIG_MAPS}?watch=1&resourceVersion={at}")).header("accept", form);
        let mut watch = request.watch().await;
        let event = watch.next().await;
        assert_eq!((&event["type"], &event["object"]["kind"]), (&json!("ERROR"), &json!("Status")));
        assert_eq!((&event["object"]["code"], &event["object"]["reason"]), (&json!(410), &json!("Expired")));
        let message = event["object"]["message"].as_str().unwrap();
        assert!(message.starts_with(&format!("too old resource version: {at} (")), "{message}");
        assert_eq!(watch.try_next().await, None);
    }
    // A list and a watch from there go on.
    let now = api.get(CONFIG_MAPS).ok().await;
    let now = now["metadata"]["resourceVersion"].as_str().unwrap();
    let mut watch = api.watch(&format!("{CONFIG_MAPS}?watch=1&resourceVersion={now}")).await;
    api.created(CONFIG_MAPS, config_map("next")).await;
    assert_eq!(watch.summary().await, ("ADDED".to_owned(), "next".to_owned()));
}

#[tokio::test]
async fn the_error_event_has_a_protobuf() {
    let (api, _, at) = forgetful().await;
    let request = api.get(&format!("{CONFIG_MAPS}?watch=1&resourceVersion={at}"));
    let watch = request.header("accept", "application/vnd.kubernetes.protobuf;stream=watch").watch().await;
    let bytes = watch.into_body().collect().await.unwrap().to_bytes();
    let length = u32::from_be_bytes(bytes[..4].try_into().unwrap());
    let event = &bytes[4..];
    assert_eq!(length as usize, event.len());
    assert!(event.starts_with(b"\x0a\x05ERROR\x12"), "{event:?}");
    let envelope = event.windows(4).position(|window| window == b"k8s\0").expect("an envelope");
    let status = proto::decode(&table().meta("Status").unwrap(), &event[envelope..]).unwrap();
    let status: Value = serde_json::from_slice(&schema_json::encode(&status.value)).unwrap();
    assert_eq!((&status["code"], &status["reason"]), (&json!(410), &json!("Expired")));
}
