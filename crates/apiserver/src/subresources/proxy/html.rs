//! Rewriting links in HTML as it passes: text in, the same text out but for the values of attributes that are URLs.
//!
//! A tokenizer after <https://html.spec.whatwg.org/multipage/parsing.html#tokenization>, as far as it tells where tags and
//! their attributes are. What it does not understand passes unchanged; nothing but an unfinished tag is ever held back.

use std::ops::Range;

use super::links::Links;

/// The longest tag that is looked into; what is longer (pictures in `data:` URLs) passes unchanged.
const LONGEST_TAG: usize = 64 << 10;

/// Elements whose content is text, whatever it looks like.
const RAW: [&str; 9] = ["script", "style", "textarea", "title", "iframe", "noembed", "noframes", "xmp", "plaintext"];

/// The attributes that are URLs, by element.
const URLS: [(&str, &[&str]); 25] = [
    ("a", &["href"]),
    ("applet", &["codebase"]),
    ("area", &["href"]),
    ("audio", &["src"]),
    ("base", &["href"]),
    ("blockquote", &["cite"]),
    ("body", &["background"]),
    ("button", &["formaction"]),
    ("command", &["icon"]),
    ("del", &["cite"]),
    ("embed", &["src"]),
    ("form", &["action"]),
    ("frame", &["longdesc", "src"]),
    ("head", &["profile"]),
    ("html", &["manifest"]),
    ("iframe", &["longdesc", "src"]),
    ("img", &["longdesc", "src", "usemap"]),
    ("input", &["formaction", "src", "usemap"]),
    ("ins", &["cite"]),
    ("link", &["href"]),
    ("object", &["classid", "codebase", "data", "usemap"]),
    ("q", &["cite"]),
    ("script", &["src"]),
    ("source", &["src"]),
    ("video", &["poster", "src"]),
];

/// Where in a document we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Text,
    /// In `<!-- -->`.
    Comment,
    /// In `<!…>` or `<?…>`.
    Declaration,
    /// In an element of [`RAW`].
    Raw(&'static str),
}

/// A document on its way.
#[derive(Debug)]
pub(super) struct Rewriter {
    links: Links,
    state: State,
    /// What cannot be decided yet.
    pending: Vec<u8>,
}

impl Rewriter {
    pub(super) fn new(links: Links) -> Self {
        Self { links, state: State::Text, pending: Vec::new() }
    }

    /// Takes a piece of the document, and appends to `out` what is decided.
    pub(super) fn push(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        self.pending.extend_from_slice(piece);
        let document = std::mem::take(&mut self.pending);
        let mut rest = document.as_slice();
        while !rest.is_empty() {
            let taken = self.step(rest, out);
            if taken == 0 {
                break;
            }
            rest = rest.get(taken..).unwrap_or_default();
        }
        self.pending = rest.to_vec();
    }

    /// The document is over: what is left passes as it is.
    pub(super) fn finish(&mut self, out: &mut Vec<u8>) {
        out.append(&mut self.pending);
    }

    /// Handles the beginning of `rest`; gives how much that was, and 0 if more must be seen first.
    fn step(&mut self, rest: &[u8], out: &mut Vec<u8>) -> usize {
        match self.state {
            State::Text => self.text(rest, out),
            State::Comment => self.until(rest, b"-->", out),
            State::Declaration => self.until(rest, b">", out),
            State::Raw(element) => self.raw(element, rest, out),
        }
    }

    fn text(&mut self, rest: &[u8], out: &mut Vec<u8>) -> usize {
        let Some(at) = rest.iter().position(|byte| *byte == b'<') else {
            return pass(rest, rest.len(), out);
        };
        if at > 0 {
            return pass(rest, at, out);
        }
        match rest {
            [_] => 0,
            [_, b'a'..=b'z' | b'A'..=b'Z', ..] => self.tag(rest, out),
            [_, b'!', ..] if b"<!--".starts_with(rest) => 0,
            [_, b'!', b'-', b'-', ..] => {
                self.state = State::Comment;
                // `<!-->` is a whole comment: its dashes count twice.
                pass(rest, 2, out)
            }
            [_, b'!' | b'?', ..] => {
                self.state = State::Declaration;
                pass(rest, 2, out)
            }
            _ => pass(rest, 1, out),
        }
    }

