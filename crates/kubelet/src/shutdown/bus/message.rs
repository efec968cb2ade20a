//! Messages of D-Bus, as far as talking to logind needs them.
//!
//! <https://dbus.freedesktop.org/doc/dbus-specification.html#message-protocol>. Numbers are little-endian; the bodies that are
//! written consist of texts and numbers.

/// Most bytes of a message that is read; the protocol allows 128 MiB, logind sends less than a thousand.
const LARGEST: usize = 1 << 20;

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Call = 1,
    Return = 2,
    Error = 3,
    Signal = 4,
}

/// A value of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Arg {
    Text(String),
    Int(i32),
    Uint(u32),
    Bool(bool),
    /// A file descriptor, by its place among those that come along.
    Fd(u32),
    /// A variant that holds a 64-bit number.
    Number(u64),
}

impl From<&str> for Arg {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

/// A message without its file descriptors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) kind: Kind,
    pub(crate) serial: u32,
    pub(crate) reply_to: Option<u32>,
    pub(crate) path: String,
    pub(crate) interface: String,
    pub(crate) member: String,
    pub(crate) error: String,
    pub(crate) destination: String,
    pub(crate) sender: String,
    pub(crate) body: Vec<Arg>,
    /// How many file descriptors come along.
    pub(crate) fds: u32,
}

impl Default for Message {
    fn default() -> Self {
        let none = String::new;
        Self {
            kind: Kind::Call,
            serial: 0,
            reply_to: None,
            path: none(),
            interface: none(),
            member: none(),
            error: none(),
            destination: none(),
            sender: none(),
            body: Vec::new(),
            fds: 0,
        }
    }
}

/// Bytes that are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a malformed message")]
pub(crate) struct Malformed;

#[derive(Default)]
struct Writer(Vec<u8>);

impl Writer {
    fn align(&mut self, to: usize) {
        self.0.resize(self.0.len().next_multiple_of(to), 0);
    }

    fn u32(&mut self, value: u32) {
        self.align(4);
        self.0.extend(value.to_le_bytes());
    }

    fn text(&mut self, text: &str) {
        self.u32(u32::try_from(text.len()).unwrap_or(0));
        self.0.extend(text.as_bytes());
        self.0.push(0);
    }

    fn signature(&mut self, text: &str) {
        self.0.push(u8::try_from(text.len()).unwrap_or(0));
        self.0.extend(text.as_bytes());
        self.0.push(0);
    }

    fn arg(&mut self, arg: &Arg) {
        match arg {
            Arg::Text(text) => self.text(text),
            Arg::Int(value) => self.u32(value.cast_unsigned()),
            Arg::Bool(value) => self.u32(u32::from(*value)),
            Arg::Fd(value) | Arg::Uint(value) => self.u32(*value),
            Arg::Number(value) => {
                self.signature("t");
                self.align(8);
                self.0.extend(value.to_le_bytes());
            }
        }
    }

    fn field(&mut self, code: u8, signature: &str, value: &Arg) {
        self.align(8);
        self.0.push(code);
        self.signature(signature);
        self.arg(value);
    }
}

impl Message {
    /// The message's bytes.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut body = Writer::default();
        self.body.iter().for_each(|arg| body.arg(arg));
        let signature: String = self.body.iter().map(Arg::signature).collect();
        let mut fields = Writer::default();
        for (code, kind, text) in
            [(1, "o", &self.path), (2, "s", &self.interface), (3, "s", &self.member), (4, "s", &self.error), (6, "s", &self.destination)]
        {
            if !text.is_empty() {
                fields.field(code, kind, &Arg::Text(text.clone()));
            }
        }
        if let Some(serial) = self.reply_to {
            fields.field(5, "u", &Arg::Uint(serial));
        }
        if !signature.is_empty() {
            fields.align(8);
            fields.0.push(8);
            fields.signature("g");
            fields.signature(&signature);
        }
        if self.fds > 0 {
            fields.field(9, "u", &Arg::Uint(self.fds));
        }
        let mut whole = Writer(vec![b'l', self.kind as u8, 0, 1]);
        whole.u32(u32::try_from(body.0.len()).unwrap_or(0));
        whole.u32(self.serial);
        whole.u32(u32::try_from(fields.0.len()).unwrap_or(0));
        // Sixteen bytes so far: the fields' own alignment is that of the whole.
        whole.0.extend(fields.0);
        whole.align(8);
        whole.0.extend(body.0);
        whole.0
    }

    /// How long the message is that begins with these bytes; `None` if more are needed to say.
    pub(crate) fn length(bytes: &[u8]) -> Result<Option<usize>, Malformed> {
        let Some(start) = bytes.get(..16) else { return Ok(None) };
        if start.first() != Some(&b'l') || start.get(3) != Some(&1) {
            return Err(Malformed);
        }
        let number = |at: usize| bytes.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_le_bytes) as usize;
        let (body, fields) = (number(4), number(12));
        if body > LARGEST || fields > LARGEST {
            return Err(Malformed);
        }
        Ok(Some((16 + fields).next_multiple_of(8) + body))
    }

    /// Reads a whole message.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader { bytes, at: 0 };
        let mut message = Self::default();
        reader.u8()?;
        message.kind = match reader.u8()? {
            1 => Kind::Call,
            2 => Kind::Return,
            3 => Kind::Error,
            4 => Kind::Signal,
            _ => return Err(Malformed),
        };
        reader.take(2)?;
        reader.u32()?;
        message.serial = reader.u32()?;
        let end = (reader.u32()? as usize).saturating_add(16);
        let mut signature = String::new();
        while reader.at < end {
            reader.align(8)?;
            let code = reader.u8()?;
            let kind = reader.signature()?;
            match (code, kind.as_str()) {
                (1, "o") => message.path = reader.text()?,
                (2, "s") => message.interface = reader.text()?,
                (3, "s") => message.member = reader.text()?,
                (4, "s") => message.error = reader.text()?,
                (5, "u") => message.reply_to = Some(reader.u32()?),
                (6, "s") => message.destination = reader.text()?,
                (7, "s") => message.sender = reader.text()?,
                (8, "g") => signature = reader.signature()?,
                (9, "u") => message.fds = reader.u32()?,
                // Fields that are not known are to be ignored, as far as their length can be told.
                (_, "s" | "o") => drop(reader.text()?),
                (_, "u") => drop(reader.u32()?),
                _ => return Err(Malformed),
            }
        }
        reader.align(8)?;
        message.body = reader.body(&signature);
        Ok(message)
    }
}

