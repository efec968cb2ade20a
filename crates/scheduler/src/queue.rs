//! Pods that wait for a node.
//!
//! A pod is *active* when it should be tried now, in the order of priority and then of arrival. After a failed try it is
//! *unschedulable* until something changes that may help it; then it is active again, or *backing off* for a while if
//! it failed often. Backing off exists to let others go first: when nobody else is active, it is cut short. After
//! an error (of the API, not of the cluster's room) it is not.
//!
//! Time is passed in: nothing here waits.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use corten_client::ObjectKey;
use tokio::time::Instant;

use crate::pod::PodInfo;

const FIRST_BACKOFF: Duration = Duration::from_secs(1);
const LAST_BACKOFF: Duration = Duration::from_secs(10);

/// The plugins that rejected a pod.
pub(crate) type RejectedBy = BTreeSet<&'static str>;

/// A waiting pod.
struct Waiting {
    pod: Arc<PodInfo>,
    arrived: u64,
    attempts: u32,
    /// When the last try failed.
    failed: Option<Instant>,
    place: Place,
}

enum Place {
    Active,
    /// Until a time; whether that may be cut short.
    Backoff {
        until: Instant,
        strict: bool,
    },
    Unschedulable(RejectedBy),
    /// Until its gates are removed.
    Gated,
    /// Taken by [`Queue::next`].
    InWork,
}

type Order = (Reverse<i32>, u64, ObjectKey);

/// The queue.
#[derive(Default)]
pub(crate) struct Queue {
    pods: HashMap<ObjectKey, Waiting>,
    active: BTreeSet<Order>,
    backoff: BTreeMap<(Instant, u64), ObjectKey>,
    arrivals: u64,
}

impl Queue {
    /// Adds a pod, or takes note of its present state. A pod that could not be scheduled is tried again if its change may help.
    pub(crate) fn set(&mut self, pod: Arc<PodInfo>, now: Instant) {
        let key = pod.key.clone();
        let replaced = self.pods.get(&key).is_some_and(|waiting| waiting.pod.uid() != pod.uid());
        if replaced {
            self.remove(&key);
        }
        let Some(waiting) = self.pods.get_mut(&key) else {
            self.arrivals += 1;
            let place = Place::Gated;
            let waiting = Waiting { pod, arrived: self.arrivals, attempts: 0, failed: None, place };
            self.pods.insert(key.clone(), waiting);
            return self.ready(&key, now);
        };
        let differs = pod.differs(&waiting.pod);
        let order = waiting.order();
        waiting.pod = pod;
        match &waiting.place {
            // Its priority may be another.
            Place::Active => {
                let new = waiting.order();
                self.active.remove(&order);
                self.active.insert(new);
            }
            Place::Gated | Place::Unschedulable(_) if differs => self.ready(&key, now),
            Place::Gated | Place::Unschedulable(_) | Place::Backoff { .. } | Place::InWork => {}
        }
    }

    /// Forgets a pod: it is bound or gone.
    pub(crate) fn remove(&mut self, key: &ObjectKey) {
        if let Some(waiting) = self.pods.remove(key) {
            self.active.remove(&waiting.order());
            if let Place::Backoff { until, .. } = waiting.place {
                self.backoff.remove(&(until, waiting.arrived));
            }
        }
    }

    /// Whether a pod is waiting or in work.
    pub(crate) fn contains(&self, key: &ObjectKey) -> bool {
        self.pods.contains_key(key)
    }

