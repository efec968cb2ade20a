//! What is shared under one lock, and the queue of what is to be sent.

use std::collections::{HashMap, VecDeque};
use std::task::Waker;

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};
use tokio_util::sync::CancellationToken;

use super::Error;
use crate::config::{Config, DEFAULT_WINDOW, FlowControl, Role};
use crate::frame::Setting;
use crate::headers::Headers;

/// Frames that may wait to be sent without data: a side that makes this one answer and does not read the answers is up to no
/// good.
const MAX_ANSWERS: usize = 10_000;

/// Something to be sent.
pub(super) enum Out {
    SynStream { id: u32, headers: Headers },
    SynReply { id: u32 },
    Reset { id: u32, status: u32 },
    Settings(Vec<Setting>),
    Ping(u32),
    GoAway { last: u32, status: u32 },
    WindowUpdate { id: u32, delta: u32 },
    Data { id: u32, fin: bool, data: Bytes },
}

/// One stream.
pub(super) struct Entry {
    /// What has come and was not read yet.
    pub(super) received: BytesMut,
    /// How much the other side may still send, and how much was read since it was told so.
    pub(super) recv_window: i64,
    pub(super) consumed: u32,
    /// How much may still be sent.
    pub(super) send_window: i64,
    pub(super) remote_ended: bool,
    pub(super) local_ended: bool,
    /// It was broken off, by whichever side.
    pub(super) reset: Option<u32>,
    /// Nobody reads any more.
    pub(super) unread: bool,
    /// Nobody holds it any more, and only the other side's end is awaited.
    pub(super) orphaned: bool,
    /// Who waits for the other side to accept it.
    pub(super) answer: Option<oneshot::Sender<Result<(), u32>>>,
    pub(super) reading: Option<Waker>,
    pub(super) writing: Option<Waker>,
}

impl Entry {
    pub(super) fn new(send_window: i64, recv_window: u32) -> Self {
        Self {
            received: BytesMut::new(),
            recv_window: i64::from(recv_window),
            consumed: 0,
            send_window,
            remote_ended: false,
            local_ended: false,
            reset: None,
            unread: false,
            orphaned: false,
            answer: None,
            reading: None,
            writing: None,
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.reset.is_some() || (self.remote_ended && self.local_ended)
    }

    pub(super) fn wake(&mut self) {
        for waker in [self.reading.take(), self.writing.take()].into_iter().flatten() {
            waker.wake();
        }
    }
}

/// What the lock is for.
pub(super) struct State {
    pub(super) streams: HashMap<u32, Entry>,
    pub(super) next_id: u32,
    /// The highest number that the other side has given.
    pub(super) last_seen: u32,
    /// The window of new streams at the other side.
    pub(super) peer_window: i64,
    pub(super) send_window: i64,
    pub(super) recv_window: i64,
    pub(super) consumed: u32,
    /// The other side's windows count.
    pub(super) obeys: bool,
    pub(super) announced: bool,
    pub(super) out: VecDeque<Out>,
    /// Bytes of data in the queue.
    pub(super) queued: usize,
    /// Somebody waits for room in the queue.
    pub(super) starved: bool,
    /// Bytes that wait to be read in all streams.
    pub(super) buffered: usize,
    pub(super) going_away: bool,
    pub(super) dead: Option<Error>,
    next_ping: u32,
    pub(super) pings: HashMap<u32, oneshot::Sender<()>>,
}

/// What tasks and handles share.
pub(super) struct Shared {
    pub(super) role: Role,
    pub(super) config: Config,
    pub(super) state: Mutex<State>,
    /// There is something to send.
    pub(super) to_send: Notify,
    /// Something was read from a stream, or a stream is gone.
    pub(super) drained: Notify,
    /// Nothing but what is queued is to be sent any more.
    pub(super) finishing: CancellationToken,
    /// It is over.
    pub(super) ended: CancellationToken,
}

impl Shared {
    pub(super) fn new(role: Role, config: Config) -> Self {
        let config = Config { stream_window: config.stream_window.max(DEFAULT_WINDOW), ..config };
        let state = State {
            streams: HashMap::new(),
            next_id: role.first(),
            last_seen: 0,
            peer_window: i64::from(DEFAULT_WINDOW),
            send_window: i64::from(DEFAULT_WINDOW),
            recv_window: i64::from(DEFAULT_WINDOW),
            consumed: 0,
            obeys: config.flow_control == FlowControl::Strict,
            announced: false,
            out: VecDeque::new(),
            queued: 0,
            starved: false,
            buffered: 0,
            going_away: false,
            dead: None,
            next_ping: role.first(),
            pings: HashMap::new(),
        };
        Self {
            role,
            config,
            state: Mutex::new(state),
            to_send: Notify::new(),
            drained: Notify::new(),
            finishing: CancellationToken::new(),
            ended: CancellationToken::new(),
        }
    }

