//! Devices of a container.

use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{major, minor};
use serde_json::{Value, json};

use super::Source;
use crate::error::{Error, Result};

/// Devices and who may use them.
pub(super) struct Devices {
    /// The `linux.devices` of the spec.
    pub(super) nodes: Vec<Value>,
    /// The `linux.resources.devices`.
    pub(super) rules: Vec<Value>,
}

/// Makes the lists. The runtime adds the usual harmless ones (`null`, `zero`, `tty`, …) by itself.
pub(super) fn make(source: &Source<'_>) -> Result<Devices> {
    if source.privileged() {
        let mut nodes = Vec::new();
        walk(Path::new("/dev"), Path::new("/dev"), &mut nodes);
        return Ok(Devices {
            nodes: nodes.into_iter().map(|node| node.0).collect(),
            rules: vec![json!({ "allow": true, "access": "rwm" })],
        });
    }
    let mut devices = Devices { nodes: Vec::new(), rules: vec![json!({ "allow": false, "access": "rwm" })] };
    for device in &source.config.devices {
        let host =
            fs::canonicalize(&device.host_path).map_err(|error| Error::Invalid(format!("device {:?}: {error}", device.host_path)))?;
        let mut found = Vec::new();
        if host.is_dir() {
            walk(&host, Path::new(&device.container_path), &mut found);
        } else {
            found.extend(node(&host, Path::new(&device.container_path)));
        }
        if found.is_empty() {
            return Err(Error::Invalid(format!("{:?} is not a device", device.host_path)));
        }
        let access = if device.permissions.is_empty() { "rwm" } else { &device.permissions };
        for (entry, rule) in found {
            let mut rule = rule;
            rule["access"] = json!(access);
            devices.nodes.push(entry);
            devices.rules.push(rule);
        }
    }
    Ok(devices)
}

/// A device node as the spec has it, with the rule that allows it.
fn node(host: &Path, container: &Path) -> Option<(Value, Value)> {
    let metadata = fs::symlink_metadata(host).ok()?;
    let kind = match metadata.file_type() {
        kind if kind.is_char_device() => "c",
        kind if kind.is_block_device() => "b",
        _ => return None,
    };
    let (major, minor) = (major(metadata.rdev()), minor(metadata.rdev()));
    let entry = json!({
        "path": container, "type": kind, "major": major, "minor": minor,
        "fileMode": metadata.mode() & 0o7777, "uid": metadata.uid(), "gid": metadata.gid(),
    });
    Some((entry, json!({ "allow": true, "type": kind, "major": major, "minor": minor })))
}

/// All devices below a directory, but for what every container has of its own.
fn walk(host: &Path, container: &Path, found: &mut Vec<(Value, Value)>) {
    let mut entries: Vec<PathBuf> = fs::read_dir(host).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    entries.sort();
    for path in entries {
        let Some(name) = path.file_name() else { continue };
        let target = container.join(name);
        if path.is_symlink() || target == Path::new("/dev/console") {
            continue;
        }
        if path.is_dir() {
            if !["pts", "shm", "fd", "mqueue"].iter().any(|own| path.ends_with(own)) {
                walk(&path, &target, found);
            }
        } else {
            found.extend(node(&path, &target));
        }
    }
}
