//! The files that describe devices.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

/// The newest version of the format that is understood.
const NEWEST: (u32, u32) = (1, 0);

/// A file.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    cdi_version: String,
    kind: String,
    devices: Vec<Device>,
    #[serde(default)]
    container_edits: Edits,
}

/// A device.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Device {
    name: String,
    container_edits: Edits,
}

/// What changes about a container.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Edits {
    #[serde(default)]
    pub(super) env: Vec<String>,
    #[serde(default)]
    pub(super) device_nodes: Vec<DeviceNode>,
    #[serde(default)]
    pub(super) mounts: Vec<Mount>,
    #[serde(default)]
    pub(super) hooks: Vec<Hook>,
    #[serde(default, rename = "additionalGids")]
    pub(super) additional_gids: Vec<u32>,
    #[serde(default)]
    pub(super) intel_rdt: Option<Value>,
}

/// A device node; what is not said is as it is on the node.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DeviceNode {
    pub(super) path: PathBuf,
    pub(super) host_path: Option<PathBuf>,
    pub(super) r#type: Option<String>,
    pub(super) major: Option<i64>,
    pub(super) minor: Option<i64>,
    pub(super) file_mode: Option<u32>,
    pub(super) permissions: Option<String>,
    pub(super) uid: Option<u32>,
    pub(super) gid: Option<u32>,
}

/// A mount.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Mount {
    pub(super) host_path: PathBuf,
    pub(super) container_path: PathBuf,
    #[serde(default)]
    pub(super) options: Vec<String>,
    pub(super) r#type: Option<String>,
}

/// A program that is run at a point of the container's life.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Hook {
    pub(super) hook_name: String,
    pub(super) path: PathBuf,
    #[serde(default)]
    pub(super) args: Vec<String>,
    #[serde(default)]
    pub(super) env: Vec<String>,
    pub(super) timeout: Option<i64>,
}

/// All devices that are described.
#[derive(Default)]
pub(super) struct Known {
    specs: Vec<Spec>,
    /// The file and the place in it of a device; `None` if two files of one directory describe it.
    devices: HashMap<String, Option<(usize, usize)>>,
    /// What is wrong with files that could not be used.
    pub(super) problems: Vec<String>,
}

/// A device that was found.
pub(super) struct Found<'a> {
    pub(super) file: usize,
    pub(super) edits: &'a Edits,
}

impl Known {
    /// Finds `vendor/class=name`.
    pub(super) fn device(&self, name: &str) -> Option<Found<'_>> {
        let (file, index) = (*self.devices.get(name)?)?;
        Some(Found { file, edits: &self.specs.get(file)?.devices.get(index)?.container_edits })
    }

    /// What a file says for all of its devices.
    pub(super) fn edits(&self, file: usize) -> &Edits {
        const NONE: &Edits = &Edits {
            env: Vec::new(),
            device_nodes: Vec::new(),
            mounts: Vec::new(),
            hooks: Vec::new(),
            additional_gids: Vec::new(),
            intel_rdt: None,
        };
        self.specs.get(file).map_or(NONE, |spec| &spec.container_edits)
    }

    fn add(&mut self, spec: Spec, in_this_directory: &mut HashMap<String, ()>) {
        let file = self.specs.len();
        for (index, device) in spec.devices.iter().enumerate() {
            let name = format!("{}={}", spec.kind, device.name);
            let again = in_this_directory.insert(name.clone(), ()).is_some();
            if again {
                self.problems.push(format!("{name} is described twice"));
            }
            self.devices.insert(name, (!again).then_some((file, index)));
        }
        self.specs.push(spec);
    }
}

/// Reads all files of all directories; those of a later directory win. A file that cannot be used takes no other with it.
pub(super) fn load(dirs: &[PathBuf]) -> Known {
    let mut known = Known::default();
    for dir in dirs {
        let mut paths: Vec<PathBuf> = fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
        paths.sort();
        let mut seen = HashMap::new();
        for path in paths {
            match read(&path) {
                Ok(Some(spec)) => known.add(spec, &mut seen),
                Ok(None) => {}
                Err(reason) => known.problems.push(format!("{}: {reason}", path.display())),
            }
        }
    }
    known
}

fn read(path: &Path) -> Result<Option<Spec>, String> {
    let spec: Spec = match path.extension().and_then(|extension| extension.to_str()) {
        Some("json") => serde_json::from_slice(&text(path)?).map_err(|error| error.to_string())?,
        Some("yaml" | "yml") => serde_saphyr::from_str(&String::from_utf8(text(path)?).map_err(|error| error.to_string())?)
            .map_err(|error| error.to_string())?,
        _ => return Ok(None),
    };
    validate(&spec)?;
    Ok(Some(spec))
}

fn text(path: &Path) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|error| error.to_string())
}

fn validate(spec: &Spec) -> Result<(), String> {
    let mut numbers = spec.cdi_version.trim_start_matches('v').split('.').map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) if (major, minor) <= NEWEST => {}
        _ => return Err(format!("unsupported cdiVersion {:?}", spec.cdi_version)),
    }
    let (vendor, class) = spec.kind.split_once('/').ok_or_else(|| format!("kind {:?} is not vendor/class", spec.kind))?;
    let word = |text: &str, inner: &str| {
        let ends = text.chars().next().is_some_and(char::is_alphanumeric) && text.chars().last().is_some_and(char::is_alphanumeric);
        ends && text.chars().all(|char| char.is_ascii_alphanumeric() || inner.contains(char))
    };
    if !word(vendor, "-_.") || !word(class, "-_.") {
        return Err(format!("kind {:?} is not vendor/class", spec.kind));
    }
    match spec.devices.iter().find(|device| !word(&device.name, "-_.:")) {
        Some(device) => Err(format!("invalid device name {:?}", device.name)),
        None => Ok(()),
    }
}