    pub(super) fn wake_writer(&self) {
        self.to_send.notify_one();
    }

    /// Why it is over.
    pub(super) fn error(&self) -> Error {
        self.state.lock().dead.clone().unwrap_or(Error::Ended)
    }

    /// Ends the connection for a reason, unless it has ended for another before.
    pub(super) fn end(&self, error: Error) {
        let mut state = self.state.lock();
        if state.dead.is_none() {
            state.dead = Some(error);
        }
        for entry in state.streams.values_mut() {
            entry.answer = None;
            entry.wake();
        }
        state.pings.clear();
        drop(state);
        self.ended.cancel();
        self.drained.notify_one();
    }

    /// Breaks a stream off and says so.
    pub(super) fn reset(&self, id: u32, status: u32) {
        let mut state = self.state.lock();
        if let Some(entry) = state.streams.get_mut(&id).filter(|entry| !entry.is_over()) {
            entry.reset = Some(status);
            entry.wake();
            state.discard(id);
            state.out.push_back(Out::Reset { id, status });
        }
        drop(state);
        self.wake_writer();
        self.drained.notify_one();
    }

    /// Returns room that was taken from windows.
    pub(super) fn give_back(&self, state: &mut State, id: u32, count: usize) {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        state.consumed = state.consumed.saturating_add(count);
        let mut told = false;
        if state.consumed >= self.config.connection_window.max(DEFAULT_WINDOW) / 4
            || (!state.announced && state.consumed >= DEFAULT_WINDOW / 2)
        {
            let delta = std::mem::take(&mut state.consumed);
            state.recv_window += i64::from(delta);
            state.out.push_back(Out::WindowUpdate { id: 0, delta });
            told = true;
        }
        // Before it has heard of our windows, the other side goes by the default.
        let window = if state.announced { self.config.stream_window } else { DEFAULT_WINDOW };
        if let Some(entry) = state.streams.get_mut(&id).filter(|entry| !entry.remote_ended && entry.reset.is_none()) {
            entry.consumed = entry.consumed.saturating_add(count);
            if entry.consumed >= window / 2 {
                let delta = std::mem::take(&mut entry.consumed);
                entry.recv_window += i64::from(delta);
                state.out.push_back(Out::WindowUpdate { id, delta });
                told = true;
            }
        }
        if told {
            self.wake_writer();
        }
        self.drained.notify_one();
    }
}

impl State {
    /// Whether answers pile up.
    pub(super) fn is_flooded(&self) -> bool {
        self.out.len() > MAX_ANSWERS
    }

    /// Whether no more should be read for a stream before somebody takes what there is.
    pub(super) fn is_full(&self, id: u32, config: &Config) -> bool {
        let limit = |window: u32| usize::try_from(window).unwrap_or(usize::MAX);
        let one = self.streams.get(&id).is_some_and(|entry| entry.reset.is_none() && entry.received.len() > limit(config.stream_window));
        one || self.buffered > limit(config.connection_window)
    }

    /// The room for data in the queue. Many small pieces are as bad as few large ones.
    pub(super) fn room(&self, config: &Config) -> usize {
        if self.out.len() < MAX_ANSWERS / 2 { config.max_queued.saturating_sub(self.queued) } else { 0 }
    }

    /// Throws away what waits in a stream. Its room in the connection's window comes back.
    pub(super) fn discard(&mut self, id: u32) {
        let Some(entry) = self.streams.get_mut(&id) else { return };
        let count = std::mem::take(&mut entry.received).len();
        self.buffered -= count;
        self.consumed = self.consumed.saturating_add(u32::try_from(count).unwrap_or(u32::MAX));
    }

    pub(super) fn ping(&mut self, waiting: Option<oneshot::Sender<()>>) {
        let id = self.next_ping;
        self.next_ping = self.next_ping.wrapping_add(2);
        if let Some(waiting) = waiting.filter(|_| self.dead.is_none()) {
            self.pings.insert(id, waiting);
        }
        self.out.push_back(Out::Ping(id));
    }

    pub(super) fn go_away(&mut self, status: u32) {
        if !self.going_away || status != 0 {
            self.going_away = true;
            self.out.push_back(Out::GoAway { last: self.last_seen, status });
        }
    }
}
