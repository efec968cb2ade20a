//! Lists: selectors, pages, revisions, forms; deleting many.

use serde_json::{Value, json};

use crate::common::{Api, CONFIG_MAPS, PODS, config_map, pod};

fn names(list: &Value) -> Vec<&str> {
    list["items"].as_array().unwrap().iter().map(|item| item["metadata"]["name"].as_str().unwrap()).collect()
}

async fn labelled(api: &Api, name: &str, labels: Value) {
    let mut object = config_map(name);
    object["metadata"]["labels"] = labels;
    api.created(CONFIG_MAPS, object).await;
}

#[tokio::test]
async fn labels_select() {
    let api = Api::start().await;
    labelled(&api, "a", json!({"app": "web", "tier": "1"})).await;
    labelled(&api, "b", json!({"app": "db", "tier": "2"})).await;
    labelled(&api, "c", json!({"app": "web", "tier": "10", "old": ""})).await;
    for (selector, expected) in [
        ("app=web", "a c"),
        ("app==web,tier=1", "a"),
        ("app!=web,app", "b"),
        ("app in (web, db)", "a b c"),
        ("app,app notin (web)", "b"),
        ("old", "c"),
        ("app,!old", "a b"),
        ("tier>1", "b c"),
        ("tier<3,app", "a b"),
        ("old=", "c"),
    ] {
        let encoded: String = selector.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let list = api.get(&format!("{CONFIG_MAPS}?labelSelector={encoded}")).ok().await;
        assert_eq!(names(&list).join(" "), expected, "{selector}");
    }
    let status = api.get(&format!("{CONFIG_MAPS}?labelSelector=a%20is%20b")).fails(400).await;
    assert!(status["message"].as_str().unwrap().contains("unable to parse requirement"), "{status}");
}

#[tokio::test]
async fn fields_select() {
    let api = Api::start().await;
    for (name, node) in [("a", ""), ("b", "node-1"), ("c", "node-2")] {
        let mut object = pod(name);
        if !node.is_empty() {
            object["spec"]["nodeName"] = json!(node);
        }
        api.created(PODS, object).await;
    }
    for (selector, expected) in [
        ("spec.nodeName=node-1", "b"),
        ("spec.nodeName!=", "b c"),
        ("spec.nodeName=", "a"),
        ("metadata.name=c", "c"),
        ("metadata.namespace=other", ""),
        ("status.phase=Pending,spec.nodeName!=node-1", "a c"),
    ] {
        let list = api.get(&format!("/api/v1/pods?fieldSelector={}", selector.replace('=', "%3D"))).ok().await;
        assert_eq!(names(&list).join(" "), expected, "{selector}");
    }
    let status = api.get(&format!("{PODS}?fieldSelector=spec.x%3D1")).fails(400).await;
    assert_eq!(status["message"], "field label not supported: spec.x");
    let status = api.get(&format!("{CONFIG_MAPS}?fieldSelector=data.x%3D1")).fails(400).await;
    assert_eq!(status["message"], "\"data.x\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\"");
}

#[tokio::test]
async fn every_kind_knows_its_fields() {
    let api = Api::start().await;
    api.created(PODS, pod("a")).await;
    let service =
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": {"type": "NodePort", "ports": [{"port": 80}]}});
    api.created("/api/v1/namespaces/default/services", service).await;
    let job = json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j"},
        "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "x"}]}}},
    });
    api.created("/apis/batch/v1/namespaces/default/jobs", job).await;
    for (path, selector, expected) in [
        ("/api/v1/pods", "status.podIPs!=10.0.0.1", "a"),
        ("/api/v1/pods", "status.podIPs=10.0.0.1", ""),
        ("/api/v1/services", "spec.type=NodePort", "s"),
        ("/api/v1/services", "spec.clusterIP=None", ""),
        ("/apis/batch/v1/jobs", "status.successful=0", "j"),
        ("/apis/batch/v1/jobs", "status.successful!=0", ""),
        ("/api/v1/replicationcontrollers", "status.replicas=0", ""),
        ("/apis/resource.k8s.io/v1/resourceslices", "spec.nodeName=n,spec.driver=d", ""),
    ] {
        let list = api.get(&format!("{path}?fieldSelector={}", selector.replace('=', "%3D"))).ok().await;
        assert_eq!(names(&list).join(" "), expected, "{selector}");
    }
}

