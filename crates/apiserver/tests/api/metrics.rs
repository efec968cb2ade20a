//! `/metrics`: names, labels, and what they count.

use http::StatusCode;
use serde_json::json;

use crate::common::{Api, CONFIG_MAPS, config_map};

async fn metrics(api: &Api) -> String {
    let answer = api.get("/metrics").send().await;
    assert_eq!(answer.code, StatusCode::OK);
    assert!(answer.header("content-type").starts_with("text/plain; version=0.0.4"), "{}", answer.header("content-type"));
    answer.text()
}

/// The value of the sample that begins with these words.
fn value(text: &str, sample: &str) -> f64 {
    let line = text.lines().find(|line| line.strip_prefix(sample).is_some_and(|rest| rest.starts_with(' ')));
    line.and_then(|line| line.rsplit(' ').next()).unwrap_or_else(|| panic!("no {sample} in\n{text}")).parse().unwrap()
}

#[tokio::test]
async fn requests_are_counted_under_the_references_names() {
    let api = Api::start().await;
    api.created(CONFIG_MAPS, config_map("a")).await;
    api.post(&format!("{CONFIG_MAPS}?dryRun=All"), config_map("b")).send().await;
    api.get(&format!("{CONFIG_MAPS}/a")).ok().await;
    api.get(&format!("{CONFIG_MAPS}/none")).fails(404).await;
    api.get("/api/v1/configmaps").ok().await;
    api.delete(&format!("{CONFIG_MAPS}/a")).ok().await;
    let mut watch =
        api.watch(&format!("{CONFIG_MAPS}?watch=1&resourceVersion=0&sendInitialEvents=false&resourceVersionMatch=NotOlderThan")).await;
    api.created(CONFIG_MAPS, config_map("c")).await;
    watch.next().await;

    let text = metrics(&api).await;
    let series = |dry: &str, scope: &str, verb: &str| {
        format!(
            "component=\"apiserver\",dry_run=\"{dry}\",group=\"\",resource=\"configmaps\",scope=\"{scope}\",subresource=\"\",verb=\"{verb}\",version=\"v1\""
        )
    };
    let total = |code: u16, of: &str| value(&text, &format!("apiserver_request_total{{code=\"{code}\",{of}}}"));
    // Two by this test; the bootstrap does not go through requests.
    assert!((total(201, &series("", "resource", "POST")) - 2.0).abs() < 0.1);
    assert!((total(201, &series("All", "resource", "POST")) - 1.0).abs() < 0.1);
    assert!((total(200, &series("", "resource", "GET")) - 1.0).abs() < 0.1);
    assert!((total(404, &series("", "resource", "GET")) - 1.0).abs() < 0.1);
    assert!((total(200, &series("", "cluster", "LIST")) - 1.0).abs() < 0.1);
    assert!((total(200, &series("", "resource", "DELETE")) - 1.0).abs() < 0.1);
    let count = value(&text, &format!("apiserver_request_duration_seconds_count{{{}}}", series("", "resource", "POST")));
    assert!((count - 2.0).abs() < 0.1);
    let inf = format!("apiserver_request_duration_seconds_bucket{{{},le=\"+Inf\"}}", series("", "resource", "POST"));
    assert!((value(&text, &inf) - count).abs() < 0.1);

    let kind = "group=\"\",resource=\"configmaps\"";
    let watching = format!(
        "apiserver_longrunning_requests{{component=\"apiserver\",{kind},scope=\"namespace\",subresource=\"\",verb=\"WATCH\",version=\"v1\"}}"
    );
    assert!((value(&text, &watching) - 1.0).abs() < 0.1);
    assert!((value(&text, &format!("apiserver_watch_events_total{{{kind},version=\"v1\"}}")) - 1.0).abs() < 0.1);
    let stored = value(&text, &format!("apiserver_resource_objects{{{kind}}}"));
    let listed = api.get("/api/v1/configmaps").ok().await["items"].as_array().unwrap().len();
    assert_eq!(format!("{stored}"), listed.to_string());
    assert!((value(&text, "apiserver_storage_objects{resource=\"configmaps\"}") - stored).abs() < 0.1);
    let creates = value(&text, "etcd_request_duration_seconds_count{group=\"\",operation=\"create\",resource=\"configmaps\"}");
    assert!(creates >= 2.0, "{creates}");
    for name in
        ["process_cpu_seconds_total", "process_resident_memory_bytes", "process_start_time_seconds", "process_open_fds", "process_max_fds"]
    {
        assert!(value(&text, name) > 0.0, "{name}");
    }
    assert!(value(&text, "authorization_attempts_total{result=\"allowed\"}") > 5.0);
    assert!(text.contains("apiserver_current_inflight_requests{request_kind=\"readOnly\"} 1\n"), "this very request: {text}");
    assert!(text.contains("kubernetes_build_info{"));
    drop(watch);
    let after = metrics(&api).await;
    assert!(value(&after, &watching).abs() < 0.1, "{after}");
}

