//! Starting one container: image, environment, mounts, creation, start, postStart hook.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use corten_client::events::EventType::{Normal, Warning};
use corten_cri::v1;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Container, Pod, VolumeMount};
use tokio_util::sync::CancellationToken;

use super::env::{self, Environment, services};
use super::plan::{FailedStart, Waiting};
use super::security::Seccomp;
use super::{container, hooks, hosts, sandbox};
use crate::context::Context;
use crate::images;
use crate::metrics::families;
use crate::objects::PodObjects;
use crate::probe::check::Target;
use crate::runtime::request;
use crate::statics;
use crate::volume::set::{Means, Volumes};

/// Pause before a start that failed is tried again, if nothing wakes the pod earlier: the
/// reference's retry period of a pod's worker.
const RETRY: SignedDuration = SignedDuration::from_secs(10);

/// One container to start.
pub(crate) struct Start {
    pub(crate) context: Arc<Context>,
    pub(crate) pod: Arc<Pod>,
    pub(crate) container: Container,
    /// The container whose processes it shares.
    pub(crate) target: Result<Option<String>, String>,
    pub(crate) sandbox: String,
    pub(crate) sandbox_config: v1::PodSandboxConfig,
    /// `None`: found out from the logs that earlier ones left.
    pub(crate) restart_count: Option<u32>,
    pub(crate) addresses: Vec<String>,
    pub(crate) objects: Arc<PodObjects>,
    pub(crate) volumes: Arc<Volumes>,
    /// Milliseconds that images have been waited for.
    pub(crate) pulling: Arc<AtomicU64>,
    /// Cancelled when the pod has to end.
    pub(crate) cancel: CancellationToken,
}

/// A start did not succeed.
#[derive(Debug)]
pub(crate) enum StartError {
    /// It will be tried again.
    Failed(FailedStart),
    /// The pod ends.
    Cancelled,
}

impl Start {
    /// Does it.
    pub(crate) async fn run(self) -> Result<(), StartError> {
        // As the reference does, before it is known how it goes: what has failed is counted once more on its own.
        self.context.metrics.count(&families::STARTED_CONTAINERS, &[self.kind()]);
        let began = Instant::now();
        let images = self.cancel.run_until_cancelled(self.images()).await.ok_or(StartError::Cancelled)?;
        self.pulling.fetch_add(u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
        let (image, images) = images.map_err(|failed| {
            self.count_failure(&failed.waiting.reason);
            StartError::Failed(failed)
        })?;
        let config = self
            .cancel
            .run_until_cancelled(self.config(image, images))
            .await
            .ok_or(StartError::Cancelled)?
            .map_err(|text| self.failed("CreateContainerConfigError", text))?;
        let id = self.create(config).await?;
        self.start(&id).await?;
        self.post_start(&id).await
    }

    fn event(&self, reason: &str, message: &str) {
        self.context.container_event(&self.pod, &self.container, Normal, reason, message);
    }

    /// What metrics call a container of its list.
    fn kind(&self) -> &'static str {
        let named = |list: &Option<Vec<Container>>| list.iter().flatten().any(|c| c.name == self.container.name);
        let spec = self.pod.spec.as_ref();
        match spec {
            Some(spec) if named(&spec.init_containers) => "init_container",
            Some(spec) if super::ephemeral::named(spec, &self.container.name).is_some() => "ephemeral_container",
            _ => "container",
        }
    }

    fn count_failure(&self, reason: &str) {
        self.context.metrics.count(&families::STARTED_CONTAINERS_ERRORS, &[self.kind(), reason]);
    }

    /// The failure, reported.
    fn failed(&self, reason: &str, text: String) -> StartError {
        self.count_failure(reason);
        let message = format!("Error: {text}");
        self.context.container_event(&self.pod, &self.container, Warning, "Failed", &message);
        let now = Timestamp::now();
        StartError::Failed(FailedStart {
            waiting: Waiting { reason: reason.to_owned(), message: text },
            retry_at: now.saturating_add(RETRY).unwrap_or(now),
        })
    }

