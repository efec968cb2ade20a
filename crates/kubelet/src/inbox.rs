//! How a pod's task is woken.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use parking_lot::Mutex;
use tokio::sync::Notify;

/// What one pod's task is told: the newest pod, and that something happened. Events coalesce, so
/// an inbox never grows.
#[derive(Debug)]
pub(crate) struct Inbox {
    state: Mutex<State>,
    notify: Notify,
}

#[derive(Clone, Debug)]
struct State {
    pod: Arc<Pod>,
    gone: bool,
    eviction: Option<Eviction>,
}

/// The node ends a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Eviction {
    pub(crate) reason: String,
    pub(crate) message: String,
    /// Seconds; `None`: the pod's own.
    pub(crate) grace: Option<i64>,
    /// What the condition `DisruptionTarget` says, if it was no fault of the pod's.
    pub(crate) disruption: Option<String>,
    /// Reason and text of the event, if there is one.
    pub(crate) event: Option<(&'static str, String)>,
    /// What ran short, or which limit was broken, as metrics call it.
    pub(crate) signal: Option<&'static str>,
}

impl Eviction {
    /// A more important pod needs its place.
    pub(crate) fn preempted() -> Self {
        let words = "Preempted in order to admit critical pod".to_owned();
        Self {
            reason: "Preempting".to_owned(),
            message: words.clone(),
            grace: None,
            disruption: Some("Pod was preempted by Kubelet to accommodate a critical pod.".to_owned()),
            event: Some(("Preempting", words)),
            signal: None,
        }
    }
}

impl Inbox {
    /// The inbox of a pod.
    pub(crate) fn new(pod: Arc<Pod>) -> Self {
        Self { state: Mutex::new(State { pod, gone: false, eviction: None }), notify: Notify::new() }
    }

    /// A new state of the pod in the API.
    pub(crate) fn update(&self, pod: Arc<Pod>) {
        self.state.lock().pod = pod;
        self.wake();
    }

    /// The pod is no longer in the API; `pod` is its last state.
    pub(crate) fn gone(&self, pod: Arc<Pod>) {
        let mut state = self.state.lock();
        (state.pod, state.gone) = (pod, true);
        drop(state);
        self.wake();
    }

    /// The pod has to end; the first one to say so gives the reason, and whoever is in the greatest hurry the time.
    pub(crate) fn evict(&self, eviction: Eviction) {
        let mut state = self.state.lock();
        match &mut state.eviction {
            Some(first) => first.grace = first.grace.into_iter().chain(eviction.grace).min(),
            none => *none = Some(eviction),
        }
        drop(state);
        self.wake();
    }

    /// Why the node ends the pod, if it does.
    pub(crate) fn eviction(&self) -> Option<Eviction> {
        self.state.lock().eviction.clone()
    }

    /// Something happened: look again.
    pub(crate) fn wake(&self) {
        self.notify.notify_one();
    }

    /// The newest pod, and whether it is gone from the API.
    pub(crate) fn get(&self) -> (Arc<Pod>, bool) {
        let state = self.state.lock();
        (Arc::clone(&state.pod), state.gone)
    }

    /// Waits until something happens; what happened since the last wait counts.
    pub(crate) async fn woken(&self) {
        self.notify.notified().await;
    }
}
