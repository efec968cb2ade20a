//! What stays behind: dead containers, then everything of a pod that has ended.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use corten_client::events::EventType::Warning;
use k8s_openapi::api::core::v1::Pod;
use tonic::Status;

use super::Worker;
use crate::context::Context;
use crate::metrics::families;
use crate::pod::{full_name, sandbox};
use crate::runtime::labels;
use crate::runtime::view::{ContainerView, PodView, State};
use crate::volume::VolumeError;
use crate::volume::set::remove_pod_dir;

impl Worker {
    /// Gives volumes and cgroups of an ended pod back; false if it has to be tried again.
    pub(super) async fn release(&mut self, pod: &Pod) -> bool {
        let (context, volumes) = (Arc::clone(&self.context), Arc::clone(&self.storage.volumes));
        let uid = self.uid.clone();
        let work = move || {
            volumes.unmount()?;
            let began = Instant::now();
            context.cgroups.remove(&uid);
            context.metrics.time(&families::CGROUP_DURATION, &["destroy"], began.elapsed());
            Ok::<_, VolumeError>(())
        };
        let failure = match tokio::task::spawn_blocking(work).await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(error) => Some(error.to_string()),
        };
        if let Some(text) = failure {
            self.context.event(pod, Warning, "FailedUnMount", &text);
            return false;
        }
        self.context.images.forget(&self.uid);
        self.context.probes.forget(&self.uid);
        true
    }

    /// Removes everything of a pod that is gone: containers, sandboxes, directories.
    pub(super) async fn forget(&self, pod: &Pod, view: &PodView) -> Result<(), Status> {
        let runtime = &self.context.runtime;
        for container in &view.containers {
            runtime.remove_container(&container.id).await?;
        }
        for sandbox in &view.sandboxes {
            runtime.remove_sandbox(&sandbox.id).await?;
        }
        let (context, uid, pod) = (Arc::clone(&self.context), self.uid.clone(), pod.clone());
        let removed = tokio::task::spawn_blocking(move || remove_remains(&context, &uid, &pod));
        removed.await.map_err(|error| Status::internal(error.to_string()))
    }

    /// Removes dead containers but the last of each name, and sandboxes that nothing needs.
    pub(super) async fn collect_garbage(&self, view: &PodView) {
        let runtime = &self.context.runtime;
        for container in superfluous(view, self.memory.starting.as_deref()) {
            match runtime.remove_container(&container.id).await {
                Ok(()) => {
                    remove_logs(Path::new(&container.log_path));
                    if let Some(file) = container.annotations.get(labels::TERMINATION_FILE) {
                        // Its message is in the status; the directory goes with the pod.
                        let _ = fs::remove_file(file).ok();
                    }
                }
                Err(status) => {
                    tracing::warn!(%status, container = container.id, "removing a dead container");
                }
            }
        }
        let used: HashSet<&str> = view.containers.iter().map(|c| c.sandbox.as_str()).collect();
        for sandbox in view.sandboxes.iter().skip(1) {
            let stopped = self.memory.stopped_sandboxes.contains(&sandbox.id);
            if sandbox.ready || !stopped || used.contains(sandbox.id.as_str()) {
                continue;
            }
            if let Err(status) = runtime.remove_sandbox(&sandbox.id).await {
                tracing::warn!(%status, sandbox = sandbox.id, "removing an old sandbox");
            }
        }
    }
}

/// Removes what is left of a pod outside the runtime.
fn remove_remains(context: &Context, uid: &str, pod: &Pod) {
    context.cgroups.remove(uid);
    if let Err(error) = remove_pod_dir(&context.pod_dir(uid)) {
        tracing::warn!(%error, pod = %full_name(pod), "removing a pod's directory");
    }
    let logs = sandbox::log_directory(&context.pod_log_dir, pod);
    match fs::remove_dir_all(&logs) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(%error, path = %logs.display(), "removing a pod's logs");
        }
        _ => {}
    }
}

/// Dead containers beyond the newest of each name. The last one is kept for its log and status.
fn superfluous<'a>(view: &'a PodView, starting: Option<&str>) -> Vec<&'a ContainerView> {
    let mut kept: HashMap<&str, usize> = HashMap::new();
    view.containers
        .iter()
        .filter(|c| match c.state {
            State::Exited => true,
            State::Created => starting != Some(c.name.as_str()),
            State::Running | State::Unknown => false,
        })
        .filter(|c| {
            let count = kept.entry(&c.name).or_default();
            *count += 1;
            *count > 1
        })
        .collect()
}

/// Removes a container's log with its rotated parts.
fn remove_logs(path: &Path) {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name().and_then(|n| n.to_str())) else {
        return;
    };
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let found = entry.file_name();
        let Some(found) = found.to_str() else { continue };
        let rotated = found.strip_prefix(name).is_some_and(|r| r.starts_with('.'));
        if (found == name || rotated)
            && let Err(error) = fs::remove_file(entry.path())
        {
            tracing::warn!(%error, path = %entry.path().display(), "removing a log");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_dead_container_of_each_name_is_kept() {
        let container = |name: &str, count: u32, state| ContainerView {
            id: format!("{name}{count}"),
            name: name.into(),
            created_at: i64::from(count),
            state,
            ..ContainerView::default()
        };
        let view = PodView {
            containers: vec![
                container("a", 0, State::Exited),
                container("a", 1, State::Exited),
                container("a", 2, State::Running),
                container("b", 0, State::Exited),
                container("c", 0, State::Exited),
                container("c", 1, State::Created),
            ],
            ..PodView::default()
        }
        .sorted();
        let ids = |starting| -> Vec<&str> {
            let mut ids: Vec<_> = superfluous(&view, starting).iter().map(|c| c.id.as_str()).collect();
            ids.sort_unstable();
            ids
        };
        assert_eq!(ids(None), ["a0", "c0"]);
        assert_eq!(ids(Some("c")), ["a0"]);
    }

    #[test]
    fn rotated_logs_go_with_their_container() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["1.log", "1.log.20260101-000000", "10.log"] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        remove_logs(&dir.path().join("1.log"));
        let left: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(left, ["10.log"]);
    }
}