    /// The container's own image, and those of the volumes that it mounts.
    async fn images(&self) -> Result<(images::Ready, BTreeMap<String, String>), FailedStart> {
        let (context, pod) = (&self.context, &self.pod);
        let mut found = BTreeMap::new();
        for (name, source) in self.volumes.images(&self.container) {
            let wanted = images::Wanted {
                pod,
                container: None,
                image: source.reference.as_deref().unwrap_or_default(),
                policy: source.pull_policy.as_deref(),
            };
            let image = images::ensure(context, &wanted, &self.objects, &self.sandbox_config).await?;
            found.insert(name.to_owned(), image.reference);
        }
        let wanted = images::Wanted {
            pod,
            container: Some(&self.container),
            image: self.container.image.as_deref().unwrap_or_default(),
            policy: self.container.image_pull_policy.as_deref(),
        };
        Ok((images::ensure(context, &wanted, &self.objects, &self.sandbox_config).await?, found))
    }

    /// What the runtime can do for the mounts of the container; it is asked only if that matters.
    async fn means(&self, images: BTreeMap<String, String>) -> Result<Means, String> {
        let wants = |mount: &VolumeMount| matches!(mount.recursive_read_only.as_deref(), Some("Enabled" | "IfPossible"));
        let recursive = match self.container.volume_mounts.iter().flatten().any(wants) {
            true => self.context.runtime.recursive_read_only().await.map_err(|status| status.message().to_owned())?,
            false => false,
        };
        Ok(Means { images, recursive })
    }

    async fn config(&self, image: images::Ready, images: BTreeMap<String, String>) -> Result<v1::ContainerConfig, String> {
        let context = &self.context;
        let target = self.target.clone()?;
        let looked = self.objects.look().await.map_err(|e| e.to_string())?;
        // Pods rely on the Services that exist when they start; the node's own pods may be the API itself.
        if !statics::is_static(&self.pod) {
            context.services.has_synced().await;
        }
        let all = context.services.store().list();
        let services = services::variables(&self.pod, all.iter().map(AsRef::as_ref));
        let around = context.surroundings(self.addresses.clone());
        let environment = env::environment(&self.pod, &self.container, &looked, &services, &around).map_err(|e| e.to_string())?;
        let logs = sandbox::log_directory(&context.pod_log_dir, &self.pod);
        let log_dir = logs.join(&self.container.name);
        let restart_count = match self.restart_count {
            Some(count) => count,
            None => next_by_logs(&log_dir),
        };
        let io = |path: &Path| {
            let path = path.to_owned();
            move |error: io::Error| format!("{}: {error}", path.display())
        };
        fs::create_dir_all(&log_dir).map_err(io(&log_dir))?;
        let pod_dir = context.pod_dir(super::uid(&self.pod));
        let termination = termination_file(&pod_dir, &self.container.name, restart_count).map_err(io(&pod_dir))?;
        let means = self.means(images).await?;
        let mounts = self.mounts(&environment, &means, &pod_dir, &termination)?;
        let memory = context.share.capacity.memory;
        let parts = container::Parts {
            restart_count,
            image: &image.reference,
            image_user: image.user,
            environment: &environment,
            mounts,
            termination_file: &termination.to_string_lossy(),
            memory_capacity: u64::try_from(memory).unwrap_or(0),
            seccomp: Seccomp { directory: &context.root_dir.join("seccomp"), by_default: context.config.seccomp_default },
            target,
        };
        container::config(&self.pod, &self.container, parts).map_err(|e| e.to_string())
    }

    /// The volumes', and the files that the kubelet manages.
    fn mounts(&self, environment: &Environment, means: &Means, pod_dir: &Path, termination: &Path) -> Result<Vec<v1::Mount>, String> {
        let mounts = self.volumes.mounts(&self.container, environment, means);
        let mut mounts = mounts.map_err(|e| e.to_string())?;
        let taken = |path: &str| {
            let list = self.container.volume_mounts.iter().flatten();
            list.into_iter().any(|m| m.mount_path.trim_end_matches('/') == path)
        };
        let mount = |container_path: &str, host_path: &Path| v1::Mount {
            container_path: container_path.to_owned(),
            host_path: host_path.to_string_lossy().into_owned(),
            ..Default::default()
        };
        if !taken("/etc/hosts") {
            let path = pod_dir.join("etc-hosts");
            let host = fs::read_to_string("/etc/hosts").unwrap_or_default();
            let domain = &self.context.cluster_dns.domain;
            let text = hosts::hosts_file(&self.pod, &self.addresses, domain, &host);
            fs::write(&path, text).map_err(|e| format!("{}: {e}", path.display()))?;
            mounts.push(mount("/etc/hosts", &path));
        }
        let path = self.container.termination_message_path.as_deref();
        mounts.push(mount(path.unwrap_or(container::TERMINATION_PATH), termination));
        Ok(mounts)
    }

