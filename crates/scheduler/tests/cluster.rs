//! The scheduler against a real API server, under its own identity.

#![allow(clippy::unwrap_used, reason = "a helper of a test may fail it")]

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use corten_apiserver::{ApiServer, Options, Version};
use corten_client::informer::Informers;
use corten_pki::{Authority, Identity, TokenSigner};
use k8s_openapi::api::core::v1::{Event, Node, Pod};
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";
const DEADLINE: Duration = Duration::from_secs(30);

struct Cluster {
    server: ApiServer,
    client: kube::Client,
    token: CancellationToken,
    _dir: tempfile::TempDir,
}

impl Cluster {
    /// An API server and a scheduler.
    async fn start() -> Cluster {
        let dir = tempfile::tempdir().unwrap();
        let pki = dir.path().join("pki");
        let authority = Authority::open(&pki, "ca", SystemTime::now()).unwrap();
        let signer = TokenSigner::open(&pki).unwrap();
        let store = corten_store::embedded::Options::new(dir.path().join("store"));
        let options = Options {
            store: Arc::new(corten_store::embedded::Embedded::open(store).unwrap()),
            service_cidr: "10.43.0.0/16".parse().unwrap(),
            secondary_service_cidr: None,
            cluster_domain: "cluster.local".to_owned(),
            advertise: "192.0.2.1:6443".parse().unwrap(),
            cluster_ca: authority.certificate().to_owned(),
            token_verifier: Arc::new(signer.verifier(ISSUER)),
            token_signer: Arc::new(signer),
            token_issuer: ISSUER.to_owned(),
            kubelet_tls: corten_pki::client_config(authority.certificate(), None, &[]).unwrap(),
            version: Version { corten: "0.1.0".to_owned(), commit: String::new(), date: String::new() },
        };
        let server = ApiServer::start(options).await.unwrap();
        let client = corten_client::in_process(server.service(), Identity::admin());
        let token = CancellationToken::new();
        let cluster = Cluster { server, client, token, _dir: dir };
        cluster.schedule();
        cluster
    }

    fn schedule(&self) {
        let client = corten_client::in_process(self.server.service(), Identity::scheduler());
        let informers = Informers::new(client.clone(), self.token.clone()).trimmed(corten_scheduler::trim);
        tokio::spawn(corten_scheduler::run(client, informers, corten_scheduler::Options::default(), self.token.clone()));
    }

    fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), "default")
    }

    fn nodes(&self) -> Api<Node> {
        Api::all(self.client.clone())
    }

    async fn add_node(&self, name: &str, cpu: &str) {
        let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}}});
        self.nodes().create(&PostParams::default(), &serde_json::from_value(node).unwrap()).await.unwrap();
        self.resize(name, cpu).await;
        // The taint of a node that has not said yet that it is ready: a controller takes it away.
        let untainted = Patch::Merge(json!({"spec": {"taints": null}}));
        self.nodes().patch(name, &PatchParams::default(), &untainted).await.unwrap();
    }

    async fn resize(&self, name: &str, cpu: &str) {
        let resources = json!({"cpu": cpu, "memory": "8Gi", "pods": "110"});
        let status = json!({"status": {"allocatable": resources, "capacity": resources}});
        self.nodes().patch_status(name, &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
    }

    async fn add_pod(&self, name: &str, spec: Value) {
        let mut pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec});
        if pod["spec"]["containers"].is_null() {
            pod["spec"]["containers"] = json!([{"name": "c", "image": "corten.local/pause"}]);
        }
        self.pods().create(&PostParams::default(), &serde_json::from_value(pod).unwrap()).await.unwrap();
    }

    /// Waits until a pod is as `wanted` says.
    async fn pod_that(&self, name: &str, wanted: impl Fn(&Pod) -> bool) -> Pod {
        let params = WatchParams::default().fields(&format!("metadata.name={name}"));
        let waiting = async {
            let watch = self.pods().watch(&params, "0").await.unwrap();
            let mut watch = std::pin::pin!(watch);
            while let Some(event) = futures::StreamExt::next(&mut watch).await {
                match event.unwrap() {
                    WatchEvent::Added(pod) | WatchEvent::Modified(pod) if wanted(&pod) => return pod,
                    _ => {}
                }
            }
            panic!("the watch ended");
        };
        match tokio::time::timeout(DEADLINE, waiting).await {
            Ok(pod) => pod,
            Err(_) => panic!("{name} not in time: {:?}", self.pods().get(name).await),
        }
    }

    async fn node_of(&self, name: &str) -> String {
        let pod = self.pod_that(name, |pod| node(pod).is_some()).await;
        node(&pod).unwrap().to_owned()
    }

    async fn refusal(&self, name: &str) -> String {
        let pod = self.pod_that(name, |pod| condition(pod, "False").is_some()).await;
        condition(&pod, "False").unwrap()
    }

    /// Waits for an event about a pod.
    async fn event(&self, pod: &str, reason: &str) -> Event {
        let events: Api<Event> = Api::namespaced(self.client.clone(), "default");
        let params = WatchParams::default().fields(&format!("involvedObject.name={pod},reason={reason}"));
        let waiting = async {
            let watch = events.watch(&params, "0").await.unwrap();
            let mut watch = std::pin::pin!(watch);
            match futures::StreamExt::next(&mut watch).await {
                Some(Ok(WatchEvent::Added(event))) => event,
                other => panic!("{other:?}"),
            }
        };
        tokio::time::timeout(DEADLINE, waiting).await.unwrap_or_else(|_| panic!("{reason} of {pod} in time"))
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.token.cancel();
    }
}

