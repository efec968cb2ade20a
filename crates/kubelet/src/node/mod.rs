//! The Node object: registration, status, lease.

mod conditions;
mod images;
mod status;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use corten_client::events::EventType::{Normal, Warning};
use corten_client::informer::Informer;
use corten_client::lease::Holder;
use corten_cri::v1;
use k8s_openapi::api::core::v1::{Node, NodeSpec, NodeSystemInfo, Taint};
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, Resource as _};
use serde_json::json;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::context::Context;
use crate::machine;
use crate::runtime::request;

/// While the node is not ready it is looked at more often, since somebody waits for it: this often at first.
const LOOK_UNREADY: Duration = Duration::from_millis(100);
/// And this often when it has not been ready for long.
const LOOK_UNREADY_LATER: Duration = Duration::from_secs(5);
/// Pause between attempts while the API server is away.
const RETRY: Duration = Duration::from_millis(200);

/// What a node's registration needs besides the context.
pub(crate) struct Registration {
    pub(crate) taints: Vec<Taint>,
    pub(crate) version: String,
    pub(crate) port: u16,
    pub(crate) ready: Option<oneshot::Sender<()>>,
}

/// The labels that every Node gets, and those that were asked for.
pub(crate) fn labels(node: &str, given: BTreeMap<String, String>) -> BTreeMap<String, String> {
    let architecture = machine::architecture();
    let standard = [
        ("beta.kubernetes.io/arch", architecture),
        ("beta.kubernetes.io/os", "linux"),
        ("kubernetes.io/arch", architecture),
        ("kubernetes.io/hostname", node),
        ("kubernetes.io/os", "linux"),
    ];
    let standard = standard.map(|(k, v)| (k.to_owned(), v.to_owned()));
    standard.into_iter().chain(given).collect()
}

/// After how long a node that has been unready for this long is looked at again: so that it is at most a tenth later than it could be.
fn look(unready: Duration) -> Duration {
    (unready / 10).clamp(LOOK_UNREADY, LOOK_UNREADY_LATER)
}

/// The Node's keeper.
struct Keeper {
    context: Arc<Context>,
    api: Api<Node>,
    informer: Informer<Node>,
    registration: Registration,
    info: NodeSystemInfo,
    /// The pod range that the runtime was told.
    told_cidr: Option<String>,
    last_post: Option<Instant>,
    /// The uid of the Node that the lease being kept belongs to, and what ends its renewal.
    lease: Option<(String, CancellationToken)>,
    token: CancellationToken,
}

/// Registers the node and keeps its status until `token` is cancelled.
pub(crate) async fn keep(context: Arc<Context>, registration: Registration, token: CancellationToken) {
    let api: Api<Node> = Api::all(context.client.clone());
    let informer = context.node.clone();
    let info = machine::system_info(&registration.version, &context.runtime.full_version());
    let mut keeper =
        Keeper { context, api, informer, registration, info, told_cidr: None, last_post: None, lease: None, token: token.clone() };
    token.run_until_cancelled(keeper.run()).await;
}

