use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use serde_json::json;

use super::*;
use crate::inbox::Inbox;
use crate::objects::{Objects, PodObjects};
use crate::pod::downward::Surroundings;

#[test]
fn tokens_are_renewed_in_time() {
    for (life, after) in [(3600, 2880), (600, 480), (365 * 86400, 86400), (0, 1)] {
        let life = SignedDuration::from_secs(life);
        assert_eq!(renew_after(life).as_secs(), after);
    }
}

/// An API server that gives tokens of ten minutes, numbered; none while `away`.
struct Issuer {
    given: AtomicI64,
    now: AtomicI64,
    away: std::sync::atomic::AtomicBool,
}

impl Issuer {
    fn client(self: &Arc<Self>) -> kube::Client {
        let issuer = Arc::clone(self);
        let service = tower::service_fn(move |request: Request<kube::client::Body>| {
            assert_eq!(request.uri().path(), "/api/v1/namespaces/ns/serviceaccounts/robot/token");
            let number = issuer.given.fetch_add(1, Ordering::SeqCst);
            let expires = Timestamp::from_second(issuer.now.load(Ordering::SeqCst) + 600).unwrap().to_string();
            let (code, body) = match issuer.away.load(Ordering::SeqCst) {
                true => {
                    (503, json!({"kind": "Status", "status": "Failure", "reason": "ServiceUnavailable", "message": "away", "code": 503}))
                }
                false => (
                    201,
                    json!({"metadata": {}, "spec": {"audiences": []}, "status": {"token": format!("token-{number}"), "expirationTimestamp": expires}}),
                ),
            };
            let response = Response::builder().status(code).body(Full::new(Bytes::from(body.to_string())));
            async move { response }
        });
        kube::Client::new(service, "default")
    }
}

#[tokio::test]
async fn a_token_is_renewed_at_four_fifths_of_its_life_and_outlives_an_absent_server() {
    let issuer = Arc::new(Issuer { given: AtomicI64::new(0), now: AtomicI64::new(0), away: false.into() });
    let pod: Pod = serde_json::from_value(json!({
        "metadata": {"name": "p", "namespace": "ns", "uid": "u"}, "spec": {"serviceAccountName": "robot", "containers": []},
    }))
    .unwrap();
    let source = ServiceAccountTokenProjection { path: "token".into(), expiration_seconds: Some(600), ..Default::default() };
    let token = Token::new(&source, &pod, None);
    let client = issuer.client();
    let pod = Arc::new(pod);
    let objects = PodObjects::subscribe(&Arc::new(Objects::new(&client)), &pod, &Arc::new(Inbox::new(Arc::clone(&pod))));
    let around = Surroundings::default();
    let at = async |seconds: i64| {
        issuer.now.store(seconds, Ordering::SeqCst);
        let now = Timestamp::from_second(seconds).unwrap();
        let context = Context { client: &client, pod: &pod, objects: &objects, around: &around, now };
        let (_, file, renew_at) = token.file(&context).await.map_err(|error| error.to_string())?;
        Ok::<_, String>((String::from_utf8(file.data).unwrap(), renew_at.as_second()))
    };
    assert_eq!(at(1000).await.unwrap(), ("token-0".into(), 1480));
    assert_eq!(at(1479).await.unwrap(), ("token-0".into(), 1480), "still fresh");
    assert_eq!(at(1480).await.unwrap(), ("token-1".into(), 1960));
    issuer.away.store(true, Ordering::SeqCst);
    assert_eq!(at(2000).await.unwrap(), ("token-1".into(), 2010), "it counts on, and is soon asked for again");
    assert!(at(2080).await.unwrap_err().starts_with("failed to fetch token: "), "it has expired");
    issuer.away.store(false, Ordering::SeqCst);
    assert_eq!(at(2081).await.unwrap().1, 2561);
}
