//! Traces of pods that were deleted while nobody looked: containers, directories, cgroups.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::sync::Arc;
use std::time::Duration;

use tonic::Status;

use super::Pods;
use crate::context::Context;
use crate::runtime::labels;
use crate::runtime::view::PodView;
use crate::volume::set::remove_pod_dir;

/// Pause while the runtime does not answer.
const RETRY: Duration = Duration::from_secs(1);
/// Grace period of containers that do not carry one.
const GRACE: i64 = 30;

/// Waits for the first complete list of pods, then removes what belongs to none of them.
/// Before that nothing is known to be an orphan: without an API server everything runs on.
pub(super) async fn sweep(pods: Arc<Pods>) {
    let token = pods.token.clone();
    let work = async {
        pods.informer.has_synced().await;
        let (context, known) = (&pods.context, known(&pods));
        let orphans = loop {
            match uids(context).await {
                Ok(uids) => break uids,
                Err(status) => tracing::warn!(%status, "looking for orphaned pods"),
            }
            tokio::time::sleep(RETRY).await;
        };
        for uid in orphans.difference(&known) {
            let (context, uid) = (Arc::clone(context), uid.clone());
            tokio::spawn(async move {
                tracing::info!(uid, "removing an orphaned pod");
                if let Err(status) = remove(&context, &uid).await {
                    tracing::warn!(%status, uid, "removing an orphaned pod");
                }
            });
        }
        let living = known.union(&orphans).cloned().collect();
        context.cgroups.retain(&living);
        remove_directories(context, &living);
    };
    token.run_until_cancelled(work).await;
}

fn known(pods: &Pods) -> HashSet<String> {
    let listed = pods.list();
    let listed = listed.iter().map(|pod| crate::pod::uid(pod).to_owned());
    listed.chain(pods.inboxes.lock().keys().cloned()).collect()
}

/// The uids of all pods in the runtime.
async fn uids(context: &Context) -> Result<HashSet<String>, Status> {
    let runtime = &context.runtime;
    let sandboxes = runtime.list_sandboxes(HashMap::new()).await?;
    let containers = runtime.list_containers(HashMap::new()).await?;
    let labels = sandboxes.into_iter().map(|s| s.labels);
    Ok(labels.chain(containers.into_iter().map(|c| c.labels)).filter_map(|mut labels| labels.remove(labels::POD_UID)).collect())
}

async fn remove(context: &Context, uid: &str) -> Result<(), Status> {
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
    context.cgroups.remove(uid);
    if let Err(error) = remove_pod_dir(&context.pod_dir(uid)) {
        tracing::warn!(%error, uid, "removing an orphaned pod's directory");
    }
    remove_logs(context, |owner| owner == uid);
    Ok(())
}

/// Removes directories of pods that are neither known nor in the runtime.
fn remove_directories(context: &Context, living: &HashSet<String>) {
    let directory = context.root_dir.join("pods");
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !living.contains(&name)
            && let Err(error) = remove_pod_dir(&entry.path())
        {
            tracing::warn!(%error, uid = name, "removing an orphaned pod's directory");
        }
    }
    remove_logs(context, |uid| !living.contains(uid));
}

/// Removes the logs of pods by their uid, the last part of `<namespace>_<name>_<uid>`.
fn remove_logs(context: &Context, condemned: impl Fn(&str) -> bool) {
    for entry in fs::read_dir(&context.pod_log_dir).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let uid = name.rsplit('_').next().unwrap_or_default();
        if name.split('_').count() == 3
            && condemned(uid)
            && let Err(error) = fs::remove_dir_all(entry.path())
        {
            tracing::warn!(%error, path = %entry.path().display(), "removing an orphaned pod's logs");
        }
    }
}
