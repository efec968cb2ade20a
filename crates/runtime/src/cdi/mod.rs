//! Devices by the Container Device Interface: vendors describe in files what a container needs to use a device, and this
//! runtime makes it so. <https://github.com/cncf-tags/container-device-interface/blob/main/SPEC.md>

mod edits;
mod files;

use std::collections::BTreeSet;
use std::path::PathBuf;

use corten_cri::v1::ContainerConfig;
use serde_json::Value;

use crate::error::{Error, Result};

/// Where the files are by convention; those of a later directory win.
pub(crate) const DIRS: [&str; 2] = ["/etc/cdi", "/var/run/cdi"];

/// Annotations with this prefix name devices too, separated by commas.
const ANNOTATION: &str = "cdi.k8s.io/";

/// The devices that a container asks for, `vendor/class=name`, each once.
fn asked(config: &ContainerConfig) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let mut annotations: Vec<_> = config.annotations.iter().filter(|(key, _)| key.starts_with(ANNOTATION)).collect();
    annotations.sort();
    let of_annotations = annotations.into_iter().flat_map(|(_, value)| value.split(',')).map(|name| name.trim().to_owned());
    let of_config = config.cdi_devices.iter().map(|device| device.name.clone());
    of_config.chain(of_annotations).filter(|name| !name.is_empty() && seen.insert(name.clone())).collect()
}

/// Gives the container's spec what its devices need.
pub(crate) fn apply(config: &ContainerConfig, dirs: &[PathBuf], spec: &mut Value) -> Result<()> {
    let asked = asked(config);
    if asked.is_empty() {
        return Ok(());
    }
    let known = files::load(dirs);
    let (mut found, mut missing) = (Vec::new(), Vec::new());
    for name in &asked {
        match known.device(name) {
            Some(device) => found.push(device),
            None => missing.push(name.as_str()),
        }
    }
    if !missing.is_empty() {
        let reasons: Vec<&str> = known.problems.iter().map(String::as_str).collect();
        let because = if reasons.is_empty() { String::new() } else { format!(" ({})", reasons.join("; ")) };
        return Err(Error::Invalid(format!("CDI device injection failed: unresolvable CDI devices {}{because}", missing.join(", "))));
    }
    // What a file says for all of its devices applies once.
    let mut whole = BTreeSet::new();
    for device in found {
        if whole.insert(device.file) {
            edits::apply(known.edits(device.file), spec)?;
        }
        edits::apply(device.edits, spec)?;
    }
    edits::order(spec);
    Ok(())
}

#[cfg(test)]
mod tests;
