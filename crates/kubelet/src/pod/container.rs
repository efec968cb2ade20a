//! The configuration of a container.

use std::collections::HashMap;

use corten_cri::v1;
use k8s_openapi::api::core::v1::{Container, Pod};

use super::env::Environment;
use super::resources;
use super::security::{self, ImageUser, RootError};
use crate::runtime::labels;

/// Where the termination message goes if nothing else is said.
pub(crate) const TERMINATION_PATH: &str = "/dev/termination-log";

/// What a container's configuration needs besides its definition.
#[derive(Debug)]
pub(crate) struct Parts<'a> {
    pub(crate) restart_count: u32,
    /// The image to run, as the runtime calls it.
    pub(crate) image: &'a str,
    pub(crate) image_user: ImageUser,
    pub(crate) environment: &'a Environment,
    pub(crate) mounts: Vec<v1::Mount>,
    /// The file on the node that takes the termination message.
    pub(crate) termination_file: &'a str,
    pub(crate) memory_capacity: u64,
    pub(crate) seccomp: security::Seccomp<'a>,
    /// The container whose process namespace it enters, by id.
    pub(crate) target: Option<String>,
}

/// A container's log file, relative to its pod's directory.
pub(crate) fn log_path(name: &str, restart_count: u32) -> String {
    format!("{name}/{restart_count}.log")
}

/// The configuration.
pub(crate) fn config(pod: &Pod, container: &Container, parts: Parts<'_>) -> Result<v1::ContainerConfig, RootError> {
    let mut security = security::container(pod, container, &parts.image_user, parts.seccomp)?;
    if let (Some(target), Some(namespaces)) = (&parts.target, &mut security.namespace_options)
        && namespaces.pid() == v1::NamespaceMode::Container
    {
        namespaces.set_pid(v1::NamespaceMode::Target);
        namespaces.target_id.clone_from(target);
    }
    let expand = |list: &Option<Vec<String>>| list.iter().flatten().map(|text| parts.environment.expand(text)).collect();
    let key_value = |(key, value): (&str, &str)| v1::KeyValue { key: key.to_owned(), value: value.to_owned() };
    let stop_signal = container
        .lifecycle
        .as_ref()
        .and_then(|l| l.stop_signal.as_deref())
        .and_then(v1::Signal::from_str_name)
        .unwrap_or(v1::Signal::RuntimeDefault);
    Ok(v1::ContainerConfig {
        metadata: Some(v1::ContainerMetadata { name: container.name.clone(), attempt: parts.restart_count }),
        image: Some(v1::ImageSpec {
            image: parts.image.to_owned(),
            user_specified_image: container.image.clone().unwrap_or_default(),
            ..Default::default()
        }),
        command: expand(&container.command),
        args: expand(&container.args),
        working_dir: container.working_dir.clone().unwrap_or_default(),
        envs: parts.environment.iter().map(key_value).collect(),
        labels: container_labels(pod, container),
        annotations: annotations(pod, container, &parts),
        log_path: log_path(&container.name, parts.restart_count),
        stdin: container.stdin == Some(true),
        stdin_once: container.stdin_once == Some(true),
        tty: container.tty == Some(true),
        linux: Some(v1::LinuxContainerConfig {
            resources: Some(resources::for_container(pod, container, parts.memory_capacity)),
            security_context: Some(security),
        }),
        stop_signal: stop_signal as i32,
        mounts: parts.mounts,
        ..Default::default()
    })
}

fn container_labels(pod: &Pod, container: &Container) -> HashMap<String, String> {
    let name = (labels::CONTAINER_NAME.to_owned(), container.name.clone());
    labels::of_pod(pod).into_iter().chain([name]).collect()
}

fn annotations(pod: &Pod, container: &Container, parts: &Parts<'_>) -> HashMap<String, String> {
    let path = container.termination_message_path.as_deref();
    let policy = container.termination_message_policy.as_deref();
    let grace = pod.spec.as_ref().and_then(|s| s.termination_grace_period_seconds).unwrap_or(30);
    [
        (labels::HASH, labels::hash(container)),
        (labels::RESTART_COUNT, parts.restart_count.to_string()),
        (labels::TERMINATION_PATH, path.unwrap_or(TERMINATION_PATH).to_owned()),
        (labels::TERMINATION_POLICY, policy.unwrap_or("File").to_owned()),
        (labels::TERMINATION_FILE, parts.termination_file.to_owned()),
        (labels::GRACE_PERIOD, grace.to_string()),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_container_carries_what_a_later_kubelet_needs() {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "p", "namespace": "ns", "uid": "u"},
            "spec": {"containers": [{
                "name": "c", "image": "nginx", "command": ["$(X)"], "tty": true,
                "lifecycle": {"stopSignal": "SIGUSR1"},
            }]},
        }))
        .unwrap();
        let container = &pod.spec.as_ref().unwrap().containers[0];
        let config = config(
            &pod,
            container,
            Parts {
                restart_count: 3,
                image: "sha256:1",
                image_user: ImageUser::default(),
                environment: &Environment::default(),
                mounts: Vec::new(),
                termination_file: "/f",
                memory_capacity: 1 << 30,
                seccomp: security::Seccomp { directory: std::path::Path::new("/s"), by_default: false },
                target: Some("t".into()),
            },
        )
        .unwrap();
        assert_eq!(config.log_path, "c/3.log");
        assert_eq!(config.command, ["$(X)"]);
        assert_eq!(config.annotations[labels::RESTART_COUNT], "3");
        assert_eq!(config.annotations[labels::HASH], labels::hash(container));
        assert_eq!(config.annotations[labels::GRACE_PERIOD], "30");
        assert_eq!(config.labels[labels::CONTAINER_NAME], "c");
        assert_eq!(config.stop_signal(), v1::Signal::Sigusr1);
        assert!(config.tty);
        let namespaces = config.linux.unwrap().security_context.unwrap().namespace_options.unwrap();
        assert_eq!((namespaces.pid(), namespaces.target_id.as_str()), (v1::NamespaceMode::Target, "t"));
    }
}
