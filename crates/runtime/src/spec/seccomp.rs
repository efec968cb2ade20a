//! Seccomp profiles: the runtime's default, none, or a file of the node.

use std::fs;
use std::path::Path;

use corten_cri::v1::LinuxContainerSecurityContext;
use corten_cri::v1::security_profile::ProfileType;
use serde_json::{Value, json};

use super::{capabilities, syscalls};
use crate::error::{Error, Result};

/// `ENOSYS`, so that a C library falls back from `clone3` to `clone`, whose flags a filter can see.
const NO_SUCH_CALL: u32 = 38;

/// The `linux.seccomp` of the spec; `None` is unconfined.
pub(super) fn make(security: &LinuxContainerSecurityContext) -> Result<Option<Value>> {
    if security.privileged {
        return Ok(None);
    }
    let Some(profile) = &security.seccomp else { return Ok(None) };
    match ProfileType::try_from(profile.profile_type) {
        Ok(ProfileType::Unconfined) => Ok(None),
        Ok(ProfileType::RuntimeDefault) => Ok(Some(default(&granted(security)?))),
        Ok(ProfileType::Localhost) => load(&profile.localhost_ref).map(Some),
        Err(_) => Err(Error::Invalid(format!("unknown seccomp profile type {}", profile.profile_type))),
    }
}

/// The container's capabilities, without prefix.
fn granted(security: &LinuxContainerSecurityContext) -> Result<Vec<String>> {
    let names = capabilities::names(security)?;
    Ok(names.into_iter().map(str::to_owned).collect())
}

fn default(granted: &[String]) -> Value {
    let has = |name: &str| granted.iter().any(|granted| granted == name);
    let mut allowed: Vec<&str> = syscalls::ALWAYS.to_vec();
    for (capability, names) in syscalls::WITH_CAPABILITY {
        if has(capability) {
            allowed.extend_from_slice(names);
        }
    }
    let mut rules = vec![json!({ "names": allowed, "action": "SCMP_ACT_ALLOW" })];
    for personality in syscalls::PERSONALITIES {
        rules.push(json!({
            "names": ["personality"], "action": "SCMP_ACT_ALLOW",
            "args": [{ "index": 0, "value": personality, "op": "SCMP_CMP_EQ" }],
        }));
    }
    // AF_VSOCK reaches past every namespace.
    rules.push(json!({
        "names": ["socket"], "action": "SCMP_ACT_ALLOW", "args": [{ "index": 0, "value": 40, "op": "SCMP_CMP_NE" }],
    }));
    if !has("SYS_ADMIN") {
        // Threads and processes, but no new namespaces.
        rules.push(json!({
            "names": ["clone"], "action": "SCMP_ACT_ALLOW",
            "args": [{ "index": 0, "value": syscalls::NAMESPACE_FLAGS, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ" }],
        }));
        rules.push(json!({ "names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": NO_SUCH_CALL }));
    }
    json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": 1,
        "architectures": architectures(),
        "syscalls": rules,
    })
}

fn architectures() -> &'static [&'static str] {
    if cfg!(target_arch = "x86_64") {
        &["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]
    } else if cfg!(target_arch = "aarch64") {
        &["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"]
    } else {
        &[]
    }
}

fn load(path: &str) -> Result<Value> {
    if !Path::new(path).is_absolute() {
        return Err(Error::Invalid(format!("seccomp profile {path:?} is not an absolute path")));
    }
    let text = fs::read(path).map_err(|error| Error::Invalid(format!("seccomp profile {path:?}: {error}")))?;
    let profile: Value = serde_json::from_slice(&text).map_err(|error| Error::Invalid(format!("seccomp profile {path:?}: {error}")))?;
    if profile["defaultAction"].is_string() {
        Ok(profile)
    } else {
        Err(Error::Invalid(format!("seccomp profile {path:?} has no defaultAction")))
    }
}
