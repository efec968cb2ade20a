//! The work queue of a controller.
//!
//! A key is in work at most once at a time; added while it is queued it stays queued once, added
//! while it is in work it is queued again afterwards. There is no minimum interval: what is added
//! is ready at once, unless the caller asks for a delay.

mod metrics;

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap, HashSet, VecDeque},
    hash::Hash,
    ops::Deref,
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{sync::Notify, time::Instant};

use metrics::Counts;
pub use metrics::metrics;

const FIRST_RETRY: Duration = Duration::from_millis(5);
const LAST_RETRY: Duration = Duration::from_secs(1000);

/// A queue of keys, shared by those who add and those who work; cheap to clone.
pub struct WorkQueue<T> {
    shared: Arc<Shared<T>>,
}

impl<T> Clone for WorkQueue<T> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

struct Shared<T> {
    state: Mutex<State<T>>,
    /// A permit stands for "look again". Whoever takes work and leaves some behind passes it on.
    wake: Notify,
}

struct State<T> {
    /// Each since when it is ready.
    ready: VecDeque<(T, Instant)>,
    /// What is ready, and what must become ready when it is done.
    dirty: HashSet<T>,
    working: HashSet<T>,
    /// Delayed keys by due time; an entry counts only if it agrees with `due`.
    delayed: BinaryHeap<Reverse<(Instant, T)>>,
    due: HashMap<T, Instant>,
    failures: HashMap<T, u32>,
    closed: bool,
    counts: Arc<Mutex<Counts>>,
}

/// A key in work. Dropping it says that the work is done.
pub struct InWork<T: Clone + Eq + Hash + Ord> {
    key: T,
    /// The number of the work.
    number: u64,
    shared: Arc<Shared<T>>,
}

impl<T: Clone + Eq + Hash + Ord> WorkQueue<T> {
    /// An empty queue that [`metrics`] tells of. Queues of one name count together.
    pub fn new(name: &'static str) -> Self {
        Self {
            shared: Arc::new(Shared {
                state: Mutex::new(State {
                    ready: VecDeque::new(),
                    dirty: HashSet::new(),
                    working: HashSet::new(),
                    delayed: BinaryHeap::new(),
                    due: HashMap::new(),
                    failures: HashMap::new(),
                    closed: false,
                    counts: Counts::of(name),
                }),
                wake: Notify::new(),
            }),
        }
    }

    /// Queues a key.
    pub fn add(&self, key: T) {
        self.shared.state.lock().add(key);
        self.shared.wake.notify_one();
    }

    /// Queues a key after a delay; of several delays the shortest counts.
    pub fn add_after(&self, key: T, delay: Duration) {
        if delay.is_zero() {
            return self.add(key);
        }
        let at = Instant::now() + delay;
        let mut state = self.shared.state.lock();
        if state.closed || state.due.get(&key).is_some_and(|due| *due <= at) {
            return;
        }
        state.due.insert(key.clone(), at);
        state.delayed.push(Reverse((at, key)));
        drop(state);
        self.shared.wake.notify_one();
    }

    /// Queues a key after a failure: 5 ms, doubled with every failure since [`WorkQueue::forget`],
    /// at most 1000 s.
    pub fn add_rate_limited(&self, key: T) {
        let delay = {
            let mut state = self.shared.state.lock();
            let failures = state.failures.entry(key.clone()).or_insert(0);
            let delay = backoff(*failures);
            *failures = failures.saturating_add(1);
            state.counts.lock().retried();
            delay
        };
        self.add_after(key, delay);
    }

    /// Forgets the failures of a key.
    pub fn forget(&self, key: &T) {
        self.shared.state.lock().failures.remove(key);
    }

    /// How often a key failed since it was last forgotten.
    pub fn failures(&self, key: &T) -> u32 {
        self.shared.state.lock().failures.get(key).copied().unwrap_or(0)
    }

    /// How many keys are ready.
    pub fn len(&self) -> usize {
        self.shared.state.lock().ready.len()
    }

    /// Whether no key is ready.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes no more keys. What is ready is still worked off, what is delayed is dropped.
    pub fn close(&self) {
        let mut state = self.shared.state.lock();
        state.closed = true;
        state.delayed.clear();
        state.due.clear();
        drop(state);
        self.shared.wake.notify_waiters();
        self.shared.wake.notify_one();
    }

    /// The next key to work on, or nothing when the queue is closed and worked off.
    pub async fn next(&self) -> Option<InWork<T>> {
        loop {
            let next_due = {
                let mut state = self.shared.state.lock();
                state.promote(Instant::now());
                if let Some((key, number)) = state.take() {
                    if !state.ready.is_empty() || !state.due.is_empty() || state.closed {
                        self.shared.wake.notify_one();
                    }
                    return Some(InWork { key, number, shared: Arc::clone(&self.shared) });
                }
                if state.closed {
                    // A key in work may have been added again: its worker comes back for it.
                    self.shared.wake.notify_one();
                    return None;
                }
                state.delayed.peek().map(|Reverse((at, _))| *at)
            };
            let woken = self.shared.wake.notified();
            match next_due {
                // The timer of a delay that the caller asked for.
                Some(at) => tokio::select! {
                    () = woken => {}
                    () = tokio::time::sleep_until(at) => {}
                },
                None => woken.await,
            }
        }
    }
}

fn backoff(failures: u32) -> Duration {
    FIRST_RETRY.saturating_mul(1_u32.checked_shl(failures.min(31)).unwrap_or(u32::MAX)).min(LAST_RETRY)
}

impl<T: Clone + Eq + Hash + Ord> State<T> {
    fn add(&mut self, key: T) {
        if self.closed || !self.dirty.insert(key.clone()) {
            return;
        }
        self.counts.lock().added();
        if !self.working.contains(&key) {
            self.make_ready(key);
        }
    }

    fn make_ready(&mut self, key: T) {
        self.counts.lock().waits();
        self.ready.push_back((key, Instant::now()));
    }

    fn promote(&mut self, now: Instant) {
        while let Some(Reverse((at, _))) = self.delayed.peek() {
            if *at > now {
                return;
            }
            if let Some(Reverse((at, key))) = self.delayed.pop()
                && self.due.get(&key) == Some(&at)
            {
                self.due.remove(&key);
                self.add(key);
            }
        }
    }

    fn take(&mut self) -> Option<(T, u64)> {
        let (key, since) = self.ready.pop_front()?;
        self.dirty.remove(&key);
        self.working.insert(key.clone());
        let number = self.counts.lock().begins(since);
        Some((key, number))
    }
}

/// What is still ready when nobody can take it any more does not wait.
impl<T> Drop for State<T> {
    fn drop(&mut self) {
        self.counts.lock().dropped(self.ready.len());
    }
}

impl<T: Clone + Eq + Hash + Ord> Deref for InWork<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.key
    }
}

impl<T: Clone + Eq + Hash + Ord> Drop for InWork<T> {
    fn drop(&mut self) {
        let mut state = self.shared.state.lock();
        state.working.remove(&self.key);
        state.counts.lock().ends(self.number);
        if state.dirty.contains(&self.key) {
            state.make_ready(self.key.clone());
            drop(state);
            self.shared.wake.notify_one();
        }
    }
}

#[cfg(test)]
mod tests;
