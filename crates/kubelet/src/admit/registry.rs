//! The pods that have a place on the node.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use k8s_openapi::api::core::v1::Pod;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{NodeFacts, Rejection, check, is_critical, preempt};
use crate::inbox::{Eviction, Inbox};
use crate::metrics::{Metrics, families};

/// What became of a pod's wish to run here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    Admitted,
    Rejected(Rejection),
    /// Others make room for it; it is woken when they are gone.
    Wait,
}

struct Place {
    pod: Arc<Pod>,
    inbox: Weak<Inbox>,
    /// It is being preempted.
    leaving: bool,
}

/// All places, by uid.
#[derive(Default)]
pub(crate) struct Registry {
    places: Mutex<BTreeMap<String, Place>>,
    waiting: Mutex<Vec<Weak<Inbox>>>,
    released: Notify,
    metrics: Arc<Metrics>,
}

impl Registry {
    /// No places yet; who is preempted is counted.
    pub(crate) fn counting(metrics: &Arc<Metrics>) -> Self {
        Self { metrics: Arc::clone(metrics), ..Self::default() }
    }

    /// Gives a pod its place without asking: it runs already.
    pub(crate) fn keep(&self, pod: &Arc<Pod>, inbox: &Arc<Inbox>) {
        let place = Place { pod: Arc::clone(pod), inbox: Arc::downgrade(inbox), leaving: false };
        self.places.lock().insert(crate::pod::uid(pod).to_owned(), place);
    }

    /// Decides about a pod, and gives it its place if it may run. A critical pod that finds no room gets it from others.
    pub(crate) fn admit(&self, pod: &Arc<Pod>, inbox: &Arc<Inbox>, node: &NodeFacts) -> Decision {
        let mut places = self.places.lock();
        let others: Vec<Arc<Pod>> =
            places.values().filter(|p| crate::pod::uid(&p.pod) != crate::pod::uid(pod)).map(|p| Arc::clone(&p.pod)).collect();
        let rejection = match check(pod, &others, node) {
            Ok(()) => {
                let place = Place { pod: Arc::clone(pod), inbox: Arc::downgrade(inbox), leaving: false };
                places.insert(crate::pod::uid(pod).to_owned(), place);
                return Decision::Admitted;
            }
            Err(rejection) => rejection,
        };
        if !is_critical(pod) || rejection.missing.is_empty() {
            return Decision::Rejected(rejection);
        }
        let staying: Vec<Arc<Pod>> = places.values().filter(|p| !p.leaving).map(|p| Arc::clone(&p.pod)).collect();
        let left = check(pod, &staying, node).err().map(|r| r.missing).unwrap_or_default();
        let victims = match preempt::victims(pod, &staying, &left) {
            Ok(victims) => victims,
            Err(unmet) => return Decision::Rejected(Rejection::unmet(&unmet)),
        };
        self.waiting.lock().push(Arc::downgrade(inbox));
        for victim in victims {
            if let Some(place) = places.get_mut(crate::pod::uid(&victim)) {
                place.leaving = true;
                // Counted once, by the first thing that was missing, as the reference does.
                self.metrics.count(&families::PREEMPTIONS, &[left.keys().next().map_or("", String::as_str)]);
                if let Some(inbox) = place.inbox.upgrade() {
                    inbox.evict(Eviction::preempted());
                }
            }
        }
        Decision::Wait
    }

    /// What the node has beside a pod.
    pub(crate) fn others(&self, uid: &str) -> Vec<Arc<Pod>> {
        self.places.lock().iter().filter(|(other, _)| *other != uid).map(|(_, place)| Arc::clone(&place.pod)).collect()
    }

    /// Notes that a pod's requests have changed.
    pub(crate) fn update(&self, pod: &Arc<Pod>) {
        if let Some(place) = self.places.lock().get_mut(crate::pod::uid(pod)) {
            place.pod = Arc::clone(pod);
        }
        self.tell();
    }

    /// Takes a place back: the pod has ended.
    pub(crate) fn release(&self, uid: &str) {
        if self.places.lock().remove(uid).is_some() {
            self.tell();
            self.released.notify_waiters();
        }
    }

    /// Waits until none of these pods has a place.
    pub(crate) async fn until_gone(&self, uids: &[&str]) {
        loop {
            let mut released = std::pin::pin!(self.released.notified());
            // From here on nothing is missed.
            released.as_mut().enable();
            if !uids.iter().any(|uid| self.places.lock().contains_key(*uid)) {
                return;
            }
            released.await;
        }
    }

    /// Wakes a pod when room becomes free.
    pub(crate) fn wait(&self, inbox: &Arc<Inbox>) {
        self.waiting.lock().push(Arc::downgrade(inbox));
    }

    /// All pods that have a place.
    pub(crate) fn pods(&self) -> Vec<Arc<Pod>> {
        self.places.lock().values().map(|place| Arc::clone(&place.pod)).collect()
    }

    /// Those of them that nobody has told to go.
    pub(crate) fn staying(&self) -> Vec<Arc<Pod>> {
        let goes = |place: &&Place| place.leaving || place.inbox.upgrade().is_none_or(|inbox| inbox.eviction().is_some());
        self.places.lock().values().filter(|place| !goes(place)).map(|place| Arc::clone(&place.pod)).collect()
    }

    /// Tells a pod to go; false if it is not here.
    pub(crate) fn evict(&self, uid: &str, eviction: Eviction) -> bool {
        let inbox = self.places.lock().get(uid).and_then(|place| place.inbox.upgrade());
        inbox.is_some_and(|inbox| {
            inbox.evict(eviction);
            true
        })
    }

    fn tell(&self) {
        for inbox in std::mem::take(&mut *self.waiting.lock()) {
            if let Some(inbox) = inbox.upgrade() {
                inbox.wake();
            }
        }
    }
}
