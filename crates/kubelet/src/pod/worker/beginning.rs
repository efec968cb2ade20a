//! How long a pod takes to begin, for metrics.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;

use crate::metrics::{Metrics, families};
use crate::pod::plan::Memory;
use crate::runtime::view::{PodView, State};

/// What has been seen of it.
pub(super) struct Beginning {
    seen: Instant,
    /// It was looked at before.
    known: bool,
    /// It runs, or ran before anybody looked.
    over: bool,
    /// Milliseconds that images were waited for.
    pulling: Arc<AtomicU64>,
}

impl Default for Beginning {
    fn default() -> Self {
        Self { seen: Instant::now(), known: false, over: false, pulling: Arc::default() }
    }
}

impl Beginning {
    pub(super) fn pulling(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.pulling)
    }

    /// What the next look at the pod is called.
    pub(super) fn work(&self, memory: &Memory) -> &'static str {
        match (self.known, memory.ending.is_some()) {
            (false, _) => "create",
            (true, true) => "terminating",
            (true, false) => "sync",
        }
    }

    /// Notes what was seen, and tells once when all containers run.
    pub(super) fn look(&mut self, metrics: &Metrics, pod: &Pod, view: &PodView, now: Timestamp) {
        let first = !std::mem::replace(&mut self.known, true);
        if first {
            metrics.time(&families::POD_WORKER_START, &[], self.seen.elapsed());
        }
        let Some(spec) = pod.spec.as_ref().filter(|_| !self.over) else { return };
        let begun = |name: &str| view.newest(name).is_some_and(|c| c.state == State::Running || c.state == State::Exited);
        if !spec.containers.iter().all(|container| begun(&container.name)) {
            return;
        }
        self.over = true;
        if first {
            // Whoever adopts a pod has not started it.
            return;
        }
        metrics.time(&families::POD_START, &[], self.seen.elapsed());
        let Some(created) = pod.metadata.creation_timestamp.as_ref() else { return };
        let total = Duration::try_from(now.duration_since(created.0)).unwrap_or_default();
        metrics.time(&families::POD_START_TOTAL, &[], total);
        let initial = spec.init_containers.iter().flatten().filter_map(|container| {
            let done = view.newest(&container.name)?;
            Duration::try_from(done.finished_at?.duration_since(done.started_at?)).ok()
        });
        let pulling = Duration::from_millis(self.pulling.load(Ordering::Relaxed));
        let apart = initial.fold(pulling, Duration::saturating_add);
        metrics.time(&families::POD_START_SLI, &[], total.saturating_sub(apart));
    }
}
