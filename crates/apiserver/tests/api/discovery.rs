//! Discovery, version, health, OpenAPI, metrics.

use http::StatusCode;
use serde_json::json;

use crate::common::Api;

#[tokio::test]
async fn groups_versions_and_resources() {
    let api = Api::start().await;
    assert_eq!(api.get("/api").ok().await["versions"], json!(["v1"]));
    let groups = api.get("/apis").ok().await;
    assert_eq!(groups["kind"], "APIGroupList");
    let apps = groups["groups"].as_array().unwrap().iter().find(|group| group["name"] == "apps").unwrap();
    assert_eq!(apps["preferredVersion"], json!({"groupVersion": "apps/v1", "version": "v1"}));
    assert_eq!(api.get("/apis/apps").ok().await["kind"], "APIGroup");
    let list = api.get("/apis/apps/v1").ok().await;
    assert_eq!((&list["kind"], &list["groupVersion"]), (&json!("APIResourceList"), &json!("apps/v1")));
    let find = |name: &str| list["resources"].as_array().unwrap().iter().find(|r| r["name"] == name).unwrap().clone();
    let deployments = find("deployments");
    assert_eq!(deployments["kind"], "Deployment");
    assert_eq!(deployments["singularName"], "deployment");
    assert_eq!(deployments["shortNames"], json!(["deploy"]));
    assert_eq!(deployments["verbs"], json!(["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]));
    let scale = find("deployments/scale");
    assert_eq!((&scale["group"], &scale["version"], &scale["kind"]), (&json!("autoscaling"), &json!("v1"), &json!("Scale")));
    api.get("/apis/none").fails(404).await;
    api.get("/apis/apps/v7").fails(404).await;
}

#[tokio::test]
async fn aggregated_discovery() {
    let api = Api::start().await;
    let accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";
    let answer = api.get("/apis").header("accept", accept).send().await;
    assert_eq!(answer.header("content-type"), "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList");
    let list = answer.json();
    assert_eq!(list["apiVersion"], "apidiscovery.k8s.io/v2");
    let apps = list["items"].as_array().unwrap().iter().find(|group| group["metadata"]["name"] == "apps").unwrap();
    let resources = apps["versions"][0]["resources"].as_array().unwrap();
    let deployments = resources.iter().find(|resource| resource["resource"] == "deployments").unwrap();
    assert_eq!(deployments["scope"], "Namespaced");
    assert_eq!(deployments["responseKind"]["kind"], "Deployment");
    let known = api.get("/apis").header("accept", accept).header("if-none-match", answer.header("etag")).send().await;
    assert_eq!(known.code, StatusCode::NOT_MODIFIED);
    let core = api.get("/api").header("accept", accept).ok().await;
    assert_eq!(core["items"][0]["metadata"]["name"], "");
}

#[tokio::test]
async fn version_and_health() {
    let api = Api::start().await;
    let version = api.get("/version").ok().await;
    assert_eq!(version["gitVersion"], "v1.35.0+corten.0.1.0");
    assert_eq!((&version["major"], &version["minor"]), (&json!("1"), &json!("35")));
    for path in ["/healthz", "/livez", "/readyz", "/readyz/ping"] {
        let answer = api.get(path).send().await;
        assert_eq!((answer.code, answer.text().as_str()), (StatusCode::OK, "ok"), "{path}");
    }
    let verbose = api.get("/readyz?verbose").send().await.text();
    assert!(verbose.contains("[+]ping ok\n") && verbose.ends_with("readyz check passed\n"), "{verbose}");
    for path in ["/healthz/etcd", "/livez/poststarthook/bootstrap", "/readyz/informer-sync", "/readyz/shutdown", "/livez/ping?verbose"] {
        let answer = api.get(path).send().await;
        assert_eq!((answer.code, answer.text().as_str()), (StatusCode::OK, "ok"), "{path}");
    }
    api.get("/readyz/nonsense").fails(404).await;
    let excluded = api.get("/readyz?verbose&exclude=etcd&exclude=nonsense").send().await.text();
    assert!(excluded.contains("[+]etcd excluded: ok\n"), "{excluded}");
    assert!(excluded.contains("warn: some health checks cannot be excluded: no matches for \"nonsense\"\n"), "{excluded}");
    api.server.close().await;
    let answer = api.get("/readyz").send().await;
    assert_eq!(answer.code, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(answer.text().contains("[-]shutdown failed: reason withheld\n"), "{}", answer.text());
    assert!(answer.text().ends_with("readyz check failed\n"), "{}", answer.text());
}

#[tokio::test]
async fn openapi_documents() {
    let api = Api::start().await;
    let index = api.get("/openapi/v3").ok().await;
    let url = index["paths"]["apis/apps/v1"]["serverRelativeURL"].as_str().expect("a document for apps/v1").to_owned();
    assert!(url.starts_with("/openapi/v3/apis/apps/v1?hash="), "{url}");
    let answer = api.get(&url).send().await;
    assert_eq!(answer.code, StatusCode::OK);
    assert!(answer.json()["components"]["schemas"]["io.k8s.api.apps.v1.Deployment"].is_object());
    let known = api.get(&url).header("if-none-match", answer.header("etag")).send().await;
    assert_eq!(known.code, StatusCode::NOT_MODIFIED);
    // A URL with the hash of what it leads to never leads to anything else.
    assert_eq!(answer.header("cache-control"), "public, immutable");
    assert!(answer.header("expires").ends_with(" GMT"), "{}", answer.header("expires"));
    let plain = api.get("/openapi/v3/apis/apps/v1").send().await;
    assert_eq!((plain.header("cache-control"), plain.header("expires")), ("no-cache, private", ""));
    assert_eq!(plain.header("etag"), answer.header("etag"));
    let moved = api.get("/openapi/v3/apis/apps/v1?hash=OLD").send().await;
    assert_eq!((moved.code, moved.header("location")), (StatusCode::MOVED_PERMANENTLY, url.as_str()));
    let index = api.get("/openapi/v3").send().await;
    let known = api.get("/openapi/v3").header("if-none-match", index.header("etag")).send().await;
    assert_eq!(known.code, StatusCode::NOT_MODIFIED);
    assert_eq!(api.get("/openapi/v2").ok().await["swagger"], "2.0");
    api.get("/openapi/v3/apis/none/v1").fails(404).await;
}