impl Keeper {
    async fn run(&mut self) {
        let context = Arc::clone(&self.context);
        let changed = Arc::new(tokio::sync::Notify::new());
        let told = Arc::clone(&changed);
        self.informer.on_event(move |_| told.notify_one());
        while let Err(error) = self.register().await {
            tracing::warn!(%error, "registering the node");
            tokio::time::sleep(RETRY).await;
        }
        let mut unready: Option<Instant> = None;
        loop {
            let pause = match self.round().await {
                Ok(true) => {
                    unready = None;
                    // CRI has no event for the runtime's condition.
                    context.config.status_update
                }
                Ok(false) => look(unready.get_or_insert_with(Instant::now).elapsed()),
                Err(error) => {
                    tracing::warn!(%error, "posting the node's status");
                    RETRY
                }
            };
            tokio::select! {
                () = changed.notified() => {}
                () = context.pressures.changed() => {}
                () = context.shutdown.changed() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Creates the Node, or brings its labels up to date.
    async fn register(&self) -> Result<(), kube::Error> {
        let name = &self.context.node_name;
        let labels = self.context.labels.clone();
        let annotations = BTreeMap::from([("volumes.kubernetes.io/controller-managed-attach-detach".to_owned(), "true".to_owned())]);
        match self.api.get_opt(name).await? {
            // Somebody else makes it, and the watch tells when it is there.
            None if !self.context.config.register_node => Ok(()),
            None => {
                let node = Node {
                    metadata: ObjectMeta {
                        name: Some(name.clone()),
                        labels: Some(labels),
                        annotations: Some(annotations),
                        ..ObjectMeta::default()
                    },
                    spec: Some(NodeSpec {
                        provider_id: self.context.config.provider_id.clone(),
                        taints: Some(self.registration.taints.clone()).filter(|t| !t.is_empty()),
                        ..NodeSpec::default()
                    }),
                    status: None,
                };
                match self.api.create(&PostParams::default(), &node).await {
                    Err(error) if corten_client::is_already_exists(&error) => Ok(()),
                    other => other.map(drop),
                }
            }
            Some(node) => {
                self.note_reboot(&node);
                let present = node.metadata.labels.clone().unwrap_or_default();
                let missing = labels.iter().any(|(k, v)| present.get(k) != Some(v));
                if missing {
                    let patch = json!({"metadata": {"labels": labels, "annotations": annotations}});
                    let params = PatchParams::default();
                    self.api.patch(name, &params, &Patch::Merge(patch)).await?;
                }
                Ok(())
            }
        }
    }

    fn note_reboot(&self, node: &Node) {
        let before = node.status.as_ref().and_then(|s| s.node_info.as_ref());
        let before = before.map(|i| i.boot_id.as_str()).unwrap_or_default();
        if !before.is_empty() && before != self.info.boot_id {
            let text = format!("Node {} has been rebooted, boot id: {}", self.context.node_name, self.info.boot_id);
            self.context.recorder.event(node, Warning, "Rebooted", text);
        }
    }

    /// Looks at the runtime and posts what changed; true if the node is ready.
    async fn round(&mut self) -> Result<bool, kube::Error> {
        self.informer.has_synced().await;
        let node = self.informer.store().list().into_iter().next();
        let Some(node) = node else {
            // Somebody deleted it.
            self.register().await?;
            return Ok(false);
        };
        self.keep_lease(&node);
        self.tell_cidr(&node).await;
        let mut conditions = conditions::observe(&self.context).await;
        if self.context.shutdown.now() {
            conditions.problems.push("node is shutting down".to_owned());
        }
        let images = images::list(&self.context).await;
        let parts = status::Parts { context: &self.context, info: &self.info, port: self.registration.port, images, findings: &conditions };
        let wanted = status::status(&node, &parts);
        let due = self.last_post.is_none_or(|at| at.elapsed() >= self.context.config.status_report);
        let ready = conditions.ready();
        if let Some(patch) = status::patch(&node, &wanted, due) {
            let was_ready = status::is_ready(&node);
            let patch = Patch::Strategic(patch);
            let name = &self.context.node_name;
            self.api.patch_status(name, &PatchParams::default(), &patch).await?;
            self.last_post = Some(Instant::now());
            if ready && !was_ready {
                let text = format!("Node {name} status is now: NodeReady");
                self.context.recorder.event(node.as_ref(), Normal, "NodeReady", text);
            }
        }
        if ready && let Some(told) = self.registration.ready.take() {
            // Nobody may be waiting.
            let _ = told.send(());
        }
        Ok(ready)
    }

    /// Begins to renew the node's lease, once the Node that owns it exists.
    fn keep_lease(&mut self, node: &Node) {
        let Some(uid) = node.metadata.uid.clone() else {
            return;
        };
        match &self.lease {
            Some((owner, _)) if *owner == uid => return,
            // The Node was deleted and made anew, and the lease goes with its owner.
            Some((_, renewal)) => renewal.cancel(),
            None => {}
        }
        let owner = node.owner_ref(&());
        let holder = Holder { duration: self.context.config.lease_duration, ..Holder::node(&self.context.node_name, owner) };
        let (client, token) = (self.context.client.clone(), self.token.child_token());
        self.lease = Some((uid, token.clone()));
        tokio::spawn(async move { holder.keep(&client, &token).await });
    }

    /// Passes the node's pod range on, as soon as it is there.
    async fn tell_cidr(&mut self, node: &Node) {
        let cidr = node.spec.as_ref().and_then(|s| s.pod_cidr.clone());
        if cidr.is_none() || cidr == self.told_cidr {
            return;
        }
        let message = v1::UpdateRuntimeConfigRequest {
            runtime_config: Some(v1::RuntimeConfig {
                network_config: Some(v1::NetworkConfig { pod_cidr: cidr.clone().unwrap_or_default() }),
            }),
        };
        let mut client = self.context.runtime.clients.runtime.clone();
        match client.update_runtime_config(request(message)).await {
            Ok(_) => self.told_cidr = cidr,
            Err(status) => tracing::warn!(%status, "telling the runtime the node's pod range"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unready_node_is_looked_at_less_and_less() {
        let looked = [0, 500, 3_000, 20_000, 3_600_000].map(|millis| look(Duration::from_millis(millis)).as_millis());
        assert_eq!(looked, [100, 100, 300, 2_000, 5_000]);
    }
}
