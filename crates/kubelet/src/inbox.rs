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
}

impl Inbox {
    /// The inbox of a pod.
    pub(crate) fn new(pod: Arc<Pod>) -> Self {
        Self { state: Mutex::new(State { pod, gone: false }), notify: Notify::new() }
    }

    /// A new state of the pod in the API.
    pub(crate) fn update(&self, pod: Arc<Pod>) {
        self.state.lock().pod = pod;
        self.wake();
    }

    /// The pod is no longer in the API; `pod` is its last state.
    pub(crate) fn gone(&self, pod: Arc<Pod>) {
        *self.state.lock() = State { pod, gone: true };
        self.wake();
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
