//! `emptyDir`: a directory, a tmpfs, or huge pages, that live as long as the pod.
//!
//! <https://kubernetes.io/docs/concepts/storage/volumes/#emptydir>

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use corten_client::quantity;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::{EmptyDirVolumeSource, Pod};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::ownership::FsGroup;
use super::{Context, Volume, VolumeError, io_error, mounts};
use crate::pod::{qos, resources};

/// What media of huge pages, and the resources that they are of, begin with.
const HUGE_PAGES: &str = "HugePages";
const HUGE_RESOURCE: &str = "hugepages-";

pub(super) struct EmptyDir {
    path: PathBuf,
    medium: Medium,
    fs_group: Option<FsGroup>,
}

enum Medium {
    Disk,
    /// With the least of the limits that are known beforehand, in bytes.
    Memory(Option<u64>),
    /// With the size of a page in bytes, or what is wrong with the pod.
    HugePages(Result<u64, String>),
}

impl EmptyDir {
    pub(super) fn new(path: PathBuf, source: &EmptyDirVolumeSource, pod: &Pod, fs_group: Option<FsGroup>) -> Self {
        let medium = match source.medium.as_deref() {
            Some("Memory") => {
                let positive = |bytes: Option<i64>| bytes.and_then(|b| u64::try_from(b).ok()).filter(|b| *b > 0);
                let own = positive(source.size_limit.as_ref().and_then(quantity::units));
                let pods = positive(Some(resources::for_pod(pod).memory));
                Medium::Memory(own.into_iter().chain(pods).min())
            }
            Some(medium) if medium.starts_with(HUGE_PAGES) => Medium::HugePages(page_size(medium, pod)),
            _ => Medium::Disk,
        };
        Self { path, medium, fs_group }
    }

    fn make(&self, allocatable: i64) -> Result<(), VolumeError> {
        let made = self.marker();
        let whole = made.exists();
        fs::create_dir_all(&self.path).map_err(io_error(&self.path))?;
        let fresh = match &self.medium {
            Medium::Disk => false,
            Medium::Memory(limit) => {
                // Never more than what the node has for pods (KEP 1967).
                let all = u64::try_from(allocatable).ok().filter(|bytes| *bytes > 0);
                mounts::ensure_tmpfs(&self.path, limit.iter().copied().chain(all).min())?
            }
            Medium::HugePages(Ok(size)) => mounts::ensure_huge_pages(&self.path, *size)?,
            Medium::HugePages(Err(words)) => return Err(VolumeError::EmptyDir(words.clone())),
        };
        if fresh || !whole {
            let everybody = fs::Permissions::from_mode(0o777);
            fs::set_permissions(&self.path, everybody).map_err(io_error(&self.path))?;
            if let Some(group) = &self.fs_group {
                group.apply(&self.path, false)?;
            }
            // Last: a crash before leaves one that is made once more.
            let directory = made.parent().unwrap_or(&self.path);
            fs::create_dir_all(directory).map_err(io_error(directory))?;
            fs::write(&made, "").map_err(io_error(&made))?;
        }
        Ok(())
    }

    /// The sign that it was made, beside the pod's volumes: what is in them is the containers' affair.
    fn marker(&self) -> PathBuf {
        let name = self.path.file_name().unwrap_or_default();
        let pod = self.path.ancestors().nth(3).unwrap_or(&self.path);
        pod.join("plugins/kubernetes.io~empty-dir").join(name).join("ready")
    }
}

/// The size of the pages that a medium is of: the one that it names, which a container must have asked for, or the only
/// one that containers ask for.
fn page_size(medium: &str, pod: &Pod) -> Result<u64, String> {
    let bytes = |text: &str| quantity::units(&Quantity(text.to_owned())).and_then(|b| u64::try_from(b).ok()).filter(|b| *b > 0);
    let requests = qos::all_containers(pod).filter_map(|c| c.resources.as_ref()?.requests.as_ref()).flatten();
    let mut asked: Vec<u64> = requests.filter_map(|(name, _)| bytes(name.strip_prefix(HUGE_RESOURCE)?)).collect();
    asked.sort_unstable();
    asked.dedup();
    let named = match medium.strip_prefix(HUGE_PAGES).and_then(|rest| rest.strip_prefix('-')) {
        Some(size) => Some(bytes(size).ok_or_else(|| format!("medium {medium} names no size of a page"))?),
        None => None,
    };
    match (named, asked.as_slice()) {
        (Some(named), asked) if asked.contains(&named) => Ok(named),
        (None, [only]) => Ok(*only),
        (None, [_, _, ..]) => Err(format!("medium {medium} can't be used if container requests multiple huge page sizes")),
        _ => Err(format!("medium {medium}: no container requests huge pages of this size")),
    }
}

impl Volume for EmptyDir {
    fn path(&self) -> &Path {
        &self.path
    }

    fn mount<'a>(&'a self, context: &'a Context<'a>) -> BoxFuture<'a, Result<(), VolumeError>> {
        async { self.make(context.around.allocatable_memory) }.boxed()
    }

    fn unmount(&self) -> Result<(), VolumeError> {
        mounts::clear(&self.path)?;
        let marker = self.marker();
        match fs::remove_file(&marker) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(io_error(&marker)(error)),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
