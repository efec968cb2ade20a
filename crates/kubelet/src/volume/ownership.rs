//! `fsGroup`: files of a volume belong to the pod's group.
//!
//! <https://kubernetes.io/docs/tasks/configure-pod-container/security-context/#configure-volume-permission-and-ownership-change-policy-for-pods>

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::Path;

use k8s_openapi::api::core::v1::Pod;

use super::{VolumeError, io_error};

/// The pod's group for volumes.
pub(super) fn fs_group(pod: &Pod) -> Option<u32> {
    let context = pod.spec.as_ref()?.security_context.as_ref()?;
    context.fs_group.and_then(|group| u32::try_from(group).ok())
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

/// Gives a directory to a group: new files in it inherit the group.
pub(super) fn give(path: &Path, group: u32) -> Result<(), VolumeError> {
    chown(path, None, Some(group)).map_err(io_error(path))?;
    let mode = fs::metadata(path).map_err(io_error(path))?.permissions().mode();
    fs::set_permissions(path, fs::Permissions::from_mode(mode | 0o2770)).map_err(io_error(path))
}
