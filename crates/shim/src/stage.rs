//! Laying out a container's mounts before it is made, where libcontainer's way would not do:
//!
//! - With a user namespace, root of the container is nobody on the node, and the way to the node's directories is often closed to
//!   nobody. Everything that the container is made of (root file system, sources of bind mounts) has to lie where its first process can
//!   reach it, mounts that ask for it with their ids mapped.
//! - libcontainer does not cut bind mounts off from what is mounted below their source later, also when asked to.
//!
//! So, in a mount namespace of the launching process's own, such things are put into a small file system that all may enter, and the
//! bundle is rewritten to match.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::tree::{Propagation, Tree, lay_out};

/// Directories that every system has and that may be covered for as long as a container is being made; the first that lies on
/// the way to nothing that is needed is taken.
const PLACES: [&str; 5] = ["/mnt", "/media", "/srv", "/opt", "/tmp"];

/// Prepares the container in `dir`. Returns its new bundle, or nothing if it can be made as it is.
pub(crate) fn prepare(dir: &Path) -> Result<Option<PathBuf>> {
    let mut spec: Value = serde_json::from_slice(&fs::read(dir.join("config.json")).context("cannot read the bundle")?)?;
    let userns = user_namespace(&spec);
    if userns.is_none() && !needs_cutting(&spec)? {
        return Ok(None);
    }
    let userns = userns.map(|path| File::open(&path).with_context(|| format!("cannot open {}", path.display()))).transpose()?;
    let mut moved = Vec::new();
    if userns.is_some() {
        moved.push(("rootfs".to_owned(), Tree::of(Path::new(text(&spec["root"]["path"])), false)?));
    }
    for (index, entry) in spec["mounts"].as_array_mut().into_iter().flatten().enumerate() {
        let (bind, recursive) = (has(entry, &["bind", "rbind"]), has(entry, &["rbind"]));
        if !bind || userns.is_none() && !Path::new(text(&entry["source"])).is_dir() {
            continue;
        }
        let mapped = entry["uidMappings"].is_array();
        // What is mounted further down may not be mappable, and was not asked for.
        let tree = Tree::of(Path::new(text(&entry["source"])), recursive && !mapped)?;
        if let Some(userns) = userns.as_ref().filter(|_| mapped) {
            tree.map_ids(userns).with_context(|| format!("cannot map the ids of {}", text(&entry["source"])))?;
            entry.as_object_mut().into_iter().for_each(|entry| {
                entry.remove("uidMappings");
                entry.remove("gidMappings");
            });
        }
        tree.propagate(Propagation::of(options(entry))).with_context(|| format!("cannot cut off {}", text(&entry["source"])))?;
        moved.push((format!("mount-{index}"), tree));
    }
    let place = Path::new(place(dir, &spec)?);
    lay_out(&moved, place)?;
    if userns.is_some() {
        spec["root"]["path"] = Value::from(place.join("rootfs").display().to_string());
    }
    for (index, entry) in spec["mounts"].as_array_mut().into_iter().flatten().enumerate() {
        let target = place.join(format!("mount-{index}"));
        if target.exists() {
            entry["source"] = Value::from(target.display().to_string());
        }
    }
    let bundle = place.join("bundle");
    fs::create_dir(&bundle)?;
    fs::write(bundle.join("config.json"), serde_json::to_vec(&spec)?)?;
    Ok(Some(bundle))
}

fn options(mount: &Value) -> impl Iterator<Item = &str> {
    mount["options"].as_array().into_iter().flatten().filter_map(Value::as_str)
}

/// Whether one of the options is given.
fn has(mount: &Value, wanted: &[&str]) -> bool {
    options(mount).any(|given| wanted.contains(&given))
}

/// Whether a directory that is to be private lies on, or has below it, a mount whose changes others see.
fn needs_cutting(spec: &Value) -> Result<bool> {
    let private = |entry: &&Value| has(entry, &["rprivate", "private"]) && Path::new(text(&entry["source"])).is_dir();
    let wanted: Vec<&Path> =
        spec["mounts"].as_array().into_iter().flatten().filter(private).map(|entry| Path::new(text(&entry["source"]))).collect();
    if wanted.is_empty() {
        return Ok(false);
    }
    let table = fs::read_to_string("/proc/self/mountinfo").context("cannot read the table of mounts")?;
    let mounts: Vec<(&Path, bool)> = table
        .lines()
        .filter_map(|line| {
            let mut words = line.split(' ').skip(4);
            let point = Path::new(words.next()?);
            // Optional fields go on up to a dash; the kernel writes blanks in paths as octal numbers, which matters little here.
            Some((point, words.skip(1).take_while(|word| *word != "-").any(|word| word.starts_with("shared:"))))
        })
        .collect();
    Ok(wanted.iter().any(|source| {
        let above = mounts.iter().filter(|(point, _)| source.starts_with(point)).max_by_key(|(point, _)| point.components().count());
        above.is_some_and(|(_, shared)| *shared) || mounts.iter().any(|(point, shared)| *shared && point.starts_with(source))
    }))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// The user namespace that the container is to join.
fn user_namespace(spec: &Value) -> Option<PathBuf> {
    let namespaces = spec["linux"]["namespaces"].as_array()?;
    namespaces.iter().find(|entry| entry["type"] == "user").and_then(|entry| entry["path"].as_str()).map(PathBuf::from)
}

fn place(dir: &Path, spec: &Value) -> Result<&'static str> {
    let namespaces = spec["linux"]["namespaces"].as_array().into_iter().flatten();
    let sources = spec["mounts"].as_array().into_iter().flatten().map(|entry| &entry["source"]);
    let paths = namespaces.map(|entry| &entry["path"]).chain(sources).chain([&spec["root"]["path"]]);
    let needed: Vec<&Path> = paths.filter_map(Value::as_str).map(Path::new).chain([dir]).collect();
    let free = |place: &&str| Path::new(place).is_dir() && !needed.iter().any(|path| path.starts_with(place));
    PLACES.into_iter().find(free).context("there is no directory to lay out a container in")
}