fn node(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref()?.node_name.as_deref()
}

/// The message of the PodScheduled condition, if it has this status.
fn condition(pod: &Pod, status: &str) -> Option<String> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let found = conditions.iter().find(|condition| condition.type_ == "PodScheduled" && condition.status == status)?;
    Some(found.message.clone().unwrap_or_default())
}

fn cpu(amount: &str) -> Value {
    json!({"containers": [{"name": "c", "image": "corten.local/pause", "resources": {"requests": {"cpu": amount}}}]})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_are_bound_and_it_is_said() {
    let cluster = Cluster::start().await;
    cluster.add_node("n1", "4").await;
    cluster.add_pod("p", json!({})).await;
    assert_eq!(cluster.node_of("p").await, "n1");
    cluster.pod_that("p", |pod| condition(pod, "True").is_some()).await;
    let event = cluster.event("p", "Scheduled").await;
    assert_eq!(event.message.as_deref(), Some("Successfully assigned default/p to n1"));
    assert_eq!(event.type_.as_deref(), Some("Normal"));
    assert_eq!(event.source.and_then(|source| source.component).as_deref(), Some("default-scheduler"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_without_a_node_says_why_and_gets_one_when_it_can() {
    let cluster = Cluster::start().await;
    cluster.add_pod("p", cpu("2")).await;
    assert_eq!(cluster.refusal("p").await, "no nodes available to schedule pods");
    cluster.add_node("n1", "1").await;
    let why = "0/1 nodes are available: 1 Insufficient cpu. no new claims to deallocate, preemption: 0/1 nodes are \
               available: 1 Preemption is not helpful for scheduling.";
    cluster.pod_that("p", |pod| condition(pod, "False").as_deref() == Some(why)).await;
    let event = cluster.event("p", "FailedScheduling").await;
    assert_eq!(event.type_.as_deref(), Some("Warning"));

    // More room on the node.
    cluster.resize("n1", "3").await;
    assert_eq!(cluster.node_of("p").await, "n1");

    // Room that another pod leaves.
    cluster.add_pod("q", cpu("2")).await;
    cluster.refusal("q").await;
    cluster.pods().delete("p", &DeleteParams::default().grace_period(0)).await.unwrap();
    assert_eq!(cluster.node_of("q").await, "n1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_pods_fill_nodes_evenly_and_never_too_much() {
    let cluster = Cluster::start().await;
    for name in ["a", "b", "c"] {
        cluster.add_node(name, "1").await;
    }
    for n in 0..35 {
        cluster.add_pod(&format!("p{n}"), cpu("100m")).await;
    }
    let bound = || async {
        let pods = cluster.pods().list(&ListParams::default()).await.unwrap();
        let mut counts = std::collections::BTreeMap::new();
        for pod in &pods.items {
            if let Some(node) = node(pod) {
                *counts.entry(node.to_owned()).or_insert(0) += 1;
            }
        }
        counts
    };
    let mut refused = 0;
    for n in 0..35 {
        let name = format!("p{n}");
        let pod = cluster.pod_that(&name, |pod| node(pod).is_some() || condition(pod, "False").is_some()).await;
        refused += usize::from(node(&pod).is_none());
    }
    assert_eq!(refused, 5);
    assert_eq!(bound().await.into_values().collect::<Vec<_>>(), [10, 10, 10]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gates_and_other_schedulers_are_left_alone() {
    let cluster = Cluster::start().await;
    cluster.add_node("n1", "4").await;
    cluster.add_pod("other", json!({"schedulerName": "mine"})).await;
    cluster.add_pod("gated", json!({"schedulingGates": [{"name": "example.com/wait"}]})).await;
    cluster.add_pod("plain", json!({})).await;
    cluster.node_of("plain").await;
    for name in ["other", "gated"] {
        assert_eq!(node(&cluster.pods().get(name).await.unwrap()), None, "{name}");
    }
    let open = Patch::Merge(json!({"spec": {"schedulingGates": null}}));
    cluster.pods().patch("gated", &PatchParams::default(), &open).await.unwrap();
    assert_eq!(cluster.node_of("gated").await, "n1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_scheduler_goes_on_where_another_ended() {
    let mut cluster = Cluster::start().await;
    cluster.add_node("n1", "1").await;
    cluster.add_pod("first", cpu("800m")).await;
    cluster.node_of("first").await;
    cluster.token.cancel();
    cluster.add_pod("second", cpu("800m")).await;
    cluster.add_pod("third", cpu("200m")).await;
    cluster.token = CancellationToken::new();
    cluster.schedule();
    assert_eq!(cluster.node_of("third").await, "n1");
    assert!(cluster.refusal("second").await.contains("1 Insufficient cpu"));
}
