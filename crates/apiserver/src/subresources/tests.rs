//! What kubelets are asked.

use corten_schema::{Value, json as codec};
use serde_json::json;

use super::connect::{container, encode, query};
use super::stream::kubelet_path;
use crate::request::Query;

fn pod() -> Value {
    let pod = json!({
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"containers": [{"name": "a"}, {"name": "b"}], "initContainers": [{"name": "i"}]},
    });
    codec::decode_untyped(pod.to_string().as_bytes()).unwrap()
}

#[test]
fn streams_have_other_names_at_the_kubelet() {
    let path = |subresource: &str, query: &str| kubelet_path(subresource, &Query::parse(query), &pod());
    assert_eq!(
        path("exec", "container=a&command=sh&command=-c&command=echo+%22x%22&stdin=true&stdout=true&tty=true&stderr=false").unwrap(),
        "/exec/default/web/a?input=1&output=1&tty=1&command=sh&command=-c&command=echo%20%22x%22"
    );
    assert_eq!(path("attach", "container=b&stdout=1").unwrap(), "/attach/default/web/b?output=1");
    assert_eq!(path("portforward", "ports=80,443").unwrap(), "/portForward/default/web?port=80&port=443");
    let which = path("exec", "command=ls").unwrap_err();
    assert_eq!(which.message, "a container name must be specified for pod web, choose one of: [a b] or one of the init containers: [i]");
}

#[test]
fn containers_are_found_in_every_list() {
    assert_eq!(container(&pod(), Some("i")).unwrap(), "i");
    assert_eq!(container(&pod(), Some("x")).unwrap_err().message, "container x is not valid for pod web");
}

#[test]
fn queries_survive_odd_values() {
    assert_eq!(encode("a/b c%"), "a%2Fb%20c%25");
    assert_eq!(query(&[]), "");
    assert_eq!(query(&[("a", "1"), ("b", "x&y")]), "?a=1&b=x%26y");
}
