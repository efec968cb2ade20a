//! Changing a spec as a device asks for it.

use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use serde_json::{Value, json};

use super::files::{DeviceNode, Edits, Hook};
use crate::error::{Error, Result};

/// The points of a container's life at which hooks run, as the OCI runtime specification names them.
const HOOKS: [&str; 6] = ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];

fn list<'a>(value: &'a mut Value, keys: &[&str]) -> &'a mut Vec<Value> {
    let mut at = value;
    for key in keys {
        at = &mut at[*key];
    }
    if !at.is_array() {
        *at = json!([]);
    }
    match at {
        Value::Array(list) => list,
        // It has just been made one.
        _ => unreachable!(),
    }
}

/// Makes all changes.
pub(super) fn apply(edits: &Edits, spec: &mut Value) -> Result<()> {
    for entry in &edits.env {
        let name = entry.split('=').next().unwrap_or_default();
        let env = list(spec, &["process", "env"]);
        env.retain(|old| old.as_str().and_then(|old| old.split('=').next()) != Some(name));
        env.push(json!(entry));
    }
    for node in &edits.device_nodes {
        let (entry, rule) = device(node)?;
        list(spec, &["linux", "devices"]).retain(|old| old["path"] != entry["path"]);
        list(spec, &["linux", "devices"]).push(entry);
        list(spec, &["linux", "resources", "devices"]).push(rule);
    }
    for mount in &edits.mounts {
        let mut options = mount.options.clone();
        let kind = mount.r#type.clone().unwrap_or_else(|| "bind".to_owned());
        if kind == "bind" && !options.iter().any(|option| option == "bind" || option == "rbind") {
            options.push("rbind".to_owned());
        }
        let mounts = list(spec, &["mounts"]);
        mounts.retain(|old| old["destination"].as_str().map(Path::new) != Some(&mount.container_path));
        mounts.push(json!({ "destination": mount.container_path, "source": mount.host_path, "type": kind, "options": options }));
    }
    for hook in &edits.hooks {
        if !HOOKS.contains(&hook.hook_name.as_str()) {
            return Err(Error::Invalid(format!("CDI device injection failed: unknown hook {:?}", hook.hook_name)));
        }
        list(spec, &["hooks", &hook.hook_name]).push(entry(hook));
    }
    for gid in edits.additional_gids.iter().filter(|gid| **gid != 0) {
        let groups = list(spec, &["process", "user", "additionalGids"]);
        if !groups.contains(&json!(gid)) {
            groups.push(json!(gid));
        }
    }
    if let Some(rdt) = &edits.intel_rdt {
        spec["linux"]["intelRdt"] = rdt.clone();
    }
    Ok(())
}

/// What lies deeper is mounted later.
pub(super) fn order(spec: &mut Value) {
    let depth = |mount: &Value| mount["destination"].as_str().map_or(0, |path| Path::new(path).components().count());
    list(spec, &["mounts"]).sort_by_key(depth);
}

fn entry(hook: &Hook) -> Value {
    let mut entry = json!({ "path": hook.path, "args": hook.args, "env": hook.env });
    if let Some(timeout) = hook.timeout {
        entry["timeout"] = json!(timeout);
    }
    entry
}

/// A device node and the rule that allows its use. What the file leaves out is taken from the node's own device.
fn device(node: &DeviceNode) -> Result<(Value, Value)> {
    let host = node.host_path.as_deref().unwrap_or(&node.path);
    let bad = |what: &str| Error::Invalid(format!("CDI device injection failed: device node {}: {what}", host.display()));
    let (mut kind, mut major, mut minor) = (node.r#type.clone(), node.major, node.minor);
    let mut mode = node.file_mode;
    if kind.is_none() || (major.is_none() && kind.as_deref() != Some("p")) {
        let found = std::fs::metadata(host).map_err(|error| bad(&error.to_string()))?;
        let is = match found.file_type() {
            kind if kind.is_char_device() => "c",
            kind if kind.is_block_device() => "b",
            kind if kind.is_fifo() => "p",
            _ => return Err(bad("not a device")),
        };
        if kind.as_deref().is_some_and(|wanted| wanted != is) {
            return Err(bad("it is of another type"));
        }
        kind = Some(is.to_owned());
        major = Some(rustix::fs::major(found.rdev()).into());
        minor = Some(rustix::fs::minor(found.rdev()).into());
        mode = mode.or(Some(found.mode() & 0o7777));
    }
    let kind = kind.unwrap_or_default();
    let mut entry = json!({ "path": node.path, "type": kind });
    for (key, value) in [
        ("major", major),
        ("minor", minor),
        ("fileMode", mode.map(i64::from)),
        ("uid", node.uid.map(i64::from)),
        ("gid", node.gid.map(i64::from)),
    ] {
        if let Some(value) = value {
            entry[key] = json!(value);
        }
    }
    let access = node.permissions.as_deref().filter(|access| !access.is_empty()).unwrap_or("rwm");
    let mut rule = json!({ "allow": true, "type": kind, "access": access });
    if kind != "p" {
        (rule["major"], rule["minor"]) = (json!(major), json!(minor));
    } else {
        rule["type"] = json!("a");
        rule["allow"] = json!(false);
        rule["access"] = json!("");
    }
    Ok((entry, rule))
}
