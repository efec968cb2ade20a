use http::{Method, Uri};

use super::*;

fn info(method: Method, uri: &str) -> RequestInfo {
    RequestInfo::parse(&method, &uri.parse::<Uri>().unwrap())
}

/// verb, group/version, namespace, resource, name, subresource
fn check(method: Method, uri: &str, expected: [&str; 6]) {
    let info = info(method, uri);
    assert!(info.is_resource, "{uri}");
    let version = corten_schema::model::api_version(&info.group, &info.version);
    let found = [info.verb.as_str(), &version, &info.namespace, &info.resource, &info.name, &info.subresource].map(str::to_owned);
    assert_eq!(found, expected.map(str::to_owned), "{uri}");
}

#[test]
fn resource_paths() {
    check(Method::GET, "/api/v1/pods", ["list", "v1", "", "pods", "", ""]);
    check(Method::GET, "/api/v1/pods?watch=1", ["watch", "v1", "", "pods", "", ""]);
    check(Method::GET, "/api/v1/watch/namespaces/a/pods", ["watch", "v1", "a", "pods", "", ""]);
    check(Method::GET, "/api/v1/namespaces", ["list", "v1", "", "namespaces", "", ""]);
    check(Method::GET, "/api/v1/namespaces/a", ["get", "v1", "a", "namespaces", "a", ""]);
    check(Method::PUT, "/api/v1/namespaces/a/status", ["update", "v1", "a", "namespaces", "a", "status"]);
    check(Method::PUT, "/api/v1/namespaces/a/finalize", ["update", "v1", "a", "namespaces", "a", "finalize"]);
    check(Method::POST, "/api/v1/namespaces/a/pods", ["create", "v1", "a", "pods", "", ""]);
    check(Method::POST, "/api/v1/namespaces/a/pods/x/binding", ["create", "v1", "a", "pods", "x", "binding"]);
    check(Method::DELETE, "/apis/apps/v1/namespaces/a/deployments", ["deletecollection", "apps/v1", "a", "deployments", "", ""]);
    check(Method::PATCH, "/apis/apps/v1/namespaces/a/deployments/x%3Ay/scale", ["patch", "apps/v1", "a", "deployments", "x:y", "scale"]);
}

#[test]
fn other_paths() {
    for path in ["/", "/api", "/api/v1", "/apis", "/apis/apps", "/apis/apps/v1", "/healthz", "/openapi/v3/apis/apps/v1"] {
        assert!(!info(Method::GET, path).is_resource, "{path}");
    }
}

#[test]
fn the_rest_of_a_proxy_path_is_kept() {
    let info = info(Method::GET, "/api/v1/nodes/n/proxy/a%2Fb/c?x=1");
    assert_eq!((info.name.as_str(), info.subresource.as_str(), info.rest.as_str()), ("n", "proxy", "/a%2Fb/c"));
    assert!(info.is_long_running());
}

#[test]
fn a_selector_for_one_name_counts_as_the_name() {
    for (method, path, selector, expected) in [
        (Method::GET, "secrets?watch=1&", "metadata.name%3Dtoken", "token"),
        (Method::GET, "secrets?", "type%3Dx,metadata.name%3D%3Dtoken", "token"),
        (Method::DELETE, "secrets?", "metadata.name=a%5C,b", "a,b"),
        (Method::GET, "secrets?", "metadata.name=a,metadata.name=b", "a"),
        (Method::GET, "secrets?", "metadata.name!=token", ""),
        (Method::GET, "secrets?", "metadata.namespace!=x%5C,metadata.name=foo", ""),
        (Method::GET, "secrets?", "metadata.name=token,nonsense", ""),
        (Method::POST, "secrets?", "metadata.name=foo", ""),
        (Method::GET, "secrets/own?", "metadata.name=foo", "own"),
    ] {
        let info = info(method, &format!("/api/v1/namespaces/a/{path}fieldSelector={selector}"));
        assert_eq!(info.authorized_name(), expected, "{:?} {path}{selector}", info.verb);
    }
}

#[test]
fn a_watch_of_one_object_selects_it() {
    let info = info(Method::GET, "/api/v1/watch/namespaces/a/secrets/x%2C?fieldSelector=type%3Dy");
    assert_eq!((info.verb, info.authorized_name().as_ref()), (Verb::Watch, "x,"));
    assert_eq!(info.query.get("fieldSelector"), Some("metadata.name=x\\,,type=y"));
}

#[test]
fn queries_are_decoded() {
    let query = Query::parse("labelSelector=a%3Db%2Cc+in+%28d%29&dryRun=All&watch&force=false&bad=%zz");
    assert_eq!(query.get("labelSelector"), Some("a=b,c in (d)"));
    assert!(query.flag("watch"));
    assert!(!query.flag("force"));
    assert_eq!(query.bool("force"), Some(false));
    assert_eq!(query.bool("pretty"), None);
    assert_eq!(query.get("bad"), Some("%zz"));
}
