//! Which namespaces a container joins and which are its own.

use corten_cri::v1::{NamespaceMode, NamespaceOption};
use serde_json::{Value, json};

use super::Source;
use crate::error::{Error, Result};

/// The sandbox's choice for its three shared namespaces.
pub(crate) fn options(config: &corten_cri::v1::PodSandboxConfig) -> NamespaceOption {
    let security = config.linux.as_ref().and_then(|linux| linux.security_context.as_ref());
    security.and_then(|security| security.namespace_options.clone()).unwrap_or_default()
}

/// The `linux.namespaces` of the spec.
pub(super) fn make(source: &Source<'_>) -> Result<Vec<Value>> {
    let sandbox = options(source.sandbox_config);
    let own = source.security().namespace_options.unwrap_or_else(|| sandbox.clone());
    let mut namespaces = vec![json!({ "type": "mount" })];
    if source.mapping.is_some() {
        if source.privileged() {
            return Err(Error::invalid("a privileged container cannot have a user namespace"));
        }
        namespaces.push(json!({ "type": "user", "path": source.sandbox.user }));
    }
    if sandbox.network != NamespaceMode::Node as i32 {
        namespaces.push(json!({ "type": "network", "path": source.sandbox.netns }));
        namespaces.push(json!({ "type": "uts", "path": source.sandbox.uts }));
    }
    if sandbox.ipc != NamespaceMode::Node as i32 {
        namespaces.push(json!({ "type": "ipc", "path": source.sandbox.ipc }));
    }
    let of = |pid: i32| json!({ "type": "pid", "path": format!("/proc/{pid}/ns/pid") });
    match NamespaceMode::try_from(own.pid) {
        Ok(NamespaceMode::Container) => namespaces.push(json!({ "type": "pid" })),
        Ok(NamespaceMode::Pod) => {
            namespaces.push(of(source.pause.ok_or_else(|| Error::state("the sandbox has no shared PID namespace"))?));
        }
        Ok(NamespaceMode::Target) => {
            namespaces.push(of(source.target.ok_or_else(|| Error::state("the target container is not running"))?));
        }
        Ok(NamespaceMode::Node) => {}
        Err(_) => return Err(Error::Invalid(format!("unknown PID namespace mode {}", own.pid))),
    }
    if source.layout.is_unified() && !source.privileged() {
        namespaces.push(json!({ "type": "cgroup" }));
    }
    Ok(namespaces)
}
