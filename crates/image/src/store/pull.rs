//! Pulls: from a name to an unpacked image.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt, Shared, WeakShared};
use futures::stream::{self, StreamExt, TryStreamExt};
use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::blobs::{Ingest, decode};
use super::lease::{Lease, Needed};
use super::{Image, Store, StoreError, blocking, builtin, lookup_name};
use crate::digest::Digest;
use crate::model::{Descriptor, Index, Manifest, media_type};
use crate::platform;
use crate::reference::Reference;
use crate::registry::client::{Client, Document};
use crate::registry::error::{PullError, RegistryError};
use crate::registry::{Credentials, Registries};

/// Layers downloaded at once for one image.
const PARALLEL: usize = 3;
/// Chunks between the network and the disk.
const BUFFERED_CHUNKS: usize = 16;
/// Indexes within indexes.
const NESTING_MAX: usize = 4;

/// How to pull.
#[derive(Clone, Default)]
pub struct PullOptions {
    /// Credentials for the registry, instead of the configured ones.
    pub credentials: Option<Credentials>,
    /// Is told how far the pull is. Of concurrent pulls of the same image, the first one's is called.
    pub progress: Option<Arc<dyn Fn(Progress) + Send + Sync>>,
}

/// How far a pull is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of layers that are there.
    pub received: u64,
    /// Bytes of all layers.
    pub total: u64,
}

type Outcome = Result<Image, Arc<PullError>>;
type Running = BoxFuture<'static, Outcome>;
/// What makes two pulls the same.
type Key = (Reference, Option<Credentials>);

/// The pulls of this process, by name and credentials, and the layers that they download.
#[derive(Default)]
pub(crate) struct Pulls {
    running: Mutex<HashMap<Key, WeakShared<Running>>>,
    blobs: Mutex<HashMap<Digest, Arc<tokio::sync::Mutex<()>>>>,
}

impl Pulls {
    /// One download of a blob at a time; whoever waited finds it done.
    fn blob(&self, digest: &Digest) -> Arc<tokio::sync::Mutex<()>> {
        let mut blobs = self.blobs.lock();
        blobs.retain(|_, lock| Arc::strong_count(lock) > 1);
        Arc::clone(blobs.entry(digest.clone()).or_default())
    }
}

impl Store {
    /// Pulls an image and unpacks it. Concurrent pulls of the same name with the same credentials are one; it ends when nobody waits for
    /// it any more.
    ///
    /// # Errors
    /// See [`PullError::kind`]; the text is containerd's.
    pub async fn pull(&self, reference: &str, options: PullOptions) -> Result<Image, Arc<PullError>> {
        let reference: Reference = reference.parse().map_err(|error| Arc::new(PullError::from(error)))?;
        let name = reference.to_string();
        if builtin::is_local(&reference) {
            let store_failed = |error: StoreError| Arc::new(PullError::fetch(&name, "", &error.into()));
            return self.get(&name).await.map_err(store_failed)?.ok_or_else(|| Arc::new(PullError::unknown_built_in(&name)));
        }
        self.shared(reference, options).await
    }

    fn shared(&self, reference: Reference, options: PullOptions) -> Shared<Running> {
        let mut running = self.inner.pulls.running.lock();
        running.retain(|_, pull| pull.upgrade().is_some_and(|pull| pull.peek().is_none()));
        let key = (reference.clone(), options.credentials.clone());
        if let Some(pull) = running.get(&key).and_then(WeakShared::upgrade) {
            return pull;
        }
        let store = self.clone();
        let pull = async move { Pull::run(store, reference, options).await.map_err(Arc::new) }.boxed().shared();
        if let Some(weak) = pull.downgrade() {
            running.insert(key, weak);
        }
        pull
    }

    pub(crate) fn registries(&self) -> &Registries {
        &self.inner.registries
    }
}

/// One pull.
struct Pull {
    store: Store,
    client: Client,
    lease: Arc<Lease>,
    received: AtomicU64,
    total: AtomicU64,
    progress: Option<Arc<dyn Fn(Progress) + Send + Sync>>,
}

impl Pull {
    async fn run(store: Store, reference: Reference, options: PullOptions) -> Result<Image, PullError> {
        let name = reference.to_string();
        let failed = |what: &'static str| {
            let name = name.clone();
            move |error: RegistryError| PullError::fetch(&name, what, &error)
        };
        let leasing = store.clone();
        let lease = blocking(move || leasing.lease()).await.map_err(|error| failed("")(error.into()))?;
        let client = Client::new(&store.registries().current()?, &reference, options.credentials.as_ref());
        let pull = Arc::new(Pull {
            store,
            client,
            lease: Arc::new(lease),
            received: AtomicU64::new(0),
            total: AtomicU64::new(0),
            progress: options.progress,
        });
        let top = pull.client.manifest(&reference.object()).await.map_err(|error| PullError::resolve(&name, &error))?;
        let target = top.digest.clone();
        let (digest, manifest) = pull.choose(top).await.map_err(failed(""))?;
        pull.download(&manifest.config).await.map_err(failed("failed to copy"))?;
        pull.layers(&digest, &manifest).await.map_err(failed(""))?;

