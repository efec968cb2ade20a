//! The contract between the API server and a storage engine.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::num::ParseIntError;
use std::pin::Pin;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

/// A boxed future, as dyn-safe traits return it.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A key: a path such as `/registry/core/pods/default/web-0`. Keys are ordered by their bytes.
pub type Key = Arc<str>;

/// Something that accompanies a value within the process, so that a subscriber need not
/// compute it again. It is never stored, and a change may always arrive without it.
pub type Note = Arc<dyn Any + Send + Sync>;

/// A point in the store's history: what the Kubernetes API calls a resourceVersion.
///
/// `Revision(0)` is before the first write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub u64);

impl Revision {
    /// Before the first write.
    pub const ZERO: Revision = Revision(0);

    /// The number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The revision after this one.
    pub const fn next(self) -> Revision {
        Revision(self.0.saturating_add(1))
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Revision {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Revision)
    }
}

/// What must be true of a key for its transaction to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// Nothing is expected.
    Any,
    /// The key does not exist.
    Absent,
    /// The key exists and was last written at this revision.
    Revision(Revision),
}

/// What a transaction does with a key.
#[derive(Clone)]
pub enum Write {
    /// Sets the value.
    Put {
        /// The new value.
        value: Bytes,
        /// Bytes that are stored with it, and come back behind it when it is loaded; no [`Sink`] is given them. They are packed
        /// already.
        aside: Bytes,
        /// The key is deleted by the store itself when this time has passed since the
        /// write. The next put starts anew, with its own time or none.
        ttl: Option<Duration>,
        /// Accompanies the value to the [`Sink`]s of this process.
        note: Option<Note>,
    },
    /// Removes the key. Removing a key that does not exist is no write: it takes no revision and makes no change.
    Delete,
    /// Only checks the expectation.
    Check,
}

impl fmt::Debug for Write {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Write::Put { value, ttl, .. } => f.debug_struct("Put").field("value", value).field("ttl", ttl).finish_non_exhaustive(),
            Write::Delete => f.write_str("Delete"),
            Write::Check => f.write_str("Check"),
        }
    }
}

/// One step of a transaction.
#[derive(Clone, Debug)]
pub struct Op {
    /// The key; each key may occur once in a transaction.
    pub key: Key,
    /// What must hold.
    pub expect: Expect,
    /// What happens if everything holds.
    pub write: Write,
}

/// A transaction: all of it happens, or nothing.
#[derive(Clone, Debug, Default)]
pub struct Txn {
    /// The steps; revisions are given in this order.
    pub ops: Vec<Op>,
}

impl Txn {
    /// A transaction without steps.
    pub fn new() -> Txn {
        Txn::default()
    }

    /// Adds a put.
    #[must_use]
    pub fn put(mut self, key: impl Into<Key>, expect: Expect, value: impl Into<Bytes>) -> Txn {
        let write = Write::Put { value: value.into(), aside: Bytes::new(), ttl: None, note: None };
        self.ops.push(Op { key: key.into(), expect, write });
        self
    }

    /// Adds a put of a value that the store deletes after `ttl`.
    #[must_use]
    pub fn put_for(mut self, key: impl Into<Key>, expect: Expect, value: impl Into<Bytes>, ttl: Duration) -> Txn {
        let write = Write::Put { value: value.into(), aside: Bytes::new(), ttl: Some(ttl), note: None };
        self.ops.push(Op { key: key.into(), expect, write });
        self
    }

    /// Adds a delete.
    #[must_use]
    pub fn delete(mut self, key: impl Into<Key>, expect: Expect) -> Txn {
        self.ops.push(Op { key: key.into(), expect, write: Write::Delete });
        self
    }

    /// Adds an expectation about a key that is not written.
    #[must_use]
    pub fn check(mut self, key: impl Into<Key>, expect: Expect) -> Txn {
        self.ops.push(Op { key: key.into(), expect, write: Write::Check });
        self
    }
}

/// What a committed transaction did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// For each step the revision of its write; nothing for checks and for deletes of absent
    /// keys. They ascend; in the embedded engine each is different, while an engine
    /// on etcd gives all writes of a transaction the same.
    pub revisions: Vec<Option<Revision>>,
    /// The revision of the whole: at this revision its effects are complete. A transaction
    /// that wrote nothing reports the revision at which its expectations were checked.
    pub revision: Revision,
}

/// What happened to a key.
#[derive(Clone)]
pub enum Event {
    /// It was set to a value.
    Put {
        /// The value.
        value: Bytes,
        /// What the writer in this process sent along.
        note: Option<Note>,
    },
    /// It was removed: by a transaction, or because its time to live had passed.
    Delete,
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Put { value, .. } => f.debug_struct("Put").field("value", value).finish_non_exhaustive(),
            Event::Delete => f.write_str("Delete"),
        }
    }
}

