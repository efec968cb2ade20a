//! Tokens of JSON text.

use super::DecodeError;
use std::borrow::Cow;

type Result<T> = std::result::Result<T, DecodeError>;

/// Values nested deeper than this are refused. Generous for any real object, and
/// small enough for the stack of a worker thread.
pub(crate) const MAX_DEPTH: usize = 400;

/// A position in JSON text.
#[derive(Clone)]
pub(crate) struct Reader<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

/// The kind of the next value, by its first byte.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Null,
    Bool,
    Number,
    String,
    List,
    Map,
}

impl Kind {
    /// Go's word for it in type errors.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool => "bool",
            Self::Number => "number",
            Self::String => "string",
            Self::List => "array",
            Self::Map => "object",
        }
    }
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(text: &'a str) -> Self {
        Self { text, at: 0, depth: 0 }
    }

    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_space(&mut self) -> Option<u8> {
        loop {
            match self.byte() {
                Some(b' ' | b'\n' | b'\t' | b'\r') => self.at += 1,
                other => return other,
            }
        }
    }

    #[cold]
    fn unexpected(&self, context: &str) -> DecodeError {
        match self.text.get(self.at..).and_then(|rest| rest.chars().next()) {
            None => DecodeError::Syntax("unexpected end of JSON input".to_owned()),
            Some('\'') => DecodeError::Syntax(format!("invalid character '\\'' {context}")),
            Some(c) => DecodeError::Syntax(format!("invalid character '{}' {context}", c.escape_default())),
        }
    }

    /// The kind of the next value.
    pub(crate) fn peek(&mut self) -> Result<Kind> {
        match self.skip_space() {
            Some(b'"') => Ok(Kind::String),
            Some(b'{') => Ok(Kind::Map),
            Some(b'[') => Ok(Kind::List),
            Some(b'-' | b'0'..=b'9') => Ok(Kind::Number),
            Some(b't' | b'f') => Ok(Kind::Bool),
            Some(b'n') => Ok(Kind::Null),
            _ => Err(self.unexpected("looking for beginning of value")),
        }
    }

    fn literal(&mut self, word: &str) -> Result<()> {
        for expected in word.bytes() {
            if self.byte() != Some(expected) {
                return Err(self.unexpected(&format!("in literal {word} (expecting '{}')", expected as char)));
            }
            self.at += 1;
        }
        Ok(())
    }

    /// Reads `null`.
    pub(crate) fn null(&mut self) -> Result<()> {
        self.literal("null")
    }

    /// Reads `true` or `false`.
    pub(crate) fn bool(&mut self) -> Result<bool> {
        if self.byte() == Some(b't') { self.literal("true").map(|()| true) } else { self.literal("false").map(|()| false) }
    }

    /// Reads a number and returns its text.
    pub(crate) fn number(&mut self) -> Result<&'a str> {
        let start = self.at;
        if self.byte() == Some(b'-') {
            self.at += 1;
        }
        match self.byte() {
            Some(b'0') => self.at += 1,
            Some(b'1'..=b'9') => self.digits(),
            _ => return Err(self.unexpected("in numeric literal")),
        }
        if self.byte() == Some(b'.') {
            self.at += 1;
            if !matches!(self.byte(), Some(b'0'..=b'9')) {
                return Err(self.unexpected("after decimal point in numeric literal"));
            }
            self.digits();
        }
        if let Some(b'e' | b'E') = self.byte() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.byte() {
                self.at += 1;
            }
            if !matches!(self.byte(), Some(b'0'..=b'9')) {
                return Err(self.unexpected("in exponent of numeric literal"));
            }
            self.digits();
        }
        Ok(self.slice(start))
    }

    fn digits(&mut self) {
        while let Some(b'0'..=b'9') = self.byte() {
            self.at += 1;
        }
    }

    /// Text from `start` to here; both are always at ASCII bytes.
    fn slice(&self, start: usize) -> &'a str {
        self.text.get(start..self.at).unwrap_or_default()
    }

    /// Reads a string.
    pub(crate) fn string(&mut self) -> Result<Cow<'a, str>> {
        self.at += 1;
        let start = self.at;
        self.plain();
        if self.byte() == Some(b'"') {
            let text = self.slice(start);
            self.at += 1;
            return Ok(Cow::Borrowed(text));
        }
        let mut text = self.slice(start).to_owned();
        loop {
            match self.byte() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(Cow::Owned(text));
                }
                Some(b'\\') => {
                    self.at += 1;
                    text.push(self.escape()?);
                }
                _ => return Err(self.unexpected("in string literal")),
            }
            let start = self.at;
            self.plain();
            text.push_str(self.slice(start));
        }
    }

    /// Skips text up to a quote, a backslash or a control character.
    fn plain(&mut self) {
        self.at += plain(self.text.as_bytes().get(self.at..).unwrap_or_default());
    }

    fn escape(&mut self) -> Result<char> {
        let c = match self.byte() {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                self.at += 1;
                return self.unicode();
            }
            _ => return Err(self.unexpected("in string escape code")),
        };
        self.at += 1;
        Ok(c)
    }

    /// Four hex digits, and four more for the other half of a pair. A lone half becomes U+FFFD, as in Go.
    fn unicode(&mut self) -> Result<char> {
        let high = self.hex()?;
        if !(0xd800..0xe000).contains(&high) {
            return Ok(char::from_u32(high).unwrap_or(char::REPLACEMENT_CHARACTER));
        }
        let before = self.at;
        if high < 0xdc00 && self.text.get(self.at..self.at + 2) == Some("\\u") {
            self.at += 2;
            let low = self.hex()?;
            if (0xdc00..0xe000).contains(&low) {
                let code = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
                return Ok(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            self.at = before;
        }
        Ok(char::REPLACEMENT_CHARACTER)
    }

    fn hex(&mut self) -> Result<u32> {
        let mut value = 0;
        for _ in 0..4 {
            let digit = self.byte().and_then(|byte| (byte as char).to_digit(16));
            let Some(digit) = digit else { return Err(self.unexpected("in \\u hexadecimal character escape")) };
            value = value * 16 + digit;
            self.at += 1;
        }
        Ok(value)
    }

    /// Enters a list or map; `false` if it is empty and already left.
    pub(crate) fn open(&mut self, close: u8) -> Result<bool> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(DecodeError::Syntax("exceeded max depth".to_owned()));
        }
        self.at += 1;
        if self.skip_space() == Some(close) {
            self.at += 1;
            self.depth -= 1;
            return Ok(false);
        }
        Ok(true)
    }

    /// After an item of a list: `true` if another follows.
    pub(crate) fn next_item(&mut self) -> Result<bool> {
        self.more(b']', "after array element")
    }

    /// After a value of a map: `true` if another key follows.
    pub(crate) fn next_key(&mut self) -> Result<bool> {
        let more = self.more(b'}', "after object key:value pair")?;
        if more {
            self.skip_space();
        }
        Ok(more)
    }

    fn more(&mut self, close: u8, context: &str) -> Result<bool> {
        match self.skip_space() {
            Some(b',') => {
                self.at += 1;
                Ok(true)
            }
            Some(byte) if byte == close => {
                self.at += 1;
                self.depth -= 1;
                Ok(false)
            }
            _ => Err(self.unexpected(context)),
        }
    }

    /// Reads a key and its colon.
    pub(crate) fn key(&mut self) -> Result<Cow<'a, str>> {
        if self.skip_space() != Some(b'"') {
            return Err(self.unexpected("looking for beginning of object key string"));
        }
        let key = self.string()?;
        if self.skip_space() != Some(b':') {
            return Err(self.unexpected("after object key"));
        }
        self.at += 1;
        Ok(key)
    }

    /// Skips a value of any shape.
    pub(crate) fn skip(&mut self) -> Result<()> {
        match self.peek()? {
            Kind::Null => self.null(),
            Kind::Bool => self.bool().map(drop),
            Kind::Number => self.number().map(drop),
            Kind::String => self.string().map(drop),
            Kind::List => {
                let mut more = self.open(b']')?;
                while more {
                    self.skip()?;
                    more = self.next_item()?;
                }
                Ok(())
            }
            Kind::Map => {
                let mut more = self.open(b'}')?;
                while more {
                    self.key()?;
                    self.skip()?;
                    more = self.next_key()?;
                }
                Ok(())
            }
        }
    }

    /// Skips a value of any shape and returns its text.
    pub(crate) fn raw(&mut self) -> Result<&'a str> {
        self.peek()?;
        let start = self.at;
        self.skip()?;
        Ok(self.slice(start))
    }

    /// Skips a map or list and returns its text, which was read before: only its end is looked for.
    pub(crate) fn known(&mut self) -> Result<&'a str> {
        let start = self.at;
        let bytes = self.text.as_bytes();
        let (mut at, mut open) = (start, 0_usize);
        while let Some(byte) = bytes.get(at) {
            at += 1;
            match byte {
                b'"' => at = after_string(bytes, at),
                b'{' | b'[' => open += 1,
                b'}' | b']' => {
                    open = open.saturating_sub(1);
                    if open == 0 {
                        self.at = at;
                        return Ok(self.slice(start));
                    }
                }
                _ => {}
            }
        }
        self.at = bytes.len();
        Err(self.unexpected("looking for the end of a value"))
    }

    /// The text from here on.
    pub(crate) fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// Passes over as many bytes, which are a whole value.
    pub(crate) const fn pass(&mut self, bytes: usize) {
        self.at += bytes;
    }

    /// The text from here to a later position.
    pub(crate) fn until(&self, later: &Self) -> &'a str {
        self.text.get(self.at..later.at).unwrap_or_default()
    }

    /// Only space may follow.
    pub(crate) fn end(&mut self) -> Result<()> {
        match self.skip_space() {
            None => Ok(()),
            Some(_) => Err(self.unexpected("after top-level value")),
        }
    }
}

