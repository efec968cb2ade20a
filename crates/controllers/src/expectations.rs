//! What a controller has asked for and its informer has not shown yet.
//!
//! A controller that creates three pods and looks again before its informer has seen them would
//! create three more. It therefore notes what it expects before it acts, and does not act again
//! on the same object until that was observed, or until so much time has passed that something
//! must have been missed.

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use corten_client::ObjectKey;
use parking_lot::Mutex;

/// After this long an expectation no longer holds anybody back.
const PATIENCE: Duration = Duration::from_secs(300);

/// Expectations by the object that acts.
#[derive(Default)]
pub(crate) struct Expectations {
    pending: Mutex<HashMap<ObjectKey, Pending>>,
}

struct Pending {
    creations: usize,
    /// By uid.
    deletions: HashSet<String>,
    since: Instant,
}

impl Expectations {
    /// Notes that this many creations will be seen.
    pub(crate) fn expect_creations(&self, actor: &ObjectKey, count: usize) {
        self.pending.lock().insert(actor.clone(), Pending { creations: count, deletions: HashSet::new(), since: Instant::now() });
    }

    /// Notes that the objects with these uids will be seen deleted.
    pub(crate) fn expect_deletions(&self, actor: &ObjectKey, uids: impl IntoIterator<Item = String>) {
        self.pending.lock().insert(actor.clone(), Pending { creations: 0, deletions: uids.into_iter().collect(), since: Instant::now() });
    }

    /// A creation was seen, or will not happen.
    pub(crate) fn creation_observed(&self, actor: &ObjectKey) {
        if let Some(pending) = self.pending.lock().get_mut(actor) {
            pending.creations = pending.creations.saturating_sub(1);
        }
    }

    /// A deletion was seen, or will not happen.
    pub(crate) fn deletion_observed(&self, actor: &ObjectKey, uid: &str) {
        if let Some(pending) = self.pending.lock().get_mut(actor) {
            pending.deletions.remove(uid);
        }
    }

    /// Whether the actor has seen everything that it did.
    pub(crate) fn satisfied(&self, actor: &ObjectKey) -> bool {
        self.pending
            .lock()
            .get(actor)
            .is_none_or(|pending| (pending.creations == 0 && pending.deletions.is_empty()) || pending.since.elapsed() > PATIENCE)
    }

    /// Forgets an actor that is gone.
    pub(crate) fn forget(&self, actor: &ObjectKey) {
        self.pending.lock().remove(actor);
    }
}

#[cfg(test)]
mod tests {
    use super::Expectations;
    use corten_client::ObjectKey;

    #[test]
    fn an_actor_waits_for_what_it_did() {
        let expectations = Expectations::default();
        let actor = ObjectKey::new("n", "a");
        assert!(expectations.satisfied(&actor));
        expectations.expect_creations(&actor, 2);
        assert!(!expectations.satisfied(&actor));
        expectations.creation_observed(&actor);
        expectations.creation_observed(&actor);
        assert!(expectations.satisfied(&actor));
        expectations.creation_observed(&actor);
        assert!(expectations.satisfied(&actor), "one too many does not hurt");
        expectations.expect_deletions(&actor, ["x".to_owned()]);
        expectations.deletion_observed(&actor, "y");
        assert!(!expectations.satisfied(&actor));
        expectations.deletion_observed(&actor, "x");
        assert!(expectations.satisfied(&actor));
    }
}
