//! Labels and annotations that tie sandboxes and containers to their pod.
//!
//! The names are the reference's, so that tools (`crictl`, log collectors) find their way and a
//! node can change its kubelet.

use std::collections::BTreeMap;
use std::hash::Hasher as _;

use k8s_openapi::api::core::v1::{Container, Pod};

pub(crate) const POD_NAME: &str = "io.kubernetes.pod.name";
pub(crate) const POD_NAMESPACE: &str = "io.kubernetes.pod.namespace";
pub(crate) const POD_UID: &str = "io.kubernetes.pod.uid";
pub(crate) const CONTAINER_NAME: &str = "io.kubernetes.container.name";
pub(crate) const HASH: &str = "io.kubernetes.container.hash";
pub(crate) const RESTART_COUNT: &str = "io.kubernetes.container.restartCount";
pub(crate) const TERMINATION_PATH: &str = "io.kubernetes.container.terminationMessagePath";
pub(crate) const TERMINATION_POLICY: &str = "io.kubernetes.container.terminationMessagePolicy";
pub(crate) const GRACE_PERIOD: &str = "io.kubernetes.pod.terminationGracePeriod";
/// Where the termination message is on the node; ours, since the runtime may not tell mounts.
pub(crate) const TERMINATION_FILE: &str = "corten.dev/termination-file";

/// A pod's uid, name and namespace.
pub(crate) fn of_pod(pod: &Pod) -> BTreeMap<String, String> {
    let meta = &pod.metadata;
    BTreeMap::from([
        (POD_NAME.to_owned(), meta.name.clone().unwrap_or_default()),
        (POD_NAMESPACE.to_owned(), meta.namespace.clone().unwrap_or_default()),
        (POD_UID.to_owned(), meta.uid.clone().unwrap_or_default()),
    ])
}

/// What of a container's definition makes it another container when it changes: name and image.
pub(crate) fn hash(container: &Container) -> String {
    let mut hasher = Fnv1a::default();
    hasher.write(container.name.as_bytes());
    hasher.write(&[0]);
    hasher.write(container.image.as_deref().unwrap_or_default().as_bytes());
    format!("{:x}", hasher.finish())
}

/// FNV-1a: stable between versions, unlike the standard library's hasher.
struct Fnv1a(u64);

impl Default for Fnv1a {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl std::hash::Hasher for Fnv1a {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}
