//! What is on the disk: a log of writes by revision, and a few numbers.
//!
//! The log is the store: the contents are the last record of every key. One record a write is all that a commit
//! costs. History is the log, too: records that were superseded stay until they are compacted.

use std::collections::HashMap;
use std::path::Path;

use bytes::Bytes;
use fjall::config::FilterPolicy;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch, PersistMode};

use super::journal::Blocks;
use super::record::{self, Record, Written};
use super::torn::Cut;
use crate::{Change, Event, LoadError, Loaded, Revision};

/// The format of what is written here. Raise it when an older version would misread.
const FORMAT: u32 = 4;
/// The last one of the formats that differ from it, but can be read.
const FORMER: u64 = 3;

/// Memory for writes that are not yet sorted into tables; also what is replayed at most at the next start.
const WRITE_BUFFER: u64 = 16 << 20;
/// The contents are read once, at start: a cache would be wasted.
const CACHE: u64 = 1 << 20;

/// Bytes of the journal for an item beside its value, at most about.
const ITEM: u64 = 64;

const META_FORMAT: &str = "format";
const META_COMPACTED: &str = "compacted";
const META_FLOOR: &str = "floor";

pub(super) struct Disk {
    database: Database,
    log: Keyspace,
    meta: Keyspace,
    blocks: Blocks,
    dir: String,
}

/// Writes that become durable together.
pub(super) struct Batch {
    batch: OwnedWriteBatch,
    log: Keyspace,
    meta: Keyspace,
    /// Bytes that it takes in the journal, about.
    bytes: u64,
}

/// The contents, with what only this engine needs to know of them.
pub(super) struct Image {
    pub(super) loaded: Loaded,
    /// Every record of the log in revision order, without the values.
    pub(super) records: Vec<Summary>,
}

/// A record without its value.
pub(super) struct Summary {
    pub(super) revision: Revision,
    pub(super) key: crate::Key,
    /// Of its key and value.
    pub(super) bytes: usize,
    pub(super) put: bool,
    pub(super) until: Option<record::Millis>,
}

impl Disk {
    pub(super) fn open(dir: &Path) -> Result<Disk, LoadError> {
        let storage = |error: fjall::Error| storage(dir, &error);
        let database = open_database(dir)?;
        let options = || KeyspaceCreateOptions::default().max_memtable_size(WRITE_BUFFER);
        // Nobody looks for a single record in the log.
        let log = database.keyspace("log", || options().filter_policy(FilterPolicy::disabled())).map_err(storage)?;
        let meta = database.keyspace("meta", options).map_err(storage)?;
        let disk = Disk { database, log, meta, blocks: Blocks::new(dir), dir: dir.display().to_string() };
        disk.check_format()?;
        Ok(disk)
    }

    fn check_format(&self) -> Result<(), LoadError> {
        match self.format()? {
            Some(found) if found == u64::from(FORMAT) => Ok(()),
            // What an earlier version wrote is read as it is; from now on that version cannot.
            None | Some(..=FORMER) => self.set_format(FORMAT),
            Some(found) => Err(LoadError::Format { dir: self.dir.clone(), found: u32::try_from(found).unwrap_or(u32::MAX), known: FORMAT }),
        }
    }

    /// The number of the format that is written here, if any is.
    pub(super) fn format(&self) -> Result<Option<u64>, LoadError> {
        self.number(META_FORMAT)
    }

    pub(super) fn set_format(&self, format: u32) -> Result<(), LoadError> {
        self.set_number(META_FORMAT, u64::from(format))
    }

    fn number(&self, name: &str) -> Result<Option<u64>, LoadError> {
        let bytes = self.meta.get(name).map_err(|error| self.storage(&error))?;
        Ok(bytes.and_then(|bytes| Some(u64::from_le_bytes(bytes.as_ref().try_into().ok()?))))
    }

    fn set_number(&self, name: &str, number: u64) -> Result<(), LoadError> {
        let mut batch = self.database.batch().durability(Some(PersistMode::SyncData));
        batch.insert(&self.meta, name, number.to_le_bytes());
        batch.commit().map_err(|error| self.storage(&error))
    }

    /// Makes every later revision larger than `floor`.
    pub(super) fn raise_floor(&self, floor: Revision) -> Result<(), LoadError> {
        self.set_number(META_FLOOR, floor.get())
    }

