//! The thread that writes.
//!
//! Everything that waits when it looks becomes one group: one batch, one fsync. While the disk works, the next group gathers. Expectations are checked
//! against the state after all accepted writes; nothing is answered or published before the fsync returned.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::disk::{Batch, Disk, Image};
use super::keys::{Held, Keys, Limits};
use super::record::{self, Millis};
use super::space::Space;
use super::step::{Action, Put, Step};
use super::{OnFatal, Options};
use crate::{Change, CommitError, Committed, Event, Key, LoadError, Loaded, Revision, Sink};

/// Transactions in a group, at most.
const GROUP_TXNS: usize = 1024;
/// Bytes in a group, about: a group is closed when it has reached this.
const GROUP_BYTES: usize = 4 << 20;
/// Expired keys deleted in a group, at most.
const GROUP_EXPIRED: usize = 256;
/// Writes that leave history in a group, at most.
const GROUP_COMPACTED: usize = 2048;
/// Expired keys are deleted this late at most. Times to live are minutes and hours: a
/// finer timer would only wake an idle process more often.
const EXPIRY_GRAIN: Duration = Duration::from_secs(5);

pub(super) enum Request {
    Commit { steps: Vec<Step>, reply: oneshot::Sender<Answer>, permit: OwnedSemaphorePermit },
    Load { sink: Box<dyn Sink>, reply: oneshot::Sender<Result<Loaded, LoadError>> },
    Close,
}

pub(super) struct Committer {
    disk: Disk,
    keys: Keys,
    space: Space,
    limits: Limits,
    on_fatal: OnFatal,
    sinks: Vec<Box<dyn Sink>>,
    /// The revision of the last accepted write.
    revision: Revision,
    /// The revision of the last published write.
    published: Arc<AtomicU64>,
    /// The contents as they were read at start, until somebody takes them or they are no longer true.
    image: Option<Loaded>,
    /// Records that an earlier process should have removed.
    garbage: Vec<Revision>,
    fatal: Option<Arc<str>>,
}

type Answer = Result<Committed, CommitError>;

/// Transactions that become durable together.
struct Group {
    batch: Batch,
    changes: Vec<Change>,
    bytes: usize,
    answers: Vec<(oneshot::Sender<Answer>, Answer)>,
    /// Kept until the answers are given, so that what waits is bounded.
    permits: Vec<OwnedSemaphorePermit>,
    now: Instant,
    clock: Millis,
}

impl Committer {
    pub(super) fn new(disk: Disk, image: Image, options: &Options, published: Arc<AtomicU64>) -> Committer {
        let Image { loaded, records } = image;
        let (keys, garbage) = Keys::replay(&records, loaded.compacted, Instant::now());
        published.store(loaded.revision.get(), Ordering::Release);
        Committer {
            disk,
            keys,
            space: Space::new(&options.dir, options.reserve_bytes),
            limits: Limits { age: options.history_age, changes: options.history_changes, bytes: options.history_bytes },
            on_fatal: options.on_fatal,
            sinks: Vec::new(),
            revision: loaded.revision,
            published,
            image: Some(loaded),
            garbage,
            fatal: None,
        }
    }

