//! `emptyDir`: a directory, or a tmpfs, that lives as long as the pod.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use corten_client::quantity;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::EmptyDirVolumeSource;

use super::{Context, Volume, VolumeError, io_error, mounts, ownership};

pub(super) struct EmptyDir {
    path: PathBuf,
    memory: bool,
    /// Bytes; only enforced in memory.
    limit: Option<u64>,
    fs_group: Option<u32>,
}

impl EmptyDir {
    pub(super) fn new(path: PathBuf, source: &EmptyDirVolumeSource, fs_group: Option<u32>) -> Self {
        let limit = source.size_limit.as_ref().and_then(quantity::units);
        Self {
            path,
            memory: source.medium.as_deref() == Some("Memory"),
            limit: limit.and_then(|l| u64::try_from(l).ok()).filter(|l| *l > 0),
            fs_group,
        }
    }

    fn make(&self) -> Result<(), VolumeError> {
        let existed = self.path.is_dir();
        fs::create_dir_all(&self.path).map_err(io_error(&self.path))?;
        let fresh = if self.memory { mounts::ensure_tmpfs(&self.path, self.limit)? } else { !existed };
        if fresh {
            let everybody = fs::Permissions::from_mode(0o777);
            fs::set_permissions(&self.path, everybody).map_err(io_error(&self.path))?;
            if let Some(group) = self.fs_group {
                ownership::give(&self.path, group)?;
            }
        }
        Ok(())
    }
}

impl Volume for EmptyDir {
    fn path(&self) -> &Path {
        &self.path
    }

    fn mount<'a>(&'a self, _: &'a Context<'a>) -> BoxFuture<'a, Result<(), VolumeError>> {
        async { self.make() }.boxed()
    }

    fn unmount(&self) -> Result<(), VolumeError> {
        mounts::clear(&self.path)
    }
}
