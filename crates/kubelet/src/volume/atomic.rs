//! Files that change all at once: a new directory is written beside the old one, and one rename of
//! a symbolic link swaps them.
//!
//! The layout is the reference's, since programs watch for it: `key` → `..data/key`, `..data` →
//! `..<timestamp>`.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Component, Path, PathBuf};

const DATA: &str = "..data";
const NEW_DATA: &str = "..data_tmp";

/// One file to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct File {
    pub(crate) data: Vec<u8>,
    pub(crate) mode: u32,
    /// The owner, if not root.
    pub(crate) uid: Option<u32>,
}

/// Files by path relative to the volume.
pub(crate) type Payload = BTreeMap<String, File>;

/// Writing a payload failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AtomicError {
    #[error("invalid path {0:?}")]
    Path(String),
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> AtomicError {
    let path = path.to_owned();
    move |source| AtomicError::Io { path, source }
}

/// Makes `target` show exactly `payload`. Does nothing if it does already.
pub(crate) fn write(target: &Path, payload: &Payload, gid: Option<u32>) -> Result<bool, AtomicError> {
    for path in payload.keys() {
        check(path)?;
    }
    let current = fs::read_link(target.join(DATA)).ok();
    if let Some(current) = &current
        && same(&target.join(current), payload)
    {
        link_all(target, payload)?;
        return Ok(false);
    }
    let stamp = fresh(target)?;
    let directory = target.join(&stamp);
    for (path, file) in payload {
        write_file(&directory, path, file, gid)?;
    }
    let staged = target.join(NEW_DATA);
    if let Err(error) = fs::remove_file(&staged)
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(at(&staged)(error));
    }
    symlink(&stamp, &staged).map_err(at(&staged))?;
    let data = target.join(DATA);
    fs::rename(&staged, &data).map_err(at(&data))?;
    link_all(target, payload)?;
    unlink_stale(target, payload)?;
    remove_old(target, &stamp)?;
    Ok(true)
}

/// Paths stay inside the volume and out of our own names.
fn check(path: &str) -> Result<(), AtomicError> {
    let plain = Path::new(path).components().all(|c| matches!(c, Component::Normal(_)));
    if path.is_empty() || !plain || path.starts_with("..") || path.len() > 4096 {
        return Err(AtomicError::Path(path.to_owned()));
    }
    Ok(())
}

fn same(directory: &Path, payload: &Payload) -> bool {
    let present = walk(directory);
    present.len() == payload.len()
        && payload.iter().all(|(path, file)| {
            let full = directory.join(path);
            let attributes = fs::symlink_metadata(&full)
                .is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o7777 == file.mode && file.uid.is_none_or(|uid| uid == m.uid()));
            attributes && fs::read(&full).is_ok_and(|data| data == file.data)
        })
}

/// All files below a directory.
fn walk(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            found.extend(walk(&entry.path()));
        } else {
            found.push(entry.path());
        }
    }
    found
}

/// A new directory with a name that no other has had.
fn fresh(target: &Path) -> Result<String, AtomicError> {
    let now = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC);
    let base = now.strftime("..%Y_%m_%d_%H_%M_%S").to_string();
    let mut number = now.subsec_nanosecond();
    loop {
        let name = format!("{base}.{number}");
        let path = target.join(&name);
        match fs::DirBuilder::new().mode(0o755).create(&path) {
            Ok(()) => {
                fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).map_err(at(&path))?;
                return Ok(name);
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
            Err(error) => return Err(at(&path)(error)),
        }
    }
}

fn write_file(directory: &Path, path: &str, file: &File, gid: Option<u32>) -> Result<(), AtomicError> {
    let full = directory.join(path);
    if let Some(parent) = full.parent() {
        fs::create_dir_all(parent).map_err(at(parent))?;
    }
    fs::write(&full, &file.data).map_err(at(&full))?;
    if file.uid.is_some() || gid.is_some() {
        std::os::unix::fs::chown(&full, file.uid, gid).map_err(at(&full))?;
    }
    fs::set_permissions(&full, fs::Permissions::from_mode(file.mode)).map_err(at(&full))
}

fn top(path: &str) -> &str {
    path.split('/').next().unwrap_or(path)
}

fn link_all(target: &Path, payload: &Payload) -> Result<(), AtomicError> {
    for name in payload.keys().map(|p| top(p)) {
        let link = target.join(name);
        match symlink(Path::new(DATA).join(name), &link) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(at(&link)(error));
            }
            _ => {}
        }
    }
    Ok(())
}

fn unlink_stale(target: &Path, payload: &Payload) -> Result<(), AtomicError> {
    for entry in fs::read_dir(target).map_err(at(target))?.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if !name.starts_with("..") && !payload.keys().any(|p| top(p) == name) {
            fs::remove_file(entry.path()).map_err(at(&entry.path()))?;
        }
    }
    Ok(())
}

fn remove_old(target: &Path, keep: &str) -> Result<(), AtomicError> {
    for entry in fs::read_dir(target).map_err(at(target))?.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let directory = entry.file_type().is_ok_and(|t| t.is_dir());
        if directory && name.starts_with("..") && name != keep {
            fs::remove_dir_all(entry.path()).map_err(at(&entry.path()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
