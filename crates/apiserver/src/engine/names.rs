//! Names: which are valid, and how they are made up.

use ring::rand::{SecureRandom, SystemRandom};

use crate::{
    strategies::validation::{
        names::{self, Findings},
        net,
    },
    strategy::NameRule,
};

/// The most bytes of a name before the random part.
const GENERATED_BASE: usize = 58;

/// The characters of random parts: no vowels, nothing that looks like another.
const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// What is wrong with a name; nothing if it is valid.
pub(super) fn violations(rule: NameRule, name: &str) -> Findings {
    match rule {
        NameRule::Subdomain => names::subdomain(name),
        NameRule::Label => names::label(name),
        NameRule::Label1035 => names::label_1035(name),
        NameRule::PathSegment => names::path_segment(name),
        NameRule::Address => net::strict_address(name),
    }
}

/// A name made of `base` and five random characters.
pub(crate) fn generate(base: &str) -> String {
    let mut end = base.len().min(GENERATED_BASE);
    while !base.is_char_boundary(end) {
        end -= 1;
    }
    let mut name = base.get(..end).unwrap_or_default().to_owned();
    let mut random = [0_u8; 5];
    // Without random bytes the name would only be likelier to exist already, which is found out.
    let _ = SystemRandom::new().fill(&mut random);
    name.extend(random.iter().filter_map(|byte| ALPHABET.get(usize::from(*byte) * ALPHABET.len() / 256).map(|byte| char::from(*byte))));
    name
}
