//! The task that reads.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, ReadHalf};
use tokio::sync::mpsc;

use super::state::{Entry, Out, Shared, State};
use super::{Error, Request};
use crate::frame::{Decoder, Frame, INITIAL_WINDOW_SIZE, Setting, status};
use crate::headers::Decompressor;

/// How much is read at once.
const READ: usize = 64 << 10;

/// The largest window.
const MAX_WINDOW: i64 = 0x7fff_ffff;

struct Reader {
    shared: Arc<Shared>,
    decompressor: Decompressor,
    requests: mpsc::Sender<Request>,
}

/// Reads until the connection ends.
pub(super) async fn run<R: AsyncRead>(mut io: ReadHalf<R>, shared: Arc<Shared>, requests: mpsc::Sender<Request>) {
    let max = shared.config.max_headers;
    let mut reader = Reader { shared: Arc::clone(&shared), decompressor: Decompressor::new(max), requests };
    let work = async {
        let (mut decoder, mut buffer) = (Decoder::new(max), BytesMut::with_capacity(READ));
        loop {
            while let Some(frame) = decoder.next(&mut buffer)? {
                reader.handle(frame).await?;
            }
            buffer.reserve(READ);
            match io.read_buf(&mut buffer).await {
                Ok(0) if decoder.inside(&buffer) => return Err(Error::Truncated),
                Ok(0) => return Err(Error::Closed),
                Ok(_) => {}
                Err(error) => return Err(Error::Io(Arc::new(error))),
            }
        }
    };
    let ended: Result<(), Error> = tokio::select! {
        ended = work => ended,
        () = shared.ended.cancelled() => return,
    };
    let Err(error) = ended else { return };
    if matches!(error, Error::Frame(_) | Error::Headers(_) | Error::Protocol(_)) {
        tracing::debug!(%error, "the other side of a SPDY connection misbehaves");
        let mut state = shared.state.lock();
        // What was to be sent is for a side that does not understand it.
        state.out.clear();
        state.go_away(error.status());
    }
    shared.end(error);
}

impl Reader {
    async fn handle(&mut self, frame: Frame) -> Result<(), Error> {
        let shared = Arc::clone(&self.shared);
        match frame {
            Frame::Data { id, fin, data } => return self.data(id, fin, data).await,
            Frame::SynStream { id, fin, unidirectional, block, .. } => self.opened(id, fin, unidirectional, &block)?,
            Frame::SynReply { id, fin, block } => {
                self.decompressor.decompress(&block)?;
                let mut state = shared.state.lock();
                if let Some(entry) = state.streams.get_mut(&id).filter(|_| shared.role.gives(id)) {
                    match entry.answer.take() {
                        Some(answer) => drop(answer.send(Ok(()))),
                        None => state.out.push_back(Out::Reset { id, status: status::STREAM_IN_USE }),
                    }
                }
                remote_end(&mut state, id, fin);
            }
            Frame::Headers { id, fin, block } => {
                // Nothing is said in them here, but the compression goes on.
                self.decompressor.decompress(&block)?;
                remote_end(&mut shared.state.lock(), id, fin);
            }
            Frame::Reset { id, status } => {
                let mut state = shared.state.lock();
                if let Some(entry) = state.streams.get_mut(&id) {
                    entry.reset = Some(status);
                    if let Some(answer) = entry.answer.take() {
                        let _ = answer.send(Err(status));
                    }
                    entry.wake();
                    if entry.orphaned {
                        state.streams.remove(&id);
                    }
                }
            }
            Frame::Settings { entries, .. } => self.settings(&entries)?,
            Frame::Ping(id) => {
                let mut state = shared.state.lock();
                if shared.role.gives(id) {
                    if let Some(waiting) = state.pings.remove(&id) {
                        let _ = waiting.send(());
                    }
                } else {
                    state.out.push_back(Out::Ping(id));
                }
            }
            Frame::GoAway { .. } => shared.state.lock().going_away = true,
            Frame::WindowUpdate { id, delta } => self.window(id, delta)?,
            Frame::Unknown(_) => {}
        }
        if shared.state.lock().is_flooded() {
            return Err(Error::Protocol("too many frames that must be answered"));
        }
        shared.wake_writer();
        Ok(())
    }

