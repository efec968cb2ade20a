//! The scheduler's task.

use std::any::Any;
use std::collections::BTreeSet;
use std::sync::Arc;

use corten_client::informer::{Delta, Informers};
use k8s_openapi::api::core::v1::{Container, Namespace, Node, Pod};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::cluster::Cluster;
use crate::decide::{self, Change, Unfit};
use crate::pod::PodInfo;
use crate::queue::Queue;
use crate::write::{Bound, Writer};
use crate::{Error, Options};

/// Something the task takes note of.
enum Message {
    Pod(Delta<Pod>),
    Node(Delta<Node>),
    Namespace(Delta<Namespace>),
}

/// What a finished write means.
enum Written {
    Binding(Arc<PodInfo>, Bound),
    Nothing,
}

/// Takes out of an object what scheduling does not depend on: of a pod its volumes (they do not decide where it goes yet),
/// and of its containers all but what they ask for. No pod is written back whole.
pub fn trim(object: &mut dyn Any) {
    let Some(spec) = object.downcast_mut::<Pod>().and_then(|pod| pod.spec.as_mut()) else { return };
    spec.volumes = None;
    spec.ephemeral_containers = None;
    for container in spec.containers.iter_mut().chain(spec.init_containers.iter_mut().flatten()) {
        *container = Container {
            image: container.image.take(),
            name: std::mem::take(&mut container.name),
            ports: container.ports.take(),
            resources: container.resources.take(),
            restart_policy: container.restart_policy.take(),
            ..Container::default()
        };
    }
}

pub(crate) async fn run(client: kube::Client, informers: &Informers, options: &Options, token: CancellationToken) -> Result<(), Error> {
    // Not bounded: handlers must not wait, and the task takes everything that is there before each decision.
    let (sender, messages) = mpsc::unbounded_channel();
    let namespaces = informers.get::<Namespace>();
    let nodes = informers.get::<Node>();
    let pods = informers.get::<Pod>();
    // Nodes first: a pod that is looked at before its node is known would be rejected for nothing.
    let synced = async {
        namespaces.has_synced().await;
        forward(&namespaces, &sender, Message::Namespace);
        nodes.has_synced().await;
        forward(&nodes, &sender, Message::Node);
        pods.has_synced().await;
        forward(&pods, &sender, Message::Pod);
    };
    tokio::select! {
        () = synced => {}
        () = token.cancelled() => return Ok(()),
    }
    drop(sender);
    let scheduler = Scheduler {
        name: options.name.clone(),
        writer: Writer::new(client, &options.name),
        cluster: Cluster::default(),
        queue: Queue::default(),
        writes: JoinSet::new(),
    };
    scheduler.run(messages, token).await
}

fn forward<K: corten_client::informer::Object>(
    informer: &corten_client::informer::Informer<K>,
    sender: &UnboundedSender<Message>,
    message: fn(Delta<K>) -> Message,
) {
    let sender = sender.clone();
    informer.on_event(move |delta| {
        let delta = match delta {
            Delta::Added(object) => Delta::Added(Arc::clone(object)),
            Delta::Updated { old, new } => Delta::Updated { old: Arc::clone(old), new: Arc::clone(new) },
            Delta::Deleted(object) => Delta::Deleted(Arc::clone(object)),
        };
        // The task may have ended already.
        let _ended = sender.send(message(delta));
    });
}

struct Scheduler {
    name: String,
    writer: Writer,
    cluster: Cluster,
    queue: Queue,
    writes: JoinSet<Written>,
}

/// Writes under way, at most: more would only queue in the API server.
const WRITES: usize = 64;

impl Scheduler {
    async fn run(mut self, mut messages: UnboundedReceiver<Message>, token: CancellationToken) -> Result<(), Error> {
        while !token.is_cancelled() {
            while let Ok(message) = messages.try_recv() {
                self.note(message);
            }
            while let Some(written) = self.writes.try_join_next() {
                self.settle(written.unwrap_or(Written::Nothing));
            }
            if self.writes.len() < WRITES
                && let Some(pod) = self.queue.next(Instant::now())
            {
                self.schedule(pod);
                // A long queue must not keep the runtime from its other tasks.
                tokio::task::yield_now().await;
                continue;
            }
            let due = self.queue.next_due().filter(|_| self.writes.len() < WRITES);
            tokio::select! {
                message = messages.recv() => match message {
                    Some(message) => self.note(message),
                    None => return Err(Error::Informers),
                },
                Some(written) = self.writes.join_next() => self.settle(written.unwrap_or(Written::Nothing)),
                // The end of a pod's backoff.
                () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
                () = token.cancelled() => {}
            }
        }
        while self.writes.join_next().await.is_some() {}
        Ok(())
    }