    /// The next pod to try. It stays known, as in work, until it is [done](Self::done), [rejected](Self::reject) or
    /// [to be retried](Self::retry).
    pub(crate) fn next(&mut self, now: Instant) -> Option<Arc<PodInfo>> {
        while let Some((&(until, arrived), _)) = self.backoff.first_key_value()
            && until <= now
        {
            if let Some(key) = self.backoff.remove(&(until, arrived)) {
                self.activate(&key);
            }
        }
        if self.active.is_empty() {
            let idle = self
                .backoff
                .iter()
                .find(|(_, key)| self.pods.get(*key).is_some_and(|waiting| matches!(waiting.place, Place::Backoff { strict: false, .. })));
            if let Some((at, key)) = idle.map(|(at, key)| (*at, key.clone())) {
                self.backoff.remove(&at);
                self.activate(&key);
            }
        }
        let (_, _, key) = self.active.pop_first()?;
        let waiting = self.pods.get_mut(&key)?;
        waiting.place = Place::InWork;
        waiting.attempts = waiting.attempts.saturating_add(1);
        Some(Arc::clone(&waiting.pod))
    }

    /// When a pod becomes active that backs off now.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.backoff.first_key_value().map(|((until, _), _)| *until)
    }

    /// A pod in work is bound or gone.
    pub(crate) fn done(&mut self, pod: &PodInfo) {
        if self.in_work(pod).is_some() {
            self.remove(&pod.key);
        }
    }

    /// A pod in work found no node.
    pub(crate) fn reject(&mut self, pod: &PodInfo, rejected_by: RejectedBy, now: Instant) {
        if let Some(waiting) = self.in_work(pod) {
            waiting.failed = Some(now);
            waiting.place = Place::Unschedulable(rejected_by);
        }
    }

    /// A pod in work met an error: it is tried again after a while.
    pub(crate) fn retry(&mut self, pod: &PodInfo, now: Instant) {
        if let Some(waiting) = self.in_work(pod) {
            waiting.failed = Some(now);
            let until = now + backoff(waiting.attempts);
            waiting.place = Place::Backoff { until, strict: true };
            let at = (until, waiting.arrived);
            self.backoff.insert(at, pod.key.clone());
        }
    }

    /// Something changed: pods for which `worth` is true are tried again.
    pub(crate) fn reconsider(&mut self, now: Instant, worth: impl Fn(&PodInfo, &RejectedBy) -> bool) {
        let keys: Vec<ObjectKey> = self
            .pods
            .iter()
            .filter(|(_, waiting)| match &waiting.place {
                Place::Unschedulable(rejected_by) => worth(&waiting.pod, rejected_by),
                _ => false,
            })
            .map(|(key, _)| key.clone())
            .collect();
        for key in keys {
            self.ready(&key, now);
        }
    }

    /// The entry of a pod in work, if its name does not belong to another pod meanwhile.
    fn in_work(&mut self, pod: &PodInfo) -> Option<&mut Waiting> {
        let waiting = self.pods.get_mut(&pod.key)?;
        (matches!(waiting.place, Place::InWork) && waiting.pod.uid() == pod.uid()).then_some(waiting)
    }

    /// Makes a pod active, or lets it back off first, or leaves it at its gates.
    fn ready(&mut self, key: &ObjectKey, now: Instant) {
        let Some(waiting) = self.pods.get_mut(key) else { return };
        if waiting.pod.is_gated() {
            waiting.place = Place::Gated;
            return;
        }
        match waiting.failed.map(|failed| failed + backoff(waiting.attempts)) {
            Some(until) if until > now => {
                waiting.place = Place::Backoff { until, strict: false };
                self.backoff.insert((until, waiting.arrived), key.clone());
            }
            _ => self.activate(key),
        }
    }

    fn activate(&mut self, key: &ObjectKey) {
        if let Some(waiting) = self.pods.get_mut(key) {
            waiting.place = Place::Active;
            self.active.insert(waiting.order());
        }
    }
}

impl Waiting {
    fn order(&self) -> Order {
        (Reverse(self.pod.priority()), self.arrived, self.pod.key.clone())
    }
}

/// 1 s after the first try, doubled with each further one, at most 10 s.
fn backoff(attempts: u32) -> Duration {
    let doublings = attempts.saturating_sub(1).min(8);
    FIRST_BACKOFF.saturating_mul(1 << doublings).min(LAST_BACKOFF)
}

#[cfg(test)]
mod tests;
