//! Security contexts in the words of CRI.
//!
//! <https://kubernetes.io/docs/tasks/configure-pod-container/security-context/>: what a container
//! says goes before what its pod says.

use std::path::Path;

use corten_cri::v1;
use k8s_openapi::api::core::v1::{AppArmorProfile, Container, Pod, PodSecurityContext, SELinuxOptions, SeccompProfile};

/// Paths in /proc and /sys that containers must not read, unless `procMount` is `Unmasked`.
const MASKED: [&str; 12] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];

/// Paths that containers must not write.
const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// The user that an image asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ImageUser {
    pub(crate) uid: Option<i64>,
    pub(crate) name: String,
}

/// The container must not run as root, but would.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RootError {
    #[error("container's runAsUser breaks non-root policy (pod: \"{pod}\", container: {container})")]
    User { pod: String, container: String },
    #[error("container has runAsNonRoot and image will run as root (pod: \"{pod}\", container: {container})")]
    Image { pod: String, container: String },
    #[error(
        "container has runAsNonRoot and image has non-numeric user ({user}), cannot verify user is non-root (pod: \"{pod}\", container: {container})"
    )]
    Name { user: String, pod: String, container: String },
}

fn of_pod(pod: &Pod) -> Option<&PodSecurityContext> {
    pod.spec.as_ref().and_then(|s| s.security_context.as_ref())
}

/// Whether a container is privileged.
pub(crate) fn is_privileged(container: &Container) -> bool {
    container.security_context.as_ref().is_some_and(|c| c.privileged == Some(true))
}

/// The namespaces of a pod's sandbox and containers.
pub(crate) fn namespaces(pod: &Pod) -> v1::NamespaceOption {
    let spec = pod.spec.as_ref();
    let node_or = |node: Option<bool>, other: v1::NamespaceMode| {
        if node == Some(true) { v1::NamespaceMode::Node } else { other }
    };
    let shared = spec.is_some_and(|s| s.share_process_namespace == Some(true));
    let pid = if shared { v1::NamespaceMode::Pod } else { v1::NamespaceMode::Container };
    v1::NamespaceOption {
        network: node_or(spec.and_then(|s| s.host_network), v1::NamespaceMode::Pod) as i32,
        pid: node_or(spec.and_then(|s| s.host_pid), pid) as i32,
        ipc: node_or(spec.and_then(|s| s.host_ipc), v1::NamespaceMode::Pod) as i32,
        target_id: String::new(),
        userns_options: None,
    }
}

/// The context of the sandbox.
pub(crate) fn sandbox(pod: &Pod) -> v1::LinuxSandboxSecurityContext {
    let context = of_pod(pod);
    let privileged = super::qos::all_containers(pod).any(is_privileged);
    v1::LinuxSandboxSecurityContext {
        namespace_options: Some(namespaces(pod)),
        selinux_options: context.and_then(|c| c.se_linux_options.as_ref()).map(selinux),
        run_as_user: context.and_then(|c| c.run_as_user).map(int64),
        run_as_group: context.filter(|c| c.run_as_user.is_some()).and_then(|c| c.run_as_group).map(int64),
        supplemental_groups: groups(context),
        supplemental_groups_policy: groups_policy(context) as i32,
        privileged,
        seccomp: Some(profile(v1::security_profile::ProfileType::RuntimeDefault)),
        ..Default::default()
    }
}

/// Seccomp on this node.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seccomp<'a> {
    /// Where the node's profiles are.
    pub(crate) directory: &'a Path,
    /// Whether containers that do not say get the runtime's profile.
    pub(crate) by_default: bool,
}