    fn opened(&mut self, id: u32, fin: bool, unidirectional: bool, block: &[u8]) -> Result<(), Error> {
        let headers = self.decompressor.decompress(block)?;
        let shared = &self.shared;
        let mut state = shared.state.lock();
        if shared.role.gives(id) {
            return Err(Error::Protocol("a stream with a number of this side"));
        }
        if id <= state.last_seen {
            if state.streams.contains_key(&id) {
                // The specification wants both gone.
                state.streams.entry(id).and_modify(|entry| {
                    entry.reset = Some(status::PROTOCOL_ERROR);
                    entry.wake();
                });
                state.out.push_back(Out::Reset { id, status: status::PROTOCOL_ERROR });
                return Ok(());
            }
            return Err(Error::Protocol("stream numbers must grow"));
        }
        state.last_seen = id;
        let open = state.streams.iter().filter(|(id, entry)| !shared.role.gives(**id) && !entry.is_over()).count();
        let slot = self.requests.try_reserve();
        let (Ok(slot), true, false) = (slot, open < shared.config.max_streams, state.going_away) else {
            state.out.push_back(Out::Reset { id, status: status::REFUSED_STREAM });
            return Ok(());
        };
        let mut entry = Entry::new(state.peer_window, shared.config.stream_window);
        entry.remote_ended = fin;
        entry.local_ended = unidirectional;
        state.streams.insert(id, entry);
        drop(state);
        slot.send(Request { id, headers, shared: Arc::clone(shared), answered: false });
        Ok(())
    }

    async fn data(&mut self, id: u32, fin: bool, data: Bytes) -> Result<(), Error> {
        let shared = Arc::clone(&self.shared);
        let count = data.len();
        {
            let mut state = shared.state.lock();
            let given = if shared.role.gives(id) { id < state.next_id } else { id <= state.last_seen };
            if !given {
                return Err(Error::Protocol("data of a stream that was never opened"));
            }
            let length = i64::try_from(count).unwrap_or(i64::MAX);
            state.recv_window -= length;
            let overrun = state.obeys && state.recv_window < 0;
            if overrun {
                return Err(Error::Protocol("more data than the connection's window"));
            }
            let obeys = state.obeys;
            let Some(entry) = state.streams.get_mut(&id).filter(|entry| entry.reset.is_none()) else {
                // It was broken off from here, which the other side did not know yet.
                shared.give_back(&mut state, id, count);
                return Ok(());
            };
            if entry.remote_ended {
                drop(state);
                shared.reset(id, status::STREAM_ALREADY_CLOSED);
                return Ok(());
            }
            entry.recv_window -= length;
            if obeys && entry.recv_window < 0 {
                drop(state);
                shared.reset(id, status::FLOW_CONTROL_ERROR);
                return Ok(());
            }
            if entry.unread {
                shared.give_back(&mut state, id, count);
            } else {
                entry.received.extend_from_slice(&data);
                state.buffered += count;
            }
            remote_end(&mut state, id, fin);
            if let Some(waker) = state.streams.get_mut(&id).and_then(|entry| entry.reading.take()) {
                waker.wake();
            }
            if obeys {
                return Ok(());
            }
        }
        // A side that knows no windows is held back by what it must write.
        loop {
            let drained = shared.drained.notified();
            if !shared.state.lock().is_full(id, &shared.config) {
                return Ok(());
            }
            drained.await;
        }
    }

    fn settings(&self, entries: &[Setting]) -> Result<(), Error> {
        let mut state = self.shared.state.lock();
        state.obeys = true;
        if !state.announced {
            state.announce(&self.shared.config);
        }
        for setting in entries.iter().filter(|setting| setting.id == INITIAL_WINDOW_SIZE) {
            let window = i64::from(setting.value);
            if window > MAX_WINDOW {
                return Err(Error::Protocol("window out of range"));
            }
            let more = window - std::mem::replace(&mut state.peer_window, window);
            for entry in state.streams.values_mut() {
                entry.send_window += more;
                entry.wake();
            }
        }
        Ok(())
    }

    fn window(&self, id: u32, delta: u32) -> Result<(), Error> {
        if delta == 0 {
            return Err(Error::Protocol("a window opened by nothing"));
        }
        let delta = i64::from(delta);
        let mut state = self.shared.state.lock();
        state.obeys = true;
        if id == 0 {
            state.send_window += delta;
            if state.send_window > MAX_WINDOW {
                return Err(Error::Protocol("window out of range"));
            }
            for entry in state.streams.values_mut() {
                entry.wake();
            }
        } else if let Some(entry) = state.streams.get_mut(&id) {
            entry.send_window += delta;
            entry.wake();
            if entry.send_window > MAX_WINDOW {
                drop(state);
                self.shared.reset(id, status::FLOW_CONTROL_ERROR);
            }
        }
        Ok(())
    }
}

/// The other side ends its direction.
fn remote_end(state: &mut State, id: u32, fin: bool) {
    if let Some(entry) = state.streams.get_mut(&id).filter(|_| fin) {
        entry.remote_ended = true;
        entry.wake();
        if entry.orphaned {
            state.streams.remove(&id);
        }
    }
}