impl Arg {
    fn signature(&self) -> char {
        match self {
            Self::Text(_) => 's',
            Self::Int(_) => 'i',
            Self::Uint(_) => 'u',
            Self::Bool(_) => 'b',
            Self::Fd(_) => 'h',
            Self::Number(_) => 'v',
        }
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let end = self.at.checked_add(count).ok_or(Malformed)?;
        let taken = self.bytes.get(self.at..end).ok_or(Malformed)?;
        self.at = end;
        Ok(taken)
    }

    fn align(&mut self, to: usize) -> Result<(), Malformed> {
        let padding = self.at.next_multiple_of(to) - self.at;
        self.take(padding).map(drop)
    }

    fn u8(&mut self) -> Result<u8, Malformed> {
        self.take(1)?.first().copied().ok_or(Malformed)
    }

    fn u32(&mut self) -> Result<u32, Malformed> {
        self.align(4)?;
        self.take(4)?.try_into().map(u32::from_le_bytes).map_err(|_| Malformed)
    }

    fn string(&mut self, length: usize) -> Result<String, Malformed> {
        let text = String::from_utf8(self.take(length)?.to_vec()).map_err(|_| Malformed)?;
        self.take(1)?;
        Ok(text)
    }

    fn text(&mut self) -> Result<String, Malformed> {
        let length = self.u32()? as usize;
        self.string(length)
    }

    fn signature(&mut self) -> Result<String, Malformed> {
        let length = usize::from(self.u8()?);
        self.string(length)
    }

    /// As much of a body as consists of what is understood.
    fn body(&mut self, signature: &str) -> Vec<Arg> {
        let mut read = |kind: char| {
            Ok(match kind {
                's' | 'o' => Arg::Text(self.text()?),
                'i' => Arg::Int(self.u32()?.cast_signed()),
                'u' => Arg::Uint(self.u32()?),
                'b' => Arg::Bool(self.u32()? != 0),
                'h' => Arg::Fd(self.u32()?),
                'v' if self.signature()? == "t" => {
                    self.align(8)?;
                    Arg::Number(self.take(8)?.try_into().map(u64::from_le_bytes).map_err(|_| Malformed)?)
                }
                _ => return Err(Malformed),
            })
        };
        signature.chars().map_while(|kind| read(kind).ok()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_can_be_read() {
        let message = Message {
            kind: Kind::Signal,
            serial: 7,
            reply_to: Some(3),
            path: "/org/freedesktop/login1".into(),
            interface: "org.freedesktop.login1.Manager".into(),
            member: "PrepareForShutdown".into(),
            destination: ":1.2".into(),
            body: vec![Arg::Bool(true), "a text".into(), Arg::Number(5_000_000), Arg::Int(-1), Arg::Uint(4), Arg::Fd(0)],
            fds: 1,
            ..Message::default()
        };
        let bytes = message.encode();
        assert_eq!(Message::length(&bytes), Ok(Some(bytes.len())));
        assert_eq!(Message::length(&bytes[..15]), Ok(None));
        assert_eq!(Message::decode(&bytes), Ok(message));
    }

    #[test]
    fn garbage_is_an_error_and_nothing_worse() {
        assert_eq!(Message::length(b"BBBBBBBBBBBBBBBB"), Err(Malformed));
        assert_eq!(Message::length(&[b'l', 1, 0, 1, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0]), Err(Malformed));
        let whole = Message { member: "Hello".into(), body: vec!["x".into()], ..Message::default() }.encode();
        for end in 0..whole.len() {
            // The body's end may be missing without the header being wrong.
            let _ = Message::decode(&whole[..end]);
        }
        for at in 0..whole.len() {
            let mut other = whole.clone();
            other[at] ^= 0xff;
            let _ = Message::decode(&other);
        }
    }
}