    /// Passes on up to and with `end`, and goes back to text.
    fn until(&mut self, rest: &[u8], end: &[u8], out: &mut Vec<u8>) -> usize {
        if let Some(at) = rest.windows(end.len()).position(|window| window == end) {
            self.state = State::Text;
            return pass(rest, at + end.len(), out);
        }
        pass(rest, rest.len().saturating_sub(end.len() - 1), out)
    }

    /// Passes on up to the end tag.
    fn raw(&mut self, element: &'static str, rest: &[u8], out: &mut Vec<u8>) -> usize {
        if element == "plaintext" {
            return pass(rest, rest.len(), out);
        }
        let length = element.len() + 2;
        // The end tag's name, and what tells that it is over.
        let ends = |window: &[u8]| match window.split_at_checked(length) {
            Some((tag, [b'>' | b'/' | b' ' | b'\t' | b'\n' | b'\r' | b'\x0c'])) => {
                tag.starts_with(b"</") && tag.get(2..).is_some_and(|name| name.eq_ignore_ascii_case(element.as_bytes()))
            }
            _ => false,
        };
        if let Some(at) = rest.windows(length + 1).position(ends) {
            self.state = State::Text;
            return pass(rest, at + length, out);
        }
        pass(rest, rest.len().saturating_sub(length), out)
    }

    fn tag(&mut self, rest: &[u8], out: &mut Vec<u8>) -> usize {
        let Some(tag) = Tag::scan(rest) else {
            return if rest.len() > LONGEST_TAG { pass(rest, 1, out) } else { 0 };
        };
        let mut done = 0;
        for value in tag.urls {
            let link = rest.get(value.clone()).and_then(|bytes| std::str::from_utf8(bytes).ok());
            let Some(link) = link.and_then(|link| self.links.rewrite(link)) else { continue };
            out.extend_from_slice(rest.get(done..value.start).unwrap_or_default());
            out.extend_from_slice(link.as_bytes());
            done = value.end;
        }
        out.extend_from_slice(rest.get(done..tag.end).unwrap_or_default());
        if let Some(raw) = RAW.into_iter().find(|raw| *raw == tag.name) {
            self.state = State::Raw(raw);
        }
        tag.end
    }
}

fn pass(rest: &[u8], count: usize, out: &mut Vec<u8>) -> usize {
    out.extend_from_slice(rest.get(..count).unwrap_or_default());
    count
}

/// A start tag.
struct Tag {
    /// In lower case.
    name: String,
    /// The values that are URLs, in order.
    urls: Vec<Range<usize>>,
    /// After its `>`.
    end: usize,
}

impl Tag {
    /// The tag at the beginning of `text`; `None` if it does not end there.
    fn scan(text: &[u8]) -> Option<Self> {
        let mut at = 1;
        let name = take(text, &mut at, |byte| !is_space(byte) && byte != b'/' && byte != b'>')?;
        let name = String::from_utf8_lossy(text.get(name)?).to_ascii_lowercase();
        let wanted = URLS.iter().find(|(element, _)| *element == name).map_or(&[][..], |(_, attributes)| attributes);
        let mut urls = Vec::new();
        loop {
            take(text, &mut at, |byte| is_space(byte) || byte == b'/')?;
            if *text.get(at)? == b'>' {
                return Some(Self { name, urls, end: at + 1 });
            }
            let start = at;
            // A name may begin with an equals sign.
            at += 1;
            take(text, &mut at, |byte| !is_space(byte) && !matches!(byte, b'/' | b'>' | b'='))?;
            let attribute = String::from_utf8_lossy(text.get(start..at)?).to_ascii_lowercase();
            take(text, &mut at, is_space)?;
            if *text.get(at)? != b'=' {
                continue;
            }
            at += 1;
            take(text, &mut at, is_space)?;
            let value = match *text.get(at)? {
                quote @ (b'"' | b'\'') => {
                    at += 1;
                    let value = take(text, &mut at, |byte| byte != quote)?;
                    at += 1;
                    value
                }
                _ => take(text, &mut at, |byte| !is_space(byte) && byte != b'>')?,
            };
            if wanted.contains(&attribute.as_str()) {
                urls.push(value);
            }
        }
    }
}

/// Moves `at` on while bytes are wanted; `None` if the text is over before one is not.
fn take(text: &[u8], at: &mut usize, wanted: impl Fn(u8) -> bool) -> Option<Range<usize>> {
    let start = *at;
    let count = text.get(start..)?.iter().position(|byte| !wanted(*byte))?;
    *at = start + count;
    Some(start..*at)
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | b'\x0c')
}

#[cfg(test)]
mod tests;
