//! Leases: what is being made must not be collected.
//!
//! A lease is a file that its maker keeps locked and that lists what it needs. A line is added under the shared lock
//! *before* the maker looks whether the thing is there; the collector reads all leases under the exclusive lock. So either the collector sees the
//! line, or it has finished before the maker looks. The lock of a killed process is released by the kernel, which ends its lease.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

use super::files::{self, Paths};
use super::{Store, StoreError};
use crate::digest::Digest;

/// What a lease protects.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Needed {
    Blob(Digest),
    Layer(Digest),
}

impl Needed {
    fn line(&self) -> String {
        match self {
            Needed::Blob(digest) => format!("blob {digest}\n"),
            Needed::Layer(chain_id) => format!("layer {chain_id}\n"),
        }
    }

    fn parse(line: &str) -> Option<Needed> {
        let (kind, digest) = line.split_once(' ')?;
        let digest = digest.parse().ok()?;
        match kind {
            "blob" => Some(Needed::Blob(digest)),
            "layer" => Some(Needed::Layer(digest)),
            _ => None,
        }
    }
}

/// Protection that ends when dropped.
pub(crate) struct Lease {
    store: Store,
    file: File,
    path: PathBuf,
}

impl Store {
    pub(crate) fn lease(&self) -> Result<Lease, StoreError> {
        let paths = &self.inner.paths;
        let path = paths.leases.join(files::unique_name());
        let _shared = paths.lock(FlockOperation::LockShared)?;
        let file = OpenOptions::new().create_new(true).append(true).open(&path).map_err(StoreError::io(&path))?;
        files::flock_retrying(&file, FlockOperation::NonBlockingLockExclusive).map_err(StoreError::io(&path))?;
        Ok(Lease { store: self.clone(), file, path })
    }
}

impl Lease {
    /// Protects `needed` from now on, whether it is there already or not.
    pub(crate) fn protect(&self, needed: &Needed) -> Result<(), StoreError> {
        let _shared = self.store.inner.paths.lock(FlockOperation::LockShared)?;
        (&self.file).write_all(needed.line().as_bytes()).map_err(StoreError::io(&self.path))
    }

    /// Protects a blob and says whether it is there.
    pub(crate) fn protect_blob(&self, digest: &Digest) -> Result<bool, StoreError> {
        self.protect(&Needed::Blob(digest.clone()))?;
        Ok(self.store.blob_size(digest).is_some())
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// All that living leases protect; removes those of dead processes. The caller holds the lock exclusively.
pub(crate) fn protected(paths: &Paths) -> Result<HashSet<Needed>, StoreError> {
    let mut needed = HashSet::new();
    for (_, path) in files::entries(&paths.leases)? {
        if files::is_abandoned(&path) {
            files::remove_if_present(&path)?;
        } else {
            needed.extend(read(&path).iter().flat_map(|content| content.lines()).filter_map(Needed::parse));
        }
    }
    Ok(needed)
}

fn read(path: &Path) -> Option<String> {
    // Gone means that the lease ended between listing and reading.
    fs::read_to_string(path).ok()
}