        let mut names = vec![lookup_name(&reference), reference.with_digest(&target).to_string()];
        names.dedup();
        let image = blocking(move || {
            // The lease ends when the names protect the content.
            pull.store.commit_names(&names, &target, &digest)?;
            let id = pull.store.details(&digest)?.id.to_string();
            pull.store.find(&id)?.ok_or(StoreError::NotFound(id))
        });
        image.await.map_err(|error: StoreError| failed("")(error.into()))
    }

    /// The manifest for this machine below what the name stands for; all documents go into the store.
    async fn choose(&self, top: Document) -> Result<(Digest, Manifest), RegistryError> {
        let mut document = top;
        for _ in 0..NESTING_MAX {
            self.keep(&document).await?;
            if !media_type::is_index(&document.media_type) {
                let manifest = decode("manifest", &document.digest, &document.content)?;
                return Ok((document.digest, manifest));
            }
            let index: Index = decode("index", &document.digest, &document.content)?;
            let chosen = platform::choose(&index.manifests).map_err(StoreError::from)?;
            document = self.client.manifest(&chosen.digest.to_string()).await?;
        }
        let reason = "indexes nested too deeply".to_owned();
        Err(StoreError::InvalidDocument { what: "index", digest: document.digest, reason }.into())
    }

    async fn keep(&self, document: &Document) -> Result<(), RegistryError> {
        let (store, lease) = (self.store.clone(), Arc::clone(&self.lease));
        let (digest, content) = (document.digest.clone(), document.content.clone());
        let written = blocking(move || -> Result<(), StoreError> {
            if !lease.protect_blob(&digest)? {
                let mut ingest = store.ingest(digest.algorithm())?;
                ingest.write(&content)?;
                ingest.commit(Some(&digest))?;
            }
            Ok(())
        });
        Ok(written.await?)
    }

    /// Downloads layers, some at once, and unpacks each as soon as it and those below are there.
    async fn layers(self: &Arc<Self>, digest: &Digest, manifest: &Manifest) -> Result<(), RegistryError> {
        let store = self.store.clone();
        let owned = digest.clone();
        let details = blocking(move || store.details(&owned)).await?;
        self.total.store(manifest.layers.iter().map(|layer| layer.size).fold(0, u64::saturating_add), Ordering::Relaxed);
        // Room for all, so that unpacking never holds up downloading.
        let (done, mut ready) = mpsc::channel(manifest.layers.len().max(1));
        let downloads = async move {
            let download = |layer: Descriptor| {
                let pull = Arc::clone(self);
                async move { pull.download(&layer).await }
            };
            stream::iter(manifest.layers.clone())
                .map(download)
                .buffered(PARALLEL)
                .try_for_each(|()| {
                    let sent = done.try_send(());
                    async move { sent.map_err(|_| RegistryError::Store(StoreError::Cancelled)) }
                })
                .await?;
            drop(done);
            Ok(())
        };
        let unpacking = async {
            let mut trees = Vec::new();
            let plan = details.layers.iter().zip(&details.config.rootfs.diff_ids).zip(&details.chain);
            for ((blob, diff_id), chain_id) in plan {
                // Closed early means that a download failed, and its error is the one to tell.
                if ready.recv().await.is_none() {
                    break;
                }
                let (pull, blob, diff_id, chain_id) = (Arc::clone(self), blob.clone(), diff_id.clone(), chain_id.clone());
                let unpacked = blocking(move || -> Result<_, StoreError> {
                    let tree = pull.store.unpack_layer(&pull.lease, &blob, &diff_id, &chain_id, &trees)?;
                    trees.push(tree);
                    Ok(trees)
                });
                trees = unpacked.await?;
            }
            Ok(())
        };
        futures::future::try_join(downloads, unpacking).await.map(drop)
    }

    /// Brings a blob into the store, unless it is there.
    async fn download(self: &Arc<Self>, blob: &Descriptor) -> Result<(), RegistryError> {
        let lock = self.store.inner.pulls.blob(&blob.digest);
        let _alone = lock.lock().await;
        let (lease, digest) = (Arc::clone(&self.lease), blob.digest.clone());
        let present = blocking(move || lease.protect(&Needed::Blob(digest.clone())).map(|()| digest)).await?;
        if self.store.blob_size(&present) == Some(blob.size) {
            self.advance(blob.size);
            return Ok(());
        }
        let (chunks, writer) = self.writer(blob);
        let sent = self.client.blob(blob, &chunks).await;
        drop(chunks);
        // The writer's own error (a full disk) explains why the transfer was cut off.
        let ingest = writer.await?;
        sent?;
        let (digest, expected) = (blob.digest.clone(), blob.size);
        let committed = blocking(move || -> Result<(), StoreError> {
            if ingest.written() != expected {
                return Err(StoreError::SizeMismatch { digest, expected, actual: ingest.written() });
            }
            ingest.commit(Some(&digest)).map(drop)
        });
        Ok(committed.await?)
    }

    /// A task that writes and hashes chunks away from the async threads.
    fn writer(self: &Arc<Self>, blob: &Descriptor) -> (mpsc::Sender<Bytes>, impl Future<Output = Result<Ingest, StoreError>> + use<>) {
        let (sender, mut receiver) = mpsc::channel::<Bytes>(BUFFERED_CHUNKS);
        let (pull, algorithm) = (Arc::clone(self), blob.digest.algorithm());
        let writer = blocking(move || -> Result<Ingest, StoreError> {
            let mut ingest = pull.store.ingest(algorithm)?;
            while let Some(chunk) = receiver.blocking_recv() {
                ingest.write(&chunk)?;
                pull.advance(chunk.len() as u64);
            }
            Ok(ingest)
        });
        // Spawned, since it must run while the transfer does.
        let writer = tokio::spawn(writer);
        (sender, async move { writer.await.unwrap_or(Err(StoreError::Cancelled)) })
    }

    fn advance(&self, bytes: u64) {
        let received = self.received.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if let Some(progress) = &self.progress {
            progress(Progress { received, total: self.total.load(Ordering::Relaxed).max(received) });
        }
    }
}

#[cfg(test)]
mod tests;
