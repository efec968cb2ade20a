//! Names: one small file per name, and images put together from them.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::sync::Arc;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tracing::warn;

use super::blobs::decode;
use super::files::Survives;
use super::{Image, Store, StoreError, builtin, files};
use crate::digest::Digest;
use crate::model::{ImageConfiguration, Manifest};
use crate::reference::Reference;

/// What one name stands for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Record {
    /// A canonical reference, or the image's id.
    pub(crate) name: String,
    /// What the name was resolved to: an index or the manifest itself.
    pub(crate) target: Digest,
    /// The manifest for this machine.
    pub(crate) manifest: Digest,
    /// The configuration's digest.
    pub(crate) id: Digest,
}

/// What a manifest says, which never changes.
#[derive(Debug)]
pub(crate) struct Details {
    pub(crate) id: Digest,
    pub(crate) size: u64,
    pub(crate) layers: Vec<Digest>,
    pub(crate) chain: Vec<Digest>,
    pub(crate) config: Arc<ImageConfiguration>,
}

/// Details by manifest, so that listing images does not parse JSON each time.
#[derive(Default)]
pub(crate) struct Cache {
    details: Mutex<HashMap<Digest, Arc<Details>>>,
}

/// An unreadable image is treated as absent, so that one damaged file does not hide the others.
fn known(result: Result<Arc<Details>, StoreError>, name: &str) -> Option<Arc<Details>> {
    result.inspect_err(|error| warn!(image = name, %error, "image record without usable content is ignored")).ok()
}

impl Store {
    pub(crate) fn records(&self) -> Result<Vec<Record>, StoreError> {
        let mut records = Vec::new();
        for (_, path) in files::entries(&self.inner.paths.images)? {
            // Removed meanwhile by another process: no error.
            let Ok(content) = fs::read(&path) else { continue };
            match serde_json::from_slice::<Record>(&content) {
                Ok(record) => records.push(record),
                Err(error) => warn!(path = %path.display(), %error, "unreadable image record is ignored"),
            }
        }
        Ok(records)
    }

    /// What a manifest in the store says.
    pub(crate) fn details(&self, manifest: &Digest) -> Result<Arc<Details>, StoreError> {
        if let Some(details) = self.inner.records.details.lock().get(manifest) {
            return Ok(Arc::clone(details));
        }
        let content = self.read_document("manifest", manifest)?;
        let decoded: Manifest = decode("manifest", manifest, &content)?;
        let id = decoded.config.digest.clone();
        let config: ImageConfiguration = self.document("config", &id)?;
        if config.rootfs.diff_ids.len() != decoded.layers.len() {
            let reason = format!("{} layers, but the config has {} diff ids", decoded.layers.len(), config.rootfs.diff_ids.len());
            return Err(StoreError::InvalidDocument { what: "manifest", digest: manifest.clone(), reason });
        }
        let blobs: u64 = decoded.layers.iter().map(|layer| layer.size).fold(decoded.config.size, u64::saturating_add);
        let details = Arc::new(Details {
            id,
            size: blobs.saturating_add(content.len() as u64),
            layers: decoded.layers.into_iter().map(|layer| layer.digest).collect(),
            chain: config.rootfs.chain_ids(),
            config: Arc::new(config),
        });
        self.inner.records.details.lock().insert(manifest.clone(), Arc::clone(&details));
        Ok(details)
    }

    /// Forgets the details of manifests that are gone.
    pub(crate) fn forget_details(&self, kept: impl Fn(&Digest) -> bool) {
        self.inner.records.details.lock().retain(|manifest, _| kept(manifest));
    }

    /// Publishes names for an image whose content is complete and leased: first all content, then the names.
    pub(crate) fn commit_names(&self, names: &[String], target: &Digest, manifest: &Digest) -> Result<(), StoreError> {
        let details = self.details(manifest)?;
        let paths = &self.inner.paths;
        for digest in [manifest, &details.id].into_iter().chain(&details.layers) {
            if self.blob_size(digest).is_none() {
                return Err(StoreError::MissingBlob(digest.clone()));
            }
        }
        for directory in ["sha256", "sha512"].map(|name| paths.blobs.join(name)) {
            files::sync_directory(&directory).map_err(StoreError::io(&directory))?;
        }
        // The id names the image too, so that it stays when its tag moves on to another.
        let id = details.id.to_string();
        for name in std::iter::once(&id).chain(names) {
            let record = Record { name: name.clone(), target: target.clone(), manifest: manifest.clone(), id: details.id.clone() };
            let path = self.record_path(name);
            if fs::read(&path).ok().and_then(|content| serde_json::from_slice(&content).ok()).as_ref() == Some(&record) {
                continue;
            }
            let content = serde_json::to_vec(&record).map_err(|error| StoreError::InvalidDocument {
                what: "record",
                digest: manifest.clone(),
                reason: error.to_string(),
            })?;
            let shared = paths.lock(rustix::fs::FlockOperation::LockShared)?;
            files::write_atomically(&path, &content, Survives::PowerCut, &shared)?;
        }
        Ok(())
    }

