//! The process that a container runs.

use std::fs;

use serde_json::{Value, json};

use super::{Source, capabilities};
use crate::error::{Error, Result};

/// Where programs are looked for if nobody says.
const DEFAULT_PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The program and its arguments: a command replaces the image's entrypoint *and* arguments, arguments alone replace its arguments.
pub(super) fn arguments(config: &corten_cri::v1::ContainerConfig, image: &corten_image::ContainerConfig) -> Result<Vec<String>> {
    let (program, rest) = if config.command.is_empty() {
        (&image.entrypoint, if config.args.is_empty() { &image.cmd } else { &config.args })
    } else {
        (&config.command, &config.args)
    };
    let all: Vec<String> = program.iter().chain(rest).cloned().collect();
    if all.is_empty() { Err(Error::invalid("no command specified")) } else { Ok(all) }
}

/// The image's environment, overridden by name by the container's.
fn environment(source: &Source<'_>) -> Vec<String> {
    let mut env: Vec<String> = vec![DEFAULT_PATH.to_owned(), format!("HOSTNAME={}", source.hostname)];
    if source.config.tty {
        env.push("TERM=xterm".to_owned());
    }
    let asked = source.config.envs.iter().map(|pair| format!("{}={}", pair.key, pair.value));
    for entry in source.image.env.iter().cloned().chain(asked) {
        let name = entry.split('=').next().unwrap_or_default();
        match env.iter_mut().find(|old| old.split('=').next() == Some(name)) {
            Some(old) => *old = entry,
            None => env.push(entry),
        }
    }
    if let Some(home) = source.user.home.as_ref().filter(|_| !env.iter().any(|entry| entry.starts_with("HOME="))) {
        env.push(format!("HOME={home}"));
    }
    env
}

/// Where the process starts.
pub(crate) fn working_dir<'a>(config: &'a corten_cri::v1::ContainerConfig, image: &'a corten_image::ContainerConfig) -> &'a str {
    [config.working_dir.as_str(), image.working_dir.as_str(), "/"].into_iter().find(|dir| !dir.is_empty()).unwrap_or("/")
}

/// The `process` of the spec.
pub(super) fn make(source: &Source<'_>) -> Result<Value> {
    let security = source.security();
    let cwd = working_dir(source.config, source.image);
    if !cwd.starts_with('/') {
        return Err(Error::Invalid(format!("working directory {cwd:?} is not absolute")));
    }
    let mut process = json!({
        "terminal": source.config.tty,
        "user": { "uid": source.user.uid, "gid": source.user.gid, "additionalGids": source.user.groups },
        "args": arguments(source.config, source.image)?,
        "env": environment(source),
        "cwd": cwd,
        "capabilities": capabilities::make(&security)?,
    });
    // Only ever set to true: libcontainer takes its mere presence as a sign of when to load the seccomp profile.
    if security.no_new_privs && !security.privileged {
        process["noNewPrivileges"] = json!(true);
    }
    if let Some(score) = oom_score(source) {
        process["oomScoreAdj"] = json!(score);
    }
    Ok(process)
}

/// The OOM score, raised to what this process may set.
fn oom_score(source: &Source<'_>) -> Option<i64> {
    let wanted = source.config.linux.as_ref()?.resources.as_ref()?.oom_score_adj;
    let own: i64 = fs::read_to_string("/proc/self/oom_score_adj").ok()?.trim().parse().ok()?;
    if wanted >= own || capabilities::may_raise_limits() {
        return Some(wanted);
    }
    static WARNED: std::sync::Once = std::sync::Once::new();
    WARNED.call_once(|| tracing::warn!(wanted, own, "containers get a higher oom_score_adj than asked for: CAP_SYS_RESOURCE is missing"));
    Some(own)
}
