//! All pods of the node: one task each, fed by one watch; and what is left of pods that are gone.

mod orphans;

use std::collections::HashMap;
use std::sync::Arc;

use corten_client::informer::{Delta, Informer, Selection};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::context::Context;
use crate::inbox::Inbox;
use crate::pod::qos::Qos;
use crate::pod::resources;
use crate::pod::uid;
use crate::pod::worker::Worker;
use crate::runtime::events::{Wake, follow};

/// The pods of a node.
pub(crate) struct Pods {
    context: Arc<Context>,
    informer: Informer<Pod>,
    inboxes: Mutex<HashMap<String, Arc<Inbox>>>,
    token: CancellationToken,
}

impl Pods {
    /// Begins to run the pods that are bound to the node.
    pub(crate) fn start(context: &Arc<Context>, token: &CancellationToken) -> Arc<Self> {
        let selection = Selection::fields(format!("spec.nodeName={}", context.node_name));
        let api = Api::all(context.client.clone());
        let pods = Arc::new(Self {
            context: Arc::clone(context),
            informer: Informer::start(api, selection, token.clone()),
            inboxes: Mutex::new(HashMap::new()),
            token: token.clone(),
        });
        let told = Arc::downgrade(&pods);
        pods.informer.on_event(move |delta| {
            if let Some(pods) = told.upgrade() {
                pods.tell(delta);
            }
        });
        let woken = Arc::clone(&pods);
        let wake = move |wake| woken.wake(&wake);
        tokio::spawn(follow(context.runtime.clone(), token.clone(), wake));
        tokio::spawn(orphans::sweep(Arc::clone(&pods)));
        pods
    }

    /// All pods of the node, by their newest known state.
    pub(crate) fn list(&self) -> Vec<Arc<Pod>> {
        self.informer.store().list()
    }

    /// A pod by its name.
    pub(crate) fn find(&self, namespace: &str, name: &str) -> Option<Arc<Pod>> {
        let key = corten_client::ObjectKey::new(namespace, name);
        self.informer.store().get(&key)
    }

    fn tell(self: &Arc<Self>, delta: &Delta<Pod>) {
        let pod = delta.object();
        let id = uid(pod).to_owned();
        let mut inboxes = self.inboxes.lock();
        match (inboxes.get(&id), delta.is_deleted()) {
            (Some(inbox), true) => inbox.gone(Arc::clone(pod)),
            (Some(inbox), false) => inbox.update(Arc::clone(pod)),
            // It ended before it was seen; a trace of it in the runtime is an orphan.
            (None, true) => {}
            (None, false) => {
                let inbox = Arc::new(Inbox::new(Arc::clone(pod)));
                inboxes.insert(id.clone(), Arc::clone(&inbox));
                let worker = Worker::new(Arc::clone(&self.context), inbox);
                let pods = Arc::clone(self);
                tokio::spawn(async move {
                    let token = pods.token.clone();
                    token.run_until_cancelled(worker.run()).await;
                    pods.inboxes.lock().remove(&id);
                    pods.weigh();
                });
            }
        }
        drop(inboxes);
        if delta.old().is_none() {
            self.weigh();
        }
    }

    fn wake(&self, wake: &Wake) {
        let inboxes = self.inboxes.lock();
        match wake {
            Wake::Pod(uid) => inboxes.get(uid).into_iter().for_each(|i| i.wake()),
            Wake::All => inboxes.values().for_each(|i| i.wake()),
        }
    }

    /// Gives the burstable pods together the weight that they ask for.
    fn weigh(&self) {
        let inboxes = self.inboxes.lock();
        let shares = inboxes
            .values()
            .map(|inbox| inbox.get().0)
            .filter(|pod| Qos::of(pod) == Qos::Burstable)
            .map(|pod| resources::for_pod(&pod).cpu_shares)
            .sum::<i64>();
        drop(inboxes);
        self.context.cgroups.weigh_burstable(shares.max(2));
    }
}
