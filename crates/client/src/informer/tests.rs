//! Informers against a scripted server: what matters is what handlers are told.

use std::{collections::VecDeque, convert::Infallible, sync::Arc, time::Duration};

use http::{Request, Response};
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::BoxBody};
use hyper::body::{Bytes, Frame};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client, client::Body};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tower::service_fn;

use super::{Delta, Informer, Outline, Selection};
use crate::ObjectKey;

/// What the server answers to the next request: its query must contain the text.
enum Answer {
    List(&'static str, Vec<Value>, &'static str),
    Watch(&'static str, Vec<Value>),
    /// A watch that stays open after its events.
    Hold(&'static str, Vec<Value>),
    Gone(&'static str),
}

type Script = Arc<Mutex<VecDeque<Answer>>>;

fn respond(script: &Script, request: &Request<Body>) -> Response<BoxBody<Bytes, Infallible>> {
    let query = request.uri().query().unwrap_or_default().to_owned();
    let Some(answer) = script.lock().pop_front() else {
        panic!("unexpected request: {query}");
    };
    let check = |expected: &str| assert!(query.contains(expected), "{expected} not in {query}");
    let lines = |events: Vec<Value>| {
        let text: String = events.iter().map(|event| format!("{event}\n")).collect();
        Bytes::from(text)
    };
    match answer {
        Answer::List(expected, items, revision) => {
            check(expected);
            assert!(!query.contains("watch="), "{query}");
            let list = json!({"kind": "ConfigMapList", "apiVersion": "v1",
                "metadata": {"resourceVersion": revision}, "items": items});
            Response::new(Full::from(list.to_string()).boxed())
        }
        Answer::Watch(expected, events) => {
            check(expected);
            Response::new(Full::new(lines(events)).boxed())
        }
        Answer::Hold(expected, events) => {
            check(expected);
            let first = Ok(Frame::data(lines(events)));
            let stream = futures::StreamExt::chain(futures::stream::iter([first]), futures::stream::pending());
            Response::new(StreamBody::new(stream).boxed())
        }
        Answer::Gone(expected) => {
            check(expected);
            let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure",
                "code": 410, "reason": "Expired", "message": "too old"});
            let mut response = Response::new(Full::from(status.to_string()).boxed());
            *response.status_mut() = http::StatusCode::GONE;
            response
        }
    }
}

fn map(name: &str, revision: u32) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {
        "namespace": "n", "name": name, "uid": name, "resourceVersion": revision.to_string(),
        "managedFields": [{"manager": "m"}]}})
}

fn event(kind: &str, object: Value) -> Value {
    json!({"type": kind, "object": object})
}

fn bookmark(revision: &str) -> Value {
    event("BOOKMARK", json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"resourceVersion": revision}}))
}

struct Run {
    informer: Informer<ConfigMap>,
    told: mpsc::UnboundedReceiver<String>,
    script: Script,
    _stop: tokio_util::sync::DropGuard,
}

fn start(answers: Vec<Answer>) -> Run {
    let script: Script = Arc::new(Mutex::new(answers.into()));
    let serving = Arc::clone(&script);
    let service = service_fn(move |request: Request<Body>| {
        let response = respond(&serving, &request);
        async move { Ok::<_, Infallible>(response) }
    });
    let client = Client::new(service, "default");
    let token = CancellationToken::new();
    let informer = Informer::start(Api::<ConfigMap>::all(client), Selection::default(), token.clone());
    let (tell, told) = mpsc::unbounded_channel();
    informer.on_event(move |delta| {
        let what = match delta {
            Delta::Added(_) => "+",
            Delta::Updated { .. } => "~",
            Delta::Deleted(_) => "-",
        };
        let object = delta.object();
        assert!(object.metadata.managed_fields.is_none());
        let revision = object.metadata.resource_version.as_deref().unwrap_or("?");
        let _ = tell.send(format!("{what}{}@{revision}", delta.key().name));
    });
    Run { informer, told, script, _stop: token.drop_guard() }
}

impl Run {
    async fn expect(&mut self, expected: &[&str]) {
        for wanted in expected {
            let told = tokio::time::timeout(Duration::from_secs(10), self.told.recv()).await;
            assert_eq!(told.unwrap().as_deref(), Some(*wanted));
        }
    }
}

