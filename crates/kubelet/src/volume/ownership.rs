//! `fsGroup`: files of a volume belong to the pod's group.
//!
//! <https://kubernetes.io/docs/tasks/configure-pod-container/security-context/#configure-volume-permission-and-ownership-change-policy-for-pods>

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, lchown};
use std::path::Path;

use k8s_openapi::api::core::v1::Pod;

use super::{VolumeError, io_error};

/// Bits that the group needs of a file, and of a directory besides: what is made in it inherits the group.
const READ_WRITE: u32 = 0o660;
const READ: u32 = 0o440;
const DIRECTORY: u32 = 0o2110;

/// The pod's group for volumes, and how eagerly it is given to what is in them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FsGroup {
    pub(super) group: u32,
    /// Everything is as it should be if the volume's own directory is (`OnRootMismatch`).
    trusting: bool,
}

impl FsGroup {
    /// What the pod says.
    pub(super) fn of(pod: &Pod) -> Option<Self> {
        let context = pod.spec.as_ref()?.security_context.as_ref()?;
        let group = context.fs_group.and_then(|group| u32::try_from(group).ok())?;
        Some(Self { group, trusting: context.fs_group_change_policy.as_deref() == Some("OnRootMismatch") })
    }

    /// Gives a volume to the group.
    pub(super) fn apply(&self, volume: &Path, read_only: bool) -> Result<(), VolumeError> {
        let bits = if read_only { READ } else { READ_WRITE };
        if self.trusting {
            let data = fs::symlink_metadata(volume).map_err(io_error(volume))?;
            let wanted = bits | DIRECTORY;
            if data.gid() == self.group && data.permissions().mode() & wanted == wanted {
                return Ok(());
            }
        }
        self.give(volume, bits)
    }

    /// What is inside comes first: the volume's own directory says that everything was done.
    fn give(&self, path: &Path, bits: u32) -> Result<(), VolumeError> {
        let data = fs::symlink_metadata(path).map_err(io_error(path))?;
        if data.is_dir() {
            for entry in fs::read_dir(path).map_err(io_error(path))? {
                self.give(&entry.map_err(io_error(path))?.path(), bits)?;
            }
        }
        lchown(path, None, Some(self.group)).map_err(io_error(path))?;
        // A link has no mode, and what it leads to may be anywhere.
        if data.is_symlink() {
            return Ok(());
        }
        let more = if data.is_dir() { bits | DIRECTORY } else { bits };
        fs::set_permissions(path, fs::Permissions::from_mode(data.permissions().mode() | more)).map_err(io_error(path))
    }
}

/// The user that all containers run as, if it is the same one.
pub(super) fn common_user(pod: &Pod) -> Option<u32> {
    let outer = pod.spec.as_ref().and_then(|s| s.security_context.as_ref()).and_then(|c| c.run_as_user);
    let mut users = crate::pod::qos::all_containers(pod).map(|c| {
        let inner = c.security_context.as_ref().and_then(|s| s.run_as_user);
        inner.or(outer)
    });
    let first = users.next()??;
    if !users.all(|user| user == Some(first)) {
        return None;
    }
    u32::try_from(first).ok()
}

#[cfg(test)]
mod tests;
