//! How often probes said what, for `/metrics/probes`.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;
use parking_lot::Mutex;

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

/// Pod uid, container, probe and result.
type Key = (String, String, &'static str, &'static str);

/// All counts.
#[derive(Debug, Default)]
pub(crate) struct Counts(Mutex<BTreeMap<Key, Counted>>);

impl Counts {
    /// Counts one check.
    pub(crate) fn add(&self, pod: &Pod, container: &str, kind: &'static str, good: bool) {
        let result = if good { "successful" } else { "failed" };
        let uid = crate::pod::uid(pod);
        let mut counts = self.0.lock();
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

    /// Forgets a pod.
    pub(crate) fn forget(&self, uid: &str) {
        self.0.lock().retain(|(pod, ..), _| pod != uid);
    }

    /// All counts.
    pub(crate) fn snapshot(&self) -> Vec<Counted> {
        self.0.lock().values().cloned().collect()
    }
}