    fn storage(&self, error: &fjall::Error) -> LoadError {
        storage(Path::new(&self.dir), error)
    }

    /// Reads everything.
    pub(super) fn read(&self) -> Result<Image, LoadError> {
        let compacted = Revision(self.number(META_COMPACTED)?.unwrap_or(0));
        let floor = Revision(self.number(META_FLOOR)?.unwrap_or(0));
        let mut last = compacted.max(floor);
        let mut base: HashMap<crate::Key, Change> = HashMap::new();
        let mut history = Vec::new();
        let mut records = Vec::new();
        for item in self.log.iter() {
            let (key, bytes) = item.into_inner().map_err(|error| self.storage(&error))?;
            let damaged = LoadError::Damaged { revision: last, reason: "the key after it is no revision" };
            let revision = record::log_revision(&key).ok_or(damaged)?;
            let Record { key, write } = record::decode(revision, &bytes)?;
            last = last.max(revision);
            let (put, until, length) = match &write {
                Written::Put { until, value } => (true, *until, value.len()),
                Written::Delete => (false, None, 0),
            };
            records.push(Summary { revision, key: key.clone(), bytes: key.len() + length, put, until });
            let event = match write {
                Written::Put { value, .. } => Event::Put { value, note: None },
                Written::Delete => Event::Delete,
            };
            let change = Change { key: key.clone(), revision, event };
            if revision > compacted {
                history.push(change);
            } else if put {
                base.insert(key, change);
            } else {
                base.remove(&key);
            }
        }
        let mut base: Vec<Change> = base.into_values().collect();
        base.sort_by_key(|change| change.revision);
        Ok(Image { loaded: Loaded { revision: last, base, compacted, history }, records })
    }

    pub(super) fn batch(&self) -> Batch {
        Batch {
            batch: self.database.batch().durability(Some(PersistMode::SyncData)),
            log: self.log.clone(),
            meta: self.meta.clone(),
            bytes: 0,
        }
    }

    /// Makes the batch durable. After an error nobody knows whether it is.
    pub(super) fn commit(&mut self, batch: Batch) -> Result<(), String> {
        self.blocks.spent(batch.bytes);
        batch.batch.commit().map_err(|error| describe(&error))
    }

    /// Makes ready for the next batches. The one after waits for it, so it is little at a time.
    pub(super) fn prepare(&mut self) {
        self.blocks.provide();
    }
}

/// Opens the engine, also after a power cut in the middle of a write.
fn open_database(dir: &Path) -> Result<Database, LoadError> {
    let open = || Database::builder(dir).cache_size(CACHE).worker_threads(1).max_journaling_size(256 << 20).open();
    let torn = match open() {
        Err(error @ fjall::Error::JournalRecovery(_)) => error,
        other => return other.map_err(|error| storage(dir, &error)),
    };
    let io = |error: std::io::Error| storage(dir, &fjall::Error::Io(error));
    let Some(cut) = Cut::make(dir).map_err(io)? else { return Err(storage(dir, &torn)) };
    if let Ok(database) = open() {
        let kept = cut.copy().display();
        tracing::warn!(%kept, "the last write was torn and is discarded; nobody was told that it had happened");
        return Ok(database);
    }
    cut.undo().map_err(io)?;
    Err(storage(dir, &torn))
}

impl Batch {
    pub(super) fn append(&mut self, revision: Revision, record: Bytes) {
        self.bytes += ITEM + record.len() as u64;
        self.batch.insert(&self.log, record::log_key(revision), record);
    }

    /// Removes a record that no revision after the compacted one needs.
    pub(super) fn drop_record(&mut self, revision: Revision) {
        self.bytes += ITEM;
        self.batch.remove(&self.log, record::log_key(revision));
    }

    pub(super) fn set_compacted(&mut self, compacted: Revision) {
        self.batch.insert(&self.meta, META_COMPACTED, compacted.get().to_le_bytes());
    }
}

fn storage(dir: &Path, error: &fjall::Error) -> LoadError {
    LoadError::Storage { dir: dir.display().to_string(), reason: describe(error) }
}

/// The engine's error in words, with its cause.
fn describe(error: &fjall::Error) -> String {
    match error {
        fjall::Error::Io(error) => error.to_string(),
        fjall::Error::Poisoned => "an earlier write in the background failed".to_owned(),
        other => format!("{other:?}"),
    }
}
