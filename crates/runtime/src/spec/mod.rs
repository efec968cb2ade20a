//! The OCI runtime spec of a container, made from what CRI asks for. One file per topic; all of them are functions from
//! configuration to JSON (the shape is the OCI runtime specification's), the files of the root file system apart.

mod apparmor;
mod capabilities;
mod devices;
mod masks;
mod mounts;
mod namespaces;
mod process;
mod resources;
mod rootfs;
mod seccomp;
mod selinux;
mod syscalls;
mod user;

use corten_cri::v1;
use serde_json::{Value, json};

use crate::cgroup::Layout;
use crate::container::Volumes;
use crate::error::Result;
use crate::paths::{ContainerPaths, SandboxPaths};
use crate::userns::Mapping;

pub(crate) use apparmor::Profiles;
pub(crate) use namespaces::options as namespace_options;
pub(crate) use process::working_dir;
pub(crate) use resources::make as make_resources;
pub(crate) use rootfs::Rootfs;
pub(crate) use selinux::Labels;
pub(crate) use user::{User, resolve as resolve_user};

/// Everything that a spec is made from.
pub(crate) struct Source<'a> {
    pub(crate) config: &'a v1::ContainerConfig,
    pub(crate) sandbox_config: &'a v1::PodSandboxConfig,
    pub(crate) sandbox: &'a SandboxPaths,
    pub(crate) container: &'a ContainerPaths,
    pub(crate) hostname: &'a str,
    pub(crate) image: &'a corten_image::ContainerConfig,
    pub(crate) user: &'a User,
    pub(crate) cgroup: &'a str,
    pub(crate) layout: &'a Layout,
    /// The ids of the pod's user namespace, if it has one.
    pub(crate) mapping: Option<&'a Mapping>,
    /// The image volumes among the mounts.
    pub(crate) volumes: &'a Volumes,
    pub(crate) profiles: &'a Profiles,
    /// What SELinux calls it.
    pub(crate) labels: Option<&'a Labels>,
    /// Whether another OCI runtime than the built-in one makes it.
    pub(crate) foreign: bool,
    /// The process that holds the pod's PID namespace, if it shares one.
    pub(crate) pause: Option<i32>,
    /// The first process of the container whose PID namespace is to be joined.
    pub(crate) target: Option<i32>,
}

impl Source<'_> {
    /// The container's security context; CRI leaves out what is all defaults.
    pub(crate) fn security(&self) -> v1::LinuxContainerSecurityContext {
        self.config.linux.as_ref().and_then(|linux| linux.security_context.clone()).unwrap_or_default()
    }

    pub(crate) fn privileged(&self) -> bool {
        self.security().privileged
    }
}

/// Makes the spec.
pub(crate) fn make(source: &Source<'_>) -> Result<Value> {
    let security = source.security();
    let (mounts, propagation) = mounts::make(source)?;
    let devices = devices::make(source)?;
    let asked = source.config.linux.as_ref().and_then(|linux| linux.resources.clone()).unwrap_or_default();
    let mapped = source.mapping.is_some();
    let mut linux = json!({
        "namespaces": namespaces::make(source)?,
        "cgroupsPath": source.cgroup,
        "resources": resources::make(&asked, source.layout, &json!(devices.rules))?,
        "devices": devices.nodes,
        "maskedPaths": masks::masked(&security, mapped),
        "readonlyPaths": masks::read_only(&security, mapped, source.layout),
        "rootfsPropagation": propagation,
    });
    if let Some(profile) = seccomp::make(&security)? {
        linux["seccomp"] = profile;
    }
    if let Some(mapping) = source.mapping {
        (linux["uidMappings"], linux["gidMappings"]) = mapping.spec();
    }
    let mut process = process::make(source)?;
    if let Some(profile) = source.profiles.of(&security)? {
        process["apparmorProfile"] = json!(profile);
    }
    if let Some(labels) = source.labels {
        process["selinuxLabel"] = json!(labels.process);
        if source.foreign {
            linux["mountLabel"] = json!(labels.files);
        }
    }
    Ok(json!({
        // Nothing here is newer, and older programs refuse what they do not know.
        "ociVersion": "1.0.2",
        "process": process,
        "root": { "path": source.container.rootfs(), "readonly": security.readonly_rootfs },
        "mounts": mounts,
        "annotations": source.config.annotations,
        "linux": linux,
    }))
}

#[cfg(test)]
mod tests;