    fn record_path(&self, name: &str) -> std::path::PathBuf {
        self.inner.paths.images.join(format!("{}.json", Digest::of(name.as_bytes()).hex()))
    }

    /// Takes one name away; an unknown one is no error.
    pub(crate) fn remove_record(&self, name: &str) -> Result<(), StoreError> {
        files::remove_if_present(&self.record_path(name)).map(drop)
    }

    pub(crate) fn images(&self) -> Result<Vec<Image>, StoreError> {
        let mut images: BTreeMap<Digest, Image> = BTreeMap::new();
        for record in self.records()? {
            let Some(details) = known(self.details(&record.manifest), &record.name) else { continue };
            let image = images.entry(record.id.clone()).or_insert_with(|| Image {
                id: record.id.clone(),
                repo_tags: Vec::new(),
                repo_digests: Vec::new(),
                size: details.size,
                pinned: false,
                manifest: record.manifest.clone(),
                chain: details.chain.clone(),
                config: Arc::clone(&details.config),
            });
            // An id looks like a repository `sha256` with a tag.
            if record.name == record.id.to_string() {
                continue;
            }
            let Ok(reference) = record.name.parse::<Reference>() else { continue };
            image.pinned |= builtin::is_built_in(&reference);
            let names = if reference.digest().is_some() { &mut image.repo_digests } else { &mut image.repo_tags };
            names.push(record.name);
        }
        let mut images: Vec<_> = images.into_values().collect();
        for image in &mut images {
            image.repo_tags.sort_unstable();
            image.repo_digests.sort_unstable();
        }
        Ok(images)
    }

    pub(crate) fn find(&self, wanted: &str) -> Result<Option<Image>, StoreError> {
        let images = self.images()?;
        let reference = wanted.parse::<Reference>().ok();
        if let Some(reference) = &reference {
            let name = builtin::canonical(reference).unwrap_or_else(|| lookup_name(reference));
            let named = |image: &&Image| image.repo_tags.contains(&name) || image.repo_digests.contains(&name);
            if let Some(image) = images.iter().find(named) {
                return Ok(Some(image.clone()));
            }
        }
        let hex = wanted.strip_prefix("sha256:").unwrap_or(wanted);
        if hex.is_empty() || !hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Ok(None);
        }
        let mut matching = images.into_iter().filter(|image| image.id.hex().starts_with(hex));
        match (matching.next(), matching.next()) {
            (Some(image), None) => Ok(Some(image)),
            _ => Ok(None),
        }
    }

    pub(crate) fn add_name(&self, wanted: &str, name: &Reference) -> Result<(), StoreError> {
        let lease = self.lease()?;
        let image = self.find(wanted)?.ok_or_else(|| StoreError::NotFound(wanted.to_owned()))?;
        self.protect_image(&lease, &image.manifest)?;
        self.commit_names(&[lookup_name(name)], &image.manifest, &image.manifest)
    }

    /// Leases the content of an image that is in the store.
    fn protect_image(&self, lease: &super::lease::Lease, manifest: &Digest) -> Result<(), StoreError> {
        lease.protect_blob(manifest)?;
        let details = self.details(manifest)?;
        for digest in std::iter::once(&details.id).chain(&details.layers) {
            lease.protect_blob(digest)?;
        }
        Ok(())
    }

    pub(crate) fn remove_name(&self, name: &Reference) -> Result<(), StoreError> {
        if builtin::is_built_in(name) {
            return Err(StoreError::BuiltIn(name.to_string()));
        }
        let Some(image) = self.find(&name.to_string())? else { return Ok(()) };
        self.remove_record(&lookup_name(name))?;
        let last = image.repo_tags.len() + image.repo_digests.len() <= 1;
        if last {
            self.remove_record(&image.id.to_string())?;
        }
        self.flush_records()
    }

    pub(crate) fn remove_image(&self, wanted: &str) -> Result<(), StoreError> {
        let Some(image) = self.find(wanted)? else { return Ok(()) };
        if image.pinned {
            return Err(StoreError::BuiltIn(wanted.to_owned()));
        }
        let id = image.id.to_string();
        for name in image.repo_tags.iter().chain(&image.repo_digests).chain([&id]) {
            self.remove_record(name)?;
        }
        self.flush_records()
    }

    /// Removed names must stay removed before their content goes.
    fn flush_records(&self) -> Result<(), StoreError> {
        let images = &self.inner.paths.images;
        files::sync_directory(images).map_err(StoreError::io(images))
    }
}

/// The name under which a reference is recorded: with both tag and digest given, the digest counts.
pub(crate) fn lookup_name(reference: &Reference) -> String {
    match reference.digest() {
        Some(digest) => reference.with_digest(digest).to_string(),
        None => reference.to_string(),
    }
}
