//! Values are packed in the log: what is not written need not be synced, nor written again when the log is sorted into tables. Whoever
//! writes does it, who has just made the value.

use std::borrow::Cow;
use std::cell::RefCell;

use bytes::Bytes;
use lz4_flex::block::{CompressTable, compress, compress_into_with_table, decompress_into, get_maximum_output_size};

/// Shorter values stay as they are: there is little to gain.
const SHORTEST: usize = 256;
/// Up to this length values are packed where the ones before were.
const USUAL: usize = 32 << 10;
/// Longer values stay as they are: what claims to be one that was packed is damaged.
const LONGEST: usize = 64 << 20;

/// Gives `with` a value in less room (LZ4); nothing if it would gain less than an eighth.
pub(super) fn packed<T>(value: &[u8], with: impl FnOnce(Option<&[u8]>) -> T) -> T {
    thread_local!(static PACKER: RefCell<Packer> = RefCell::default());
    PACKER.with_borrow_mut(|packer| with(packer.pack(value).as_deref()))
}

#[derive(Default)]
struct Packer {
    table: CompressTable,
    packed: Vec<u8>,
}

impl Packer {
    fn pack(&mut self, value: &[u8]) -> Option<Cow<'_, [u8]>> {
        let packed = match value.len() {
            ..SHORTEST => return None,
            SHORTEST..=USUAL => {
                self.packed.resize(get_maximum_output_size(USUAL), 0);
                let length = compress_into_with_table(value, &mut self.packed, &mut self.table).ok()?;
                Cow::Borrowed(self.packed.get(..length)?)
            }
            _ if value.len() <= LONGEST => Cow::Owned(compress(value)),
            _ => return None,
        };
        Some(packed).filter(|packed| packed.len() <= value.len() - value.len() / 8)
    }
}

/// The value of this length again, with what follows it; `None` if it is damaged.
pub(super) fn unpack(packed: &[u8], length: u32, end: &[u8]) -> Option<Bytes> {
    let length = usize::try_from(length).ok().filter(|length| *length <= LONGEST)?;
    let mut value = vec![0; length + end.len()];
    let (front, back) = value.split_at_mut(length);
    back.copy_from_slice(end);
    let found = decompress_into(packed, front).ok()?;
    (found == length).then(|| value.into())
}
