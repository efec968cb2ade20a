//! All pods of the node: one task each, fed by one watch and by the sources of static pods; and what is left of pods that
//! are gone.

mod orphans;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use corten_client::ObjectKey;
use corten_client::informer::{Delta, Informer, Selection};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::context::Context;
use crate::inbox::Inbox;
use crate::pod::qos::Qos;
use crate::pod::resources;
use crate::pod::uid;
use crate::pod::worker::Worker;
use crate::runtime::events::{Wake, follow};
use crate::statics::{self, mirror};

type Inboxes = HashMap<String, Arc<Inbox>>;

/// The pods of a node.
pub(crate) struct Pods {
    context: Arc<Context>,
    informer: Informer<Pod>,
    inboxes: Mutex<Inboxes>,
    /// The static pods, by uid; `None` until their sources have been read.
    statics: watch::Sender<Option<BTreeMap<String, Arc<Pod>>>>,
    token: CancellationToken,
}

impl Pods {
    /// Begins to run the pods that are bound to the node, and its own.
    pub(crate) fn start(context: &Arc<Context>, token: &CancellationToken) -> Arc<Self> {
        let selection = Selection::fields(format!("spec.nodeName={}", context.node_name));
        let api = Api::all(context.client.clone());
        let pods = Arc::new(Self {
            context: Arc::clone(context),
            informer: Informer::start(api, selection, token.clone()),
            inboxes: Mutex::new(HashMap::new()),
            statics: watch::Sender::new(None),
            token: token.clone(),
        });
        let told = Arc::downgrade(&pods);
        pods.informer.on_event(move |delta| {
            if let Some(pods) = told.upgrade() {
                pods.tell(delta);
            }
        });
        let own = Arc::clone(&pods);
        statics::follow(&context.config.static_pods, &context.node_name, token, move |found| own.set_statics(found));
        let woken = Arc::clone(&pods);
        let wake = move |wake| woken.wake(&wake);
        tokio::spawn(follow(context.runtime.clone(), Arc::clone(&context.metrics), token.clone(), wake));
        tokio::spawn(orphans::sweep(Arc::clone(&pods)));
        pods
    }

    /// All pods of the node, by their newest known state; static ones by what the node itself knows.
    pub(crate) fn list(&self) -> Vec<Arc<Pod>> {
        let mut pods = self.informer.store().list();
        pods.retain(|pod| !statics::is_mirror(pod));
        pods.extend(self.statics.borrow().iter().flat_map(BTreeMap::values).cloned());
        pods
    }

    /// A pod by its name.
    pub(crate) fn find(&self, namespace: &str, name: &str) -> Option<Arc<Pod>> {
        let key = ObjectKey::new(namespace, name);
        let own = self.statics.borrow().iter().flat_map(BTreeMap::values).find(|pod| ObjectKey::of(pod.as_ref()) == key).cloned();
        own.or_else(|| self.informer.store().get(&key))
    }

    fn tell(self: &Arc<Self>, delta: &Delta<Pod>) {
        let pod = delta.object();
        if statics::is_mirror(pod) {
            self.context.mirrors.note(pod, !delta.is_deleted());
            self.drop_mirrors();
            return;
        }
        let pod = &statics::of_the_api(pod);
        let mut inboxes = self.inboxes.lock();
        match (inboxes.get(uid(pod)), delta.is_deleted()) {
            (Some(inbox), true) => inbox.gone(Arc::clone(pod)),
            (Some(inbox), false) => inbox.update(Arc::clone(pod)),
            // It ended before it was seen; a trace of it in the runtime is an orphan.
            (None, true) => {}
            (None, false) => self.begin(&mut inboxes, pod),
        }
        drop(inboxes);
        if delta.old().is_none() {
            self.weigh();
        }
    }

    /// Starts the task of a pod.
    fn begin(self: &Arc<Self>, inboxes: &mut Inboxes, pod: &Arc<Pod>) {
        let id = uid(pod).to_owned();
        let inbox = Arc::new(Inbox::new(Arc::clone(pod)));
        inboxes.insert(id.clone(), Arc::clone(&inbox));
        let worker = Worker::new(Arc::clone(&self.context), inbox);
        let pods = Arc::clone(self);
        tokio::spawn(async move {
            let token = pods.token.clone();
            token.run_until_cancelled(worker.run()).await;
            pods.inboxes.lock().remove(&id);
            if !token.is_cancelled() {
                // Another static pod may have waited for its name.
                pods.begin_statics();
                // Its mirror may have come so late that nobody took it away.
                pods.drop_mirrors();
                pods.weigh();
            }
        });
    }

    /// Takes what the sources of static pods have now.
    fn set_statics(self: &Arc<Self>, found: BTreeMap<String, Arc<Pod>>) {
        // Under the lock, so that no task of a pod begins that is already gone.
        let inboxes = self.inboxes.lock();
        let before = self.statics.send_replace(Some(found.clone())).unwrap_or_default();
        // One that says something else under the same uid is another one: it begins when this one has ended.
        let stays = |id: &String, pod: &Pod| found.get(id).is_some_and(|new| statics::is_same(pod, new));
        for (id, pod) in before.iter().filter(|(id, pod)| !stays(id, pod)) {
            if let Some(inbox) = inboxes.get(id) {
                inbox.gone(Arc::clone(pod));
            }
        }
        drop(inboxes);
        self.begin_statics();
        self.drop_mirrors();
        self.weigh();
    }

    /// Starts the static pods that have no task, unless one of the same name has not ended yet.
    fn begin_statics(self: &Arc<Self>) {
        let mut inboxes = self.inboxes.lock();
        let statics = self.statics.borrow().clone().unwrap_or_default();
        for (id, pod) in &statics {
            let key = ObjectKey::of(pod.as_ref());
            let taken = |other: &Arc<Inbox>| {
                let (other, _) = other.get();
                statics::is_static(&other) && ObjectKey::of(other.as_ref()) == key
            };
            if !inboxes.contains_key(id) && !inboxes.values().any(taken) {
                self.begin(&mut inboxes, pod);
            }
        }
    }

    /// Removes the mirrors of static pods that this node does not have, once it is known which it has.
    fn drop_mirrors(&self) {
        let inboxes = self.inboxes.lock();
        let Some(statics) = self.statics.borrow().clone() else { return };
        let ending = inboxes.values().map(|inbox| inbox.get().0).filter(|pod| statics::is_static(pod));
        let kept: Vec<ObjectKey> = statics.values().cloned().chain(ending).map(|pod| ObjectKey::of(pod.as_ref())).collect();
        drop(inboxes);
        for mirror in self.context.mirrors.list() {
            if !kept.contains(&ObjectKey::of(mirror.as_ref())) {
                let removal = mirror::drop_orphan(Arc::clone(&self.context), mirror);
                tokio::spawn(self.token.clone().run_until_cancelled_owned(removal));
            }
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
            .fold(0, i64::saturating_add);
        drop(inboxes);
        self.context.cgroups.weigh_burstable(shares.max(2));
    }
}
