//! Layers unpacked.
use std::io::Read;
use std::path::Path;
use crate::digest::{Algorithm, Digest};

/// Why.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    #[error("{0}")]
    Io(#[from] std::io::Error),
}
pub(crate) struct Unpacked { pub(crate) diff_id: Digest, pub(crate) bytes: u64, pub(crate) inodes: u64 }
pub(crate) fn layer(_archive: impl Read, _algorithm: Algorithm, _tree: &Path, _parents: &[&Path]) -> Result<Unpacked, UnpackError> { unimplemented!() }