/// How many bytes come before a quote, a backslash or a control character.
pub(super) fn plain(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    const HIGH: u64 = ONES << 7;
    let mut at = 0;
    // Eight bytes at a time: a byte of `zero(x)` is high where x has a zero byte, and perhaps above the first of them.
    while let Some(chunk) = bytes.get(at..).and_then(<[u8]>::first_chunk::<8>) {
        let word = u64::from_le_bytes(*chunk);
        let zero = |x: u64| x.wrapping_sub(ONES) & !x & HIGH;
        let quote = zero(word ^ (ONES * 0x22));
        let slash = zero(word ^ (ONES * 0x5c));
        let control = word.wrapping_sub(ONES * 0x20) & !word & HIGH;
        let found = quote | slash | control;
        if found != 0 {
            return at + (found.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    let rest = bytes.get(at..).unwrap_or_default();
    at + rest.iter().take_while(|byte| **byte != b'"' && **byte != b'\\' && **byte >= 0x20).count()
}

/// Where a string ends that has begun before `at`.
fn after_string(bytes: &[u8], mut at: usize) -> usize {
    loop {
        at += plain(bytes.get(at..).unwrap_or_default());
        match bytes.get(at) {
            Some(b'"') => return at + 1,
            Some(b'\\') => at += 2,
            Some(_) => at += 1,
            None => return at,
        }
    }
}
