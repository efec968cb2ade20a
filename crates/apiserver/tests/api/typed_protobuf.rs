//! A typed client that speaks nothing but protobuf: its messages are declared here anew, by the tags of the public definition.

use std::collections::HashMap;

use http::{Method, StatusCode};
use http_body_util::BodyExt;
use prost::Message;

use crate::common::{Answer, Api, CONFIG_MAPS, DEADLINE};

const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";

#[derive(Clone, PartialEq, Message)]
struct TypeMeta {
    #[prost(string, tag = "1")]
    api_version: String,
    #[prost(string, tag = "2")]
    kind: String,
}

#[derive(Clone, PartialEq, Message)]
struct Unknown {
    #[prost(message, optional, tag = "1")]
    type_meta: Option<TypeMeta>,
    #[prost(bytes = "vec", tag = "2")]
    raw: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct ObjectMeta {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "3")]
    namespace: String,
    #[prost(string, tag = "5")]
    uid: String,
    #[prost(string, tag = "6")]
    resource_version: String,
    #[prost(map = "string, string", tag = "11")]
    labels: HashMap<String, String>,
}

#[derive(Clone, PartialEq, Message)]
struct ConfigMap {
    #[prost(message, optional, tag = "1")]
    metadata: Option<ObjectMeta>,
    #[prost(map = "string, string", tag = "2")]
    data: HashMap<String, String>,
    #[prost(map = "string, bytes", tag = "3")]
    binary_data: HashMap<String, Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
struct ListMeta {
    #[prost(string, tag = "2")]
    resource_version: String,
    #[prost(string, tag = "3")]
    next: String,
    #[prost(int64, optional, tag = "4")]
    remaining: Option<i64>,
}

#[derive(Clone, PartialEq, Message)]
struct ConfigMapList {
    #[prost(message, optional, tag = "1")]
    metadata: Option<ListMeta>,
    #[prost(message, repeated, tag = "2")]
    items: Vec<ConfigMap>,
}

#[derive(Clone, PartialEq, Message)]
struct Status {
    #[prost(string, tag = "2")]
    status: String,
    #[prost(string, tag = "3")]
    message: String,
    #[prost(string, tag = "4")]
    reason: String,
    #[prost(int32, tag = "6")]
    code: i32,
}

#[derive(Clone, PartialEq, Message)]
struct Preconditions {
    #[prost(string, optional, tag = "1")]
    uid: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
struct DeleteOptions {
    #[prost(message, optional, tag = "2")]
    preconditions: Option<Preconditions>,
    #[prost(string, optional, tag = "4")]
    propagation: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
struct RawExtension {
    #[prost(bytes = "vec", tag = "1")]
    raw: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct WatchEvent {
    #[prost(string, tag = "1")]
    kind: String,
    #[prost(message, optional, tag = "2")]
    object: Option<RawExtension>,
}

fn seal(kind: &str, message: &impl Message) -> Vec<u8> {
    let type_meta = Some(TypeMeta { api_version: "v1".to_owned(), kind: kind.to_owned() });
    let unknown = Unknown { type_meta, raw: message.encode_to_vec() };
    [&b"k8s\0"[..], &unknown.encode_to_vec()].concat()
}

fn open<T: Message + Default>(kind: &str, bytes: &[u8]) -> T {
    let unknown = Unknown::decode(bytes.strip_prefix(b"k8s\0").expect("the envelope's magic")).unwrap();
    assert_eq!(unknown.type_meta.unwrap().kind, kind);
    T::decode(&*unknown.raw).unwrap()
}

async fn call(api: &Api, method: Method, path: &str, body: Vec<u8>) -> Answer {
    let answer = api.call(method, path).body(PROTOBUF, body).header("accept", PROTOBUF).send().await;
    assert_eq!(answer.header("content-type"), PROTOBUF, "{}", answer.text());
    answer
}

fn config_map(name: &str, label: &str) -> ConfigMap {
    ConfigMap {
        metadata: Some(ObjectMeta {
            name: name.to_owned(),
            labels: [("app".to_owned(), label.to_owned())].into(),
            ..ObjectMeta::default()
        }),
        data: [("a".to_owned(), "é".to_owned())].into(),
        binary_data: [("b".to_owned(), vec![0, 255])].into(),
    }
}

#[tokio::test]
async fn objects_live_and_die_in_protobuf() {
    let api = Api::start().await;
    let path = format!("{CONFIG_MAPS}/one");
    let made = call(&api, Method::POST, CONFIG_MAPS, seal("ConfigMap", &config_map("one", "web"))).await;
    assert_eq!(made.code, StatusCode::CREATED);
    let made: ConfigMap = open("ConfigMap", &made.bytes);
    assert_eq!((&made.data, &made.binary_data), (&config_map("", "").data, &config_map("", "").binary_data));
    let meta = made.metadata.clone().unwrap();
    assert_eq!((meta.namespace.as_str(), meta.uid.len()), ("default", 36));

    let mut changed = made.clone();
    changed.data.insert("c".to_owned(), "d".to_owned());
    let put: ConfigMap = open("ConfigMap", &call(&api, Method::PUT, &path, seal("ConfigMap", &changed)).await.bytes);
    assert_ne!(put.metadata.as_ref().unwrap().resource_version, meta.resource_version);
    let stale = call(&api, Method::PUT, &path, seal("ConfigMap", &changed)).await;
    let status: Status = open("Status", &stale.bytes);
    assert_eq!((status.code, status.reason.as_str(), status.status.as_str()), (409, "Conflict", "Failure"));
    let got: ConfigMap = open("ConfigMap", &call(&api, Method::GET, &path, Vec::new()).await.bytes);
    assert_eq!(got, put);

    for name in ["three", "two"] {
        call(&api, Method::POST, CONFIG_MAPS, seal("ConfigMap", &config_map(name, "web"))).await;
    }
    let (mut names, mut next) = (Vec::new(), String::new());
    loop {
        let query = format!("{CONFIG_MAPS}?labelSelector=app%3Dweb&limit=2&continue={next}");
        let list: ConfigMapList = open("ConfigMapList", &call(&api, Method::GET, &query, Vec::new()).await.bytes);
        names.extend(list.items.into_iter().map(|item| item.metadata.unwrap().name));
        next = list.metadata.unwrap().next;
        if next.is_empty() {
            break;
        }
    }
    assert_eq!(names, ["one", "three", "two"]);

    let wrong = DeleteOptions { preconditions: Some(Preconditions { uid: Some("other".to_owned()) }), propagation: None };
    let refused: Status = open("Status", &call(&api, Method::DELETE, &path, seal("DeleteOptions", &wrong)).await.bytes);
    assert!(refused.code == 409 && refused.message.contains("UID in precondition: other"), "{refused:?}");
    let right = DeleteOptions { preconditions: Some(Preconditions { uid: Some(meta.uid) }), propagation: Some("Background".to_owned()) };
    let gone: Status = open("Status", &call(&api, Method::DELETE, &path, seal("DeleteOptions", &right)).await.bytes);
    assert_eq!(gone.status, "Success");
    let missing: Status = open("Status", &call(&api, Method::GET, &path, Vec::new()).await.bytes);
    assert_eq!((missing.code, missing.message.as_str()), (404, "configmaps \"one\" not found"));
}

#[tokio::test]
async fn changes_are_followed_in_protobuf() {
    let api = Api::start().await;
    call(&api, Method::POST, CONFIG_MAPS, seal("ConfigMap", &config_map("one", "web"))).await;
    let query = "watch=1&labelSelector=app%3Dweb&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let answer = api.get(&format!("{CONFIG_MAPS}?{query}")).header("accept", &format!("{PROTOBUF};stream=watch,{PROTOBUF}"));
    let mut body = answer.watch().await.into_body();
    let mut bytes = Vec::new();
    let mut follow = async |count: usize| {
        let mut events = Vec::new();
        while events.len() < count {
            while let Some((length, rest)) = bytes.split_first_chunk::<4>() {
                let length = u32::from_be_bytes(*length) as usize;
                let Some(event) = rest.get(..length) else { break };
                let event = WatchEvent::decode(event).unwrap();
                let object: ConfigMap = open("ConfigMap", &event.object.unwrap().raw);
                events.push((event.kind, object.metadata.unwrap().name, object.data.len()));
                bytes.drain(..4 + length);
            }
            if events.len() < count {
                let frame = tokio::time::timeout(DEADLINE, body.frame()).await.expect("an event in time").unwrap().unwrap();
                bytes.extend_from_slice(&frame.into_data().unwrap());
            }
        }
        events
    };
    let event = |kind: &str, name: &str, data: usize| (kind.to_owned(), name.to_owned(), data);
    assert_eq!(follow(2).await, [event("ADDED", "one", 1), event("BOOKMARK", "", 0)]);
    let mut more = config_map("one", "web");
    more.data.insert("x".to_owned(), "y".to_owned());
    call(&api, Method::PUT, &format!("{CONFIG_MAPS}/one"), seal("ConfigMap", &more)).await;
    call(&api, Method::POST, CONFIG_MAPS, seal("ConfigMap", &config_map("two", "web"))).await;
    // Out of the selector is gone, for whoever selects.
    call(&api, Method::PUT, &format!("{CONFIG_MAPS}/two"), seal("ConfigMap", &config_map("two", "db"))).await;
    call(&api, Method::DELETE, &format!("{CONFIG_MAPS}/one"), Vec::new()).await;
    let expected = [event("MODIFIED", "one", 2), event("ADDED", "two", 1), event("DELETED", "two", 1), event("DELETED", "one", 2)];
    assert_eq!(follow(4).await, expected);
}
