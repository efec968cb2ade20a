use jiff::Timestamp;

use super::summary::{Observed, Space, summary};
use super::*;
use crate::probe::counts::Counts;

fn number(value: u64) -> Option<v1::UInt64Value> {
    Some(v1::UInt64Value { value })
}

fn observed() -> Observed {
    let container = v1::ContainerStats {
        attributes: Some(v1::ContainerAttributes {
            id: "c1".into(),
            metadata: Some(v1::ContainerMetadata { name: "main".into(), attempt: 0 }),
            ..Default::default()
        }),
        cpu: Some(v1::CpuUsage { timestamp: 1_000_000_000, usage_core_nano_seconds: number(2_500_000_000), ..Default::default() }),
        memory: Some(v1::MemoryUsage { timestamp: 1_000_000_000, working_set_bytes: number(4096), ..Default::default() }),
        writable_layer: Some(v1::FilesystemUsage { used_bytes: number(10), ..Default::default() }),
        ..Default::default()
    };
    let pod = v1::PodSandboxStats {
        attributes: Some(v1::PodSandboxAttributes {
            metadata: Some(v1::PodSandboxMetadata { name: "web".into(), namespace: "ns".into(), uid: "u1".into(), attempt: 0 }),
            ..Default::default()
        }),
        linux: Some(v1::LinuxPodSandboxStats { containers: vec![container], ..Default::default() }),
        ..Default::default()
    };
    let at = |seconds| Timestamp::from_second(seconds).unwrap();
    Observed {
        node: "n1".into(),
        now: at(100),
        boot: at(10),
        cpu_seconds: 7.5,
        memory: [("MemTotal", 1000), ("MemAvailable", 400), ("MemFree", 300)].map(|(k, v)| (k.to_owned(), v)).into(),
        node_fs: Space { capacity: 100, available: 40, inodes: 10, inodes_free: 4 },
        image_fs: Space::default(),
        image_bytes: 5,
        processes: 3,
        most_processes: 9,
        pods: vec![pod],
        started: [("c1".to_owned(), at(50)), ("u1".to_owned(), at(49))].into(),
        volumes: [("u1".to_owned(), vec![("cache".to_owned(), 30)])].into(),
    }
}

#[test]
fn the_summary_has_node_and_pods() {
    let summary = summary(&observed());
    assert_eq!(summary["node"]["memory"]["workingSetBytes"], 600);
    assert_eq!(summary["node"]["fs"]["usedBytes"], 60);
    assert_eq!(summary["node"]["cpu"]["usageCoreNanoSeconds"], 7_500_000_000_u64);
    let pod = &summary["pods"][0];
    assert_eq!(pod["podRef"], json!({"name": "web", "namespace": "ns", "uid": "u1"}));
    assert_eq!((&pod["startTime"], &pod["containers"][0]["startTime"]), (&json!("1970-01-01T00:00:49Z"), &json!("1970-01-01T00:00:50Z")));
    // What the runtime does not count for the pod is the sum of its containers.
    assert_eq!((&pod["cpu"]["usageCoreNanoSeconds"], &pod["memory"]["workingSetBytes"]), (&json!(2_500_000_000_u64), &json!(4096)));
    assert_eq!(pod["ephemeral-storage"]["usedBytes"], 40);
    assert_eq!(pod["volume"][0]["name"], "cache");
}

#[test]
fn metrics_have_one_head_and_their_labels() {
    let text = metrics::resource(&observed());
    assert!(text.contains("# TYPE container_cpu_usage_seconds_total counter\ncontainer_cpu_usage_seconds_total{container=\"main\",namespace=\"ns\",pod=\"web\"} 2.5 100000\n"), "{text}");
    assert!(text.contains("\nnode_memory_working_set_bytes 600 100000\n"), "{text}");
    assert!(text.contains("container_start_time_seconds{container=\"main\",namespace=\"ns\",pod=\"web\"} 50 100000\n"), "{text}");
    let descriptor = v1::MetricDescriptor { name: "x_total".into(), help: "Xs.".into(), label_keys: vec!["id".into(), "odd".into()] };
    let metric = |value| v1::Metric {
        name: "x_total".into(),
        label_values: vec!["a".into(), "b\"\n".into()],
        value: number(value),
        ..Default::default()
    };
    let pods = [v1::PodSandboxMetrics { metrics: vec![metric(1), metric(2)], ..Default::default() }];
    let text = metrics::runtime(&[descriptor], &pods);
    assert_eq!(
        text,
        "# HELP x_total Xs.\n# TYPE x_total counter\nx_total{id=\"a\",odd=\"b\\\"\\n\"} 1\nx_total{id=\"a\",odd=\"b\\\"\\n\"} 2\n"
    );
}

#[test]
fn probes_are_counted_until_their_pod_is_forgotten() {
    let pod: k8s_openapi::api::core::v1::Pod =
        serde_json::from_value(json!({"metadata": {"name": "web", "namespace": "ns", "uid": "u1"}})).unwrap();
    let counts = Counts::default();
    for (good, milliseconds) in [(true, 4), (true, 40), (false, 20_000)] {
        counts.add(&pod, "main", "Readiness", good, std::time::Duration::from_millis(milliseconds));
    }
    let text = metrics::probes(&counts.snapshot(), &counts.durations());
    let labels = "container=\"main\",namespace=\"ns\",pod=\"web\",pod_uid=\"u1\",probe_type=\"Readiness\"";
    assert!(text.contains(&format!("prober_probe_total{{{labels},result=\"successful\"}} 2\n")), "{text}");
    assert!(text.contains(&format!("prober_probe_total{{{labels},result=\"failed\"}} 1\n")), "{text}");
    let duration = "prober_probe_duration_seconds";
    let labels = "container=\"main\",namespace=\"ns\",pod=\"web\",probe_type=\"Readiness\"";
    for (bound, count) in [("0.005", 1), ("0.025", 1), ("0.05", 2), ("10", 2), ("+Inf", 3)] {
        assert!(text.contains(&format!("{duration}_bucket{{{labels},le=\"{bound}\"}} {count}\n")), "{bound}: {text}");
    }
    assert!(
        text.contains(&format!("# TYPE {duration} histogram\n")) && text.contains(&format!("{duration}_count{{{labels}}} 3\n")),
        "{text}"
    );
    assert!(text.contains(&format!("{duration}_sum{{{labels}}} 20.044\n")), "{text}");
    counts.forget("u1");
    assert!(counts.snapshot().is_empty() && counts.durations().is_empty());
}

#[test]
fn what_runs_is_listed_by_pod() {
    let container = |name: &str, state: v1::ContainerState| v1::Container {
        state: state.into(),
        labels: [(labels::POD_UID, "u1"), (labels::POD_NAME, "web"), (labels::POD_NAMESPACE, "ns"), (labels::CONTAINER_NAME, name)]
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .into(),
        ..Default::default()
    };
    let list = running_pods(&[container("a", v1::ContainerState::ContainerRunning), container("b", v1::ContainerState::ContainerExited)]);
    assert_eq!(list["items"].as_array().unwrap().len(), 1);
    assert_eq!(list["items"][0]["metadata"]["name"], "web");
    assert_eq!(list["items"][0]["spec"]["containers"], json!([{"name": "a", "image": "", "resources": {}}]));
}
