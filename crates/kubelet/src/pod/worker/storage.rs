//! The pod's volumes over time: made ready once, then kept up to date.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;

use crate::volume::set::{MountError, Volumes};

/// Pauses between attempts, as in the reference.
const RETRY: SignedDuration = SignedDuration::from_millis(500);
const LONGEST_RETRY: SignedDuration = SignedDuration::from_secs(122);

type Strings = Option<BTreeMap<String, String>>;

pub(super) struct Storage {
    pub(super) volumes: Arc<Volumes>,
    /// All have been mounted once.
    pub(super) ready: bool,
    busy: bool,
    failures: u32,
    retry_at: Option<Timestamp>,
    /// Changes of objects: seen, and written to the volumes.
    seen: u64,
    written: u64,
    /// Labels and annotations that the volumes show.
    shown: (Strings, Strings),
}

/// What the volumes need now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    Mount,
    Update,
}

impl Storage {
    pub(super) fn new(pod: &Pod, pod_dir: &Path) -> Self {
        Self {
            volumes: Arc::new(Volumes::new(pod, pod_dir)),
            ready: false,
            busy: false,
            failures: 0,
            retry_at: None,
            seen: 0,
            written: 0,
            shown: shown(pod),
        }
    }

    /// Notes the number of changes; true if there were any since the last call.
    pub(super) fn objects_changed(&mut self, changes: u64) -> bool {
        let changed = changes != self.seen;
        self.seen = changes;
        if changed {
            self.retry_at = None;
        }
        changed
    }

    /// What has to be done now; if something is given, it counts as begun.
    pub(super) fn need(&mut self, pod: &Pod, now: Timestamp) -> Option<Need> {
        if self.busy || self.retry_at.is_some_and(|at| at > now) {
            return None;
        }
        let need = if !self.ready {
            Need::Mount
        } else {
            let due = self.volumes.refresh_at().is_some_and(|at| at <= now);
            let changed = self.written != self.seen || self.shown != shown(pod);
            if !self.volumes.updates() || !(due || changed || self.failures > 0) {
                return None;
            }
            Need::Update
        };
        self.busy = true;
        self.written = self.seen;
        self.shown = shown(pod);
        Some(need)
    }

    /// When to look again.
    pub(super) fn wake_at(&self) -> Option<Timestamp> {
        if self.busy {
            return None;
        }
        if self.failures > 0 {
            return self.retry_at;
        }
        self.volumes.refresh_at()
    }

    /// Notes how it went; true if the failure is a new one.
    pub(super) fn done(&mut self, result: &Result<(), MountError>, now: Timestamp) {
        self.busy = false;
        match result {
            Ok(()) => {
                self.ready = true;
                self.failures = 0;
                self.retry_at = None;
            }
            Err(_) => {
                let pause = RETRY * 2_i32.saturating_pow(self.failures.min(12));
                self.failures = self.failures.saturating_add(1);
                self.retry_at = now.checked_add(pause.min(LONGEST_RETRY)).ok();
            }
        }
    }

    /// Whether an operation is under way.
    pub(super) fn busy(&self) -> bool {
        self.busy
    }

    /// The operation was lost.
    pub(super) fn lost(&mut self) {
        self.busy = false;
    }
}

fn shown(pod: &Pod) -> (Strings, Strings) {
    (pod.metadata.labels.clone(), pod.metadata.annotations.clone())
}
