//! How often probes said what, and how long they took, for `/metrics/probes`.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use parking_lot::Mutex;

use crate::metrics::families::DEFAULT;
use crate::metrics::page::Histogram;

/// One count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Counted {
    pub(crate) container: String,
    pub(crate) namespace: String,
    pub(crate) pod: String,
    pub(crate) pod_uid: String,
    pub(crate) kind: &'static str,
    pub(crate) result: &'static str,
    pub(crate) count: u64,
}

/// How long the checks of one probe took.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Timed {
    pub(crate) container: String,
    pub(crate) namespace: String,
    pub(crate) pod: String,
    pub(crate) kind: &'static str,
    /// In seconds.
    pub(crate) times: Histogram,
}

/// Pod uid, container, probe and result.
type Key = (String, String, &'static str, &'static str);

/// All counts.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    counted: Mutex<BTreeMap<Key, Counted>>,
    timed: Mutex<BTreeMap<(String, String, &'static str), Timed>>,
}

impl Counts {
    /// Counts one check.
    pub(crate) fn add(&self, pod: &Pod, container: &str, kind: &'static str, good: bool, took: Duration) {
        let result = if good { "successful" } else { "failed" };
        let uid = crate::pod::uid(pod);
        self.time(pod, container, kind, took.as_secs_f64());
        let mut counts = self.counted.lock();
        let counted = counts.entry((uid.to_owned(), container.to_owned(), kind, result)).or_insert_with(|| Counted {
            container: container.to_owned(),
            namespace: crate::pod::namespace(pod).to_owned(),
            pod: crate::pod::name(pod).to_owned(),
            pod_uid: uid.to_owned(),
            kind,
            result,
            count: 0,
        });
        counted.count += 1;
    }

    fn time(&self, pod: &Pod, container: &str, kind: &'static str, seconds: f64) {
        let mut all = self.timed.lock();
        let timed = all.entry((crate::pod::uid(pod).to_owned(), container.to_owned(), kind)).or_insert_with(|| Timed {
            container: container.to_owned(),
            namespace: crate::pod::namespace(pod).to_owned(),
            pod: crate::pod::name(pod).to_owned(),
            kind,
            times: Histogram::new(&DEFAULT),
        });
        timed.times.observe(seconds);
    }

    /// Forgets a pod.
    pub(crate) fn forget(&self, uid: &str) {
        self.counted.lock().retain(|(pod, ..), _| pod != uid);
        self.timed.lock().retain(|(pod, ..), _| pod != uid);
    }

    /// All counts.
    pub(crate) fn snapshot(&self) -> Vec<Counted> {
        self.counted.lock().values().cloned().collect()
    }

    /// All durations.
    pub(crate) fn durations(&self) -> Vec<Timed> {
        self.timed.lock().values().cloned().collect()
    }
}
