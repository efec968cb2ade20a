//! What the node tells about itself: statistics, metrics, configuration, what runs.

mod metrics;
mod summary;

use std::collections::HashMap;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::sync::Arc;
use std::time::Duration;

use corten_cri::v1;
use http::StatusCode;
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};
use tonic::{Code, Status};

use super::answer::{Answer, Refusal, json as json_answer, text};
use super::query::Query;
use super::route::{ContainerPath, PodPath};
use super::{Node, choose, session};
use crate::context::Context;
use crate::runtime::{labels, request, within};

/// Which report is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Report {
    Summary,
    Metrics,
    Cadvisor,
    Resource,
    Probes,
    Configuration,
    RunningPods,
}

/// Makes a report.
pub(super) async fn serve(node: &Node, report: Report) -> Result<Answer, Refusal> {
    let context = node.context.as_ref().ok_or_else(|| Refusal::not_found("404 page not found\n"))?;
    let pods = node.pods.list();
    Ok(match report {
        Report::Summary => json_answer(summary::summary(&summary::observe(context, pods).await?).to_string()),
        Report::Resource => prometheus(metrics::resource(&summary::observe(context, pods).await?)),
        Report::Metrics => {
            let (context, containers, desired) = (Arc::clone(context), running(context).await?, pods);
            // It looks at the disk.
            let made = tokio::task::spawn_blocking(move || metrics::own(&context, &containers, &desired)).await;
            prometheus(made.map_err(|error| Refusal::internal(error.to_string()))?)
        }
        Report::Cadvisor => prometheus(cadvisor(context, pods).await?),
        Report::Probes => prometheus(metrics::probes(&context.probes.snapshot(), &context.probes.durations())),
        Report::Configuration => json_answer(json!({"kubeletconfig": configuration(context)}).to_string()),
        Report::RunningPods => json_answer(running_pods(&running(context).await?).to_string()),
    })
}

fn prometheus(content: String) -> Answer {
    let mut answer = text(StatusCode::OK, content);
    let kind = http::HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    answer.headers_mut().insert(http::header::CONTENT_TYPE, kind);
    answer
}

/// The configuration in force: what was given, and the defaults of what matters most.
fn configuration(context: &Context) -> Value {
    let config = &context.config;
    let eviction: serde_json::Map<String, Value> = config
        .eviction
        .list
        .iter()
        .filter(|threshold| threshold.grace.is_none())
        .map(|threshold| (threshold.signal.as_str().to_owned(), json!(threshold.below.to_string())))
        .collect();
    let mut shown = json!({
        "kind": "KubeletConfiguration",
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "maxPods": context.share.capacity.pods,
        "clusterDomain": context.cluster_dns.domain,
        "clusterDNS": context.cluster_dns.servers,
        "resolvConf": context.resolv_conf,
        "evictionHard": eviction,
        "imageGCHighThresholdPercent": config.image_gc_high,
        "imageGCLowThresholdPercent": config.image_gc_low,
    });
    if let (Value::Object(shown), Some(given)) = (&mut shown, config.given.as_object()) {
        shown.extend(given.clone());
        // They may be credentials, and who may look at settings need not have them.
        if let Some(headers) = shown.get_mut("staticPodURLHeader").and_then(Value::as_object_mut) {
            headers.values_mut().for_each(|values| *values = json!(["<masked>"]));
        }
    }
    shown
}

async fn running(context: &Context) -> Result<Vec<v1::Container>, Status> {
    let mut containers = context.runtime.list_containers(HashMap::new()).await?;
    containers.retain(|container| container.labels.contains_key(labels::POD_UID));
    Ok(containers)
}

/// The pods that the runtime has containers of, as far as the runtime knows them.
fn running_pods(containers: &[v1::Container]) -> Value {
    let mut pods: std::collections::BTreeMap<&str, (Value, Vec<Value>)> = std::collections::BTreeMap::new();
    let state = i32::from(v1::ContainerState::ContainerRunning);
    for container in containers.iter().filter(|c| c.state == state) {
        let label = |name: &str| container.labels.get(name).map(String::as_str).unwrap_or_default();
        let metadata = json!({"name": label(labels::POD_NAME), "namespace": label(labels::POD_NAMESPACE), "uid": label(labels::POD_UID), "creationTimestamp": null});
        let (_, list) = pods.entry(label(labels::POD_UID)).or_insert((metadata, Vec::new()));
        let image = container.image.as_ref().map(|i| i.image.clone()).unwrap_or_default();
        list.push(json!({"name": label(labels::CONTAINER_NAME), "image": image, "resources": {}}));
    }
    let items: Vec<Value> = pods
        .into_values()
        .map(|(metadata, containers)| json!({"metadata": metadata, "spec": {"containers": containers}, "status": {}}))
        .collect();
    json!({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items})
}

/// The runtime's own metrics, whose names are cAdvisor's.
async fn cadvisor(context: &Context, pods: Vec<Arc<Pod>>) -> Result<String, Status> {
    let mut client = context.runtime.clients.runtime.clone();
    let descriptors = client.list_metric_descriptors(request(v1::ListMetricDescriptorsRequest {})).await;
    let descriptors = match descriptors {
        Ok(response) => response.into_inner().descriptors,
        // A runtime that has none: what can be told from statistics.
        Err(status) if status.code() == Code::Unimplemented => return Ok(metrics::resource(&summary::observe(context, pods).await?)),
        Err(status) => return Err(status),
    };
    let pods = client.list_pod_sandbox_metrics(request(v1::ListPodSandboxMetricsRequest {})).await?.into_inner().pod_metrics;
    Ok(metrics::runtime(&descriptors, &pods))
}

/// `/checkpoint`: the state of a container, written to a file on the node.
///
/// <https://kubernetes.io/docs/reference/node/kubelet-checkpoint-api/>
pub(super) async fn checkpoint(node: &Node, path: ContainerPath<'_>, query: &Query) -> Result<Answer, Refusal> {
    let ContainerPath { pod: PodPath { namespace, name, .. }, container } = path;
    let pod = node.pods.find(namespace, name).ok_or_else(|| Refusal::not_found("pod does not exist"))?;
    if !choose::is_defined(&pod, container) {
        return Err(Refusal::not_found(format!("container {container} does not exist")));
    }
    let timeout: i64 = match query.all("timeout").last() {
        Some(text) => text.parse().map_err(|_| Refusal::not_found("cannot parse value of timeout parameter"))?,
        None => 0,
    };
    let failed = |why: &str| Refusal::internal(format!("checkpointing of {namespace}/{name}/{container} failed ({why})"));
    let container_id = session::running(node, path).await.map_err(|refusal| failed(&refusal.words))?;
    // What is in it was in the memory of processes: passwords, keys.
    let made = DirBuilder::new().recursive(true).mode(0o700).create(&node.checkpoints);
    made.map_err(|error| failed(&format!("{}: {error}", node.checkpoints.display())))?;
    let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ");
    let file = node.checkpoints.join(format!("checkpoint-{name}_{namespace}-{container}-{now}.tar"));
    let message = v1::CheckpointContainerRequest { container_id, location: file.to_string_lossy().into_owned(), timeout };
    let message = match u64::try_from(timeout) {
        // What comes on top is for the answer: the runtime ends it by itself.
        Ok(seconds) if seconds > 0 => within(message, Duration::from_secs(seconds.saturating_add(5))),
        _ => request(message),
    };
    let made = node.runtime.clients.runtime.clone().checkpoint_container(message).await;
    made.map_err(|status| failed(status.message()))?;
    Ok(json_answer(json!({"items": [file]}).to_string()))
}

#[cfg(test)]
mod tests;