/// Every line is one that Prometheus reads: a comment, or a name with labels and a number; every family is declared once.
#[tokio::test]
async fn the_text_is_prometheuss() {
    let api = Api::start().await;
    api.created(CONFIG_MAPS, config_map("a")).await;
    let text = metrics(&api).await;
    let mut declared = std::collections::BTreeSet::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            assert!(declared.insert(rest.split(' ').next().unwrap().to_owned()), "declared twice: {line}");
        } else if !line.starts_with("# HELP ") {
            let (name, number) = line.rsplit_once(' ').unwrap();
            number.parse::<f64>().unwrap_or_else(|_| panic!("{line}"));
            let name = name.split('{').next().unwrap();
            let family =
                ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).filter(|name| declared.contains(*name));
            assert!(declared.contains(family.unwrap_or(name)), "not declared: {line}");
        }
    }
    assert!(declared.len() > 20, "{declared:?}");
}

#[tokio::test]
async fn metrics_need_authorization() {
    let api = Api::start().await;
    api.get("/metrics").header("impersonate-user", "stranger").fails(403).await;
    let role = json!({"metadata": {"name": "scraper"}, "rules": [{"nonResourceURLs": ["/metrics"], "verbs": ["get"]}]});
    api.created("/apis/rbac.authorization.k8s.io/v1/clusterroles", role).await;
    let binding = json!({
        "metadata": {"name": "scraper"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "scraper"},
        "subjects": [{"kind": "User", "name": "stranger", "apiGroup": "rbac.authorization.k8s.io"}],
    });
    api.created("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", binding).await;
    assert_eq!(api.get("/metrics").header("impersonate-user", "stranger").send().await.code, StatusCode::OK);
}

#[tokio::test]
async fn deprecated_versions_are_warned_of_and_counted() {
    let api = Api::start().await;
    let path = "/api/v1/namespaces/default/endpoints";
    let warning = "299 - \"v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice\"";
    for answer in [
        api.get(path).send().await,
        api.post(path, json!({"metadata": {"name": "e"}})).send().await,
        api.get(&format!("{path}/e")).send().await,
        api.get(&format!("{path}/none")).send().await,
        api.patch(&format!("{path}/e"), "merge", json!({"metadata": {"labels": {"a": "b"}}})).send().await,
        api.delete(&format!("{path}/e")).send().await,
    ] {
        assert_eq!(answer.header("warning"), warning, "{}", answer.text());
    }
    assert_eq!(api.get("/api/v1/pods").send().await.header("warning"), "");
    let text = metrics(&api).await;
    let sample =
        "apiserver_requested_deprecated_apis{group=\"\",removed_release=\"\",resource=\"endpoints\",subresource=\"\",version=\"v1\"}";
    assert!((value(&text, sample) - 1.0).abs() < 0.1);
    assert!(!text.contains("apiserver_requested_deprecated_apis{group=\"\",removed_release=\"\",resource=\"pods\""));
}
