//! Ephemeral containers: added to a running pod, to look into it.
//!
//! <https://kubernetes.io/docs/concepts/workloads/pods/ephemeral-containers/>: they are started once, at any time, and
//! never again; nothing waits for them, and they end with their pod.

use std::borrow::Cow;

use k8s_openapi::api::core::v1::{Container, EphemeralContainer, PodSpec};

use super::plan::find;
use crate::runtime::view::{PodView, State};

/// The definition in the form of any other container.
pub(crate) fn container(given: &EphemeralContainer) -> Container {
    let given = given.clone();
    Container {
        args: given.args,
        command: given.command,
        env: given.env,
        env_from: given.env_from,
        image: given.image,
        image_pull_policy: given.image_pull_policy,
        name: given.name,
        security_context: given.security_context,
        stdin: given.stdin,
        stdin_once: given.stdin_once,
        termination_message_path: given.termination_message_path,
        termination_message_policy: given.termination_message_policy,
        tty: given.tty,
        volume_devices: given.volume_devices,
        volume_mounts: given.volume_mounts,
        working_dir: given.working_dir,
        // Everything else is forbidden by the API: no ports, probes, hooks or resources.
        ..Container::default()
    }
}

/// An ephemeral container by its name.
pub(crate) fn named<'a>(spec: &'a PodSpec, name: &str) -> Option<&'a EphemeralContainer> {
    spec.ephemeral_containers.iter().flatten().find(|c| c.name == name)
}

/// Any container of the pod by its name, whatever its kind.
pub(crate) fn definition<'a>(spec: &'a PodSpec, name: &str) -> Option<Cow<'a, Container>> {
    find(spec, name).map(Cow::Borrowed).or_else(|| named(spec, name).map(|c| Cow::Owned(container(c))))
}

/// The id of the running container whose processes an ephemeral container shares; `None` if it asks for none.
///
/// # Errors
/// When there is no such container, or it does not run: the message is the event's.
pub(crate) fn target(spec: &PodSpec, name: &str, view: &PodView) -> Result<Option<String>, String> {
    let wanted = named(spec, name).and_then(|c| c.target_container_name.as_deref()).filter(|target| !target.is_empty());
    let Some(wanted) = wanted else {
        return Ok(None);
    };
    match view.newest(wanted) {
        Some(found) if found.state == State::Running => Ok(Some(found.id.clone())),
        Some(_) => Err(format!("container {wanted} is not running, it cannot be the target of {name}")),
        None => Err(format!("unable to find target container {wanted}")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::runtime::view::ContainerView;

    #[test]
    fn a_definition_keeps_everything_that_is_allowed() {
        let text = json!({
            "name": "debugger", "image": "busybox", "command": ["sh"], "args": ["-c", "x"], "stdin": true, "stdinOnce": true, "tty": true,
            "env": [{"name": "A", "value": "b"}], "envFrom": [{"configMapRef": {"name": "m"}}],
            "imagePullPolicy": "Never", "securityContext": {"privileged": true}, "workingDir": "/w",
            "terminationMessagePath": "/t", "terminationMessagePolicy": "File",
            "volumeMounts": [{"name": "v", "mountPath": "/v"}], "volumeDevices": [{"name": "d", "devicePath": "/d"}],
        });
        let given: EphemeralContainer = serde_json::from_value(text.clone()).unwrap();
        assert_eq!(serde_json::to_value(container(&given)).unwrap(), text);
    }

    #[test]
    fn a_target_has_to_run() {
        let spec: PodSpec = serde_json::from_value(json!({
            "containers": [{"name": "a"}],
            "ephemeralContainers": [{"name": "plain"}, {"name": "on-a", "targetContainerName": "a"}, {"name": "on-b", "targetContainerName": "b"}],
        }))
        .unwrap();
        let view = |state| PodView {
            containers: vec![ContainerView { id: "1".into(), name: "a".into(), state, ..ContainerView::default() }],
            ..PodView::default()
        };
        let running = view(State::Running);
        assert_eq!(target(&spec, "plain", &running), Ok(None));
        assert_eq!(target(&spec, "a", &running), Ok(None));
        assert_eq!(target(&spec, "on-a", &running), Ok(Some("1".to_owned())));
        assert_eq!(target(&spec, "on-b", &running), Err("unable to find target container b".to_owned()));
        assert!(target(&spec, "on-a", &view(State::Exited)).is_err());
    }
}
