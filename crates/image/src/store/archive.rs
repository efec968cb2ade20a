//! Images from archives: an OCI image layout or what `docker save` writes, compressed or not.
//!
//! The archive is read once, front to back: blobs go into the store as they come (verified where their path says their digest), small
//! documents are kept, and at the end `index.json` or `manifest.json` says what all of it means.

use std::collections::{BTreeMap, HashMap};
use std::io::Read;

use serde::Deserialize;

use super::blobs::{DOCUMENT_MAX, decode};
use super::lease::{Lease, Needed};
use super::{Store, StoreError, blocking, lookup_name};
use crate::digest::{Algorithm, Digest};
use crate::model::{Descriptor, Index, Manifest, media_type};
use crate::platform;
use crate::reference::{InvalidReference, Reference};
use crate::unpack::decode::{self, Compression};
use crate::unpack::tar::{Entry, Kind, TarError, TarReader};

/// Files and names in an archive are remembered until its end; this bounds them.
const ENTRIES_MAX: usize = 100_000;
/// All kept documents together.
const DOCUMENTS_MAX: u64 = 64 << 20;
/// Links that point to links.
const LINKS_MAX: usize = 16;
/// Indexes within indexes.
const NESTING_MAX: usize = 4;

/// Why an archive could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The store failed, or content does not fit its digest.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The archive is damaged.
    #[error("archive: {0}")]
    Archive(#[from] TarError),
    /// The archive is no image archive.
    #[error("unrecognized image format: neither index.json nor manifest.json in the archive")]
    Unrecognized,
    /// The archive's documents refer to something that it does not have.
    #[error("archive: {0:?} is missing")]
    Missing(String),
    /// A document of the archive is unreadable.
    #[error("archive: {document}: {reason}")]
    Document {
        /// Its path.
        document: String,
        /// What is wrong.
        reason: String,
    },
    /// An image in the archive has a name that is none.
    #[error(transparent)]
    Name(#[from] InvalidReference),
    /// More than any image archive has.
    #[error("archive: too many entries or documents")]
    TooLarge,
}

/// One image of `docker save`'s `manifest.json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

impl Store {
    /// Loads an OCI layout or `docker save` archive, compressed or not; returns the names loaded (the id of an image without a name).
    /// The images are unpacked when they are first used.
    ///
    /// # Errors
    /// If it is no such archive, its content does not match its digests, or the store cannot be written. What was loaded
    /// before the error stays unnamed and is collected.
    pub async fn load_archive(&self, archive: impl Read + Send + 'static) -> Result<Vec<String>, LoadError> {
        let store = self.clone();
        blocking(move || store.load(archive)).await
    }

    fn load(&self, archive: impl Read) -> Result<Vec<String>, LoadError> {
        let lease = self.lease()?;
        let (_, decoded) = decode::decoder(archive).map_err(TarError::Io)?;
        let mut loading =
            Loading { store: self, lease: &lease, files: HashMap::new(), links: HashMap::new(), documents: BTreeMap::new(), kept: 0 };
        loading.read(TarReader::new(decoded))?;
        let images = match (loading.documents.get("index.json"), loading.documents.get("manifest.json")) {
            (Some(index), _) => loading.layout(index)?,
            (None, Some(manifest)) => loading.saved(manifest)?,
            (None, None) => return Err(LoadError::Unrecognized),
        };
        let mut loaded = Vec::new();
        for image in images {
            let names: Vec<String> = image.names.iter().map(lookup_name).collect();
            self.commit_names(&names, &image.target, &image.manifest)?;
            if names.is_empty() {
                loaded.push(self.details(&image.manifest)?.id.to_string());
            }
            loaded.extend(names);
        }
        loaded.dedup();
        Ok(loaded)
    }
}

/// An image found in an archive, its content in the store.
struct Found {
    names: Vec<Reference>,
    target: Digest,
    manifest: Digest,
}

/// A file of the archive in the store.
#[derive(Clone)]
struct Stored {
    digest: Digest,
    size: u64,
    compression: Compression,
}

struct Loading<'a> {
    store: &'a Store,
    lease: &'a Lease,
    files: HashMap<String, Stored>,
    links: HashMap<String, String>,
    documents: BTreeMap<String, Vec<u8>>,
    kept: u64,
}

