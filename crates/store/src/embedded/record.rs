//! The bytes of a record: one write in the log, found under its revision.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;

use super::pack::{packed, unpack};
use crate::{Key, LoadError, Revision};

const PUT: u8 = 1;
const PUT_UNTIL: u8 = 2;
const DELETE: u8 = 3;
/// With a put: its value is packed.
const PACKED: u8 = 0x80;
/// With a packed value: bytes follow that are as they were.
const ASIDE: u8 = 0x40;

/// A point in time, in milliseconds since 1970. Expiry is kept in wall clock time: it goes on while the process is down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Millis(pub(super) u64);

impl Millis {
    pub(super) fn now() -> Millis {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    pub(super) fn after(self, duration: Duration) -> Millis {
        Millis(self.0.saturating_add(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)))
    }
}

/// One write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) key: Key,
    pub(super) write: Written,
}

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Written {
    Put { value: Bytes, until: Option<Millis> },
    Delete,
}

/// The key of a record in the log: ordered as the revisions are.
pub(super) fn log_key(revision: Revision) -> [u8; 8] {
    revision.get().to_be_bytes()
}

/// The revision of a record's key.
pub(super) fn log_revision(key: &[u8]) -> Option<Revision> {
    Some(Revision(u64::from_be_bytes(key.try_into().ok()?)))
}

/// `tag, key length (2 bytes), key, [expiry (8 bytes)], [length of the packed value (4 bytes), [length of what is aside (4 bytes)]],
/// value, [aside]`; integers are little-endian. The engine below has checksums.
pub(super) fn encode_put(key: &str, value: &[u8], aside: &[u8], until: Option<Millis>) -> Bytes {
    packed(value, |packed| {
        let (mut tag, mut lengths, mut value) = (if until.is_some() { PUT_UNTIL } else { PUT }, [None; 2], value);
        if let (Some(packed), Ok(length), Ok(rest)) = (packed, u32::try_from(value.len()), u32::try_from(aside.len())) {
            (tag, value) = (tag | PACKED, packed);
            lengths[0] = Some(length);
            if !aside.is_empty() {
                (tag, lengths[1]) = (tag | ASIDE, Some(rest));
            }
        }
        let room = 1 + size_of::<u16>() + key.len() + size_of::<Millis>() + 2 * size_of::<u32>() + value.len() + aside.len();
        let mut out = Vec::with_capacity(room);
        out.push(tag);
        push_key(&mut out, key);
        if let Some(Millis(until)) = until {
            out.extend_from_slice(&until.to_le_bytes());
        }
        for length in lengths.into_iter().flatten() {
            out.extend_from_slice(&length.to_le_bytes());
        }
        out.extend_from_slice(value);
        out.extend_from_slice(aside);
        out.into()
    })
}

/// `tag, key length, key`.
pub(super) fn encode_delete(key: &str) -> Bytes {
    let mut out = Vec::with_capacity(3 + key.len());
    out.push(DELETE);
    push_key(&mut out, key);
    out.into()
}

fn push_key(out: &mut Vec<u8>, key: &str) {
    // The length was checked when the transaction was accepted.
    let length = u16::try_from(key.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(key.as_bytes());
}

/// Reads a record.
pub(super) fn decode(revision: Revision, bytes: &[u8]) -> Result<Record, LoadError> {
    let damaged = |reason| LoadError::Damaged { revision, reason };
    let (tag, rest) = bytes.split_first().ok_or(damaged("empty"))?;
    let (length, rest) = rest.split_first_chunk::<2>().ok_or(damaged("no key"))?;
    let (key, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes(*length))).ok_or(damaged("the key is cut short"))?;
    let key: Key = std::str::from_utf8(key).map_err(|_| damaged("the key is not UTF-8"))?.into();
    let (is_packed, has_aside) = (tag & PACKED != 0, tag & ASIDE != 0);
    let value = |rest: &[u8]| {
        if !is_packed {
            return if has_aside { Err(damaged("something is aside of what is not packed")) } else { Ok(Bytes::copy_from_slice(rest)) };
        }
        let (length, packed) = rest.split_first_chunk().ok_or(damaged("no length"))?;
        let (packed, end) = match has_aside {
            true => {
                let (end, rest) = packed.split_first_chunk().ok_or(damaged("no length"))?;
                let end = usize::try_from(u32::from_le_bytes(*end)).ok().and_then(|end| rest.len().checked_sub(end));
                rest.split_at(end.ok_or(damaged("the value is cut short"))?)
            }
            false => (packed, [].as_slice()),
        };
        unpack(packed, u32::from_le_bytes(*length), end).ok_or(damaged("the value cannot be unpacked"))
    };
    let write = match tag & !(PACKED | ASIDE) {
        PUT => Written::Put { value: value(rest)?, until: None },
        PUT_UNTIL => {
            let (until, rest) = rest.split_first_chunk::<8>().ok_or(damaged("no expiry"))?;
            Written::Put { value: value(rest)?, until: Some(Millis(u64::from_le_bytes(*until))) }
        }
        DELETE if !is_packed && !has_aside => Written::Delete,
        _ => return Err(damaged("unknown kind of record")),
    };
    Ok(Record { key, write })
}
