//! Pods leave nodes whose `NoExecute` taints they do not tolerate, or no longer.

use std::{sync::Arc, time::Duration};

use corten_client::{
    ObjectKey,
    controller::{self, Outcome, ReconcileResult},
    events::{EventType, Recorder},
    informer::Informer,
    is_deleting,
    queue::WorkQueue,
};
use k8s_openapi::{
    api::core::v1::{Node, Pod, Taint, Toleration},
    jiff::Timestamp,
};
use kube::{
    Api, Client, ResourceExt as _,
    api::{DeleteParams, Patch, PatchParams, Preconditions},
};
use serde_json::json;

use crate::{context::Context, pods};

const NAME: &str = "node-controller";
const WORKERS: usize = 4;

/// What happens to a pod on a tainted node.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Stay,
    /// It may stay this much longer.
    StayFor(Duration),
    Leave,
}

struct Evictor {
    client: Client,
    recorder: Recorder,
    pods: Informer<Pod>,
    nodes: Informer<Node>,
}

pub(super) async fn run(context: Context) {
    let pods = context.informers.get::<Pod>();
    let nodes = context.informers.get::<Node>();
    let client = context.clients.writer(NAME);
    let evictor = Arc::new(Evictor {
        recorder: Recorder::new(client.clone(), "taint-eviction-controller", None),
        pods: pods.clone(),
        nodes: nodes.clone(),
        client,
    });
    let queue = WorkQueue::new("noexec_taint_node");
    let by_node = pods.index("node", |pod| pods::node(pod).map(str::to_owned).into_iter().collect());
    let noting = queue.clone();
    nodes.on_event(move |delta| {
        let changed = match delta.old() {
            Some(old) => no_execute(old) != no_execute(delta.object()),
            None => !no_execute(delta.object()).is_empty(),
        };
        if changed && !delta.is_deleted() {
            for pod in by_node.get(&delta.key().name) {
                noting.add(ObjectKey::of(pod.as_ref()));
            }
        }
    });
    let noting = queue.clone();
    pods.on_event(move |delta| {
        let bound = pods::node(delta.object()).is_some();
        let was_bound = delta.old().is_some_and(|old| pods::node(old).is_some());
        if bound && !was_bound && !delta.is_deleted() {
            noting.add(delta.key());
        }
    });
    nodes.has_synced().await;
    pods.has_synced().await;
    controller::run("taint-eviction", &queue, WORKERS, &context.token, move |key| {
        let evictor = Arc::clone(&evictor);
        async move { evictor.reconcile(&key).await }
    })
    .await;
}

impl Evictor {
    async fn reconcile(&self, key: &ObjectKey) -> ReconcileResult {
        let pod = self.pods.store().get(key);
        let Some(pod) = pod.filter(|pod| !is_deleting(pod.as_ref())) else {
            return Ok(Outcome::Done);
        };
        let node = pods::node(&pod).and_then(|name| self.nodes.store().get(&ObjectKey::cluster(name)));
        let Some(node) = node else {
            return Ok(Outcome::Done);
        };
        let tolerations = pod.spec.as_ref().and_then(|spec| spec.tolerations.clone());
        let fate = fate(&no_execute(&node), &tolerations.unwrap_or_default(), corten_client::now().0);
        match fate {
            Fate::Stay => Ok(Outcome::Done),
            Fate::StayFor(left) => Ok(Outcome::After(left)),
            Fate::Leave => {
                self.evict(&pod).await?;
                Ok(Outcome::Done)
            }
        }
    }

    async fn evict(&self, pod: &Pod) -> Result<(), kube::Error> {
        let namespace = pod.namespace().unwrap_or_default();
        let name = pod.name_any();
        self.recorder.event(pod, EventType::Normal, "TaintManagerEviction", format!("Marking for deletion Pod {namespace}/{name}"));
        let api: Api<Pod> = Api::namespaced(self.client.clone(), &namespace);
        let patch = json!({
            "metadata": {"uid": pod.uid()},
            "status": {"conditions": [{
                "type": "DisruptionTarget",
                "status": "True",
                "reason": "DeletionByTaintManager",
                "message": "Taint manager: deleting due to NoExecute taint",
                "lastTransitionTime": corten_client::now(),
            }]},
        });
        let params = PatchParams::default();
        match api.patch_status(&name, &params, &Patch::Strategic(patch)).await {
            Err(error) if corten_client::is_not_found(&error) => return Ok(()),
            result => {
                result?;
            }
        }
        let params = DeleteParams::default().preconditions(Preconditions { uid: pod.uid(), resource_version: None });
        match api.delete(&name, &params).await {
            Err(error) if !corten_client::is_not_found(&error) && !corten_client::is_conflict(&error) => Err(error),
            _ => Ok(()),
        }
    }
}

fn no_execute(node: &Node) -> Vec<Taint> {
    let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_ref());
    let taints = taints.into_iter().flatten();
    taints.filter(|taint| taint.effect == "NoExecute").cloned().collect()
}

/// A pod stays as long as each taint is tolerated; the shortest toleration counts, from the moment
/// the taint was set. Pure.
pub(super) fn fate(taints: &[Taint], tolerations: &[Toleration], now: Timestamp) -> Fate {
    let mut left: Option<i64> = None;
    for taint in taints {
        let mut matching = tolerations.iter().filter(|toleration| tolerates(toleration, taint)).peekable();
        if matching.peek().is_none() {
            return Fate::Leave;
        }
        if let Some(seconds) = matching.filter_map(|toleration| toleration.toleration_seconds).min() {
            let added = taint.time_added.as_ref().map_or(now, |time| time.0);
            let own = added.as_second() + seconds.max(0) - now.as_second();
            left = Some(left.map_or(own, |other| other.min(own)));
        }
    }
    match left {
        None => Fate::Stay,
        Some(seconds) => match u64::try_from(seconds) {
            Ok(seconds) if seconds > 0 => Fate::StayFor(Duration::from_secs(seconds)),
            _ => Fate::Leave,
        },
    }
}

fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let effect = toleration.effect.as_deref().unwrap_or_default();
    let key = toleration.key.as_deref().unwrap_or_default();
    if !effect.is_empty() && effect != taint.effect || !key.is_empty() && key != taint.key {
        return false;
    }
    match toleration.operator.as_deref() {
        Some("Exists") => true,
        None | Some("" | "Equal") => {
            !key.is_empty() && toleration.value.as_deref().unwrap_or_default() == taint.value.as_deref().unwrap_or_default()
        }
        Some(_) => false,
    }
}
