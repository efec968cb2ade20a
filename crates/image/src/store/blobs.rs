//! Content by digest: verified while it streams in, published by rename.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::PathBuf;

use rustix::fs::FlockOperation;
use serde::de::DeserializeOwned;

use super::files;
use super::lease::Lease;
use super::{Store, StoreError};
use crate::digest::{Algorithm, Digest, Hasher};

/// Longest manifest, index or configuration: what registries and containerd accept.
pub(crate) const DOCUMENT_MAX: u64 = 4 << 20;

/// A blob that is being written. Dropped before [`Ingest::commit`], it leaves nothing.
pub(crate) struct Ingest {
    store: Store,
    path: PathBuf,
    file: File,
    hasher: Hasher,
    written: u64,
    published: bool,
}

impl Store {
    /// The length of a blob, if the store has it.
    pub(crate) fn blob_size(&self, digest: &Digest) -> Option<u64> {
        fs::metadata(self.inner.paths.blob(digest)).ok().filter(fs::Metadata::is_file).map(|metadata| metadata.len())
    }

    /// Opens a blob for reading. Its content was verified when it came in.
    pub(crate) fn open_blob(&self, digest: &Digest) -> Result<File, StoreError> {
        let path = self.inner.paths.blob(digest);
        File::open(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => StoreError::MissingBlob(digest.clone()),
            _ => StoreError::io(path)(error),
        })
    }

    /// Reads a JSON blob of bounded length.
    pub(crate) fn read_document(&self, what: &'static str, digest: &Digest) -> Result<Vec<u8>, StoreError> {
        let mut content = Vec::new();
        let file = self.open_blob(digest)?;
        file.take(DOCUMENT_MAX + 1).read_to_end(&mut content).map_err(StoreError::io(self.inner.paths.blob(digest)))?;
        if content.len() as u64 > DOCUMENT_MAX {
            return Err(StoreError::InvalidDocument { what, digest: digest.clone(), reason: format!("longer than {DOCUMENT_MAX} bytes") });
        }
        Ok(content)
    }

    /// Reads and decodes a JSON blob.
    pub(crate) fn document<T: DeserializeOwned>(&self, what: &'static str, digest: &Digest) -> Result<T, StoreError> {
        let content = self.read_document(what, digest)?;
        decode(what, digest, &content)
    }

    /// Begins a blob.
    pub(crate) fn ingest(&self, algorithm: Algorithm) -> Result<Ingest, StoreError> {
        let paths = &self.inner.paths;
        let path = paths.ingest.join(files::unique_name());
        let _shared = paths.lock(FlockOperation::LockShared)?;
        let file = File::create_new(&path).map_err(StoreError::io(&path))?;
        files::flock_retrying(&file, FlockOperation::NonBlockingLockExclusive).map_err(StoreError::io(&path))?;
        Ok(Ingest { store: self.clone(), path, file, hasher: Hasher::new(algorithm), written: 0, published: false })
    }

    /// Stores a blob that is in memory.
    pub(crate) fn write_blob(&self, content: &[u8]) -> Result<Digest, StoreError> {
        let digest = Digest::of(content);
        if self.blob_size(&digest) != Some(content.len() as u64) {
            let mut ingest = self.ingest(Algorithm::Sha256)?;
            ingest.write(content)?;
            ingest.commit(Some(&digest))?;
        }
        Ok(digest)
    }
}

pub(crate) fn decode<T: DeserializeOwned>(what: &'static str, digest: &Digest, content: &[u8]) -> Result<T, StoreError> {
    serde_json::from_slice(content).map_err(|error| StoreError::InvalidDocument { what, digest: digest.clone(), reason: error.to_string() })
}

impl Ingest {
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.file.write_all(bytes).map_err(StoreError::io(&self.path))?;
        self.hasher.update(bytes);
        self.written += bytes.len() as u64;
        Ok(())
    }

    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    /// Verifies, flushes and publishes a blob that a lease protects already. The directory entry is flushed when the record of the image
    /// is written.
    pub(crate) fn commit(mut self, expected: Option<&Digest>) -> Result<Digest, StoreError> {
        let actual = self.verify(expected)?;
        self.publish(&actual)?;
        Ok(actual)
    }

    /// The same for a blob whose digest nobody knew before.
    pub(crate) fn commit_protected(mut self, expected: Option<&Digest>, lease: &Lease) -> Result<Digest, StoreError> {
        let actual = self.verify(expected)?;
        if !lease.protect_blob(&actual)? {
            self.publish(&actual)?;
        }
        Ok(actual)
    }

    fn verify(&mut self, expected: Option<&Digest>) -> Result<Digest, StoreError> {
        let algorithm = expected.map_or(Algorithm::Sha256, Digest::algorithm);
        let actual = std::mem::replace(&mut self.hasher, Hasher::new(algorithm)).finish();
        match expected {
            Some(expected) if *expected != actual => Err(StoreError::DigestMismatch { expected: expected.clone(), actual }),
            _ => Ok(actual),
        }
    }

    fn publish(&mut self, digest: &Digest) -> Result<(), StoreError> {
        self.file.sync_data().map_err(StoreError::io(&self.path))?;
        let target = self.store.inner.paths.blob(digest);
        fs::rename(&self.path, &target).map_err(StoreError::io(&target))?;
        self.published = true;
        Ok(())
    }
}

impl Drop for Ingest {
    fn drop(&mut self) {
        if !self.published {
            let _ = fs::remove_file(&self.path);
        }
    }
}
