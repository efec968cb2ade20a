//! Steps of a transaction, as far as they can be checked and prepared before it is their turn: by whoever asks, so that the thread that
//! writes only writes.

use std::collections::HashSet;

use bytes::Bytes;

use super::record::{self, Millis};
use crate::{CommitError, Expect, Key, Note, Op, Txn, Write};

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
    /// Of the value and what is stored aside of it.
    pub(super) length: usize,
    pub(super) until: Option<Millis>,
    pub(super) note: Option<Note>,
    pub(super) record: Bytes,
}

impl From<Op> for Step {
    fn from(Op { key, expect, write }: Op) -> Step {
        let action = match write {
            Write::Check => Action::Check,
            Write::Delete => Action::Delete,
            Write::Put { value, aside, ttl, note } => {
                let until = ttl.map(|ttl| Millis::now().after(ttl));
                let record = record::encode_put(&key, &value, &aside, until);
                let length = value.len() + aside.len();
                Action::Put(Put { value, length, until, note, record })
            }
        };
        Step { key, expect, action }
    }
}

/// Checks what does not depend on the state.
pub(super) fn check_shape(txn: &Txn, max_bytes: usize) -> Result<(), CommitError> {
    /// As long as a name, a namespace, a group and a plural can be.
    const MAX_KEY: usize = 1024;
    const MAX_OPS: usize = 256;
    if txn.ops.len() > MAX_OPS {
        return Err(CommitError::TooManyOps { ops: txn.ops.len(), limit: MAX_OPS });
    }
    let mut size = 0;
    let mut keys = HashSet::with_capacity(txn.ops.len());
    for Op { key, write, .. } in &txn.ops {
        if key.is_empty() || key.len() > MAX_KEY {
            return Err(CommitError::KeyLength { length: key.len(), limit: MAX_KEY });
        }
        if !keys.insert(key) {
            return Err(CommitError::DuplicateKey { key: key.clone() });
        }
        if let Write::Put { value, aside, .. } = write {
            size += value.len() + aside.len();
        }
    }
    if size > max_bytes { Err(CommitError::TooLarge { size, limit: max_bytes }) } else { Ok(()) }
}
