//! The embedded engine: durable on one machine, on [fjall], a log-structured store in Rust.

mod committer;
mod disk;
mod journal;
mod keys;
mod lock;
mod pack;
mod record;
mod space;
mod step;
mod torn;

#[cfg(test)]
mod pack_tests;
#[cfg(test)]
mod recovery_tests;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Semaphore, oneshot};

use self::committer::{Committer, Request};
use self::disk::Disk;
use self::lock::DirLock;
use self::step::Step;
use crate::{BoxFuture, CommitError, Committed, LoadError, Loaded, Revision, Sink, Store, Txn};

/// How an embedded store is opened.
#[derive(Clone, Debug)]
pub struct Options {
    /// The directory; made if it does not exist. One process at a time may have it.
    pub dir: PathBuf,
    /// A change is held in history for at least this long...
    pub history_age: Duration,
    /// ...unless there are more changes than this...
    pub history_changes: usize,
    /// ...or they have more bytes than this.
    pub history_bytes: usize,
    /// The most bytes that the values of one transaction may have.
    pub max_value_bytes: usize,
    /// Puts are refused when the file system has less free than this many bytes, so that deletes
    /// and the engine's own compaction still have room.
    pub reserve_bytes: u64,
    /// The first write gets a revision larger than this: for a restore or a migration, so that
    /// clients never see time run backwards.
    pub revision_floor: Revision,
    /// Called when storage has failed in the middle of a commit and nothing more can be promised.
    pub on_fatal: OnFatal,
}

/// What happens when storage fails in the middle of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFatal {
    /// The process says why and aborts: after a failed fsync nobody knows what is on the disk; the
    /// next start reads what really is.
    Abort,
    /// The store refuses everything from then on. For tests in one process.
    Refuse,
}

impl Options {
    /// The defaults, in a directory.
    pub fn new(dir: impl Into<PathBuf>) -> Options {
        Options {
            dir: dir.into(),
            history_age: Duration::from_secs(10 * 60),
            history_changes: 200_000,
            history_bytes: 128 << 20,
            max_value_bytes: 1_572_864,
            reserve_bytes: 64 << 20,
            revision_floor: Revision::ZERO,
            on_fatal: OnFatal::Abort,
        }
    }
}

/// Transactions that may wait for the committer; more wait for a place.
const WAITING: usize = 4096;

/// The embedded engine.
#[derive(Debug)]
pub struct Embedded {
    requests: Mutex<Option<mpsc::Sender<Request>>>,
    places: Arc<Semaphore>,
    published: Arc<AtomicU64>,
    max_value_bytes: usize,
    thread: Mutex<Option<JoinHandle<()>>>,
    closed: Mutex<Option<oneshot::Receiver<()>>>,
}

impl Embedded {
    /// Opens or creates a store.
    ///
    /// Blocks while it reads the directory: about 0.1 s for 100,000 keys.
    ///
    /// # Errors
    ///
    /// When another process has the directory, a newer version wrote it, or it cannot be read.
    pub fn open(options: Options) -> Result<Embedded, LoadError> {
        let lock = DirLock::take(&options.dir)?;
        let disk = Disk::open(&options.dir.join("log"))?;
        let mut image = disk.read()?;
        if options.revision_floor > image.loaded.revision {
            disk.raise_floor(options.revision_floor)?;
            image.loaded.revision = options.revision_floor;
        }
        let published = Arc::new(AtomicU64::new(0));
        let committer = Committer::new(disk, image, &options, Arc::clone(&published));
        let (requests, receiver) = mpsc::channel();
        let (closing, closed) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || {
                committer.run(&receiver);
                // In this order: whoever takes the directory next finds it at rest.
                drop(receiver);
                drop(lock);
                let _nobody_waits = closing.send(());
            })
            .map_err(|error| LoadError::Storage { dir: options.dir.display().to_string(), reason: error.to_string() })?;
        Ok(Embedded {
            requests: Mutex::new(Some(requests)),
            places: Arc::new(Semaphore::new(WAITING)),
            published,
            max_value_bytes: options.max_value_bytes,
            thread: Mutex::new(Some(thread)),
            closed: Mutex::new(Some(closed)),
        })
    }

    fn send(&self, request: Request) -> Option<()> {
        self.requests.lock().as_ref()?.send(request).ok()
    }
}

impl Store for Embedded {
    fn load(&self, sink: Box<dyn Sink>) -> BoxFuture<'_, Result<Loaded, LoadError>> {
        Box::pin(async move {
            let (reply, answer) = oneshot::channel();
            self.send(Request::Load { sink, reply }).ok_or(LoadError::Closed)?;
            answer.await.map_err(|_| LoadError::Closed)?
        })
    }

    fn commit(&self, txn: Txn) -> BoxFuture<'_, Result<Committed, CommitError>> {
        Box::pin(async move {
            step::check_shape(&txn, self.max_value_bytes)?;
            let permit = Arc::clone(&self.places).acquire_owned().await.map_err(|_| CommitError::Closed)?;
            let (reply, answer) = oneshot::channel();
            let steps = txn.ops.into_iter().map(Step::from).collect();
            self.send(Request::Commit { steps, reply, permit }).ok_or(CommitError::Closed)?;
            answer.await.map_err(|_| CommitError::Closed)?
        })
    }

    fn latest(&self) -> BoxFuture<'_, Result<Revision, CommitError>> {
        // There is one process: what was answered is what was published.
        let latest = Revision(self.published.load(Ordering::Acquire));
        Box::pin(std::future::ready(Ok(latest)))
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.send(Request::Close);
            self.requests.lock().take();
            self.places.close();
            let closed = self.closed.lock().take();
            if let Some(closed) = closed {
                // An error means that the thread is gone, which is what is waited for.
                let _done = closed.await;
            }
        })
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.requests.lock().take();
        // What was accepted is finished; that takes a few milliseconds.
        if let Some(thread) = self.thread.lock().take()
            && thread.thread().id() != std::thread::current().id()
        {
            let _panicked = thread.join();
        }
    }
}
