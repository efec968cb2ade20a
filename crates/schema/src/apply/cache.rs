//! Answers that are kept, because the same is asked again and again.

use rustc_hash::FxHasher;
use std::hash::{Hash, Hasher};
use std::sync::{Mutex, PoisonError};

/// Pairs of places.
const PAIRS: usize = 1024;

/// Answers by the hashes of their questions. An answer has two places to be in; of three that want the same two, the one that
/// was asked for longest ago goes. So a cache stays small, and a question takes the same time whatever is asked: whoever
/// chooses questions with the same hash only makes each other's answers go.
pub(super) struct Cache<A>(Mutex<Vec<Pair<A>>>);

struct Pair<A> {
    first: Option<A>,
    second: Option<A>,
    /// The hash of the last question that neither answers.
    missed: u64,
}

impl<A> Cache<A> {
    pub(super) const fn new() -> Self {
        Self(Mutex::new(Vec::new()))
    }

    /// What `find` finds in the answer to a question with this hash; nothing in one that is the answer to another.
    pub(super) fn get<T>(&self, hash: u64, find: impl Fn(&A) -> Option<T>) -> Option<T> {
        let mut pairs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Pair { first, second, .. } = pairs.get_mut(place(hash))?;
        let found = first.as_ref().and_then(&find);
        if found.is_some() {
            return found;
        }
        let found = second.as_ref().and_then(&find)?;
        std::mem::swap(first, second);
        Some(found)
    }

    /// Gives an answer, which is kept if the question was asked before: of what names a pod's address, most is asked once.
    pub(super) fn put(&self, hash: u64, answer: impl FnOnce() -> A) {
        let mut pairs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if pairs.is_empty() {
            pairs.resize_with(PAIRS, || Pair { first: None, second: None, missed: 0 });
        }
        let Some(pair) = pairs.get_mut(place(hash)) else { return };
        if pair.missed != hash {
            pair.missed = hash;
            return;
        }
        let gone = std::mem::replace(&mut pair.second, pair.first.replace(answer()));
        // What goes may be large.
        drop(pairs);
        drop(gone);
    }
}

/// The pair of a hash.
const fn place(hash: u64) -> usize {
    hash as usize % PAIRS
}

/// A question's hash.
pub(super) fn hash(question: &(impl Hash + ?Sized)) -> u64 {
    let mut hasher = FxHasher::default();
    question.hash(&mut hasher);
    hasher.finish()
}
