//! Traces of pods that were deleted while nobody looked: containers, directories, cgroups.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tonic::Status;

use super::Pods;
use crate::context::Context;
use crate::metrics::families;
use crate::runtime::labels;
use crate::runtime::view::PodView;
use crate::volume::set::remove_pod_dir;

/// Pause while the runtime does not answer.
const RETRY: Duration = Duration::from_secs(1);
/// How often the node is searched: what a crash, a lost event or a failed removal has left is no event.
const PERIOD: Duration = Duration::from_secs(15);
/// Grace period of containers that do not carry one.
const GRACE: i64 = 30;

/// Waits for the first complete list of pods, then removes what belongs to none of them, from time to time.
/// Before that nothing is known to be an orphan: without an API server everything runs on.
pub(super) async fn sweep(pods: Arc<Pods>) {
    let token = pods.token.clone();
    let work = async {
        pods.informer.has_synced().await;
        // Its sender lives as long as the pods.
        let _ = pods.statics.subscribe().wait_for(Option::is_some).await;
        let context = &pods.context;
        loop {
            match Traces::find(context).await {
                // After the traces: a pod that came meanwhile has none among them, or is known.
                Ok(traces) => {
                    let (running, remains) = traces.orphans(&known(&pods));
                    clear(context, running, remains).await;
                }
                Err(status) => {
                    tracing::warn!(%status, "looking for orphaned pods");
                    tokio::time::sleep(RETRY).await;
                    continue;
                }
            }
            // What crashes leave behind tells nothing.
            tokio::time::sleep(PERIOD).await;
        }
    };
    token.run_until_cancelled(work).await;
}

async fn clear(context: &Arc<Context>, running: Vec<String>, remains: Vec<String>) {
    let removals = running.iter().map(|uid| async move {
        tracing::info!(uid, "removing an orphaned pod");
        context.metrics.count(&families::ORPHANED_PODS, &[]);
        if let Err(status) = remove(context, uid).await {
            tracing::warn!(%status, uid, "removing an orphaned pod");
        }
    });
    futures::future::join_all(removals).await;
    let context = Arc::clone(context);
    let removed = tokio::task::spawn_blocking(move || remains.iter().for_each(|uid| remove_remains(&context, uid)));
    if let Err(error) = removed.await {
        tracing::error!(%error, "removing what is left of orphaned pods");
    }
}

fn known(pods: &Pods) -> HashSet<String> {
    let listed = pods.list();
    let listed = listed.iter().map(|pod| crate::pod::uid(pod).to_owned());
    listed.chain(pods.inboxes.lock().keys().cloned()).collect()
}

/// The uids of pods that something was found of, at one moment.
#[derive(Default)]
struct Traces {
    /// In the runtime.
    runtime: HashSet<String>,
    /// Directories, logs and cgroups.
    remains: HashSet<String>,
}

impl Traces {
    async fn find(context: &Context) -> Result<Self, Status> {
        let runtime = &context.runtime;
        let sandboxes = runtime.list_sandboxes(HashMap::new()).await?;
        let containers = runtime.list_containers(HashMap::new()).await?;
        let labels = sandboxes.into_iter().map(|s| s.labels).chain(containers.into_iter().map(|c| c.labels));
        let mut remains = context.cgroups.uids();
        remains.extend(names(&context.root_dir.join("pods")));
        remains.extend(names(&context.pod_log_dir).filter_map(|name| log_owner(&name).map(str::to_owned)));
        Ok(Self { runtime: labels.filter_map(|mut labels| labels.remove(labels::POD_UID)).collect(), remains })
    }

    /// The uids of unknown pods: those that the runtime has, and those that only left something behind.
    fn orphans(self, known: &HashSet<String>) -> (Vec<String>, Vec<String>) {
        let Self { runtime, remains } = self;
        let remains = remains.into_iter().filter(|uid| !known.contains(uid) && !runtime.contains(uid)).collect();
        (runtime.into_iter().filter(|uid| !known.contains(uid)).collect(), remains)
    }
}

fn names(directory: &Path) -> impl Iterator<Item = String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned())
}

/// Whose logs a directory named `<namespace>_<name>_<uid>` holds.
fn log_owner(name: &str) -> Option<&str> {
    let mut parts = name.split('_');
    let (_, _, uid) = (parts.next()?, parts.next()?, parts.next()?);
    parts.next().is_none().then_some(uid)
}

async fn remove(context: &Arc<Context>, uid: &str) -> Result<(), Status> {
    let runtime = &context.runtime;
    let view: PodView = runtime.view(uid).await?;
    let stops = view.running().map(|c| runtime.stop_container(&c.id, c.grace_period.unwrap_or(GRACE)));
    futures::future::try_join_all(stops).await?;
    for sandbox in &view.sandboxes {
        runtime.stop_sandbox(&sandbox.id).await?;
    }
    for container in &view.containers {
        runtime.remove_container(&container.id).await?;
    }
    for sandbox in &view.sandboxes {
        runtime.remove_sandbox(&sandbox.id).await?;
    }
    let (context, uid) = (Arc::clone(context), uid.to_owned());
    let removed = tokio::task::spawn_blocking(move || remove_remains(&context, &uid));
    removed.await.map_err(|error| Status::internal(error.to_string()))
}

/// Removes what is left of a pod outside the runtime.
fn remove_remains(context: &Context, uid: &str) {
    context.cgroups.remove(uid);
    if let Err(error) = remove_pod_dir(&context.pod_dir(uid)) {
        tracing::warn!(%error, uid, "removing an orphaned pod's directory");
    }
    for name in names(&context.pod_log_dir).filter(|name| log_owner(name) == Some(uid)) {
        let path = context.pod_log_dir.join(name);
        if let Err(error) = fs::remove_dir_all(&path) {
            tracing::warn!(%error, path = %path.display(), "removing an orphaned pod's logs");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_nobody_knows_is_an_orphan() {
        let set = |uids: &[&str]| uids.iter().map(|uid| (*uid).to_owned()).collect::<HashSet<_>>();
        let traces = Traces { runtime: set(&["runs", "lost"]), remains: set(&["runs", "lost", "new", "old"]) };
        // One that was bound while the traces were taken is known by the time they are judged.
        let known = set(&["runs", "new", "elsewhere"]);
        assert_eq!(traces.orphans(&known), (vec!["lost".to_owned()], vec!["old".to_owned()]));
    }

    #[test]
    fn logs_tell_their_pod() {
        assert_eq!(log_owner("ns_name_uid"), Some("uid"));
        assert_eq!(log_owner("lost+found"), None);
        assert_eq!(log_owner("a_b_c_d"), None);
    }
}
