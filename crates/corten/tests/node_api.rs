//! What a node tells about itself: logs of its programs, metrics, statistics, and which resources its pods have.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop where it is")]

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::AsRawFd as _;
use std::path::Path;

use corten_kubelet::podresources::v1;
use corten_kubelet::podresources::v1::pod_resources_lister_client::PodResourcesListerClient;
use corten_testkit::{Cluster, Options, PATIENCE, Pod, on_every_runtime, wait};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tonic::transport::{Endpoint, Uri};

const CORTEN: &str = env!("CARGO_BIN_EXE_corten");

on_every_runtime!(a_node_tells_about_itself_and_its_pods);

/// Of every family: its type, and the labels of its first sample.
fn families(page: &str) -> BTreeMap<String, (String, Vec<String>)> {
    let mut found = BTreeMap::new();
    for line in page.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let (name, kind) = line.split_once(' ').unwrap();
        let sample = page.lines().find(|line| {
            let rest = line.strip_prefix(name).unwrap_or_default();
            let rest = rest.strip_prefix("_bucket").unwrap_or(rest);
            rest.starts_with('{') || rest.starts_with(' ')
        });
        let inside = sample.and_then(|line| line.split_once('{')?.1.rsplit_once('}').map(|(labels, _)| labels.to_owned()));
        let keys = inside.unwrap_or_default();
        let keys = keys.split("\",").filter_map(|label| label.split_once('=').map(|(key, _)| key.to_owned())).filter(|key| key != "le");
        found.insert(name.to_owned(), (kind.to_owned(), keys.collect()));
    }
    found
}

/// The families of a page must be there, with type and labels.
fn has(page: &str, expected: &[(&str, &str, &[&str])]) {
    let found = families(page);
    for (name, kind, labels) in expected {
        let (is, of) = found.get(*name).unwrap_or_else(|| panic!("{name} is missing: {:?}", found.keys()));
        let mut of: Vec<&str> = of.iter().map(String::as_str).collect();
        let mut labels = labels.to_vec();
        of.sort_unstable();
        labels.sort_unstable();
        assert_eq!((is.as_str(), of), (*kind, labels), "{name}");
    }
}

