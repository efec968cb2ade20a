//! Mount points that the kubelet makes: tmpfs for what must not reach a disk, binds for sub paths.

use std::fs;
use std::io;
use std::path::Path;

use rustix::fs::{CWD, statfs};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use super::{VolumeError, io_error};

/// `f_type` of a tmpfs and of huge pages (statfs(2)).
const TMPFS_MAGIC: i64 = 0x0102_1994;
const HUGETLBFS_MAGIC: i64 = 0x9584_58f6;

/// Makes sure that a tmpfs is mounted at a directory; true if it was not before.
pub(crate) fn ensure_tmpfs(path: &Path, limit: Option<u64>) -> Result<bool, VolumeError> {
    ensure(path, "tmpfs", TMPFS_MAGIC, limit.map(|bytes| format!("size={bytes}")))
}

/// Makes sure that huge pages of a size are mounted at a directory; true if they were not before.
pub(crate) fn ensure_huge_pages(path: &Path, page: u64) -> Result<bool, VolumeError> {
    ensure(path, "hugetlbfs", HUGETLBFS_MAGIC, Some(format!("pagesize={page}")))
}

fn ensure(path: &Path, kind: &str, magic: i64, options: Option<String>) -> Result<bool, VolumeError> {
    if is_mount_point(path) && is_of(path, magic)? {
        return Ok(false);
    }
    let options = options.and_then(|o| std::ffi::CString::new(o).ok());
    mount(kind, path, kind, MountFlags::NOSUID | MountFlags::NODEV, options.as_deref()).map_err(|e| io_error(path)(e.into()))?;
    Ok(true)
}

fn is_of(path: &Path, magic: i64) -> Result<bool, VolumeError> {
    let found = statfs(path).map_err(|e| io_error(path)(e.into()))?;
    #[allow(clippy::useless_conversion)] // The field's width differs between architectures.
    Ok(i64::from(found.f_type) == magic)
}

/// Whether something is mounted at a path: it is on another mount than its parent.
pub(crate) fn is_mount_point(path: &Path) -> bool {
    use rustix::fs::{AtFlags, StatxFlags, statx};
    let mount_id = |path: &Path| {
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        statx(CWD, path, flags, StatxFlags::MNT_ID).map(|s| s.stx_mnt_id)
    };
    match (mount_id(path), path.parent().map(mount_id)) {
        (Ok(own), Some(Ok(parent))) => own != parent,
        _ => false,
    }
}

/// Unmounts whatever is at a path and below it, and removes the directory with its content: what a container mounted
/// there with bidirectional propagation must not be emptied with it.
pub(crate) fn clear(path: &Path) -> Result<(), VolumeError> {
    detach_below(path)?;
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error(path)(error)),
        _ => Ok(()),
    }
}

/// Unmounts everything that is mounted at a path.
pub(crate) fn detach(path: &Path) -> Result<(), VolumeError> {
    while is_mount_point(path) {
        unmount(path, UnmountFlags::DETACH).map_err(|e| io_error(path)(e.into()))?;
    }
    Ok(())
}

/// Unmounts everything below a directory, deepest first: what a crash or a lost pod left behind.
pub(crate) fn detach_below(directory: &Path) -> Result<(), VolumeError> {
    // Mount points are listed by their real paths.
    let directory = match fs::canonicalize(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        real => real.map_err(io_error(directory))?,
    };
    let mountinfo = fs::read_to_string("/proc/self/mountinfo");
    let mountinfo = mountinfo.map_err(io_error(Path::new("/proc/self/mountinfo")))?;
    let mut points: Vec<String> = mountinfo
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(unescape)
        .filter(|point| Path::new(point).starts_with(&directory))
        .collect();
    points.sort_by_key(|point| std::cmp::Reverse(point.len()));
    for point in points {
        let path = Path::new(&point);
        unmount(path, UnmountFlags::DETACH).map_err(|e| io_error(path)(e.into()))?;
    }
    Ok(())
}

/// The octal escapes of `mountinfo` (proc(5)).
fn unescape(text: &str) -> String {
    let mut out = text.to_owned();
    for (escape, character) in [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")] {
        out = out.replace(escape, character);
    }
    out
}
