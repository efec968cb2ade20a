//! A watch under way.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use bytes::{BufMut, Bytes, BytesMut};
use corten_store::Revision;
use futures::stream;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use tokio::time::{Instant, Interval, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::frame::Framer;
use crate::{
    body::{Body, BoxError},
    ledger::{Entry, Event, Watcher},
    status::ApiError,
};

/// How often a watcher who asked for bookmarks gets one: after a break it resumes from there and is spared the
/// history before.
const BOOKMARK_PERIOD: Duration = Duration::from_secs(60);

/// Events are joined to frames of up to about this size.
const FRAME: usize = 64 * 1024;

/// Where a stream is.
pub(super) enum State {
    /// Telling the state that there was when the watch began.
    Initial { entries: std::vec::IntoIter<Arc<Entry>>, marked: bool, from: Revision, watcher: Watcher },
    /// Telling changes.
    Live(Watcher),
    /// The history asked for is not there.
    Failed(Revision, Revision),
    /// Over.
    Ended,
}

/// A watch under way.
pub(super) struct Stream {
    framer: Framer,
    state: State,
    bookmarks: Option<Interval>,
    /// Done when the stream's time is over, or the server ends. One for the whole stream: a wait for an event costs no more than that.
    over: Pin<Box<dyn Future<Output = ()> + Send>>,
    /// The revision of the last bookmark: the same is not told twice.
    marked: Revision,
}

/// What a live watch waits for.
enum Woken {
    Event(Event),
    Expired(Revision, Revision),
    Bookmark,
    End,
}

impl Stream {
    /// A stream that ends after `lifetime`, or with `ending`.
    pub(super) fn new(framer: Framer, state: State, bookmarks: bool, lifetime: Duration, ending: CancellationToken) -> Self {
        let now = Instant::now();
        let bookmarks = bookmarks.then(|| {
            let mut interval = tokio::time::interval_at(now + BOOKMARK_PERIOD, BOOKMARK_PERIOD);
            interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
            interval
        });
        let over = Box::pin(async move {
            tokio::select! {
                () = ending.cancelled() => {}
                () = tokio::time::sleep_until(now + lifetime) => {}
            }
        });
        Self { framer, state, bookmarks, over, marked: Revision::ZERO }
    }

    /// The stream as a response's body.
    pub(super) fn into_body(self) -> Body {
        let frames = stream::unfold(self, |mut stream| async move {
            let bytes = stream.next().await?;
            Some((Ok::<_, BoxError>(Frame::data(bytes)), stream))
        });
        StreamBody::new(frames).boxed_unsync()
    }

    fn too_old(&self, asked: Revision, compacted: Revision) -> Bytes {
        self.framer.error(&ApiError::expired(format!("too old resource version: {asked} ({compacted})")))
    }

    /// The next frame; `None` at the end.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            match std::mem::replace(&mut self.state, State::Ended) {
                State::Ended => return None,
                State::Failed(asked, compacted) => return Some(self.too_old(asked, compacted)),
                State::Initial { mut entries, marked, from, watcher } => {
                    let mut out = BytesMut::new();
                    for entry in entries.by_ref() {
                        if let Err(error) = self.framer.write_added(&entry, &mut out) {
                            return Some(self.framer.error(&error));
                        }
                        if out.len() >= FRAME {
                            break;
                        }
                    }
                    if entries.as_slice().is_empty() {
                        if marked {
                            out.put_slice(&self.framer.bookmark(from, true));
                        }
                        self.state = State::Live(watcher);
                    } else {
                        self.state = State::Initial { entries, marked, from, watcher };
                    }
                    if !out.is_empty() {
                        return Some(out.freeze());
                    }
                }
                State::Live(watcher) => return self.live(watcher).await,
            }
        }
    }

    async fn live(&mut self, mut watcher: Watcher) -> Option<Bytes> {
        loop {
            let woken = tokio::select! {
                // The end first: events that are always there must not keep a watch open.
                biased;
                () = &mut self.over => Woken::End,
                next = watcher.next() => match next {
                    Ok(event) => Woken::Event(event),
                    Err(expired) => Woken::Expired(expired.asked, expired.compacted),
                },
                () = tick(&mut self.bookmarks) => Woken::Bookmark,
            };
            let line = match woken {
                Woken::End => return None,
                Woken::Expired(asked, compacted) => return Some(self.too_old(asked, compacted)),
                Woken::Bookmark => {
                    let revision = watcher.progress();
                    if revision == self.marked {
                        continue;
                    }
                    self.marked = revision;
                    self.framer.bookmark(revision, false)
                }
                Woken::Event(event) => match self.events(event, &mut watcher) {
                    Ok(lines) => lines,
                    Err(error) => return Some(self.framer.error(&error)),
                },
            };
            self.state = State::Live(watcher);
            return Some(line);
        }
    }

    /// The event and those that wait behind it, up to a frame's size.
    fn events(&self, first: Event, watcher: &mut Watcher) -> Result<Bytes, ApiError> {
        let line = self.framer.event(&first)?;
        let Ok(Some(second)) = watcher.try_next() else { return Ok(line) };
        let mut out = BytesMut::with_capacity(FRAME);
        out.put_slice(&line);
        out.put_slice(&self.framer.event(&second)?);
        while out.len() < FRAME {
            match watcher.try_next() {
                Ok(Some(event)) => out.put_slice(&self.framer.event(&event)?),
                // An error shows again at the next call.
                Ok(None) | Err(_) => break,
            }
        }
        Ok(out.freeze())
    }
}

async fn tick(interval: &mut Option<Interval>) {
    match interval {
        Some(interval) => {
            interval.tick().await;
        }
        None => std::future::pending().await,
    }
}