    /// Decides about one pod.
    fn schedule(&mut self, pod: Arc<PodInfo>) {
        let writer = self.writer.clone();
        match decide::decide(&pod, &self.cluster) {
            Ok(node) => {
                tracing::debug!(pod = %pod.key, node, "decided");
                self.cluster.assume(Arc::clone(&pod), &node);
                self.writes.spawn(async move {
                    let bound = writer.bind(Arc::clone(&pod), node).await;
                    Written::Binding(pod, bound)
                });
            }
            Err(unfit) => {
                let message = unfit.message();
                tracing::debug!(pod = %pod.key, message, "no node");
                let rejected_by = match unfit {
                    // Any node that comes may help.
                    Unfit::NoNodes => BTreeSet::new(),
                    Unfit::Rejected { plugins, .. } => plugins,
                };
                self.queue.reject(&pod, rejected_by, Instant::now());
                self.writes.spawn(async move {
                    writer.unschedulable(pod, message).await;
                    Written::Nothing
                });
            }
        }
    }

    fn settle(&mut self, written: Written) {
        let Written::Binding(pod, bound) = written else { return };
        match bound {
            // The informer will show it on its node.
            Bound::Yes => self.queue.done(&pod),
            Bound::Moot | Bound::Failed => {
                if bound == Bound::Moot {
                    self.queue.done(&pod);
                } else {
                    self.queue.retry(&pod, Instant::now());
                }
                if let Some(node) = self.cluster.forget(&pod) {
                    self.reconsider(Change::Node(node));
                }
            }
        }
    }

    fn note(&mut self, message: Message) {
        match message {
            Message::Pod(delta) => self.note_pod(&delta),
            Message::Node(delta) => self.note_node(&delta),
            Message::Namespace(delta) => {
                let namespace = delta.object();
                let name = namespace.metadata.name.as_deref().unwrap_or_default();
                if delta.is_deleted() {
                    self.cluster.remove_namespace(name);
                } else {
                    self.cluster.set_namespace(name, namespace.metadata.labels.clone().unwrap_or_default());
                    self.reconsider(Change::Elsewhere);
                }
            }
        }
    }

    fn note_node(&mut self, delta: &Delta<Node>) {
        let node = delta.object();
        let name = node.metadata.name.clone().unwrap_or_default();
        if delta.is_deleted() {
            self.cluster.remove_node(&name);
            return self.reconsider(Change::Elsewhere);
        }
        if delta.old().is_some_and(|old| !matters(old, node)) {
            return;
        }
        self.cluster.set_node(Arc::clone(node));
        self.reconsider(Change::Node(name));
    }

    fn note_pod(&mut self, delta: &Delta<Pod>) {
        let pod = Arc::new(PodInfo::new(Arc::clone(delta.object())));
        let gone = delta.is_deleted() || pod.is_finished();
        if gone {
            self.queue.remove(&pod.key);
            if let Some(node) = self.cluster.remove_pod(&pod.key) {
                self.reconsider(Change::Node(node));
            }
            return;
        }
        if let Some(node) = pod.node() {
            let change = Change::Node(node.to_owned());
            let known = delta.old().filter(|old| PodInfo::new(Arc::clone(old)).node().is_some());
            let relevant = known.is_none_or(|old| old.spec != pod.pod.spec || old.metadata.labels != pod.pod.metadata.labels);
            self.queue.remove(&pod.key);
            self.cluster.set_pod(pod);
            if relevant {
                self.reconsider(change);
            }
            return;
        }
        if self.cluster.place_of(&pod).is_some() && !self.queue.contains(&pod.key) {
            // An older state of a pod that is bound since: the informer is about to show it on its node.
            return;
        }
        let ours = pod.spec().and_then(|spec| spec.scheduler_name.as_deref()).unwrap_or("default-scheduler") == self.name;
        let deleting = pod.pod.metadata.deletion_timestamp.is_some();
        if ours && !deleting {
            self.queue.set(pod, Instant::now());
        } else {
            self.queue.remove(&pod.key);
        }
    }

    fn reconsider(&mut self, change: Change) {
        let cluster = &self.cluster;
        self.queue.reconsider(Instant::now(), |pod, rejected_by| decide::worth_retrying(pod, rejected_by, &change, cluster));
    }
}

/// Whether a node changed in something that decisions look at: heartbeats are not.
fn matters(old: &Node, new: &Node) -> bool {
    let allocatable = |node: &Node| node.status.as_ref().and_then(|status| status.allocatable.clone());
    let images = |node: &Node| node.status.as_ref().and_then(|status| status.images.clone());
    old.metadata.labels != new.metadata.labels || old.spec != new.spec || allocatable(old) != allocatable(new) || images(old) != images(new)
}
