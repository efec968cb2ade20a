//! Manifests in a directory.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use tokio::net::unix::pipe;

use super::read::{Origin, pod};

/// Most bytes of a manifest that is read, as in the reference.
const LARGEST: u64 = 10 << 20;
/// Most manifests whose links are followed to where they lead.
const MOST: usize = 1000;

/// Reads the manifests now and whenever they change.
pub(super) async fn follow(path: &Path, node: &str, interval: Duration, told: impl Fn(Vec<Pod>)) {
    let mut refused = Vec::new();
    loop {
        // Watched anew before each look: nothing between two looks is missed, and a directory that was replaced is followed.
        let watch = match watch(&watched(path)) {
            Ok(watch) => Some(watch),
            Err(error) => {
                tracing::debug!(%error, path = %path.display(), "static pods are looked for by the clock alone");
                None
            }
        };
        match read(path, node) {
            Ok(found) => {
                // Said once for every change, not at every look.
                if found.refused != refused {
                    for (file, error) in &found.refused {
                        tracing::error!(error, path = %file.display(), "a manifest is no static pod");
                    }
                    refused = found.refused;
                }
                told(found.pods);
            }
            Err(error) => tracing::warn!(%error, path = %path.display(), "reading static pods"),
        }
        let changed = async {
            match &watch {
                Some(watch) => watch.readable().await,
                None => std::future::pending().await,
            }
        };
        // By the clock as well: the path may not exist yet, and network file systems tell nothing.
        let _ = tokio::time::timeout(interval, changed).await;
    }
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

/// Events of directories.
fn watch(directories: &BTreeSet<PathBuf>) -> io::Result<pipe::Receiver> {
    let watch = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
    let events = WatchFlags::CLOSE_WRITE | WatchFlags::CREATE | WatchFlags::MOVED_TO | WatchFlags::MOVED_FROM | WatchFlags::DELETE;
    let own = WatchFlags::DELETE_SELF | WatchFlags::MOVE_SELF | WatchFlags::ONLYDIR;
    for directory in directories {
        inotify::add_watch(&watch, directory, events | own)?;
    }
    // Something to read from that says when there is something, as a pipe does.
    pipe::Receiver::from_owned_fd_unchecked(watch)
}

/// What a directory holds.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) pods: Vec<Pod>,
    /// Files that no pod can be made of, and why.
    pub(super) refused: Vec<(PathBuf, String)>,
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
    files.sort();
    let mut found = Found::default();
    for file in files {
        let place = file.to_string_lossy().into_owned();
        let made = content(&file).map_err(|error| error.to_string());
        let made = made.and_then(|bytes| pod(&bytes, Origin { source: "file", place: &place, node }).map_err(|error| error.to_string()));
        match made {
            Ok(pod) => found.pods.push(pod),
            Err(error) => found.refused.push((file, error)),
        }
    }
    Ok(found)
}

fn content(file: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if fs::File::open(file)?.take(LARGEST + 1).read_to_end(&mut bytes)? as u64 > LARGEST {
        return Err(io::Error::other(format!("larger than {LARGEST} bytes")));
    }
    Ok(bytes)
}