impl Loading<'_> {
    fn read(&mut self, mut archive: TarReader<impl Read>) -> Result<(), LoadError> {
        while let Some(entry) = archive.next_entry()? {
            if self.files.len() + self.links.len() + self.documents.len() >= ENTRIES_MAX {
                return Err(LoadError::TooLarge);
            }
            let path = clean(&String::from_utf8_lossy(&entry.path));
            match entry.kind {
                Kind::File => self.file(path, &entry, &mut archive)?,
                // Old `docker save` links a layer that several images share.
                Kind::Symlink => {
                    let base = path.rsplit_once('/').map_or("", |(base, _)| base);
                    let target = clean(&format!("{base}/{}", String::from_utf8_lossy(&entry.link)));
                    self.links.insert(path, target);
                }
                Kind::HardLink => {
                    self.links.insert(path, clean(&String::from_utf8_lossy(&entry.link)));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn file(&mut self, path: String, entry: &Entry, archive: &mut TarReader<impl Read>) -> Result<(), LoadError> {
        if matches!(path.as_str(), "index.json" | "manifest.json" | "oci-layout" | "repositories") {
            self.kept = self.kept.saturating_add(entry.size);
            if entry.size > DOCUMENT_MAX || self.kept > DOCUMENTS_MAX {
                return Err(LoadError::TooLarge);
            }
            let mut content = Vec::new();
            archive.read_to_end(&mut content).map_err(TarError::Io)?;
            self.documents.insert(path, content);
            return Ok(());
        }
        let expected = path.strip_prefix("blobs/").and_then(|rest| rest.replacen('/', ":", 1).parse::<Digest>().ok());
        let stored = self.ingest(expected, archive)?;
        self.files.insert(path, stored);
        Ok(())
    }

    fn ingest(&self, expected: Option<Digest>, archive: &mut TarReader<impl Read>) -> Result<Stored, LoadError> {
        if let Some(digest) = &expected {
            self.lease.protect(&Needed::Blob(digest.clone()))?;
        }
        let mut ingest = self.store.ingest(expected.as_ref().map_or(Algorithm::Sha256, Digest::algorithm))?;
        let mut buffer = vec![0; 128 * 1024];
        let mut start: Vec<u8> = Vec::new();
        loop {
            let n = archive.read(&mut buffer).map_err(TarError::Io)?;
            let Some(read) = buffer.get(..n).filter(|read| !read.is_empty()) else { break };
            if start.len() < 4 {
                start.extend(read.iter().take(4));
            }
            ingest.write(read)?;
        }
        let size = ingest.written();
        // Its digest is known only now, so it is protected between hashing and publishing.
        let digest = ingest.commit_protected(expected.as_ref(), self.lease)?;
        Ok(Stored { digest, size, compression: Compression::of(&start) })
    }

    fn layout(&self, index: &[u8]) -> Result<Vec<Found>, LoadError> {
        let index: Index = parse("index.json", index)?;
        let mut found: BTreeMap<Digest, Found> = BTreeMap::new();
        let alone = index.manifests.len() == 1;
        for entry in &index.manifests {
            // An image for another machine beside one for this machine is not an error, alone it is.
            let manifest = match self.manifest(entry, NESTING_MAX) {
                Ok(manifest) => manifest,
                Err(LoadError::Store(StoreError::Platform(_))) if !alone => continue,
                Err(error) => return Err(error),
            };
            let image =
                found.entry(entry.digest.clone()).or_insert_with(|| Found { names: Vec::new(), target: entry.digest.clone(), manifest });
            image.names.extend(name(entry)?);
        }
        if found.is_empty() { Err(StoreError::Platform(platform::NoPlatform).into()) } else { Ok(found.into_values().collect()) }
    }

    /// The manifest for this machine below an index entry; all that it needs is in the store.
    fn manifest(&self, entry: &Descriptor, nesting: usize) -> Result<Digest, LoadError> {
        self.need(&entry.digest)?;
        let content = self.store.read_document("manifest", &entry.digest)?;
        if media_type::is_index(&entry.media_type) || is_index(&content) {
            let index: Index = decode("index", &entry.digest, &content)?;
            let chosen = platform::choose(&index.manifests).map_err(StoreError::from)?;
            if nesting == 0 {
                return Err(LoadError::Document { document: entry.digest.to_string(), reason: "indexes nested too deeply".to_owned() });
            }
            return self.manifest(chosen, nesting - 1);
        }
        let platform_given = entry.platform.as_ref().is_some_and(|platform| !platform.architecture.is_empty());
        if platform_given {
            platform::choose(std::slice::from_ref(entry)).map_err(StoreError::from)?;
        }
        let manifest: Manifest = decode("manifest", &entry.digest, &content)?;
        for blob in manifest.layers.iter().chain([&manifest.config]) {
            self.need(&blob.digest)?;
        }
        Ok(entry.digest.clone())
    }

    /// A blob may come with the archive or be in the store already.
    fn need(&self, digest: &Digest) -> Result<(), LoadError> {
        if self.lease.protect_blob(digest)? { Ok(()) } else { Err(LoadError::Missing(digest.to_string())) }
    }

    fn saved(&self, manifest: &[u8]) -> Result<Vec<Found>, LoadError> {
        let images: Vec<Saved> = parse("manifest.json", manifest)?;
        images.iter().map(|image| self.saved_image(image)).collect()
    }

    /// `docker save` has no manifest; one is made that is the same for the same image.
    fn saved_image(&self, image: &Saved) -> Result<Found, LoadError> {
        let config = self.stored(&image.config)?;
        let layers = image.layers.iter().map(|path| self.stored(path)).collect::<Result<Vec<_>, _>>()?;
        let describe = |media_type: &str, stored: &Stored| Descriptor {
            media_type: media_type.to_owned(),
            digest: stored.digest.clone(),
            size: stored.size,
            annotations: BTreeMap::new(),
            platform: None,
        };
        let layer = |stored: &Stored| {
            let media_type = match stored.compression {
                Compression::None => media_type::OCI_LAYER,
                Compression::Gzip => media_type::OCI_LAYER_GZIP,
                Compression::Zstd => media_type::OCI_LAYER_ZSTD,
            };
            describe(media_type, stored)
        };
        let manifest = Manifest {
            schema_version: 2,
            media_type: media_type::OCI_MANIFEST.to_owned(),
            config: describe(media_type::OCI_CONFIG, &config),
            layers: layers.iter().map(layer).collect(),
        };
        let content = serde_json::to_vec(&manifest)
            .map_err(|error| LoadError::Document { document: "manifest.json".to_owned(), reason: error.to_string() })?;
        self.lease.protect(&Needed::Blob(Digest::of(&content)))?;
        let digest = self.store.write_blob(&content)?;
        let names = image.repo_tags.iter().flatten().map(|name| name.parse()).collect::<Result<Vec<Reference>, _>>()?;
        Ok(Found { names, target: digest.clone(), manifest: digest })
    }

    /// A file of the archive by its path, through links.
    fn stored(&self, path: &str) -> Result<Stored, LoadError> {
        let mut path = clean(path);
        for _ in 0..LINKS_MAX {
            if let Some(stored) = self.files.get(&path) {
                return Ok(stored.clone());
            }
            match self.links.get(&path) {
                Some(target) => path.clone_from(target),
                None => break,
            }
        }
        Err(LoadError::Missing(path))
    }
}

/// The name that an index entry gives: containerd's annotation, else the specification's if it is a whole name.
fn name(entry: &Descriptor) -> Result<Option<Reference>, InvalidReference> {
    if let Some(name) = entry.annotations.get("io.containerd.image.name") {
        return name.parse().map(Some);
    }
    // The specification's annotation is often a bare tag, which names nothing on its own.
    let whole = entry.annotations.get("org.opencontainers.image.ref.name").filter(|name| name.contains(['/', ':']));
    Ok(whole.and_then(|name| name.parse().ok()))
}

/// Indexes without a media type are known by their field.
fn is_index(content: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Probe {
        manifests: Option<serde::de::IgnoredAny>,
    }
    serde_json::from_slice::<Probe>(content).is_ok_and(|probe| probe.manifests.is_some())
}

fn parse<T: serde::de::DeserializeOwned>(document: &str, content: &[u8]) -> Result<T, LoadError> {
    serde_json::from_slice(content).map_err(|error| LoadError::Document { document: document.to_owned(), reason: error.to_string() })
}

/// Paths are only names here (nothing is written under them), so `..` merely has to mean one thing.
fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            _ => parts.push(part),
        }
    }
    parts.join("/")
}
