//! A control plane in this process, with the real store and API server, and one node that pretends to run pods.

use std::{
    future::Future,
    sync::Arc,
    time::{Duration, SystemTime},
};

use corten_apiserver::{ApiServer, Options, Version};
use corten_client::{
    in_process,
    informer::{Informer, Informers, Object, Selection, Store},
    is_deleting,
    queue::WorkQueue,
};
use corten_controllers::Clients;
use corten_pki::{Authority, Identity, Leaf, TokenSigner, client_config};
use corten_store::embedded::Embedded;
use k8s_openapi::api::core::v1::{Binding, Node, Pod};
use kube::{
    Api, Client, ResourceExt as _,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::Notify;
use tokio_util::sync::{CancellationToken, DropGuard};

const DEADLINE: Duration = Duration::from_secs(30);
const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

pub(crate) struct Cluster {
    pub(crate) admin: Client,
    pub(crate) authority: Arc<Authority>,
    api: ApiServer,
    _directory: TempDir,
    _stop: DropGuard,
}

impl Cluster {
    /// A cluster whose controllers run.
    pub(crate) async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let now = SystemTime::now();
        let authority = Arc::new(Authority::open(&directory.path().join("pki"), "ca", now).unwrap());
        let signer = Arc::new(TokenSigner::open(&directory.path().join("pki")).unwrap());
        let kubelet_client = authority.issue(&Leaf::client(Identity::kubelet_client()), now).unwrap();
        let store = directory.path().join("store");
        let store =
            tokio::task::spawn_blocking(move || Embedded::open(corten_store::embedded::Options::new(store))).await.unwrap().unwrap();
        let api = ApiServer::start(Options {
            store: Arc::new(store),
            service_cidr: "10.43.0.0/16".parse().unwrap(),
            secondary_service_cidr: None,
            cluster_domain: "cluster.local".into(),
            advertise: "10.0.0.1:6443".parse().unwrap(),
            cluster_ca: authority.certificate().into(),
            token_verifier: Arc::new(signer.verifier(ISSUER)),
            token_signer: signer,
            token_issuer: ISSUER.into(),
            kubelet_tls: client_config(authority.certificate(), Some(&kubelet_client), &["http/1.1"]).unwrap(),
            version: Version { corten: "test".into(), commit: String::new(), date: String::new() },
        })
        .await
        .unwrap();
        let token = CancellationToken::new();
        let service = api.service();
        let clients = Clients::new(in_process(api.service(), Identity::controller_manager()), move |name| {
            in_process(service.clone(), Identity::service_account("kube-system", name))
        });
        let options = corten_controllers::Options {
            authority: authority.clone(),
            cluster_cidr: "10.42.0.0/16".parse().unwrap(),
            signing_duration: None,
        };
        let informers = Informers::new(clients.reader().clone(), token.clone()).trimmed(corten_scheduler::trim);
        tokio::spawn(corten_controllers::run(clients, informers, options, token.clone()));
        let admin = in_process(api.service(), Identity::admin());
        Self { admin, authority, api, _directory: directory, _stop: token.drop_guard() }
    }

    /// A client of somebody else.
    pub(crate) fn client(&self, identity: Identity) -> Client {
        in_process(self.api.service(), identity)
    }

    /// A node that binds every pod to itself and calls it ready at once.
    pub(crate) async fn add_node(&self, name: &str) {
        let nodes: Api<Node> = Api::all(self.admin.clone());
        nodes.create(&PostParams::default(), &object(json!({"metadata": {"name": name}}))).await.unwrap();
        let status = json!({"status": {"conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady"}]}});
        nodes.patch_status(name, &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
        let pods = Informer::start(Api::<Pod>::all(self.admin.clone()), Selection::default(), CancellationToken::new());
        let queue = WorkQueue::new("tests");
        let noting = queue.clone();
        pods.on_event(move |delta| noting.add(delta.key()));
        let (client, name) = (self.admin.clone(), name.to_owned());
        tokio::spawn(async move {
            while let Some(key) = queue.next().await {
                if let Some(pod) = pods.store().get(&key) {
                    // What is gone meanwhile does not matter.
                    let _ = play_kubelet(&client, &name, &pod).await;
                }
            }
        });
    }

    pub(crate) async fn create<K>(&self, value: Value) -> K
    where
        K: Object<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope> + serde::Serialize,
    {
        let api: Api<K> = Api::namespaced(self.admin.clone(), "default");
        api.create(&PostParams::default(), &object::<K>(value)).await.unwrap()
    }

    /// Waits until the objects of a kind are as wanted, and says what they are if they never become so.
    pub(crate) async fn wait<K: Object>(&self, api: Api<K>, what: &str, done: impl Fn(&Store<K>) -> bool) {
        let token = CancellationToken::new();
        let _stop = token.clone().drop_guard();
        let informer = Informer::start(api, Selection::default(), token);
        let changed = Arc::new(Notify::new());
        let notify = Arc::clone(&changed);
        informer.on_event(move |_| notify.notify_one());
        let waiting = async {
            informer.has_synced().await;
            while !done(informer.store()) {
                changed.notified().await;
            }
        };
        if within(waiting).await.is_none() {
            panic!("never: {what}; there is {:#?}", informer.store().list());
        }
    }
}

async fn within<T>(work: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(DEADLINE, work).await.ok()
}

/// An object from JSON.
pub(crate) fn object<K: serde::de::DeserializeOwned>(value: Value) -> K {
    serde_json::from_value(value).unwrap()
}

async fn play_kubelet(client: &Client, node: &str, pod: &Pod) -> Result<(), kube::Error> {
    let namespace = pod.namespace().unwrap();
    let api: Api<Pod> = Api::namespaced(client.clone(), &namespace);
    let name = pod.name_any();
    let bound = pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some());
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    if is_deleting(pod) {
        api.delete(&name, &DeleteParams::default().grace_period(0)).await?;
    } else if !bound {
        let binding: Binding = object(json!({"metadata": {"name": name}, "target": {"kind": "Node", "name": node}}));
        let body = serde_json::to_vec(&binding).unwrap();
        let path = format!("/api/v1/namespaces/{namespace}/pods/{name}/binding");
        let request = http::Request::post(path).header("content-type", "application/json").body(body).unwrap();
        client.request_text(request).await?;
    } else if phase != Some("Running") {
        let status = json!({"status": {"phase": "Running", "conditions": [
            {"type": "Ready", "status": "True", "lastTransitionTime": corten_client::now()}]}});
        api.patch_status(&name, &PatchParams::default(), &Patch::Strategic(status)).await?;
    }
    Ok(())
}
