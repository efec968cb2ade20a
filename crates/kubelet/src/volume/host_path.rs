//! `hostPath`: a file or directory of the node.
//!
//! <https://kubernetes.io/docs/concepts/storage/volumes/#hostpath-volume-types>

use std::fs;
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::HostPathVolumeSource;

use super::{Context, Volume, VolumeError, io_error};

pub(super) struct HostPath {
    path: PathBuf,
    kind: String,
}

impl HostPath {
    pub(super) fn new(source: &HostPathVolumeSource) -> Self {
        Self { path: PathBuf::from(&source.path), kind: source.type_.clone().unwrap_or_default() }
    }

    fn check(&self) -> Result<(), VolumeError> {
        let path = &self.path;
        match self.kind.as_str() {
            "DirectoryOrCreate" if !path.exists() => {
                return fs::DirBuilder::new().recursive(true).mode(0o755).create(path).map_err(io_error(path));
            }
            "FileOrCreate" if !path.exists() => {
                return fs::OpenOptions::new().create(true).append(true).mode(0o644).open(path).map(drop).map_err(io_error(path));
            }
            _ => {}
        }
        let kind = fs::metadata(path).map(|m| m.file_type());
        let (wanted, fits) = match self.kind.as_str() {
            "Directory" | "DirectoryOrCreate" => ("a directory", kind.is_ok_and(|k| k.is_dir())),
            "File" | "FileOrCreate" => ("a file", kind.is_ok_and(|k| k.is_file())),
            "Socket" => ("a socket file", kind.is_ok_and(|k| k.is_socket())),
            "CharDevice" => ("a character device", kind.is_ok_and(|k| k.is_char_device())),
            "BlockDevice" => ("a block device", kind.is_ok_and(|k| k.is_block_device())),
            // Anything goes; what does not exist becomes a directory.
            _ => {
                if kind.is_err() {
                    fs::create_dir_all(path).map_err(io_error(path))?;
                }
                return Ok(());
            }
        };
        if fits {
            return Ok(());
        }
        let path = path.display();
        Err(VolumeError::HostPath(format!("{path} is not {wanted}")))
    }
}

impl Volume for HostPath {
    fn path(&self) -> &Path {
        &self.path
    }

    fn mount<'a>(&'a self, _: &'a Context<'a>) -> BoxFuture<'a, Result<(), VolumeError>> {
        async { self.check() }.boxed()
    }

    fn unmount(&self) -> Result<(), VolumeError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
