//! Images of a node: names, a content-addressed store, a registry client, and layers unpacked for overlay mounts.
//!
//! [`Store`] is the one entry. It is a directory that several processes may use at once:
//!
//! ```text
//! blobs/sha256/<hex>      manifests, configurations, layers as they came; immutable
//! layers/<chain id>/fs    an unpacked layer: an overlay lower directory; immutable
//! images/<hash of name>   one record per name: name → manifest
//! pins/<owner>            what a container uses; such layers are never collected
//! leases/, ingest/, trash/   what is being made or deleted right now
//! lock                    garbage collection against making
//! ```
//!
//! Everything is published by an atomic rename after its content was verified and flushed, so a process killed at any
//! instant leaves either a whole thing or something in `ingest/` that the next open clears.

pub mod build;
mod digest;
pub mod model;
mod platform;
mod reference;
mod registry;
mod store;
mod unpack;

#[cfg(test)]
mod testing;

pub use digest::{Algorithm, Digest, InvalidDigest};
pub use model::{ContainerConfig, ImageConfiguration};
pub use reference::{InvalidReference, Reference};
pub use registry::Credentials;
pub use registry::error::{PullError, PullErrorKind};
pub use store::archive::LoadError;
pub use store::builtin::built_in;
pub use store::pull::{Progress, PullOptions};
pub use store::{FsInfo, Image, ImageUser, Options, Store, StoreError};
