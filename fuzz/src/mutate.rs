//! Mutations of kept inputs: the same ones in every run.

/// A small generator (xorshift64*): its seed is all that decides.
pub struct Chance(u64);

impl Chance {
    /// A generator of its own for each name.
    pub fn of(name: &str) -> Self {
        // FNV-1a.
        Self(name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `bound`; 0 for 0.
    pub fn below(&mut self, bound: usize) -> usize {
        let bound = u64::try_from(bound).unwrap_or(u64::MAX);
        usize::try_from(self.next().checked_rem(bound).unwrap_or_default()).unwrap_or_default()
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[3]
    }

    /// A range within `length`, mostly a short one.
    fn range(&mut self, length: usize) -> std::ops::Range<usize> {
        let start = self.below(length + 1);
        let longest = if self.below(4) == 0 { length } else { 16 };
        start..(start + self.below(longest + 1)).min(length)
    }
}

/// Longest input that is tried.
const LONGEST: usize = 64 * 1024;

/// An input made of kept ones by up to four changes.
pub fn mutate(inputs: &[Vec<u8>], words: &[&str], chance: &mut Chance) -> Vec<u8> {
    let pick = chance.below(inputs.len());
    let mut data = inputs.get(pick).cloned().unwrap_or_default();
    for _ in 0..=chance.below(4) {
        change(&mut data, inputs, words, chance);
        data.truncate(LONGEST);
    }
    data
}

fn change(data: &mut Vec<u8>, inputs: &[Vec<u8>], words: &[&str], chance: &mut Chance) {
    let at = chance.below(data.len() + 1);
    match chance.below(9) {
        0 => flip(data, chance),
        1 => {
            let byte = chance.byte();
            data.insert(at, byte);
        }
        2 => {
            let range = chance.range(data.len());
            data.drain(range);
        }
        3 => {
            let copy = data.get(chance.range(data.len())).unwrap_or_default().to_vec();
            data.splice(at..at, copy);
        }
        4 => {
            // Deep nesting and long runs.
            let copy = data.get(chance.range(data.len().min(24))).unwrap_or_default().to_vec();
            let times = 1 << chance.below(10);
            data.splice(at..at, copy.repeat(times));
        }
        5 if !words.is_empty() => {
            let word = words.get(chance.below(words.len())).copied().unwrap_or_default();
            let end = (at + chance.below(word.len() + 1)).min(data.len());
            data.splice(at..end, word.bytes());
        }
        6 => {
            let other = chance.below(inputs.len());
            let piece = inputs.get(other).map(|other| other.get(chance.range(other.len())).unwrap_or_default().to_vec());
            data.splice(at..at, piece.unwrap_or_default());
        }
        7 => data.truncate(at),
        _ => {
            const EDGES: [u8; 10] = [0, 1, 0x7f, 0x80, 0xff, b'"', b'{', b'[', b'-', b'9'];
            let edge = EDGES.get(chance.below(EDGES.len())).copied().unwrap_or_default();
            if let Some(byte) = data.get_mut(at) {
                *byte = edge;
            }
        }
    }
}

fn flip(data: &mut [u8], chance: &mut Chance) {
    let bit = chance.below(8);
    let at = chance.below(data.len());
    if let Some(byte) = data.get_mut(at) {
        *byte ^= 1 << bit;
    }
}
