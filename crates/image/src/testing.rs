//! Helpers of this crate's tests.

pub(crate) mod registry;

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_string, fsmount, fsopen};
use tempfile::TempDir;

use crate::store::{Options, Store};

/// A store in a directory of its own.
pub(crate) async fn store() -> (TempDir, Store) {
    let directory = tempfile::tempdir().unwrap();
    let store = reopen(directory.path()).await;
    (directory, store)
}

pub(crate) async fn reopen(directory: &Path) -> Store {
    Store::open(Options { dir: directory.join("images"), ..Options::default() }).await.unwrap()
}

/// A detached overlay mount (fsmount(2)): visible to nobody else, gone when dropped.
pub(crate) struct Overlay {
    mount: OwnedFd,
    _empty: TempDir,
}

impl Overlay {
    /// Topmost first, as [`Store::rootfs`] gives them.
    pub(crate) fn mount(lowers: &[PathBuf]) -> Overlay {
        let empty = tempfile::tempdir().unwrap();
        let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).unwrap();
        // Without an upper directory an overlay needs two lower ones.
        for lower in lowers.iter().map(PathBuf::as_path).chain([empty.path()]) {
            fsconfig_set_string(&context, "lowerdir+", lower).unwrap();
        }
        fsconfig_create(&context).unwrap();
        let mount = fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::MOUNT_ATTR_RDONLY).unwrap();
        Overlay { mount, _empty: empty }
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}/{path}", self.mount.as_raw_fd()))
    }

    pub(crate) fn listing(&self) -> BTreeMap<String, String> {
        listing(&self.path("."))
    }
}

/// Every path below with its kind, mode, owner and content.
pub(crate) fn listing(root: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut directories = vec![root.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            let metadata = fs::symlink_metadata(&path).unwrap();
            let kind = metadata.file_type();
            let what = if kind.is_dir() {
                directories.push(path.clone());
                "dir".to_owned()
            } else if kind.is_symlink() {
                format!("-> {}", fs::read_link(&path).unwrap().display())
            } else if kind.is_file() {
                format!("{:?}", String::from_utf8_lossy(&fs::read(&path).unwrap()))
            } else if kind.is_char_device() {
                format!("char {:x}", metadata.rdev())
            } else {
                "special".to_owned()
            };
            let name = path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
            let owner = format!("{}:{}", metadata.uid(), metadata.gid());
            found.insert(name, format!("{:o} {owner} {what}", metadata.mode() & 0o7777));
        }
    }
    found
}

/// An image whose layers have these files, lowest first.
pub(crate) fn image(layers: &[&[(&str, &str)]]) -> crate::build::Image {
    let rootfs: Vec<_> = layers
        .iter()
        .map(|files| {
            let mut rootfs = crate::build::Rootfs::new();
            for (path, content) in *files {
                rootfs.file(path, *content, 0o644);
            }
            rootfs
        })
        .collect();
    let config = crate::model::ContainerConfig { cmd: vec!["/app".into()], ..Default::default() };
    crate::build::Image::layered(&rootfs, config).unwrap()
}

/// Files that are being made or deleted, and blobs and layers: what an interrupted operation could leave.
pub(crate) fn leftovers(store: &Store) -> Vec<String> {
    let mut found = Vec::new();
    for directory in ["ingest", "trash", "leases"] {
        for entry in fs::read_dir(store.dir().join(directory)).unwrap() {
            found.push(format!("{directory}/{}", entry.unwrap().file_name().to_string_lossy()));
        }
    }
    found
}

pub(crate) fn count(store: &Store, directory: &str) -> usize {
    fs::read_dir(store.dir().join(directory)).unwrap().count()
}
