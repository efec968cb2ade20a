//! Where the resourceVersion goes into stored JSON.
//!
//! A revision is only known when the bytes are already on the disk, so they are stored without it, and every
//! reader's copy is glued together: bytes up to the place, the member, the rest.

use corten_store::Revision;

/// The place in an object's JSON: right after the brace that opens `metadata`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Splice {
    offset: usize,
    /// Whether `metadata` has members, so that a comma must follow.
    members: bool,
}

impl Splice {
    /// Finds the place, if the JSON is an object with an object member `metadata`.
    ///
    /// Only as much is scanned as precedes it: canonical encoding puts `kind`, `apiVersion` and `metadata` first.
    pub(super) fn find(json: &[u8]) -> Option<Splice> {
        let mut at = 0;
        let mut depth = 0_usize;
        while let Some(&byte) = json.get(at) {
            match byte {
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth = depth.saturating_sub(1),
                b'"' => {
                    let end = string_end(json, at)?;
                    let text = json.get(at + 1..end - 1)?;
                    at = end;
                    if depth == 1 && text == b"metadata" {
                        // A key is followed by a colon, a value of the same text is not.
                        let colon = skip_space(json, at);
                        if json.get(colon) == Some(&b':') {
                            let open = skip_space(json, colon + 1);
                            if json.get(open) != Some(&b'{') {
                                return None;
                            }
                            let first = json.get(skip_space(json, open + 1))?;
                            return Some(Splice { offset: open + 1, members: *first != b'}' });
                        }
                    }
                    continue;
                }
                _ => {}
            }
            at += 1;
        }
        None
    }

    /// Whether nothing but `kind` and `apiVersion` stands before `metadata`: the canonical form.
    pub(super) fn follows_type(self, json: &[u8]) -> bool {
        let (before, _) = self.split(json);
        let members = before.iter().filter(|byte| **byte == b',').count();
        let typed = before.starts_with(b"{\"kind\":\"") || before.starts_with(b"{\"apiVersion\":\"");
        typed && members == 2 && before.ends_with(b",\"metadata\":{")
    }

    /// The bytes before the place, and after it.
    pub(super) fn split(self, json: &[u8]) -> (&[u8], &[u8]) {
        json.split_at(self.offset.min(json.len()))
    }

    /// How much stands between the place and a later one.
    pub(super) fn until(self, later: usize) -> usize {
        later.saturating_sub(self.offset)
    }

    /// The members of `metadata`, without the braces around them.
    pub(super) fn members(self, json: &[u8]) -> Option<&[u8]> {
        let (_, after) = self.split(json);
        let mut at = 0;
        let mut depth = 1_usize;
        loop {
            match after.get(at)? {
                b'{' | b'[' => depth += 1,
                b'}' | b']' => {
                    depth -= 1;
                    if depth == 0 {
                        return after.get(..at);
                    }
                }
                b'"' => {
                    at = string_end(after, at)?;
                    continue;
                }
                _ => {}
            }
            at += 1;
        }
    }

    /// The member to insert at the place. What is stored nowhere has no revision, and shows none.
    pub(super) fn member(self, revision: Revision) -> String {
        if revision == Revision::ZERO {
            return String::new();
        }
        format!("\"resourceVersion\":\"{revision}\"{}", if self.members { "," } else { "" })
    }
}

/// The index after the closing quote of the string that opens at `start`.
fn string_end(json: &[u8], start: usize) -> Option<usize> {
    let mut at = start + 1;
    loop {
        match json.get(at)? {
            b'\\' => at += 2,
            b'"' => return Some(at + 1),
            _ => at += 1,
        }
    }
}

fn skip_space(json: &[u8], mut at: usize) -> usize {
    while json.get(at).is_some_and(u8::is_ascii_whitespace) {
        at += 1;
    }
    at
}
