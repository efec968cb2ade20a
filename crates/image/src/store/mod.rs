//! The store: what an image is, where it lies, and who may touch it when.

pub(crate) mod archive;
mod blobs;
pub(crate) mod builtin;
mod files;
mod gc;
mod layers;
mod lease;
mod pins;
pub(crate) mod pull;
mod records;
mod usage;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::digest::Digest;
use crate::model::ImageConfiguration;
use crate::platform::NoPlatform;
use crate::reference::{InvalidReference, Reference};
use crate::registry::Registries;
use crate::unpack::UnpackError;

pub(crate) use records::lookup_name;
pub use usage::FsInfo;

/// Where a store lies and how it reaches registries.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The store's directory, made if absent. Blobs and layers must be on one file system that an overlay can lie on.
    pub dir: PathBuf,
    /// Mirrors and credentials in k3s's `registries.yaml` format; read again when it changes. An absent file means none.
    pub registries: Option<PathBuf>,
    /// PEM file of root certificates for registries. Without it, the usual places of the system's bundle are tried.
    pub ca_bundle: Option<PathBuf>,
}

/// A node's images. Cheap to clone; several processes may open the same directory.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    paths: files::Paths,
    records: records::Cache,
    unpacking: layers::InFlight,
    pulls: pull::Pulls,
    registries: Registries,
}

/// An image that the store holds: what CRI calls an image, with everything needed to run it.
#[derive(Clone, Debug)]
pub struct Image {
    /// The digest of the configuration: CRI's `Image.id`.
    pub id: Digest,
    /// `repository:tag` names, sorted.
    pub repo_tags: Vec<String>,
    /// `repository@digest` names, sorted.
    pub repo_digests: Vec<String>,
    /// Bytes of the manifest, the configuration and the layers as stored (compressed).
    pub size: u64,
    /// Built in: always there, never collected.
    pub pinned: bool,
    /// The digest of the manifest.
    pub manifest: Digest,
    /// Chain ids of the unpacked layers, lowest first.
    pub chain: Vec<Digest>,
    /// Entrypoint, environment, user, …
    pub config: Arc<ImageConfiguration>,
}

/// Whom an image's `User` names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImageUser {
    /// A numeric user id (root if the image says nothing).
    Uid(i64),
    /// A name to be looked up in the image's `/etc/passwd`.
    Name(String),
}

impl Image {
    /// The user part of the configuration's `User`, split as CRI's `Image.uid` and `Image.username` want it.
    #[must_use]
    pub fn user(&self) -> ImageUser {
        let user = self.config.config.user.split(':').next().unwrap_or_default();
        if user.is_empty() {
            return ImageUser::Uid(0);
        }
        user.parse().map_or_else(|_| ImageUser::Name(user.to_owned()), ImageUser::Uid)
    }
}