#[tokio::test]
async fn a_name_selects_one_object() {
    let api = Api::start().await;
    for name in ["a", "b", "bb"] {
        labelled(&api, name, json!({"of": name})).await;
    }
    let one = format!("{CONFIG_MAPS}?fieldSelector=metadata.name%3Db");
    let list = api.get(&one).ok().await;
    assert_eq!(names(&list), ["b"]);
    assert_eq!(list["kind"], "ConfigMapList");
    assert_eq!(names(&api.get(&format!("{one}&limit=1")).ok().await), ["b"]);
    assert_eq!(names(&api.get(&format!("{one}&labelSelector=of%3Da")).ok().await), [""; 0]);
    let anywhere = api.get("/api/v1/configmaps?fieldSelector=metadata.name%3Db,metadata.namespace%3Ddefault").ok().await;
    assert_eq!(names(&anywhere), ["b"]);
    let elsewhere = api.get(&format!("{CONFIG_MAPS}?fieldSelector=metadata.name%3Db,metadata.namespace%3Dother")).ok().await;
    assert_eq!(names(&elsewhere), [""; 0]);
    let everywhere = api.get("/api/v1/configmaps?fieldSelector=metadata.name%3Dkube-root-ca.crt").ok().await;
    assert!(names(&everywhere).iter().all(|name| *name == "kube-root-ca.crt"));
    let namespace = api.get("/api/v1/namespaces?fieldSelector=metadata.name%3Dkube-system").ok().await;
    assert_eq!(names(&namespace), ["kube-system"]);
    let gone = api.delete(&one).ok().await;
    assert_eq!(names(&gone), ["b"]);
    assert_eq!(names(&api.get(&format!("{CONFIG_MAPS}?labelSelector=of")).ok().await), ["a", "bb"]);
}

#[tokio::test]
async fn pages_are_of_one_revision() {
    let api = Api::start().await;
    for index in 0..7 {
        labelled(&api, &format!("m{index}"), json!({"paged": "yes"})).await;
    }
    let base = format!("{CONFIG_MAPS}?limit=3&labelSelector=paged");
    let first = api.get(&base).ok().await;
    assert_eq!(names(&first), ["m0", "m1", "m2"]);
    assert!(first["metadata"]["remainingItemCount"].is_null(), "not counted with a selector");
    labelled(&api, "m35", json!({"paged": "yes"})).await;
    api.delete(&format!("{CONFIG_MAPS}/m4")).ok().await;
    let token = first["metadata"]["continue"].as_str().unwrap();
    let second = api.get(&format!("{base}&continue={token}")).ok().await;
    assert_eq!(names(&second), ["m3", "m4", "m5"], "as it was at the first page");
    assert_eq!(second["metadata"]["resourceVersion"], first["metadata"]["resourceVersion"]);
    let token = second["metadata"]["continue"].as_str().unwrap();
    let third = api.get(&format!("{base}&continue={token}")).ok().await;
    assert_eq!(names(&third), ["m6"]);
    assert!(third["metadata"]["continue"].is_null());

    let counted = api.get("/api/v1/namespaces?limit=1").ok().await;
    let all = api.get("/api/v1/namespaces").ok().await;
    let left = counted["metadata"]["remainingItemCount"].as_u64().unwrap_or(0);
    assert_eq!(left as usize + 1, all["items"].as_array().unwrap().len());
    api.get(&format!("{base}&continue=garbage")).fails(400).await;
    api.get(&format!("{base}&continue={token}&resourceVersion=5")).fails(400).await;
}

#[tokio::test]
async fn resource_versions_of_lists() {
    let api = Api::start().await;
    let first = api.created(CONFIG_MAPS, config_map("a")).await;
    let at = first["metadata"]["resourceVersion"].as_str().unwrap();
    api.created(CONFIG_MAPS, config_map("b")).await;
    let selected = |list: &Value| names(list).into_iter().filter(|n| n.len() == 1).collect::<String>();
    let exact = api.get(&format!("{CONFIG_MAPS}?resourceVersion={at}&resourceVersionMatch=Exact")).ok().await;
    assert_eq!(selected(&exact), "a");
    assert_eq!(exact["metadata"]["resourceVersion"], at);
    let newer = api.get(&format!("{CONFIG_MAPS}?resourceVersion={at}&resourceVersionMatch=NotOlderThan")).ok().await;
    assert_eq!(selected(&newer), "ab");
    assert_eq!(selected(&api.get(&format!("{CONFIG_MAPS}?resourceVersion=0")).ok().await), "ab");
    let status = api.get(&format!("{CONFIG_MAPS}?resourceVersionMatch=Exact")).fails(422).await;
    assert_eq!(status["details"]["causes"][0]["field"], "resourceVersionMatch");
    api.get(&format!("{CONFIG_MAPS}?resourceVersion=0&resourceVersionMatch=Exact")).fails(422).await;
    api.get(&format!("{CONFIG_MAPS}?resourceVersion=abc")).fails(400).await;
    let status = api.get(&format!("{CONFIG_MAPS}?resourceVersion=999999999")).fails(504).await;
    assert_eq!(status["details"]["causes"][0]["reason"], "ResourceVersionTooLarge");
}

