//! Patterns that clients write: a few bytes can ask for very much (`((a{99}){99}){99}`), so what is made of them is bounded.

use regex::{Regex, RegexBuilder};

/// Bytes of a compiled pattern after which compiling stops where only the syntax counts, and that was read before.
const SYNTAX: usize = 16 << 10;

/// A pattern, compiled to so many bytes at most, or what is wrong with its syntax. Other errors are limits of ours (classes of
/// Unicode, size), not of the reference: of such a pattern nothing is known.
pub fn pattern(text: &str, most: usize) -> Result<Option<Regex>, String> {
    match RegexBuilder::new(text).size_limit(most).dfa_size_limit(most).build() {
        Ok(pattern) => Ok(Some(pattern)),
        Err(regex::Error::Syntax(why)) if !why.contains("Unicode") => Err(why),
        Err(_) => Ok(None),
    }
}

/// What is wrong with a pattern's syntax.
pub fn wrong_pattern(text: &str) -> Option<String> {
    pattern(text, SYNTAX).err()
}
