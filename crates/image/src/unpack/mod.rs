//! Layers unpacked into overlay lower directories.

mod apply;
pub(crate) mod decode;
mod root;
pub(crate) mod tar;

use std::io::{self, Read};
use std::path::Path;

use crate::digest::{Algorithm, Digest, HashingReader};
use apply::Extractor;
use tar::{TarError, TarReader};

/// Most entries of a layer; directories are remembered until the end, so this bounds memory.
const ENTRIES_MAX: u64 = 4_000_000;
/// Most bytes of files in a layer: a bound for compression bombs far above any real layer.
const BYTES_MAX: u64 = 256 << 30;

/// Why a layer cannot be unpacked.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// A system call failed.
    #[error("{action} {path}: {source}")]
    Io {
        /// What was done.
        action: &'static str,
        /// The path in the layer.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// The compressed stream or the archive is damaged.
    #[error(transparent)]
    Tar(#[from] TarError),
    /// The compressed stream is damaged.
    #[error("decompress: {0}")]
    Decompress(io::Error),
    /// A path or hard link that leads out of the layer.
    #[error("path {0:?} leads out of the layer")]
    Outside(String),
    /// An entry that no file can be made of.
    #[error("invalid entry {0:?}")]
    InvalidEntry(String),
    /// More entries than any honest layer has.
    #[error("more than {ENTRIES_MAX} entries")]
    TooManyEntries,
    /// More content than any honest layer has.
    #[error("more than {BYTES_MAX} bytes")]
    TooLarge,
}

impl UnpackError {
    fn io(action: &'static str, path: &[u8]) -> impl FnOnce(rustix::io::Errno) -> UnpackError + use<> {
        let path = display(path);
        move |error| UnpackError::Io { action, path, source: error.into() }
    }
}

fn display(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}

/// What was unpacked.
#[derive(Debug)]
pub(crate) struct Unpacked {
    /// The digest of the uncompressed archive.
    pub(crate) diff_id: Digest,
    pub(crate) bytes: u64,
    pub(crate) inodes: u64,
}

/// Unpacks a layer (gzip, zstd or plain) into the new directory `tree`. `parents` are the trees of the layers below, topmost first: directories
/// that the archive only implies take their attributes from there.
pub(crate) fn layer(archive: impl Read, algorithm: Algorithm, tree: &Path, parents: &[&Path]) -> Result<Unpacked, UnpackError> {
    let (_, decoded) = decode::decoder(archive).map_err(UnpackError::Decompress)?;
    let mut archive = TarReader::new(HashingReader::new(decoded, algorithm));
    let mut extractor = Extractor::new(tree, parents)?;
    let (mut entries, mut bytes) = (0_u64, 0_u64);
    while let Some(entry) = archive.next_entry()? {
        entries += 1;
        bytes = bytes.saturating_add(entry.size);
        if entries > ENTRIES_MAX {
            return Err(UnpackError::TooManyEntries);
        }
        if bytes > BYTES_MAX {
            return Err(UnpackError::TooLarge);
        }
        extractor.apply(&entry, &mut archive)?;
    }
    let (bytes, inodes) = extractor.finish()?;
    let hashing = archive.finish().map_err(UnpackError::Decompress)?;
    Ok(Unpacked { diff_id: hashing.finish(), bytes, inodes })
}

#[cfg(test)]
mod tests;
