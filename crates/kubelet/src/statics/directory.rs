//! Manifests in a directory.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;

use super::read::{Origin, pod};
use super::watch::Watch;

/// Most bytes of a manifest that is read, as in the reference.
const LARGEST: u64 = 10 << 20;
/// Most manifests whose links are followed to where they lead.
const MOST: usize = 1000;

/// Reads the manifests now and whenever they change.
pub(super) async fn follow(path: &Path, node: &str, interval: Duration, told: impl Fn(Vec<Pod>)) {
    let mut watch = match Watch::new(interval) {
        Ok(watch) => Some(watch),
        Err(error) => {
            tracing::warn!(%error, "static pods are looked for by the clock alone");
            None
        }
    };
    let mut known = Found::new();
    loop {
        let look = look(path, node, watch.as_mut(), &known);
        let again = match look {
            Ok((found, again)) => {
                // Said once for every change, not at every look.
                for (file, error) in refused(&found).filter(|(file, error)| known.get(*file).and_then(|k| k.as_ref().err()) != Some(*error))
                {
                    tracing::error!(error, path = %file.display(), "a manifest is no static pod");
                }
                told(pods(&found));
                known = found;
                again
            }
            Err(error) => {
                tracing::warn!(%error, path = %path.display(), "reading static pods");
                false
            }
        };
        if again {
            // Whoever never stops writing does not hold up the end.
            tokio::task::yield_now().await;
            continue;
        }
        let changed = async {
            match &mut watch {
                Some(watch) => watch.changed().await,
                None => std::future::pending().await,
            }
        };
        // By the clock as well: the path may not exist yet, and network file systems tell nothing.
        if let Ok(Err(error)) = tokio::time::timeout(interval, changed).await {
            tracing::warn!(%error, "static pods are looked for by the clock alone");
            watch = None;
        }
    }
}

/// Reads the manifests; one that somebody is writing is as it was before. Whether to look again at once.
fn look(path: &Path, node: &str, watch: Option<&mut Watch>, known: &Found) -> io::Result<(Found, bool)> {
    let Some(watch) = watch else { return Ok((read(path, node)?, false)) };
    watch.begin(&watched(path))?;
    let found = read(path, node)?;
    let again = watch.end()?;
    let believed = |(file, made): (PathBuf, Made)| match watch.is_doubtful(&file) {
        true => known.get(&file).cloned().map(|made| (file, made)),
        false => Some((file, made)),
    };
    Ok((found.into_iter().filter_map(believed).collect(), again))
}

/// The directories in which something may change: the path itself or the one that a single manifest is in, and wherever a
/// link stands or leads to: links are how content is replaced at once.
fn watched(path: &Path) -> BTreeSet<PathBuf> {
    let mut directories = BTreeSet::new();
    let directory = if path.is_dir() { path } else { path.parent().unwrap_or(path) };
    directories.insert(directory.to_owned());
    trace(path, &mut directories);
    for entry in fs::read_dir(path).into_iter().flatten().flatten().take(MOST) {
        trace(&entry.path(), &mut directories);
    }
    directories
}

/// Adds the directories of all links on the way to what a path leads to, and that of the end.
fn trace(path: &Path, directories: &mut BTreeSet<PathBuf>) {
    let mut path = path.to_owned();
    // As many as the kernel follows.
    for _ in 0..40 {
        let ancestors: Vec<&Path> = path.ancestors().collect();
        let link = ancestors.into_iter().rev().find_map(|part| Some((part.to_owned(), fs::read_link(part).ok()?)));
        let Some((link, target)) = link else { break };
        let Some(parent) = link.parent() else { break };
        directories.insert(parent.to_owned());
        let rest = path.strip_prefix(&link).map(Path::to_owned).unwrap_or_default();
        path = parent.join(target).join(rest);
    }
    directories.extend(path.parent().filter(|parent| parent.is_dir()).map(Path::to_owned));
}

/// A file's pod, or why there is none.
type Made = Result<Pod, String>;
/// What a directory holds.
pub(super) type Found = BTreeMap<PathBuf, Made>;

pub(super) fn pods(found: &Found) -> Vec<Pod> {
    found.values().filter_map(|made| made.as_ref().ok()).cloned().collect()
}

/// Files that no pod can be made of, and why.
pub(super) fn refused(found: &Found) -> impl Iterator<Item = (&PathBuf, &String)> {
    found.iter().filter_map(|(file, made)| Some((file, made.as_ref().err()?)))
}

/// Reads all manifests; one that is wrong does not hide the others. A path that does not exist holds none.
pub(super) fn read(path: &Path, node: &str) -> io::Result<Found> {
    let mut files = match fs::read_dir(path) {
        Ok(entries) => entries.map(|entry| entry.map(|e| e.path())).collect::<Result<Vec<_>, _>>()?,
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => vec![path.to_owned()],
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error),
    };
    let hidden = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
    files.retain(|file| !hidden(file) && file.is_file());
    let made = |file: PathBuf| {
        let place = file.to_string_lossy().into_owned();
        let made = content(&file).map_err(|error| error.to_string());
        let made = made.and_then(|bytes| pod(&bytes, Origin { source: "file", place: &place, node }).map_err(|error| error.to_string()));
        (file, made)
    };
    Ok(files.into_iter().map(made).collect())
}

fn content(file: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if fs::File::open(file)?.take(LARGEST + 1).read_to_end(&mut bytes)? as u64 > LARGEST {
        return Err(io::Error::other(format!("larger than {LARGEST} bytes")));
    }
    Ok(bytes)
}