#[tokio::test]
async fn tables_and_metadata() {
    let api = Api::start().await;
    api.created(PODS, pod("a")).await;
    let table = api.get(PODS).header("accept", "application/json;as=Table;v=v1;g=meta.k8s.io,application/json").ok().await;
    assert_eq!((&table["kind"], &table["apiVersion"]), (&json!("Table"), &json!("meta.k8s.io/v1")));
    assert_eq!(table["columnDefinitions"][0]["name"], "Name");
    assert_eq!(table["rows"][0]["cells"][0], "a");
    assert_eq!(table["rows"][0]["object"]["kind"], "PartialObjectMetadata");
    let one = api.get(&format!("{PODS}/a")).header("accept", "application/json;as=Table;v=v1;g=meta.k8s.io").ok().await;
    assert_eq!(one["rows"].as_array().unwrap().len(), 1);
    let partial = api.get(PODS).header("accept", "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io").ok().await;
    assert_eq!(partial["kind"], "PartialObjectMetadataList");
    assert_eq!(partial["items"][0]["metadata"]["name"], "a");
    assert!(partial["items"][0]["spec"].is_null());
    let status = api.get(PODS).header("accept", "text/html").fails(406).await;
    assert_eq!(status["reason"], "NotAcceptable");
}

#[tokio::test]
async fn collections_are_deleted_by_selector() {
    let api = Api::start().await;
    labelled(&api, "a", json!({"go": "yes"})).await;
    labelled(&api, "b", json!({})).await;
    let gone = api.delete(&format!("{CONFIG_MAPS}?labelSelector=go")).ok().await;
    assert_eq!(gone["kind"], "ConfigMapList");
    assert_eq!(names(&gone), ["a"]);
    api.get(&format!("{CONFIG_MAPS}/a")).fails(404).await;
    api.get(&format!("{CONFIG_MAPS}/b")).ok().await;
}

#[tokio::test]
async fn large_answers_are_compressed_for_those_who_accept_it() {
    let api = Api::start().await;
    for name in ["a", "b"] {
        let mut object = config_map(name);
        object["data"]["a"] = json!("x".repeat(100_000));
        api.created(CONFIG_MAPS, object).await;
    }
    let plain = api.get(CONFIG_MAPS).send().await;
    assert_eq!(plain.header("content-encoding"), "");
    let zipped = api.get(CONFIG_MAPS).header("accept-encoding", "gzip").send().await;
    assert_eq!(zipped.header("content-encoding"), "gzip");
    assert!(zipped.bytes.len() < plain.bytes.len() / 10);
    assert_eq!(unzipped(&zipped.bytes), plain.bytes);
}

fn unzipped(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(bytes), &mut out).unwrap();
    out
}

/// Long lists are made while they are sent: the same bytes, whatever they are made of.
#[tokio::test]
async fn long_lists_are_whole() {
    let api = Api::start().await;
    for index in 0..300 {
        let mut object = config_map(&format!("object-{index:03}"));
        object["data"]["a"] = json!("x".repeat(if index == 150 { 200_000 } else { 1000 }));
        api.created(CONFIG_MAPS, object).await;
    }
    let plain = api.get(CONFIG_MAPS).send().await;
    let list = plain.json();
    let expected: Vec<String> = (0..300).map(|index| format!("object-{index:03}")).collect();
    assert_eq!(names(&list), expected);
    let one = api.get(&format!("{CONFIG_MAPS}/object-150")).ok().await;
    let item = &list["items"][150];
    assert_eq!((&item["metadata"], &item["data"]), (&one["metadata"], &one["data"]));
    let zipped = api.get(CONFIG_MAPS).header("accept-encoding", "gzip").send().await;
    assert_eq!(unzipped(&zipped.bytes), plain.bytes);
    let page = api.get(&format!("{CONFIG_MAPS}?limit=200")).ok().await;
    assert_eq!(page["items"].as_array().unwrap(), &list["items"].as_array().unwrap()[..200]);
    assert_eq!(page["metadata"]["remainingItemCount"], 100);
    let pretty = api.get(&format!("{CONFIG_MAPS}?pretty=true")).send().await;
    assert_eq!(pretty.json(), list);
}
