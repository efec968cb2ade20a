//! Protobuf: bodies, answers, lists, watches.

use corten_schema::{Schema, Value, json as trees, proto, table};
use http::{Method, StatusCode};
use http_body_util::BodyExt;

use crate::common::{Api, PODS, pod};

const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";

fn pods() -> Schema {
    table().resource("", "v1", "pods").unwrap().schema.clone()
}

fn tree(json: &serde_json::Value) -> Value {
    trees::decode_untyped(json.to_string().as_bytes()).unwrap()
}

#[tokio::test]
async fn objects_and_lists() {
    let api = Api::start().await;
    let body = proto::encode(&pods(), &tree(&pod("a")));
    let answer = api.call(Method::POST, PODS).body(PROTOBUF, body).header("accept", PROTOBUF).send().await;
    assert_eq!((answer.code, answer.header("content-type")), (StatusCode::CREATED, PROTOBUF), "{}", answer.text());
    let made = proto::decode(&pods(), &answer.bytes).unwrap().value;
    assert_eq!(made, tree(&api.get(&format!("{PODS}/a")).ok().await), "the same as in JSON");

    let accept = format!("{PROTOBUF},application/json");
    let list = api.get(PODS).header("accept", &accept).send().await;
    let schema = table().schema("io.k8s.api.core.v1.PodList").unwrap();
    let list = proto::decode(&schema, &list.bytes).unwrap().value;
    assert_eq!(list.kind(), "PodList");
    assert_eq!(list.at(&["items"]).unwrap().as_list().unwrap().len(), 1);

    let table = api.get(PODS).header("accept", &format!("{PROTOBUF};as=Table;g=meta.k8s.io;v=v1,application/json"));
    assert_eq!(table.ok().await["kind"], "PodList", "there is no protobuf of tables");
    let status = api.get(&format!("{PODS}/none")).header("accept", PROTOBUF).send().await;
    assert_eq!((status.code, status.header("content-type")), (StatusCode::NOT_FOUND, PROTOBUF));
    let status = proto::decode(&corten_schema::table().meta("Status").unwrap(), &status.bytes).unwrap().value;
    assert_eq!((status.kind(), status.str_at(&["reason"])), ("Status", "NotFound"));
    let status = api.call(Method::POST, PODS).body(PROTOBUF, "nonsense").fails(400).await;
    assert!(status["message"].as_str().unwrap().contains("does not appear to be a protobuf message"), "{status}");
}

#[tokio::test]
async fn options_of_deletions() {
    let api = Api::start().await;
    api.created(PODS, pod("a")).await;
    let schema = table().meta("DeleteOptions").unwrap();
    let options = serde_json::json!({
        "kind": "DeleteOptions", "apiVersion": "v1", "preconditions": {"uid": "other"}, "gracePeriodSeconds": 0,
    });
    let body = proto::encode(&schema, &tree(&options));
    let status = api.delete(&format!("{PODS}/a")).body(PROTOBUF, body).fails(409).await;
    assert_eq!(status["reason"], "Conflict");
}

#[tokio::test]
async fn watches_are_framed_by_length() {
    let api = Api::start().await;
    api.created(PODS, pod("a")).await;
    let query = "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let watch = api.get(&format!("{PODS}?{query}")).header("accept", PROTOBUF).watch().await;
    let mut bytes = Vec::new();
    let mut body = watch.into_body();
    let schema = table().meta("WatchEvent").unwrap();
    let mut kinds = Vec::new();
    while kinds.len() < 2 {
        let frame = body.frame().await.unwrap().unwrap().into_data().unwrap();
        bytes.extend_from_slice(&frame);
        while let Some((length, rest)) = bytes.split_first_chunk::<4>() {
            let length = u32::from_be_bytes(*length) as usize;
            let Some(event) = rest.get(..length) else { break };
            let event = proto::decode_message(&schema, event).unwrap();
            kinds.push(event.str_at(&["type"]).to_owned());
            bytes.drain(..4 + length);
        }
    }
    assert_eq!(kinds, ["ADDED", "BOOKMARK"]);
}
