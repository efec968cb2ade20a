//! Static pods: those that the node has by itself, from a directory or from a URL. The API has only mirrors of them.
//!
//! <https://kubernetes.io/docs/tasks/configure-pod-container/static-pod/>

mod directory;
pub(crate) mod mirror;
mod read;
mod url;
mod watch;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

/// The hash of the pod that a mirror is of.
pub(crate) const MIRROR: &str = "kubernetes.io/config.mirror";
/// The hash of a static pod, which is also its uid unless that is given.
pub(crate) const HASH: &str = "kubernetes.io/config.hash";
/// Where a pod comes from: `file`, `http`; `api` for all others.
pub(crate) const SOURCE: &str = "kubernetes.io/config.source";
/// When it was first seen.
const SEEN: &str = "kubernetes.io/config.seen";

/// Where static pods come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sources {
    /// A directory of manifests, or one manifest.
    pub path: Option<PathBuf>,
    /// Where a manifest or a list of pods is served.
    pub url: Option<String>,
    /// Headers of requests to it.
    pub headers: Vec<(String, String)>,
    /// How often the directory is read even if nothing is heard of it.
    pub file_interval: Duration,
    /// How often the URL is asked: a server tells nothing by itself.
    pub url_interval: Duration,
}

impl Default for Sources {
    fn default() -> Self {
        let interval = Duration::from_secs(20);
        Self { path: None, url: None, headers: Vec::new(), file_interval: interval, url_interval: interval }
    }
}

/// Whether a pod comes from the node itself: the API only has its mirror.
pub(crate) fn is_static(pod: &Pod) -> bool {
    annotation(pod, SOURCE).is_some_and(|source| source != "api")
}

/// Whether a pod of the API is the mirror of a static one.
pub(crate) fn is_mirror(pod: &Pod) -> bool {
    annotation(pod, MIRROR).is_some()
}

/// A pod as the API has it, which is not static whatever it says of itself: that would make it critical.
pub(crate) fn of_the_api(pod: &Arc<Pod>) -> Arc<Pod> {
    if !is_static(pod) {
        return Arc::clone(pod);
    }
    let mut pod = Pod::clone(pod);
    pod.metadata.annotations.get_or_insert_default().remove(SOURCE);
    Arc::new(pod)
}

/// Whether two static pods are of the same content.
pub(crate) fn is_same(one: &Pod, other: &Pod) -> bool {
    annotation(one, HASH) == annotation(other, HASH)
}

fn annotation<'a>(pod: &'a Pod, name: &str) -> Option<&'a str> {
    pod.metadata.annotations.as_ref()?.get(name).map(String::as_str)
}

/// The pods of all sources, by uid.
type Pods = BTreeMap<String, Arc<Pod>>;

/// Puts together what the sources have, and tells the whole.
struct Union<T> {
    /// By source: `None` until it was read for the first time.
    found: Mutex<BTreeMap<&'static str, Option<Pods>>>,
    told: T,
}

impl<T: Fn(Pods)> Union<T> {
    /// What a source has now. Nothing is told before all of them have been read: a pod must not end because a source is late.
    fn set(&self, source: &'static str, pods: Vec<Pod>) {
        let mut found = self.found.lock();
        let before = found.get(source).cloned().flatten().unwrap_or_default();
        let pods = pods.into_iter().map(|pod| {
            let uid = crate::pod::uid(&pod).to_owned();
            // One that stays keeps the time at which it was first seen.
            let same = before.get(&uid).filter(|old| is_same(old, &pod)).cloned();
            let pod = same.unwrap_or_else(|| Arc::new(pod));
            (uid, pod)
        });
        found.insert(source, Some(pods.collect()));
        if found.values().all(Option::is_some) {
            (self.told)(found.values().flatten().flatten().map(|(uid, pod)| (uid.clone(), Arc::clone(pod))).collect());
        }
    }
}

/// Follows the sources until `token` is cancelled; `told` gets all static pods each time.
pub(crate) fn follow(sources: &Sources, node: &str, token: &CancellationToken, told: impl Fn(Pods) + Send + Sync + 'static) {
    let names = [sources.path.as_ref().map(|_| "file"), sources.url.as_ref().map(|_| "http")];
    let found: BTreeMap<_, _> = names.into_iter().flatten().map(|name| (name, None)).collect();
    if found.is_empty() {
        told(Pods::new());
        return;
    }
    let union = Arc::new(Union { found: Mutex::new(found), told });
    if let Some(path) = sources.path.clone() {
        let (union, node, interval, token) = (Arc::clone(&union), node.to_owned(), sources.file_interval, token.clone());
        tokio::spawn(async move {
            token.run_until_cancelled(directory::follow(&path, &node, interval, |pods| union.set("file", pods))).await;
        });
    }
    if let Some(url) = sources.url.clone() {
        let (node, interval, token, headers) = (node.to_owned(), sources.url_interval, token.clone(), sources.headers.clone());
        tokio::spawn(async move {
            token.run_until_cancelled(url::follow(&url, &headers, &node, interval, |pods| union.set("http", pods))).await;
        });
    }
}

#[cfg(test)]
mod tests;
