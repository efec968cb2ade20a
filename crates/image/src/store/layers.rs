//! Unpacked layers: made once per chain id, shared by all images that begin with the same layers.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use rustix::fs::FlockOperation;

use super::lease::{Lease, Needed};
use super::usage::{USAGE_FILE, Usage};
use super::{Image, Store, StoreError, files};
use crate::digest::Digest;
use crate::unpack;

/// One lock per chain id that is being unpacked in this process, so that the work is done once.
#[derive(Default)]
pub(crate) struct InFlight {
    locks: Mutex<HashMap<Digest, Arc<Mutex<()>>>>,
}

impl InFlight {
    fn run<T>(&self, chain_id: &Digest, work: impl FnOnce() -> T) -> T {
        let lock = Arc::clone(self.locks.lock().entry(chain_id.clone()).or_default());
        let result = {
            let _held = lock.lock();
            work()
        };
        drop(lock);
        self.locks.lock().retain(|_, lock| Arc::strong_count(lock) > 1);
        result
    }
}

/// The tree in a layer's directory.
const TREE: &str = "fs";

impl Store {
    /// The lower directories of an image, topmost first.
    pub(crate) fn lower_directories(&self, image: &Image) -> Result<Vec<PathBuf>, StoreError> {
        let mut lowers = self.unpack_manifest(&image.manifest, &image.chain)?;
        lowers.reverse();
        Ok(lowers)
    }

    /// Unpacks what is not unpacked yet; returns the trees, lowest first.
    pub(crate) fn unpack_manifest(&self, manifest: &Digest, chain: &[Digest]) -> Result<Vec<PathBuf>, StoreError> {
        let trees: Vec<_> = chain.iter().map(|chain_id| self.inner.paths.layer(chain_id).join(TREE)).collect();
        if trees.iter().all(|tree| tree.is_dir()) {
            return Ok(trees);
        }
        let lease = self.lease()?;
        let details = self.details(manifest)?;
        for (index, (blob, diff_id)) in details.layers.iter().zip(&details.config.rootfs.diff_ids).enumerate() {
            let (Some(chain_id), Some(parents)) = (chain.get(index), trees.get(..index)) else { break };
            self.unpack_layer(&lease, blob, diff_id, chain_id, parents)?;
        }
        Ok(trees)
    }

    /// Unpacks one layer on top of `parents` (lowest first), which are unpacked and leased; returns its tree.
    pub(crate) fn unpack_layer(
        &self,
        lease: &Lease,
        blob: &Digest,
        diff_id: &Digest,
        chain_id: &Digest,
        parents: &[PathBuf],
    ) -> Result<PathBuf, StoreError> {
        lease.protect(&Needed::Layer(chain_id.clone()))?;
        lease.protect_blob(blob)?;
        self.inner.unpacking.run(chain_id, || {
            let target = self.inner.paths.layer(chain_id);
            let tree = target.join(TREE);
            if tree.is_dir() {
                return Ok(tree);
            }
            let staging = Staging::create(self)?;
            let usage = self.extract(blob, diff_id, &staging.path.join(TREE), parents)?;
            staging.publish(&target, usage)?;
            Ok(tree)
        })
    }

    fn extract(&self, blob: &Digest, diff_id: &Digest, tree: &Path, parents: &[PathBuf]) -> Result<Usage, StoreError> {
        let failed = |source| StoreError::Unpack { diff_id: diff_id.clone(), source };
        let archive = self.open_blob(blob)?;
        let topmost_first: Vec<&Path> = parents.iter().rev().map(PathBuf::as_path).collect();
        let unpacked = unpack::layer(archive, diff_id.algorithm(), tree, &topmost_first).map_err(failed)?;
        if unpacked.diff_id != *diff_id {
            return Err(StoreError::DigestMismatch { expected: diff_id.clone(), actual: unpacked.diff_id });
        }
        Ok(Usage { bytes: unpacked.bytes, inodes: unpacked.inodes })
    }
}

/// A layer being unpacked in `ingest/`. Dropped before it is published, it leaves nothing.
struct Staging<'a> {
    store: &'a Store,
    path: PathBuf,
    directory: File,
}

impl Staging<'_> {
    fn create(store: &Store) -> Result<Staging<'_>, StoreError> {
        let paths = &store.inner.paths;
        let path = paths.ingest.join(files::unique_name());
        let _shared = paths.lock(FlockOperation::LockShared)?;
        fs::create_dir(&path).map_err(StoreError::io(&path))?;
        let locked = File::open(&path).and_then(|directory| {
            files::flock_retrying(&directory, FlockOperation::NonBlockingLockExclusive)?;
            Ok(directory)
        });
        let directory = locked.map_err(StoreError::io(&path))?;
        Ok(Staging { store, path, directory })
    }

    fn publish(self, target: &Path, usage: Usage) -> Result<(), StoreError> {
        let layers = &self.store.inner.paths.layers;
        let usage = serde_json::to_vec(&usage).map_err(|error| StoreError::io(target)(error.into()))?;
        fs::write(self.path.join(USAGE_FILE), usage).map_err(StoreError::io(&self.path))?;
        // One flush of the file system is cheaper than one per file, and the name must not survive a power cut without its content.
        rustix::fs::syncfs(&self.directory).map_err(|error| StoreError::io(&self.path)(error.into()))?;
        match fs::rename(&self.path, target) {
            Ok(()) => files::sync_directory(layers).map_err(StoreError::io(layers)),
            // Another process was faster; the same chain id is the same content.
            Err(error) if matches!(error.kind(), io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists) => Ok(()),
            Err(error) => Err(StoreError::io(target)(error)),
        }
    }
}

impl Drop for Staging<'_> {
    fn drop(&mut self) {
        if self.path.exists()
            && let Err(error) = fs::remove_dir_all(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "unfinished layer cannot be deleted");
        }
    }
}
