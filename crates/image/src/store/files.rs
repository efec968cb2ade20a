//! Where things lie, and how a file is published whole or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{FlockOperation, flock};

use super::StoreError;
use crate::digest::{Algorithm, Digest};

/// The store's directories.
pub(crate) struct Paths {
    pub(crate) root: PathBuf,
    pub(crate) blobs: PathBuf,
    pub(crate) layers: PathBuf,
    pub(crate) images: PathBuf,
    pub(crate) pins: PathBuf,
    pub(crate) leases: PathBuf,
    pub(crate) ingest: PathBuf,
    pub(crate) trash: PathBuf,
    lock: PathBuf,
}

impl Paths {
    pub(crate) fn create(root: &Path) -> Result<Paths, StoreError> {
        fs::create_dir_all(root).map_err(StoreError::io(root))?;
        // Lower directories are handed to mounts of other namespaces, so the path must not depend on a working directory.
        let root = root.canonicalize().map_err(StoreError::io(root))?;
        let paths = Paths {
            blobs: root.join("blobs"),
            layers: root.join("layers"),
            images: root.join("images"),
            pins: root.join("pins"),
            leases: root.join("leases"),
            ingest: root.join("ingest"),
            trash: root.join("trash"),
            lock: root.join("lock"),
            root,
        };
        let directories = [&paths.blobs, &paths.layers, &paths.images, &paths.pins, &paths.leases, &paths.ingest, &paths.trash];
        for directory in directories {
            fs::create_dir_all(directory).map_err(StoreError::io(directory))?;
        }
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            let directory = paths.blobs.join(algorithm.name());
            fs::create_dir_all(&directory).map_err(StoreError::io(&directory))?;
        }
        // Images hold other people's files, some of them secret or set-uid: nobody else gets in.
        rustix::fs::chmod(&paths.root, rustix::fs::Mode::RWXU).map_err(|error| StoreError::io(&paths.root)(error.into()))?;
        Ok(paths)
    }

    pub(crate) fn blob(&self, digest: &Digest) -> PathBuf {
        self.blobs.join(digest.algorithm().name()).join(digest.hex())
    }

    /// The directory of a layer: `fs` is the tree, `usage` its size.
    pub(crate) fn layer(&self, chain_id: &Digest) -> PathBuf {
        self.layers.join(chain_id.hex())
    }

    /// Held shared while a lease grows, a record is published or something appears in `ingest/`, exclusively while garbage is
    /// sorted out. Both are short.
    pub(crate) fn lock(&self, operation: FlockOperation) -> Result<Locked, StoreError> {
        let file =
            OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&self.lock).map_err(StoreError::io(&self.lock))?;
        flock_retrying(&file, operation).map_err(StoreError::io(&self.lock))?;
        Ok(Locked { _file: file })
    }
}

/// The lock, until dropped.
pub(crate) struct Locked {
    _file: File,
}

pub(crate) fn flock_retrying(file: impl AsFd, operation: FlockOperation) -> io::Result<()> {
    Ok(rustix::io::retry_on_intr(|| flock(file.as_fd(), operation))?)
}

/// Whether the maker of `path` (a file or directory that it keeps locked) is gone.
pub(crate) fn is_abandoned(path: &Path) -> bool {
    // Opening a directory for reading works as well, and a symbolic link is never ours.
    let Ok(file) = File::open(path) else { return true };
    flock_retrying(&file, FlockOperation::NonBlockingLockExclusive).is_ok()
}

/// A name that no other process or thread uses in `ingest/`, `leases/` or `trash/`.
pub(crate) fn unique_name() -> String {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let nanos = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |age| age.as_nanos());
    // Process ids repeat between PID namespaces and the clock may be coarse; with both and a counter, a collision also needs O_EXCL to fail.
    format!("{}-{nanos:x}-{}", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed))
}

/// What a written file must survive.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Survives {
    /// The end of this process.
    Kill,
    /// The end of the machine.
    PowerCut,
}

/// Writes a small file so that after a crash it has either the old or the whole new content. The caller holds the store's lock.
pub(crate) fn write_atomically(path: &Path, content: &[u8], survives: Survives, _lock: &Locked) -> Result<(), StoreError> {
    let directory = path.parent().unwrap_or(Path::new("."));
    let temporary = directory.join(format!(".{}", unique_name()));
    let written = File::create_new(&temporary)
        .and_then(|mut file| {
            file.write_all(content)?;
            if survives == Survives::PowerCut { file.sync_data() } else { Ok(()) }
        })
        .and_then(|()| fs::rename(&temporary, path))
        .and_then(|()| if survives == Survives::PowerCut { sync_directory(directory) } else { Ok(()) });
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written.map_err(StoreError::io(path))
}

/// Removes what [`write_atomically`] had not published when its process was killed. Writers hold the store's lock, so its
/// exclusive holder, who calls this, finds only what the dead left.
pub(crate) fn remove_unfinished(directory: &Path, _exclusive: &Locked) -> Result<(), StoreError> {
    for entry in fs::read_dir(directory).map_err(StoreError::io(directory))? {
        let entry = entry.map_err(StoreError::io(directory))?;
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            remove_if_present(&entry.path())?;
        }
    }
    Ok(())
}

/// Makes renames and removals in a directory survive a power cut.
pub(crate) fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// Removes a file, which may be gone already.
pub(crate) fn remove_if_present(path: &Path) -> Result<bool, StoreError> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(StoreError::io(path)(error)),
    }
}

/// The entries of a directory with their names, temporary dot files left out. Entries that vanish meanwhile are no error.
pub(crate) fn entries(directory: &Path) -> Result<Vec<(String, PathBuf)>, StoreError> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).map_err(StoreError::io(directory))? {
        let entry = entry.map_err(StoreError::io(directory))?;
        if let Some(name) = entry.file_name().to_str().filter(|name| !name.starts_with('.')) {
            found.push((name.to_owned(), entry.path()));
        }
    }
    Ok(found)
}
