//! Disk usage.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Store, StoreError, files};

/// Disk usage of the store (CRI `FilesystemUsage`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FsInfo {
    /// The store's directory.
    pub path: PathBuf,
    /// Bytes of disk in use.
    pub used_bytes: u64,
    /// Inodes in use.
    pub inodes_used: u64,
}

/// What an unpacked layer takes, written beside it so that nobody walks the tree again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Usage {
    pub(crate) bytes: u64,
    pub(crate) inodes: u64,
}

/// Bytes per `st_blocks` (stat(2)).
const BLOCK: u64 = 512;

/// Name of the usage file in a layer's directory.
pub(crate) const USAGE_FILE: &str = "usage";

/// Bytes that a file takes, or an unpacked layer says it takes.
pub(crate) fn of(path: &Path) -> u64 {
    layer(path).map(|usage| usage.bytes).or_else(|| Some(fs::symlink_metadata(path).ok()?.blocks() * BLOCK)).unwrap_or(0)
}

fn layer(path: &Path) -> Option<Usage> {
    serde_json::from_slice(&fs::read(path.join(USAGE_FILE)).ok()?).ok()
}

impl Store {
    pub(crate) fn usage(&self) -> Result<FsInfo, StoreError> {
        let paths = &self.inner.paths;
        let mut total = Usage::default();
        let flat = [paths.blobs.join("sha256"), paths.blobs.join("sha512"), paths.images.clone(), paths.ingest.clone()];
        for directory in &flat {
            for (_, path) in files::entries(directory)? {
                total.bytes += of(&path);
                total.inodes += 1;
            }
        }
        for (_, path) in files::entries(&paths.layers)? {
            let usage = layer(&path).unwrap_or_default();
            total.bytes += usage.bytes;
            total.inodes += usage.inodes;
        }
        Ok(FsInfo { path: paths.root.clone(), used_bytes: total.bytes, inodes_used: total.inodes })
    }
}