fn a_node_tells_about_itself_and_its_pods(runtime: Options) {
    let cluster = Cluster::up(CORTEN, Options { busybox: true, kubelet: "enableSystemLogQuery: true".to_owned(), ..runtime });
    let lists = cluster.containerd() == Some(corten_testkit::containerd::Version::V1_6);
    let probe = json!({"exec": {"command": ["true"]}, "periodSeconds": 1});
    let pod = Pod::new("web", "echo hello; sleep 100000")
        .first("first", "true")
        .main("readinessProbe", probe)
        .spec("volumes", json!([{"name": "scratch", "emptyDir": {}}]))
        .main("volumeMounts", json!([{"name": "scratch", "mountPath": "/scratch"}]));
    cluster.run(&pod);
    let node = cluster.node();
    let raw = |path: &str| cluster.kubectl_outcome(&["get", "--raw", &format!("/api/v1/nodes/{node}/proxy/{path}")]);
    let get = |path: &str| raw(path).check().unwrap();

    // Logs: directories, files, services; and nothing that is not a log.
    assert!(get("logs/").contains(">pods/</a>"));
    let uid = cluster.kubectl(&["get", "pod", "web", "-o", "jsonpath={.metadata.uid}"]);
    let logs = format!("logs/pods/default_web_{uid}/main/");
    assert!(get(&logs).contains(">0.log</a>"));
    wait::until("the log is served", PATIENCE, || {
        let log = get(&format!("{logs}0.log"));
        if log.ends_with("stdout F hello\n") { Ok(()) } else { Err(log) }
    });
    assert_eq!(get("logs/?query=no-such-service"), "\nlog not found for no-such-service\n");
    for (path, words) in [
        ("logs/..%2f..%2fetc%2fpasswd", "could not find the requested resource"),
        ("logs/nothing", "could not find the requested resource"),
        ("logs/?query=a%3Bb", "input contains unsupported characters"),
    ] {
        let refused = raw(path);
        assert!(refused.code != Some(0) && refused.stderr.contains(words), "{path}: {refused:?}");
    }

    // Metrics, under the reference's names.
    let operation: &[&str] = &["operation_type"];
    let http: &[&str] = &["method", "path", "server_type", "long_running"];
    let page = get("metrics");
    has(
        &page,
        &[
            ("kubelet_node_name", "gauge", &["node"]),
            ("kubelet_running_pods", "gauge", &[]),
            ("kubelet_running_containers", "gauge", &["container_state"]),
            ("kubelet_desired_pods", "gauge", &["static"]),
            ("kubelet_active_pods", "gauge", &["static"]),
            ("kubelet_mirror_pods", "gauge", &[]),
            ("kubelet_managed_ephemeral_containers", "gauge", &[]),
            ("kubelet_cgroup_version", "gauge", &[]),
            ("kubelet_cgroup_manager_duration_seconds", "histogram", operation),
            ("kubelet_pod_start_duration_seconds", "histogram", &[]),
            ("kubelet_pod_start_sli_duration_seconds", "histogram", &[]),
            ("kubelet_pod_start_total_duration_seconds", "histogram", &[]),
            ("kubelet_pod_worker_duration_seconds", "histogram", operation),
            ("kubelet_pod_worker_start_duration_seconds", "histogram", &[]),
            ("kubelet_pod_status_sync_duration_seconds", "histogram", &[]),
            ("kubelet_runtime_operations_total", "counter", operation),
            ("kubelet_runtime_operations_duration_seconds", "histogram", operation),
            ("kubelet_run_podsandbox_duration_seconds", "histogram", &["runtime_handler"]),
            ("kubelet_started_pods_total", "counter", &[]),
            ("kubelet_started_containers_total", "counter", &["container_type"]),
            ("kubelet_http_requests_total", "counter", http),
            ("kubelet_http_requests_duration_seconds", "histogram", http),
            ("kubelet_http_inflight_requests", "gauge", http),
            ("kubelet_container_log_filesystem_used_bytes", "gauge", &["uid", "namespace", "pod", "container"]),
            ("process_cpu_seconds_total", "counter", &[]),
            ("process_resident_memory_bytes", "gauge", &[]),
            ("process_start_time_seconds", "gauge", &[]),
            ("process_open_fds", "gauge", &[]),
        ],
    );
    for line in [
        "kubelet_started_containers_total{container_type=\"init_container\"} 1",
        "kubelet_started_containers_total{container_type=\"container\"} 1",
        "kubelet_started_pods_total 1",
        "kubelet_pod_start_duration_seconds_count 1",
    ] {
        assert!(page.lines().any(|found| found == line), "{line}: {page}");
    }
    let heard: &[(&str, &str, &[&str])] = if lists {
        &[("kubelet_pleg_relist_duration_seconds", "histogram", &[]), ("kubelet_pleg_relist_interval_seconds", "histogram", &[])]
    } else {
        &[("kubelet_evented_pleg_connection_success_count", "counter", &[])]
    };
    has(&page, heard);
    let (of_pod, of_container): (&[&str], &[&str]) = (&["namespace", "pod"], &["container", "namespace", "pod"]);
    has(
        &get("metrics/resource"),
        &[
            ("node_cpu_usage_seconds_total", "counter", &[]),
            ("node_memory_working_set_bytes", "gauge", &[]),
            ("node_swap_usage_bytes", "gauge", &[]),
            ("pod_cpu_usage_seconds_total", "counter", of_pod),
            ("pod_memory_working_set_bytes", "gauge", of_pod),
            ("container_cpu_usage_seconds_total", "counter", of_container),
            ("container_memory_working_set_bytes", "gauge", of_container),
            ("container_start_time_seconds", "gauge", of_container),
            ("resource_scrape_error", "gauge", &[]),
        ],
    );
    let probes: &[&str] = &["container", "namespace", "pod", "probe_type"];
    let counted: &[&str] = &["container", "namespace", "pod", "pod_uid", "probe_type", "result"];
    has(&get("metrics/probes"), &[("prober_probe_total", "counter", counted), ("prober_probe_duration_seconds", "histogram", probes)]);
    assert!(get("metrics/cadvisor").contains("container_memory_working_set_bytes{"));

    let summary: Value = serde_json::from_str(&get("stats/summary")).unwrap();
    let of_node = &summary["node"];
    for path in ["cpu/usageCoreNanoSeconds", "memory/workingSetBytes", "fs/availableBytes", "runtime/imageFs/usedBytes", "rlimit/curproc"] {
        assert!(of_node.pointer(&format!("/{path}")).is_some_and(Value::is_u64), "{path}: {of_node}");
    }
    let web = summary["pods"].as_array().unwrap().iter().find(|pod| pod["podRef"]["name"] == "web").unwrap();
    for path in [
        "cpu/usageCoreNanoSeconds",
        "memory/workingSetBytes",
        "ephemeral-storage/usedBytes",
        "containers/0/rootfs/usedBytes",
        "volume/0/usedBytes",
    ] {
        assert!(web.pointer(&format!("/{path}")).is_some_and(Value::is_u64), "{path}: {web}");
    }
    let config: Value = serde_json::from_str(&get("configz")).unwrap();
    assert_eq!(config["kubeletconfig"]["enableSystemLogQuery"], true);

    resources_of_pods(&cluster.data().join("kubelet/pod-resources/kubelet.sock"));
}

/// As an agent on the node asks for them: by gRPC over the kubelet's socket.
fn resources_of_pods(socket: &Path) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let directory = fs::File::open(socket.parent().unwrap()).unwrap();
        // Its path is longer than what a socket's address holds.
        let near = format!("/proc/self/fd/{}/kubelet.sock", directory.as_raw_fd());
        let connector = tower::service_fn(move |_: Uri| {
            let near = near.clone();
            async move { tokio::net::UnixStream::connect(near).await.map(TokioIo::new) }
        });
        let channel = Endpoint::from_static("http://localhost").connect_with_connector(connector).await.unwrap();
        let mut client = PodResourcesListerClient::new(channel);
        let all = client.list(v1::ListPodResourcesRequest {}).await.unwrap().into_inner().pod_resources;
        let web = all.iter().find(|pod| pod.name == "web" && pod.namespace == "default").unwrap();
        assert_eq!(web.containers.iter().map(|container| container.name.as_str()).collect::<Vec<_>>(), ["main"]);
        let request = v1::GetPodResourcesRequest { pod_name: "web".to_owned(), pod_namespace: "default".to_owned() };
        assert_eq!(client.get(request).await.unwrap().into_inner().pod_resources.as_ref(), Some(web));
        client.get_allocatable_resources(v1::AllocatableResourcesRequest {}).await.unwrap();
    });
}