/// Why the store could not do something.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A system call on one of the store's files failed.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// No such image.
    #[error("image {0:?}: not found")]
    NotFound(String),
    /// The string cannot be an image name.
    #[error(transparent)]
    Reference(#[from] InvalidReference),
    /// Built-in images stay.
    #[error("image {0:?} is built in and cannot be removed")]
    BuiltIn(String),
    /// The owner's name of a pin cannot be a file name.
    #[error("invalid pin owner {0:?}")]
    InvalidOwner(String),
    /// Content differs from its digest.
    #[error("content has digest {actual}, expected {expected}")]
    DigestMismatch {
        /// What was asked for.
        expected: Digest,
        /// What came.
        actual: Digest,
    },
    /// Content differs from its announced size.
    #[error("content {digest} has {actual} bytes, expected {expected}")]
    SizeMismatch {
        /// Whose.
        digest: Digest,
        /// The descriptor's size.
        expected: u64,
        /// What came.
        actual: u64,
    },
    /// A blob that an image needs is not in the store.
    #[error("content {0}: not found")]
    MissingBlob(Digest),
    /// A manifest, index or configuration that cannot be used.
    #[error("{what} {digest}: {reason}")]
    InvalidDocument {
        /// `manifest`, `index`, `config`.
        what: &'static str,
        /// Which.
        digest: Digest,
        /// Why.
        reason: String,
    },
    /// An index without a manifest for this machine.
    #[error(transparent)]
    Platform(#[from] NoPlatform),
    /// A layer could not be unpacked.
    #[error("failed to extract layer {diff_id}: {source}")]
    Unpack {
        /// The uncompressed layer's digest.
        diff_id: Digest,
        /// Why.
        source: UnpackError,
    },
    /// The work was cut off because the process is ending.
    #[error("cancelled")]
    Cancelled,
}

impl StoreError {
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> StoreError {
        let path = path.into();
        move |source| StoreError::Io { path, source }
    }
}

impl Store {
    /// Opens (and makes, if absent) the store, clears what a killed process left half-made, and sees to the built-in images.
    ///
    /// # Errors
    /// If the directory cannot be made or used.
    pub async fn open(options: Options) -> Result<Store, StoreError> {
        let registries = Registries::new(options.registries, options.ca_bundle);
        blocking(move || {
            let inner = Inner {
                paths: files::Paths::create(&options.dir)?,
                records: records::Cache::default(),
                unpacking: layers::InFlight::default(),
                pulls: pull::Pulls::default(),
                registries,
            };
            let store = Store { inner: Arc::new(inner) };
            store.recover()?;
            store.install_built_in()?;
            Ok(store)
        })
        .await
    }

    /// The store's directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.inner.paths.root
    }

    /// Finds an image by name (`nginx`, `nginx:1.14.2`, `repo@sha256:…`), by id (`sha256:…`), or by a unique prefix of the id's hex.
    ///
    /// # Errors
    /// If the records cannot be read. A string that cannot name an image finds nothing.
    pub async fn get(&self, image: &str) -> Result<Option<Image>, StoreError> {
        let (store, image) = (self.clone(), image.to_owned());
        blocking(move || store.find(&image)).await
    }

    /// All images, sorted by id.
    ///
    /// # Errors
    /// If the records cannot be read.
    pub async fn list(&self) -> Result<Vec<Image>, StoreError> {
        let store = self.clone();
        blocking(move || store.images()).await
    }

    /// Gives an image one more name.
    ///
    /// # Errors
    /// If there is no such image, or the name is none.
    pub async fn tag(&self, image: &str, name: &str) -> Result<(), StoreError> {
        let name: Reference = name.parse()?;
        let (store, image) = (self.clone(), image.to_owned());
        blocking(move || store.add_name(&image, &name)).await
    }

    /// Takes one name away, and collects what nothing names any more. An unknown name is no error.
    ///
    /// # Errors
    /// If the string is no name, the image is built in, or a file operation fails.
    pub async fn untag(&self, name: &str) -> Result<(), StoreError> {
        let name: Reference = name.parse()?;
        let store = self.clone();
        blocking(move || {
            store.remove_name(&name)?;
            store.sweep().map(drop)
        })
        .await
    }

    /// Takes all names of an image away (CRI `RemoveImage`) and collects what nothing names, pins or makes any more.
    /// An unknown image is no error. Layers that a container uses ([`Store::pin`]) stay until they are unpinned.
    ///
    /// # Errors
    /// If the image is built in, or a file operation fails.
    pub async fn remove(&self, image: &str) -> Result<(), StoreError> {
        let (store, image) = (self.clone(), image.to_owned());
        blocking(move || {
            store.remove_image(&image)?;
            store.sweep().map(drop)
        })
        .await
    }

    /// Collects garbage now; returns the bytes of disk freed.
    ///
    /// # Errors
    /// If a file operation fails.
    pub async fn collect(&self) -> Result<u64, StoreError> {
        let store = self.clone();
        blocking(move || store.sweep()).await
    }

    /// Records (beyond this process's end) that `owner` (a container id, say: letters, digits, `.`, `_`, `-`) uses the image's layers, so that they outlive
    /// the image's removal. Pin before [`Store::rootfs`]; a second pin of the same owner replaces the first.
    ///
    /// # Errors
    /// If the owner cannot be a file name, or the file cannot be written.
    pub async fn pin(&self, owner: &str, image: &Image) -> Result<(), StoreError> {
        let (store, owner, image) = (self.clone(), owner.to_owned(), image.clone());
        blocking(move || store.write_pin(&owner, &image)).await
    }

    /// Ends a pin. An unknown owner is no error. Collects nothing by itself.
    ///
    /// # Errors
    /// If the file cannot be removed.
    pub async fn unpin(&self, owner: &str) -> Result<(), StoreError> {
        let (store, owner) = (self.clone(), owner.to_owned());
        blocking(move || store.remove_pin(&owner)).await
    }

    /// The owners of all pins, so that a restarted runtime can end those of containers that are gone.
    ///
    /// # Errors
    /// If the directory cannot be read.
    pub async fn pins(&self) -> Result<Vec<String>, StoreError> {
        let store = self.clone();
        blocking(move || store.pin_owners()).await
    }

    /// The unpacked layers as overlay lower directories, **topmost first**; unpacks those that are not unpacked yet.
    ///
    /// # Errors
    /// If a layer is missing, damaged or cannot be unpacked.
    pub async fn rootfs(&self, image: &Image) -> Result<Vec<PathBuf>, StoreError> {
        let (store, image) = (self.clone(), image.clone());
        blocking(move || store.lower_directories(&image)).await
    }

    /// Disk usage of blobs and layers (CRI `ImageFsInfo`).
    ///
    /// # Errors
    /// If the directories cannot be read.
    pub async fn fs_info(&self) -> Result<FsInfo, StoreError> {
        let store = self.clone();
        blocking(move || store.usage()).await
    }
}

/// Runs file work away from the async threads.
async fn blocking<T, E>(work: impl FnOnce() -> Result<T, E> + Send + 'static) -> Result<T, E>
where
    T: Send + 'static,
    E: From<StoreError> + Send + 'static,
{
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => Err(StoreError::Cancelled.into()),
    }
}

#[cfg(test)]
mod tests;
