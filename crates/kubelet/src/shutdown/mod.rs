//! The machine goes down: pods end in order of their priority while systemd-logind waits for the kubelet.
//!
//! <https://kubernetes.io/docs/concepts/cluster-administration/node-shutdown/#graceful-node-shutdown>

mod bus;
mod logind;
mod order;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use corten_client::Backoff;
use corten_client::events::EventType;
use k8s_openapi::api::core::v1::ObjectReference;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::admit::Registry;
use crate::context::Context;
use crate::inbox::Eviction;
use crate::metrics::{Metrics, families};
use logind::{Logind, LogindError, Places};

pub use order::Class;

/// What pods are told that end for this.
const MESSAGE: &str = "Pod was terminated in response to imminent node shutdown.";
/// Pauses before logind is looked for again: it does not say when it is there.
const RETRY: Duration = Duration::from_secs(1);
const LONGEST_RETRY: Duration = Duration::from_secs(60);

/// Whether the machine goes down.
#[derive(Debug, Default)]
pub(crate) struct Shutdown {
    now: AtomicBool,
    changed: Notify,
}

impl Shutdown {
    /// Whether it does.
    pub(crate) fn now(&self) -> bool {
        self.now.load(Ordering::Relaxed)
    }

    /// Waits until that changes.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    fn set(&self, now: bool) {
        if self.now.swap(now, Ordering::Relaxed) != now {
            self.changed.notify_one();
        }
    }
}

/// Follows logind until `token` is cancelled, if pods are to be ended when the machine goes down.
pub(crate) async fn keep(context: Arc<Context>, bus: PathBuf, token: CancellationToken) {
    let places = Places { bus, drop_ins: PathBuf::from("/etc/systemd/logind.conf.d") };
    let node = ObjectReference {
        kind: Some("Node".to_owned()),
        name: Some(context.node_name.clone()),
        // Events of nodes have the name for a uid, as the reference's do.
        uid: Some(context.node_name.clone()),
        ..ObjectReference::default()
    };
    let recorder = context.recorder.clone();
    let said = move || recorder.event_for(node.clone(), EventType::Normal, "NodeShutdown", "Shutdown manager detected shutdown event");
    let manager = Manager {
        classes: &context.config.shutdown,
        state: &context.shutdown,
        pods: &context.admission,
        said: &said,
        metrics: &context.metrics,
    };
    token.run_until_cancelled(manager.run(&places)).await;
}

/// What the manager works on.
struct Manager<'a> {
    classes: &'a [Class],
    state: &'a Shutdown,
    pods: &'a Registry,
    said: &'a (dyn Fn() + Send + Sync),
    metrics: &'a Metrics,
}

impl Manager<'_> {
    async fn run(&self, places: &Places) {
        if self.classes.is_empty() {
            return;
        }
        let needed = self.classes.iter().fold(Duration::ZERO, |sum, class| sum.saturating_add(class.grace));
        let mut backoff = Backoff::new(RETRY, LONGEST_RETRY);
        loop {
            let ended = match Logind::open(places, needed).await {
                Ok(mut logind) => {
                    backoff.reset();
                    self.follow(&mut logind).await
                }
                Err(error) => error,
            };
            tracing::warn!(error = %ended, "systemd-logind does not tell when the machine goes down");
            backoff.wait().await;
        }
    }

    /// Does what logind's signals ask for, until it is gone.
    async fn follow(&self, logind: &mut Logind) -> LogindError {
        // What was said while nobody listened: a bus that broke off in between has not called it off, nor begun it.
        if logind.began && !self.state.now() {
            self.go_down(logind).await;
        } else if !logind.began {
            self.state.set(false);
        }
        loop {
            match logind.shutdown().await {
                Ok(true) => self.go_down(logind).await,
                Ok(false) => {
                    // It does not after all: the next time there must be a lock again.
                    self.state.set(false);
                    if let Err(error) = logind.lock().await {
                        return error;
                    }
                }
                Err(error) => return error,
            }
        }
    }

    async fn go_down(&self, logind: &mut Logind) {
        tracing::info!("the machine goes down: ending pods");
        self.state.set(true);
        (self.said)();
        self.metrics.set(&families::SHUTDOWN_START, &[], crate::metrics::now());
        self.end_pods().await;
        self.metrics.set(&families::SHUTDOWN_END, &[], crate::metrics::now());
        logind.release();
    }

    /// Ends the pods class by class; none waits longer for another than that class's time.
    async fn end_pods(&self) {
        for step in order::steps(self.classes, &self.pods.pods()) {
            for (uid, grace) in &step.pods {
                self.pods.evict(uid, eviction(*grace));
            }
            let uids: Vec<&str> = step.pods.iter().map(|(uid, _)| uid.as_str()).collect();
            if tokio::time::timeout(step.grace, self.pods.until_gone(&uids)).await.is_err() {
                tracing::warn!(seconds = step.grace.as_secs(), "pods have not ended in their time before the machine goes down");
            }
        }
    }
}

fn eviction(grace: i64) -> Eviction {
    Eviction {
        reason: "Terminated".to_owned(),
        message: MESSAGE.to_owned(),
        grace: Some(grace),
        disruption: Some(MESSAGE.to_owned()),
        event: None,
        signal: None,
    }
}

#[cfg(test)]
mod tests;