/// The context of a container.
///
/// # Errors
/// When `runAsNonRoot` is violated.
pub(crate) fn container(
    pod: &Pod,
    container: &Container,
    image: &ImageUser,
    files: Seccomp<'_>,
) -> Result<v1::LinuxContainerSecurityContext, RootError> {
    let outer = of_pod(pod);
    let inner = container.security_context.as_ref();
    let privileged = is_privileged(container);
    let user = inner.and_then(|c| c.run_as_user).or_else(|| outer.and_then(|c| c.run_as_user));
    let group = inner.and_then(|c| c.run_as_group).or_else(|| outer.and_then(|c| c.run_as_group));
    let non_root = inner.and_then(|c| c.run_as_non_root).or_else(|| outer.and_then(|c| c.run_as_non_root));
    if non_root == Some(true) {
        check_non_root(pod, container, user, image)?;
    }
    let seccomp_profile = inner.and_then(|c| c.seccomp_profile.as_ref()).or_else(|| outer.and_then(|c| c.seccomp_profile.as_ref()));
    let apparmor_profile = inner.and_then(|c| c.app_armor_profile.as_ref()).or_else(|| outer.and_then(|c| c.app_armor_profile.as_ref()));
    let unmasked = inner.is_some_and(|c| c.proc_mount.as_deref() == Some("Unmasked"));
    let paths = |list: &[&str]| {
        if unmasked { Vec::new() } else { list.iter().map(|p| (*p).to_owned()).collect() }
    };
    let run_as = user.or(image.uid);
    Ok(v1::LinuxContainerSecurityContext {
        capabilities: inner.and_then(|c| c.capabilities.as_ref()).map(|c| v1::Capability {
            add_capabilities: c.add.clone().unwrap_or_default(),
            drop_capabilities: c.drop.clone().unwrap_or_default(),
            add_ambient_capabilities: Vec::new(),
        }),
        privileged,
        namespace_options: Some(namespaces(pod)),
        selinux_options: inner
            .and_then(|c| c.se_linux_options.as_ref())
            .or_else(|| outer.and_then(|c| c.se_linux_options.as_ref()))
            .map(selinux),
        run_as_user: run_as.map(int64),
        run_as_group: group.map(int64),
        run_as_username: match run_as {
            Some(_) => String::new(),
            None => image.name.clone(),
        },
        readonly_rootfs: inner.is_some_and(|c| c.read_only_root_filesystem == Some(true)),
        supplemental_groups: groups(outer),
        supplemental_groups_policy: groups_policy(outer) as i32,
        no_new_privs: inner.is_some_and(|c| c.allow_privilege_escalation == Some(false)),
        masked_paths: paths(&MASKED),
        readonly_paths: paths(&READ_ONLY),
        seccomp: Some(if privileged { profile(v1::security_profile::ProfileType::Unconfined) } else { seccomp(seccomp_profile, files) }),
        apparmor: apparmor_profile.map(apparmor),
        ..Default::default()
    })
}

fn check_non_root(pod: &Pod, container: &Container, user: Option<i64>, image: &ImageUser) -> Result<(), RootError> {
    let pod = || super::full_name(pod);
    let container = || container.name.clone();
    match (user, image.uid) {
        (Some(0), _) => Err(RootError::User { pod: pod(), container: container() }),
        (Some(_), _) => Ok(()),
        (None, Some(0)) => Err(RootError::Image { pod: pod(), container: container() }),
        (None, Some(_)) => Ok(()),
        (None, None) if image.name.is_empty() => Err(RootError::Image { pod: pod(), container: container() }),
        (None, None) => Err(RootError::Name { user: image.name.clone(), pod: pod(), container: container() }),
    }
}

fn int64(value: i64) -> v1::Int64Value {
    v1::Int64Value { value }
}

fn groups(context: Option<&PodSecurityContext>) -> Vec<i64> {
    let Some(context) = context else {
        return Vec::new();
    };
    context.fs_group.into_iter().chain(context.supplemental_groups.iter().flatten().copied()).collect()
}

fn groups_policy(context: Option<&PodSecurityContext>) -> v1::SupplementalGroupsPolicy {
    match context.and_then(|c| c.supplemental_groups_policy.as_deref()) {
        Some("Strict") => v1::SupplementalGroupsPolicy::Strict,
        _ => v1::SupplementalGroupsPolicy::Merge,
    }
}

fn selinux(options: &SELinuxOptions) -> v1::SeLinuxOption {
    v1::SeLinuxOption {
        user: options.user.clone().unwrap_or_default(),
        role: options.role.clone().unwrap_or_default(),
        r#type: options.type_.clone().unwrap_or_default(),
        level: options.level.clone().unwrap_or_default(),
    }
}

fn profile(kind: v1::security_profile::ProfileType) -> v1::SecurityProfile {
    v1::SecurityProfile { profile_type: kind as i32, localhost_ref: String::new() }
}

/// Without a profile a container is unconfined, as in the reference, unless the node says otherwise.
fn seccomp(given: Option<&SeccompProfile>, files: Seccomp<'_>) -> v1::SecurityProfile {
    use v1::security_profile::ProfileType;
    match given.map(|p| (p.type_.as_str(), p.localhost_profile.as_deref())) {
        Some(("RuntimeDefault", _)) => profile(ProfileType::RuntimeDefault),
        Some(("Localhost", Some(file))) => v1::SecurityProfile {
            profile_type: ProfileType::Localhost as i32,
            localhost_ref: files.directory.join(file).to_string_lossy().into_owned(),
        },
        None if files.by_default => profile(ProfileType::RuntimeDefault),
        _ => profile(ProfileType::Unconfined),
    }
}

fn apparmor(given: &AppArmorProfile) -> v1::SecurityProfile {
    use v1::security_profile::ProfileType;
    match (given.type_.as_str(), &given.localhost_profile) {
        ("Localhost", Some(name)) => v1::SecurityProfile { profile_type: ProfileType::Localhost as i32, localhost_ref: name.clone() },
        ("Unconfined", _) => profile(ProfileType::Unconfined),
        _ => profile(ProfileType::RuntimeDefault),
    }
}

#[cfg(test)]
mod tests;
