//! Steps of a transaction, as far as they can be prepared before it is their turn: by whoever asks, so that the thread that writes only
//! writes.

use bytes::Bytes;

use super::record::{self, Millis};
use crate::{Expect, Key, Note, Op, Write};

pub(super) struct Step {
    pub(super) key: Key,
    pub(super) expect: Expect,
    pub(super) action: Action,
}

pub(super) enum Action {
    Check,
    Delete,
    Put(Put),
}

/// A value, and its record for the log.
pub(super) struct Put {
    pub(super) value: Bytes,
    pub(super) until: Option<Millis>,
    pub(super) note: Option<Note>,
    pub(super) record: Bytes,
}

impl From<Op> for Step {
    fn from(Op { key, expect, write }: Op) -> Step {
        let action = match write {
            Write::Check => Action::Check,
            Write::Delete => Action::Delete,
            Write::Put { value, ttl, note } => {
                let until = ttl.map(|ttl| Millis::now().after(ttl));
                let record = record::encode_put(&key, &value, until);
                Action::Put(Put { value, until, note, record })
            }
        };
        Step { key, expect, action }
    }
}