    async fn create(&self, config: v1::ContainerConfig) -> Result<String, StartError> {
        if self.cancel.is_cancelled() {
            return Err(StartError::Cancelled);
        }
        let message = v1::CreateContainerRequest {
            pod_sandbox_id: self.sandbox.clone(),
            config: Some(config),
            sandbox_config: Some(self.sandbox_config.clone()),
        };
        let mut client = self.context.runtime.clients.runtime.clone();
        match client.create_container(request(message)).await {
            Ok(response) => {
                self.event("Created", "Container created");
                Ok(response.into_inner().container_id)
            }
            Err(status) => {
                let text = status.message().to_owned();
                Err(self.failed("CreateContainerError", text))
            }
        }
    }

    async fn start(&self, id: &str) -> Result<(), StartError> {
        let message = v1::StartContainerRequest { container_id: id.to_owned() };
        let mut client = self.context.runtime.clients.runtime.clone();
        match client.start_container(request(message)).await {
            Ok(_) => {
                self.event("Started", "Container started");
                Ok(())
            }
            Err(status) => {
                let text = status.message().to_owned();
                Err(self.failed("RunContainerError", text))
            }
        }
    }

    async fn post_start(&self, id: &str) -> Result<(), StartError> {
        let hook = self.container.lifecycle.as_ref().and_then(|l| l.post_start.as_ref());
        let Some(hook) = hook else { return Ok(()) };
        let target =
            Target { address: self.addresses.first().cloned().unwrap_or_default(), container: self.container.clone(), id: id.to_owned() };
        let run = hooks::run(&self.context, &self.pod, &target, hook);
        let result = self.cancel.run_until_cancelled(run).await;
        let Err(error) = result.ok_or(StartError::Cancelled)? else {
            return Ok(());
        };
        let text = format!("PostStartHook failed: {error}");
        self.context.container_event(&self.pod, &self.container, Warning, "FailedPostStartHook", &text);
        let grace = super::stop::grace_period(&self.pod);
        if let Err(status) = self.context.runtime.stop_container(id, grace).await {
            tracing::warn!(%status, id, "stopping a container whose postStart hook failed");
        }
        Err(self.failed("PostStartHookError", text))
    }
}

/// The number after the highest log file: restarts go on counting when the runtime has lost a
/// container.
fn next_by_logs(directory: &Path) -> u32 {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let name = entry.file_name();
            let number = name.to_str()?.split('.').next()?;
            number.parse::<u32>().ok()
        })
        .max()
        .map_or(0, |highest| highest.saturating_add(1))
}

/// The file for a container's last words: everybody may write it, whatever the container's user.
fn termination_file(pod_dir: &Path, name: &str, restart_count: u32) -> io::Result<PathBuf> {
    let directory = pod_dir.join("containers").join(name);
    fs::create_dir_all(&directory)?;
    let path = directory.join(format!("{restart_count:08x}"));
    fs::write(&path, "")?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666))?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn restarts_go_on_counting_by_the_logs() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(next_by_logs(&dir.path().join("none")), 0);
        assert_eq!(next_by_logs(dir.path()), 0);
        for name in ["0.log", "3.log", "3.log.20260101-000000.gz", "x"] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        assert_eq!(next_by_logs(dir.path()), 4);
    }

    #[test]
    fn everybody_may_write_last_words() {
        let dir = tempfile::tempdir().unwrap();
        let path = termination_file(dir.path(), "c", 1).unwrap();
        let mode = fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o666);
    }
}