#[tokio::test]
async fn changes_are_told_in_order_and_a_watch_resumes_where_it_ended() {
    let mut run = start(vec![
        Answer::List("limit=500", vec![map("a", 1), map("b", 2)], "5"),
        Answer::Watch(
            "resourceVersion=5",
            vec![event("MODIFIED", map("a", 6)), event("ADDED", map("c", 7)), event("DELETED", map("b", 8))],
        ),
        Answer::Watch("resourceVersion=8", vec![bookmark("20")]),
        Answer::Hold("resourceVersion=20", vec![event("ADDED", map("d", 21))]),
    ]);
    run.expect(&["+a@1", "+b@2", "~a@6", "+c@7", "-b@8", "+d@21"]).await;
    run.informer.has_synced().await;
    assert_eq!(run.informer.store().len(), 3);
    assert!(run.script.lock().is_empty());
}

#[tokio::test]
async fn a_compacted_revision_lists_again_and_tells_what_was_deleted() {
    for gone in [
        Answer::Gone("resourceVersion=5"),
        Answer::Watch("resourceVersion=5", vec![event("ERROR", json!({"code": 410, "reason": "Expired", "message": ""}))]),
    ] {
        let mut replaced = map("c", 12);
        replaced["metadata"]["uid"] = json!("another");
        let mut run = start(vec![
            Answer::List("", vec![map("a", 1), map("b", 2), map("c", 3)], "5"),
            gone,
            Answer::List("", vec![map("b", 11), replaced], "12"),
            Answer::Hold("resourceVersion=12", vec![]),
        ]);
        run.expect(&["+a@1", "+b@2", "+c@3", "-a@1", "~b@11", "-c@3", "+c@12"]).await;
    }
}

#[tokio::test]
async fn late_handlers_and_indexes_see_what_is_there() {
    let mut run = start(vec![
        Answer::List("", vec![map("a", 1), map("b", 2)], "5"),
        Answer::Hold("resourceVersion=5", vec![event("DELETED", map("a", 6))]),
    ]);
    let first = |object: &ConfigMap| object.metadata.name.clone().into_iter().collect();
    let early = run.informer.index("name", first);
    run.expect(&["+a@1", "+b@2", "-a@6"]).await;
    let late = run.informer.index("uid", |object| object.metadata.uid.clone().into_iter().collect());
    for index in [early, late] {
        assert!(index.get("a").is_empty());
        assert_eq!(index.get("b").len(), 1);
    }
    let seen = Arc::new(Mutex::new(Vec::new()));
    let note = Arc::clone(&seen);
    run.informer.on_event(move |delta| note.lock().push(delta.key()));
    assert_eq!(*seen.lock(), [ObjectKey::new("n", "b")]);
}

#[tokio::test]
async fn an_outline_is_kept_of_what_is_wider() {
    let mut whole = map("a", 1);
    whole["metadata"]["ownerReferences"] =
        json!([{"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "u", "controller": true, "blockOwnerDeletion": true}]);
    whole["metadata"]["finalizers"] = json!(["x/y"]);
    whole["data"] = json!({"deep": [{"metadata": {"name": "other"}}]});
    let mut leaving = map("a", 7);
    leaving["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    leaving["metadata"]["finalizers"] = json!(null);
    leaving["metadata"]["ownerReferences"] = json!(null);
    let script: Script = Arc::new(Mutex::new(
        [
            Answer::List("", vec![whole], "5"),
            Answer::Hold("resourceVersion=5", vec![bookmark("6"), event("MODIFIED", leaving), event("DELETED", map("a", 8))]),
        ]
        .into(),
    ));
    let service = service_fn(move |request: Request<Body>| {
        let response = respond(&script, &request);
        async move { Ok::<_, Infallible>(response) }
    });
    let api = Api::<ConfigMap>::all(Client::new(service, "default"));
    let informer = Informer::<Outline>::start_as(api, Selection::default(), CancellationToken::new());
    let (sender, mut deltas) = mpsc::unbounded_channel();
    informer.on_event(move |delta| sender.send((delta.is_deleted(), Outline::clone(delta.object()))).unwrap());
    let (gone, first) = deltas.recv().await.unwrap();
    assert_eq!((gone, &first.key, &*first.uid, &*first.version), (false, &ObjectKey::new("n", "a"), "a", "1"));
    assert_eq!((first.owners.len(), first.owners[0].uid.as_str(), first.owners[0].block_owner_deletion), (1, "u", Some(true)));
    assert!(first.has_finalizer("x/y") && !first.has_finalizer("y") && !first.deleting);
    let (gone, second) = deltas.recv().await.unwrap();
    assert!(!gone && second.deleting && second.owners.is_empty() && second.finalizers.is_empty());
    let (gone, last) = deltas.recv().await.unwrap();
    assert_eq!((gone, &*last.version), (true, "8"));
}
