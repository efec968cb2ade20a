//! A container's log as a reader wants it: from some line or time on, to the end or for ever.

use std::fs::File;
use std::future::Future;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::pin::pin;

use bytes::Bytes;
use jiff::Timestamp;
use tokio::io::AsyncReadExt as _;
use tokio::sync::mpsc::Sender;

use super::filter::Filter;
use super::follow::Changes;
use super::line::Stream;
use super::{rotate, tail};

/// How much is read at a time.
const CHUNK: usize = 64 << 10;
/// Runtimes cut lines at 16 KiB: what is longer by far is no log.
const LONGEST: usize = 1 << 20;

/// What of a log is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    /// Go on until the container ends.
    pub(crate) follow: bool,
    /// Only this many lines from the end, before following.
    pub(crate) tail: Option<u64>,
    /// Only what is not older.
    pub(crate) since: Option<Timestamp>,
    /// Only of this stream.
    pub(crate) stream: Option<Stream>,
    /// The time before each line.
    pub(crate) timestamps: bool,
    /// Most bytes in all.
    pub(crate) limit: Option<u64>,
}

/// An open log.
pub(crate) struct Log {
    options: Options,
    source: Source,
    changes: Option<Changes>,
}

impl Log {
    /// Opens a log and finds where to begin.
    ///
    /// # Errors
    /// When the file cannot be read, or cannot be watched to follow it.
    pub(crate) async fn open(path: &Path, options: Options) -> io::Result<Self> {
        // Before the first look at the file, so that no change is missed.
        let changes = if options.follow { Some(Changes::of(path)?) } else { None };
        let (path, lines) = (path.to_owned(), options.tail);
        let opened = tokio::task::spawn_blocking(move || {
            let mut file = File::open(path)?;
            if let Some(lines) = lines {
                tail::seek(&mut file, lines)?;
            }
            Ok::<_, io::Error>(file)
        });
        let source = Source::new(opened.await.map_err(io::Error::other)??)?;
        Ok(Self { options, source, changes })
    }

    /// Sends the log from `path`, which it was opened from, until `end` if it is followed, or until nobody receives any more.
    ///
    /// # Errors
    /// When reading fails.
    pub(crate) async fn send(self, path: &Path, end: impl Future<Output = ()>, sink: &Sender<Bytes>) -> io::Result<()> {
        let Self { options, mut source, changes } = self;
        let mut filter = Filter::new(&options);
        let mut end = pin!(end);
        let mut ended = changes.is_none();
        loop {
            if source.drain(&mut filter, sink).await?.is_none() {
                return Ok(());
            }
            let next = if changes.is_some() { source.next(path).await? } else { None };
            // A runtime may make the new file before it writes its last lines to the old one: while nothing is in the new one,
            // the old one is the log.
            if let Some(mut next) = next.filter(|next| ended || next.begun) {
                if source.drain(&mut filter, sink).await?.is_none() {
                    return Ok(());
                }
                // What was a line's beginning goes on in the next file: records are never cut.
                next.pending = Vec::new();
                source = next;
                continue;
            }
            let Some(changes) = changes.as_ref().filter(|_| !ended) else {
                source.rest(&mut filter, sink).await;
                return Ok(());
            };
            tokio::select! {
                changed = changes.wait() => changed?,
                // What was written before the end is still to be read.
                () = &mut end => ended = true,
                () = sink.closed() => return Ok(()),
            }
        }
    }
}

/// One log file.
struct Source {
    file: tokio::fs::File,
    /// Device and inode: a file keeps them when it is renamed.
    identity: (u64, u64),
    /// Something was in it when it was opened.
    begun: bool,
    /// The beginning of a line that is not complete yet.
    pending: Vec<u8>,
}

impl Source {
    fn new(file: File) -> io::Result<Self> {
        let metadata = file.metadata()?;
        let identity = (metadata.dev(), metadata.ino());
        Ok(Self { identity, begun: metadata.len() > 0, file: file.into(), pending: Vec::new() })
    }

    /// The file that the log went on in after this one was rotated. A reader that is slow goes through all that were.
    async fn next(&self, path: &Path) -> io::Result<Option<Self>> {
        let (own, path) = (self.identity, path.to_owned());
        let look = move || {
            let mut files = rotate::rotated(&path)?;
            files.push(path);
            let mut opened = Vec::with_capacity(files.len());
            for file in files {
                match File::open(file) {
                    Ok(file) => opened.push(Self::new(file)?),
                    // Renamed or removed meanwhile; or not made anew yet.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => return Err(error),
                }
            }
            // Old ones are removed from the oldest on: if this one is gone, all that are left came later.
            let after = opened.iter().position(|file| file.identity == own).map_or(0, |at| at + 1);
            let is_last = after + 1 == opened.len();
            // What was rotated has been begun, whatever is in it.
            Ok(opened.into_iter().nth(after).map(|next| Self { begun: next.begun || !is_last, ..next }))
        };
        tokio::task::spawn_blocking(look).await.map_err(io::Error::other)?
    }

    /// Sends what is there; `None` when no more is wanted.
    async fn drain(&mut self, filter: &mut Filter, sink: &Sender<Bytes>) -> io::Result<Option<()>> {
        loop {
            self.pending.reserve(CHUNK);
            if self.file.read_buf(&mut self.pending).await? == 0 {
                return Ok(Some(()));
            }
            let complete = self.pending.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            let rest = self.pending.split_off(complete);
            let lines = std::mem::replace(&mut self.pending, rest);
            if self.pending.len() > LONGEST {
                self.pending.clear();
            }
            let mut out = Vec::with_capacity(lines.len());
            let mut more = true;
            for line in lines.split_inclusive(|byte| *byte == b'\n') {
                more = filter.line(line.strip_suffix(b"\n").unwrap_or(line), &mut out);
                if !more {
                    break;
                }
            }
            if !out.is_empty() && sink.send(Bytes::from(out)).await.is_err() || !more {
                return Ok(None);
            }
        }
    }

    /// Sends the last line, though it has no end.
    async fn rest(&mut self, filter: &mut Filter, sink: &Sender<Bytes>) {
        let mut out = Vec::new();
        filter.line(&self.pending, &mut out);
        if !out.is_empty() {
            // Nobody receives any more: nothing is left to do anyway.
            let _ = sink.send(Bytes::from(out)).await;
        }
    }
}

#[cfg(test)]
mod tests;
