//! CRI metrics and resources of pods.

use std::collections::HashMap;
use std::fs;

use corten_cri::v1::{self, LinuxContainerResources};
use tonic::Code;

use crate::support::{Node, confined, shell};

#[tokio::test(flavor = "multi_thread")]
async fn metrics_have_descriptors_and_values() {
    let mut node = Node::start().await;
    let sandbox = node.run(node.pod("p")).await;
    let mut config = shell("c", "sleep 1000 & sleep 1000");
    let resources = LinuxContainerResources { memory_limit_in_bytes: 64 << 20, cpu_shares: 512, ..Default::default() };
    config.linux = Some(v1::LinuxContainerConfig { resources: Some(resources), ..confined(Default::default()) });
    let id = node.launch(&sandbox, config).await;
    crate::support::eventually("both run", async || {
        let ps = node.exec(&id, "ps | grep -c '[s]leep 1000'", 10).await.unwrap();
        (ps.stdout != b"0\n").then_some(())
    })
    .await;

    let described = node.cri.runtime.list_metric_descriptors(v1::ListMetricDescriptorsRequest {}).await.unwrap().into_inner().descriptors;
    let described: HashMap<String, Vec<String>> = described.into_iter().map(|one| (one.name, one.label_keys)).collect();
    let pods = node.cri.runtime.list_pod_sandbox_metrics(v1::ListPodSandboxMetricsRequest {}).await.unwrap().into_inner().pod_metrics;
    assert_eq!(pods.len(), 1);
    assert_eq!((pods[0].pod_sandbox_id.as_str(), pods[0].container_metrics[0].container_id.as_str()), (sandbox.as_str(), id.as_str()));
    let of_container = &pods[0].container_metrics[0].metrics;
    for metric in pods[0].metrics.iter().chain(of_container) {
        let labels = described.get(&metric.name).unwrap_or_else(|| panic!("{} has no descriptor", metric.name));
        assert_eq!(labels.len(), metric.label_values.len(), "{}", metric.name);
        assert!(metric.timestamp > 0 && metric.value.is_some());
    }
    let find = |metrics: &[v1::Metric], name: &str| metrics.iter().find(|metric| metric.name == name).cloned();
    let label = |metric: &v1::Metric, key: &str| {
        let place = described[&metric.name].iter().position(|label| label == key).unwrap();
        metric.label_values[place].clone()
    };
    let memory = find(of_container, "container_memory_usage_bytes").unwrap();
    assert!(memory.value.unwrap().value > 0);
    assert_eq!([label(&memory, "container"), label(&memory, "pod"), label(&memory, "namespace")], ["c", "p", "default"]);
    assert_eq!(find(of_container, "container_spec_memory_limit_bytes").unwrap().value.unwrap().value, 64 << 20);
    assert!(find(of_container, "container_processes").unwrap().value.unwrap().value >= 2);
    let received = find(&pods[0].metrics, "container_network_receive_bytes_total").unwrap();
    assert_eq!(label(&received, "interface"), "eth0");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_resources_of_a_pod_can_be_changed() {
    let mut node = Node::start().await;
    let sandbox = node.run(node.pod("p")).await;
    let request = |id: &str| v1::UpdatePodSandboxResourcesRequest {
        pod_sandbox_id: id.to_owned(),
        overhead: None,
        resources: Some(LinuxContainerResources { memory_limit_in_bytes: 48 << 20, cpu_shares: 256, ..Default::default() }),
    };
    node.cri.runtime.update_pod_sandbox_resources(request(&sandbox)).await.unwrap();
    let below = format!("{}/kubepods/p", node.cgroup);
    let limit = fs::read_to_string(format!("/sys/fs/cgroup/memory{below}/memory.limit_in_bytes"))
        .or_else(|_| fs::read_to_string(format!("/sys/fs/cgroup{below}/memory.max")));
    assert_eq!(limit.unwrap().trim(), (48 << 20).to_string());
    node.kill();
    node.restart().await;
    let request_status = v1::PodSandboxStatusRequest { pod_sandbox_id: sandbox.clone(), verbose: true };
    let info = node.cri.runtime.pod_sandbox_status(request_status).await.unwrap().into_inner().info;
    assert!(info["info"].contains(&(48 << 20).to_string()), "it is remembered: {info:?}");
    let error = node.cri.runtime.update_pod_sandbox_resources(request("no-such-sandbox")).await.unwrap_err();
    assert_eq!(error.code(), Code::NotFound);
}
