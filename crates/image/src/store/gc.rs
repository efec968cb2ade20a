//! Garbage collection: mark from names, pins and leases; sweep the rest into `trash/` under the lock; delete outside of it.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use rustix::fs::FlockOperation;
use tracing::warn;

use super::lease::{self, Needed};
use super::{Store, StoreError, files, usage};
use crate::digest::{Algorithm, Digest};

impl Store {
    /// Clears what killed processes left half-made.
    pub(crate) fn recover(&self) -> Result<(), StoreError> {
        let paths = &self.inner.paths;
        {
            let exclusive = paths.lock(FlockOperation::LockExclusive)?;
            lease::protected(paths)?;
            for (_, path) in files::entries(&paths.ingest)? {
                if files::is_abandoned(&path) {
                    self.discard(&path)?;
                }
            }
            for directory in [&paths.images, &paths.pins] {
                files::remove_unfinished(directory, &exclusive)?;
            }
        }
        self.empty_trash();
        Ok(())
    }

    /// Deletes all content that nothing needs; returns the bytes freed.
    pub(crate) fn sweep(&self) -> Result<u64, StoreError> {
        let paths = &self.inner.paths;
        {
            let _exclusive = paths.lock(FlockOperation::LockExclusive)?;
            let mut needed = lease::protected(paths)?;
            let manifests = self.mark(&mut needed)?;
            self.forget_details(|manifest| manifests.contains(manifest));
            for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
                for (hex, path) in files::entries(&paths.blobs.join(algorithm.name()))? {
                    let digest = format!("{}:{hex}", algorithm.name()).parse::<Digest>();
                    if digest.is_ok_and(|digest| !needed.contains(&Needed::Blob(digest))) {
                        self.discard(&path)?;
                    }
                }
            }
            if let Some(pinned) = self.pinned_layers()? {
                needed.extend(pinned.into_iter().map(Needed::Layer));
                for (hex, path) in files::entries(&paths.layers)? {
                    if Digest::from_hex(&hex).is_ok_and(|chain_id| !needed.contains(&Needed::Layer(chain_id))) {
                        self.discard(&path)?;
                    }
                }
            }
        }
        Ok(self.empty_trash())
    }

    /// Adds what the names need; returns the manifests.
    fn mark(&self, needed: &mut HashSet<Needed>) -> Result<HashSet<Digest>, StoreError> {
        let mut manifests = HashSet::new();
        for record in self.records()? {
            needed.extend([&record.target, &record.manifest, &record.id].map(|digest| Needed::Blob(digest.clone())));
            match self.details(&record.manifest) {
                Ok(details) => {
                    needed.extend(details.layers.iter().cloned().map(Needed::Blob));
                    needed.extend(details.chain.iter().cloned().map(Needed::Layer));
                }
                Err(error) => warn!(image = record.name, %error, "image cannot be read; its layers are not kept"),
            }
            manifests.insert(record.manifest);
        }
        Ok(manifests)
    }

    /// Takes a file or directory out of sight at once.
    pub(crate) fn discard(&self, path: &Path) -> Result<(), StoreError> {
        let grave = self.inner.paths.trash.join(files::unique_name());
        match fs::rename(path, &grave) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(StoreError::io(path)(error)),
            _ => Ok(()),
        }
    }

    /// Deletes for good; other processes may be at it as well.
    pub(crate) fn empty_trash(&self) -> u64 {
        let mut freed = 0;
        let Ok(entries) = files::entries(&self.inner.paths.trash) else { return freed };
        for (_, path) in entries {
            freed += usage::of(&path);
            let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            if let Err(error) = removed
                && error.kind() != std::io::ErrorKind::NotFound
            {
                warn!(path = %path.display(), %error, "garbage cannot be deleted");
            }
        }
        freed
    }
}
