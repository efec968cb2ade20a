use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use serde_json::{Value, json};

use super::*;

const ALLOWED: Duration = Duration::from_secs(300);
const DENIED: Duration = Duration::from_secs(30);
const RULES: config::Access = config::Access { tokens: true, token_ttl: ALLOWED, allowed_ttl: ALLOWED, denied_ttl: DENIED };

/// An API server that allows one subresource; counts what it is asked.
fn client(allowed: &'static str, asked: &Arc<AtomicUsize>) -> kube::Client {
    let asked = Arc::clone(asked);
    let service = tower::service_fn(move |request: Request<kube::client::Body>| {
        asked.fetch_add(1, Ordering::Relaxed);
        async move {
            assert_eq!(request.uri().path(), "/apis/authorization.k8s.io/v1/subjectaccessreviews");
            let bytes = request.into_body().collect().await.unwrap().to_bytes();
            let mut review: Value = serde_json::from_slice(&bytes).unwrap();
            let attributes = &review["spec"]["resourceAttributes"];
            assert_eq!(attributes["resource"], "nodes");
            assert_eq!(attributes["name"], "n1");
            assert_eq!(review["spec"]["groups"], json!(["g", "system:authenticated"]));
            let answer = json!({"allowed": attributes["subresource"] == allowed && attributes["verb"] == "get"});
            review["status"] = answer;
            Ok::<_, Infallible>(Response::new(Full::<bytes::Bytes>::from(review.to_string())))
        }
    });
    kube::Client::new(service, "default")
}

#[tokio::test]
async fn decisions_are_asked_for_and_remembered() {
    let asked = Arc::new(AtomicUsize::new(0));
    let access = Access::new(client("proxy", &asked), "n1", &RULES);
    let user = Identity::new("u", ["g"]);
    let count = || asked.load(Ordering::Relaxed);

    access.check(&user, &Method::GET, "/containerLogs/ns/web/nginx").await.unwrap();
    access.check(&user, &Method::GET, "/exec/ns/web/nginx").await.unwrap();
    assert_eq!(count(), 1);
    let refusal = access.check(&user, &Method::POST, "/run/ns/web/nginx").await.unwrap_err();
    assert_eq!(refusal.code, StatusCode::FORBIDDEN);
    assert_eq!(refusal.words, "Forbidden (user=u, verb=create, resource=nodes, subresource(s)=[proxy])\n");
    access.check(&user, &Method::POST, "/run/ns/web/nginx").await.unwrap_err();
    assert_eq!(count(), 2);
}

#[test]
fn decisions_do_not_hold_for_ever() {
    let now = Instant::now();
    let question = |user: &str| Question { identity: Identity::new(user, ["g"]), verb: "get", subresource: "proxy" };
    let (mut decisions, second) = (Decisions::default(), Duration::from_secs(1));
    decisions.put(question("good"), true, now, ALLOWED);
    decisions.put(question("bad"), false, now, DENIED);
    assert_eq!(decisions.get(&question("bad"), now + DENIED - second), Some(false));
    assert_eq!(decisions.get(&question("bad"), now + DENIED), None);
    assert_eq!(decisions.get(&question("good"), now + ALLOWED - second), Some(true));
    assert_eq!(decisions.get(&question("good"), now + ALLOWED), None);
    for number in 0..2 * MOST {
        decisions.put(question(&number.to_string()), false, now + DENIED, DENIED);
    }
    assert!(decisions.0.len() <= MOST);
}

#[tokio::test]
async fn any_of_the_subresources_is_enough() {
    let asked = Arc::new(AtomicUsize::new(0));
    let user = Identity::new("u", ["g"]);
    for allowed in ["pods", "proxy"] {
        let access = Access::new(client(allowed, &asked), "n1", &RULES);
        access.check(&user, &Method::GET, "/pods").await.unwrap();
    }
    let access = Access::new(client("stats", &asked), "n1", &RULES);
    let refusal = access.check(&user, &Method::GET, "/pods").await.unwrap_err();
    assert_eq!(refusal.words, "Forbidden (user=u, verb=get, resource=nodes, subresource(s)=[pods proxy])\n");
}

#[tokio::test]
async fn an_api_server_that_fails_is_an_error() {
    let service =
        tower::service_fn(|_: Request<kube::client::Body>| async { Err::<Response<Full<bytes::Bytes>>, _>(std::io::Error::other("gone")) });
    let access = Access::new(kube::Client::new(service, "default"), "n1", &RULES);
    let refusal = access.check(&Identity::new("u", ["g"]), &Method::GET, "/pods").await.unwrap_err();
    assert_eq!(refusal.code, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(refusal.words, "Authorization error (user=u, verb=get, resource=nodes, subresource=pods)");
}

#[test]
fn paths_have_subresources() {
    let cases = [
        ("/stats/summary", "stats"),
        ("/metrics", "metrics"),
        ("/metrics/cadvisor", "metrics"),
        ("/metricsx", "proxy"),
        ("/logs/", "log"),
        ("/healthz/ping", "healthz proxy"),
        ("/runningpods/", "pods proxy"),
        ("/containerLogs/a/b/c", "proxy"),
        ("/", "proxy"),
        ("", "proxy"),
    ];
    for (path, expected) in cases {
        assert_eq!(subresources(path).join(" "), expected, "{path}");
    }
}
