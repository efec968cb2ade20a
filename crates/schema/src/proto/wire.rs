//! Protobuf's wire format: varints, tags, lengths.
//!
//! <https://protobuf.dev/programming-guides/encoding/>

use crate::json::DecodeError;

type Result<T> = std::result::Result<T, DecodeError>;

pub(super) const VARINT: u8 = 0;
pub(super) const FIXED64: u8 = 1;
pub(super) const BYTES: u8 = 2;

pub(super) fn put_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(super) fn put_tag(tag: u32, wire: u8, out: &mut Vec<u8>) {
    put_varint(u64::from(tag) << 3 | u64::from(wire), out);
}

pub(super) fn put_number(tag: u32, value: u64, out: &mut Vec<u8>) {
    put_tag(tag, VARINT, out);
    put_varint(value, out);
}

pub(super) fn put_bytes(tag: u32, bytes: &[u8], out: &mut Vec<u8>) {
    put_tag(tag, BYTES, out);
    put_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

/// Writes a message whose length is not known before it is written.
pub(super) fn put_message(tag: u32, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    put_tag(tag, BYTES, out);
    // Most messages are short: one byte for the length, and room is made for more where it is needed.
    let start = out.len();
    out.push(0);
    write(out);
    let len = out.len() - start - 1;
    if let (Ok(byte @ 0..0x80), Some(place)) = (u8::try_from(len), out.get_mut(start)) {
        *place = byte;
    } else {
        let mut prefix = Vec::with_capacity(5);
        put_varint(len as u64, &mut prefix);
        out.splice(start..=start, prefix);
    }
}

/// A field of a message as it is on the wire.
pub(super) enum Item<'a> {
    Number(u64),
    Fixed64(u64),
    Bytes(&'a [u8]),
    /// A 32-bit number, which no type of the table has.
    Other,
}

/// Reads the fields of a message.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

#[cold]
fn broken(text: &str) -> DecodeError {
    DecodeError::Proto(text.to_owned())
}

#[cold]
fn truncated() -> DecodeError {
    broken("unexpected EOF")
}

impl<'a> Fields<'a> {
    fn varint(&mut self) -> Result<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first().ok_or_else(truncated)?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(broken("proto: integer overflow"))
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or_else(truncated)?;
        self.0 = rest;
        Ok(taken)
    }

    /// The next field's tag and content; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<(u32, Item<'a>)>> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let key = self.varint()?;
        let tag = u32::try_from(key >> 3).ok().filter(|tag| *tag != 0).ok_or_else(|| broken("proto: illegal tag"))?;
        let item = match (key & 7) as u8 {
            VARINT => Item::Number(self.varint()?),
            FIXED64 => {
                let bytes = self.take(8)?;
                Item::Fixed64(u64::from_le_bytes(bytes.try_into().map_err(|_| truncated())?))
            }
            BYTES => {
                let len = usize::try_from(self.varint()?).map_err(|_| truncated())?;
                Item::Bytes(self.take(len)?)
            }
            5 => {
                self.take(4)?;
                Item::Other
            }
            wire => return Err(broken(&format!("proto: illegal wireType {wire}"))),
        };
        Ok(Some((tag, item)))
    }

    /// The next number of a packed list.
    pub(super) fn packed(&mut self) -> Result<Option<u64>> {
        if self.0.is_empty() { Ok(None) } else { self.varint().map(Some) }
    }
}