/// A durable change of one key.
#[derive(Clone, Debug)]
pub struct Change {
    /// The key.
    pub key: Key,
    /// The revision of the write.
    pub revision: Revision,
    /// What happened.
    pub event: Event,
}

/// The contents of a store at one revision.
#[derive(Debug, Default)]
pub struct Loaded {
    /// The revision.
    pub revision: Revision,
    /// The contents at `compacted`: the puts that made them, ordered by revision.
    /// Together with `history` they give the contents at every revision in between and at `revision`.
    pub base: Vec<Change>,
    /// The last revision whose changes are not held any more.
    pub compacted: Revision,
    /// Every change after `compacted`, in revision order, up to `revision`.
    pub history: Vec<Change>,
}

/// Receives every change after a [`Loaded`] image.
///
/// An engine calls it from one thread at a time, in revision order, after the changes are durable and
/// before it answers the transactions that made them. It must return quickly and never wait for the store.
pub trait Sink: Send + 'static {
    /// The changes of one or more whole transactions. `revision` is the revision reached; with an
    /// empty list it is mere progress: no change up to it is outstanding.
    fn apply(&mut self, changes: &[Change], revision: Revision);
}

/// A storage engine.
pub trait Store: Send + Sync + 'static {
    /// Hands over the contents and subscribes `sink` to every later change, without a gap or
    /// an overlap between the two. A sink stays subscribed as long as the store lives.
    fn load(&self, sink: Box<dyn Sink>) -> BoxFuture<'_, Result<Loaded, LoadError>>;

    /// Commits a transaction. When it returns `Ok`, the writes are durable and every sink of this process has seen them
    /// or, in engines shared by several processes, soon will.
    ///
    /// Dropping the future does not revoke the transaction.
    fn commit(&self, txn: Txn) -> BoxFuture<'_, Result<Committed, CommitError>>;

    /// A revision not older than any transaction acknowledged, to anybody, before this call.
    fn latest(&self) -> BoxFuture<'_, Result<Revision, CommitError>>;

    /// Finishes what was accepted and releases what the engine holds. Later commits fail with [`CommitError::Closed`].
    fn close(&self) -> BoxFuture<'_, ()>;
}

/// Why a store could not be opened or loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// Another process has the directory.
    #[error("{dir} is in use by {holder}; stop it, or choose another data directory")]
    Locked {
        /// The directory.
        dir: String,
        /// What is known of the other process.
        holder: String,
    },
    /// The directory was written by a newer version.
    #[error("{dir} has store format {found}, this version reads up to {known}; run the version that wrote it")]
    Format {
        /// The directory.
        dir: String,
        /// The format found.
        found: u32,
        /// The newest format understood.
        known: u32,
    },
    /// A record cannot be read.
    #[error("record at revision {revision} is damaged: {reason}")]
    Damaged {
        /// The record.
        revision: Revision,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The storage failed.
    #[error("cannot read the store in {dir}: {reason}")]
    Storage {
        /// The directory or endpoint.
        dir: String,
        /// The engine's words.
        reason: String,
    },
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
}

/// Why a transaction was not committed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CommitError {
    /// An expectation did not hold. Nothing was written.
    #[error("step {index}: the key is at {}", match .current { Some(revision) => format!("revision {revision}"), None => "no revision".to_owned() })]
    Conflict {
        /// The first step whose expectation failed.
        index: usize,
        /// The revision that the key has, if it exists.
        current: Option<Revision>,
    },
    /// A key is empty or too long.
    #[error("key of {length} bytes; 1 to {limit} are allowed")]
    KeyLength {
        /// Bytes.
        length: usize,
        /// The most that is allowed.
        limit: usize,
    },
    /// The values of a transaction are too large.
    #[error("request is too large: {size} bytes, {limit} are allowed")]
    TooLarge {
        /// Bytes.
        size: usize,
        /// The most that is allowed.
        limit: usize,
    },
    /// A transaction has too many steps.
    #[error("transaction of {ops} steps; {limit} are allowed")]
    TooManyOps {
        /// Steps.
        ops: usize,
        /// The most that is allowed.
        limit: usize,
    },
    /// A key occurs twice in one transaction.
    #[error("the key {key} occurs twice in one transaction")]
    DuplicateKey {
        /// The key.
        key: Key,
    },
    /// There is no space left for new values; deletes are still accepted. Nothing was written.
    #[error("the store has no space left: {free} bytes free, {reserve} are kept in reserve")]
    NoSpace {
        /// Bytes free on the file system.
        free: u64,
        /// Bytes that must stay free.
        reserve: u64,
    },
    /// Storage failed in the middle; whether the transaction happened is not known. The process is about to end.
    #[error("storage failed: {0}")]
    Fatal(Arc<str>),
    /// The store was closed. Nothing was written.
    #[error("the store is closed")]
    Closed,
}