    /// Works until the last sender is gone or asks to close; what was sent before that is finished.
    pub(super) fn run(mut self, requests: &Receiver<Request>) {
        loop {
            let first = match self.until_expiry() {
                None => requests.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(wait) => requests.recv_timeout(wait),
            };
            let mut next = match first {
                Ok(request) => Some(request),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            let mut group = self.group();
            let mut after = None;
            while let Some(request) = next.take() {
                match request {
                    Request::Commit { steps, reply, permit } => {
                        self.take(&mut group, steps, reply);
                        group.permits.push(permit);
                    }
                    other => {
                        after = Some(other);
                        break;
                    }
                }
                if group.answers.len() >= GROUP_TXNS || group.bytes >= GROUP_BYTES {
                    break;
                }
                next = requests.try_recv().ok();
            }
            self.finish(group);
            match after {
                Some(Request::Load { sink, reply }) => self.load(sink, reply),
                Some(Request::Close) => return,
                Some(Request::Commit { .. }) | None => {}
            }
        }
    }

    fn until_expiry(&self) -> Option<Duration> {
        if self.fatal.is_some() {
            return None;
        }
        let next = self.keys.next_expiry()?;
        let wait = Duration::from_millis(next.0.saturating_sub(Millis::now().0));
        Some(wait + EXPIRY_GRAIN)
    }

    fn group(&self) -> Group {
        Group {
            batch: self.disk.batch(),
            changes: Vec::new(),
            bytes: 0,
            answers: Vec::new(),
            permits: Vec::new(),
            now: Instant::now(),
            clock: Millis::now(),
        }
    }

    /// Checks a transaction and adds its writes to the group.
    fn take(&mut self, group: &mut Group, steps: Vec<Step>, reply: oneshot::Sender<Answer>) {
        let answer = match self.check(&steps) {
            Ok(()) => Ok(self.write(group, steps)),
            Err(error) => Err(error),
        };
        group.answers.push((reply, answer));
    }

    fn check(&mut self, steps: &[Step]) -> Result<(), CommitError> {
        if let Some(fatal) = &self.fatal {
            return Err(CommitError::Fatal(Arc::clone(fatal)));
        }
        for (index, Step { key, expect, .. }) in steps.iter().enumerate() {
            if !self.keys.holds(key, *expect) {
                return Err(CommitError::Conflict { index, current: self.keys.revision(key) });
            }
        }
        if steps.iter().any(|step| matches!(step.action, Action::Put(_))) {
            self.space.check()?;
        }
        Ok(())
    }

    fn write(&mut self, group: &mut Group, steps: Vec<Step>) -> Committed {
        let mut revisions = Vec::with_capacity(steps.len());
        for Step { key, action, .. } in steps {
            let revision = match action {
                Action::Check => None,
                Action::Delete => self.delete(group, key),
                Action::Put(Put { value, length, until, note, record }) => {
                    let revision = self.next_revision();
                    let superseded = self.keys.put(&key, revision, until);
                    let held = Held { bytes: key.len() + length, superseded, put: true };
                    self.append(group, revision, record, held);
                    group.changes.push(Change { key, revision, event: Event::Put { value, note } });
                    Some(revision)
                }
            };
            revisions.push(revision);
        }
        Committed { revisions, revision: self.revision }
    }

    fn delete(&mut self, group: &mut Group, key: Key) -> Option<Revision> {
        let superseded = self.keys.delete(&key)?;
        let revision = self.next_revision();
        let held = Held { bytes: key.len(), superseded: Some(superseded), put: false };
        self.append(group, revision, record::encode_delete(&key), held);
        group.changes.push(Change { key, revision, event: Event::Delete });
        Some(revision)
    }

    fn append(&mut self, group: &mut Group, at: Revision, record: Bytes, held: Held) {
        group.bytes += record.len();
        self.space.spent(record.len());
        self.keys.remember(at, group.now, held);
        group.batch.append(at, record);
    }

    fn next_revision(&mut self) -> Revision {
        self.revision = self.revision.next();
        self.revision
    }

    /// Makes a group durable, publishes it, and answers.
    fn finish(&mut self, mut group: Group) {
        if self.fatal.is_none() {
            for key in self.keys.expired(group.clock, GROUP_EXPIRED) {
                self.delete(&mut group, key);
            }
        }
        if !group.changes.is_empty() {
            self.compact(&mut group);
            if let Err(reason) = self.disk.commit(group.batch) {
                self.stop(&reason);
                let Some(fatal) = self.fatal.clone() else { return };
                for (reply, answer) in group.answers {
                    let _gone = reply.send(answer.and_then(|_| Err(CommitError::Fatal(Arc::clone(&fatal)))));
                }
                return;
            }
            self.image = None;
            for sink in &mut self.sinks {
                sink.apply(&group.changes, self.revision);
            }
            self.published.store(self.revision.get(), Ordering::Release);
        }
        for (reply, answer) in group.answers {
            // Whoever asked may have left; the transaction stands.
            let _gone = reply.send(answer);
        }
        if !group.changes.is_empty() {
            self.disk.prepare();
        }
    }

    /// Compaction rides along with writes: an idle store compacts nothing and needs no timer for it.
    fn compact(&mut self, group: &mut Group) {
        let durable = Revision(self.published.load(Ordering::Acquire));
        let compaction = self.keys.compact(&self.limits, group.now, durable, GROUP_COMPACTED);
        if let Some(compacted) = compaction.compacted {
            group.batch.set_compacted(compacted);
        }
        let left = self.garbage.len().saturating_sub(GROUP_COMPACTED);
        for revision in compaction.garbage.into_iter().chain(self.garbage.drain(left..)) {
            group.batch.drop_record(revision);
        }
    }

    /// Storage failed: what is on the disk is unknown until it is read again.
    fn stop(&mut self, reason: &str) {
        match self.on_fatal {
            OnFatal::Abort => {
                tracing::error!(reason, "the store cannot write; ending the process, the next start recovers");
                #[expect(clippy::print_stderr, reason = "the last words, also where no log is set up")]
                {
                    eprintln!("corten: the store cannot write: {reason}; ending the process");
                }
                std::process::abort();
            }
            OnFatal::Refuse => self.fatal = Some(reason.into()),
        }
    }

    fn load(&mut self, sink: Box<dyn Sink>, reply: oneshot::Sender<Result<Loaded, LoadError>>) {
        let loaded = match self.image.take() {
            Some(loaded) => Ok(loaded),
            None => self.disk.read().map(|image| image.loaded),
        };
        if loaded.is_ok() {
            self.sinks.push(sink);
        }
        let _gone = reply.send(loaded);
    }
}
