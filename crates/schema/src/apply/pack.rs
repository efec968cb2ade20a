//! What owners say, in less room.

use super::managed::ManagedError;
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use lz4_flex::block::{compress_prepend_size_with_dict, decompress_size_prepended_with_dict, uncompressed_size};
use std::fmt::Display;

/// What owners mostly say, most of all at the end. What is stored refers to it: it must stay as it is, byte by byte.
static WORDS: &[u8] = include_bytes!("../../data/owners");

/// No text is longer.
const LONGEST: usize = 64 << 20;
/// In the length of a text: it is deflated. Otherwise it is packed with LZ4.
const DEFLATED: u32 = 1 << 31;
/// Bytes of the length.
const LENGTH: usize = size_of::<u32>();

/// Packs a text that is written once: quickly.
pub(super) fn pack(text: &str) -> Vec<u8> {
    compress_prepend_size_with_dict(text.as_bytes(), WORDS)
}

/// Packs a text that is written many times: into less room, in more time.
pub(super) fn pack_well(text: &str) -> Vec<u8> {
    deflate(text).unwrap_or_else(|| pack(text))
}

/// `None` if it is too long.
fn deflate(text: &str) -> Option<Vec<u8>> {
    let length = u32::try_from(text.len()).ok().filter(|_| text.len() <= LONGEST)?;
    // Whatever does not get shorter gets longer by a few bytes in a thousand.
    let mut packed = Vec::with_capacity(LENGTH + text.len() + text.len() / 64 + 64);
    packed.extend_from_slice(&(length | DEFLATED).to_le_bytes());
    let mut deflate = Compress::new(Compression::best(), false);
    deflate.set_dictionary(WORDS).ok()?;
    let status = deflate.compress_vec(text.as_bytes(), &mut packed, FlushCompress::Finish).ok()?;
    (status == Status::StreamEnd).then_some(packed)
}

/// The text.
///
/// # Errors
///
/// What is wrong with what is packed.
pub(super) fn unpack(packed: &[u8]) -> Result<String, ManagedError> {
    let damaged = |error: &dyn Display| ManagedError::new(format_args!("stored owners are damaged: {error}"));
    let text = match packed.split_first_chunk::<LENGTH>() {
        Some((length, rest)) if u32::from_le_bytes(*length) & DEFLATED != 0 => {
            let length = checked_length((u32::from_le_bytes(*length) & !DEFLATED) as usize)?;
            inflate(rest, length).ok_or_else(|| damaged(&"their text cannot be unpacked"))?
        }
        _ => {
            let (length, _) = uncompressed_size(packed).map_err(|error| damaged(&error))?;
            checked_length(length)?;
            decompress_size_prepended_with_dict(packed, WORDS).map_err(|error| damaged(&error))?
        }
    };
    String::from_utf8(text).map_err(|error| damaged(&error))
}

fn checked_length(length: usize) -> Result<usize, ManagedError> {
    if length > LONGEST {
        return Err(ManagedError::new(format_args!("stored owners are damaged: {length} bytes are too many")));
    }
    Ok(length)
}

/// `None` if it is no text of this length.
fn inflate(packed: &[u8], length: usize) -> Option<Vec<u8>> {
    // As much as deflate can make of it at most.
    const MOST: usize = 1032;
    let length = Some(length).filter(|length| length / MOST <= packed.len())?;
    // One more byte, or the end would not be seen.
    let mut text = Vec::with_capacity(length + 1);
    let mut inflate = Decompress::new(false);
    inflate.set_dictionary(WORDS).ok()?;
    let status = inflate.decompress_vec(packed, &mut text, FlushDecompress::Finish).ok()?;
    let is_all = usize::try_from(inflate.total_in()).is_ok_and(|read| read == packed.len());
    (status == Status::StreamEnd && is_all && text.len() == length).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_is_unpacked() {
        let noise: String = (0..4000_u32).map(|n| char::from(b' ' + (n.wrapping_mul(2_654_435_761) >> 25) as u8 % 90)).collect();
        for text in ["", "{}", &noise, &noise.repeat(20), r#"{"f:metadata":{"f:labels":{}}}"#] {
            assert_eq!(unpack(&pack(text)).unwrap(), text);
            let packed = deflate(text).unwrap();
            assert_eq!(unpack(&packed).unwrap(), text);
            for end in 0..packed.len().min(400) {
                assert!(unpack(&packed[..end]).is_err(), "{end}");
            }
            let mut longer = packed.clone();
            longer.push(0);
            assert!(unpack(&longer).is_err());
            for length in [text.len() as u32 + 1, (LONGEST + 1) as u32, LONGEST as u32, u32::MAX >> 1] {
                let mut damaged = packed.clone();
                damaged[..LENGTH].copy_from_slice(&(length | DEFLATED).to_le_bytes());
                assert!(unpack(&damaged).is_err(), "{length}");
            }
        }
    }

    /// What was stored by the first versions that pack owners in these ways: whoever changes the words, or how they are used, loses them.
    #[test]
    fn the_words_stay_as_they_are() {
        let text = r#"{"manager":"kubectl-label","operation":"Update","apiVersion":"v1","fieldsType":"FieldsV1","fieldsV1":{"f:metadata":{"f:labels":{".":{},"f:seen":{}}}}}"#;
        for (stored, pack) in [
            ("960000000f9615010163140ff30a4b01630000850006bd02c07365656e223a7b7d7d7d7d7d", pack as fn(&str) -> Vec<u8>),
            ("96000080c3d6fc051734b42ddfb09465c5a9a979b0580400", pack_well),
        ] {
            let packed: Vec<u8> = (0..stored.len()).step_by(2).map(|at| u8::from_str_radix(&stored[at..at + 2], 16).unwrap()).collect();
            assert_eq!(unpack(&packed).unwrap(), text);
            assert_eq!(unpack(&pack(text)).unwrap(), text);
        }
        assert!(pack_well(text).len() * 3 < pack(text).len() * 2);
    }
}
