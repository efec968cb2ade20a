//! Frames: reading and writing them, without any state but the rest of a data frame.

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// The protocol's version in control frames.
const VERSION: u16 = 3;

const FIN: u8 = 0x01;
const UNIDIRECTIONAL: u8 = 0x02;
const CLEAR: u8 = 0x01;

/// The longest control frame without headers: what a `SETTINGS` of all that there are needs many times over.
const MAX_PLAIN: usize = 4 << 10;

/// Status codes of `RST_STREAM` and `GOAWAY`.
pub mod status {
    /// Against the rules.
    pub const PROTOCOL_ERROR: u32 = 1;
    /// No such stream.
    pub const INVALID_STREAM: u32 = 2;
    /// Refused before anything was done with it.
    pub const REFUSED_STREAM: u32 = 3;
    /// Not wanted any more.
    pub const CANCEL: u32 = 5;
    /// Something failed on this side.
    pub const INTERNAL_ERROR: u32 = 6;
    /// More data than the window allows.
    pub const FLOW_CONTROL_ERROR: u32 = 7;
    /// A second `SYN_REPLY`, or a number that was used before.
    pub const STREAM_IN_USE: u32 = 8;
    /// Data behind the end.
    pub const STREAM_ALREADY_CLOSED: u32 = 9;
    /// A frame is too long.
    pub const FRAME_TOO_LARGE: u32 = 11;
}

/// The setting of the window that new streams have.
pub(crate) const INITIAL_WINDOW_SIZE: u32 = 7;

/// One setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting {
    /// Which.
    pub id: u32,
    /// What to do with it; nothing here is kept.
    pub flags: u8,
    /// Its value.
    pub value: u32,
}

/// One frame. Header blocks are compressed still.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are the specification's")]
pub enum Frame {
    SynStream {
        id: u32,
        associated: u32,
        priority: u8,
        fin: bool,
        unidirectional: bool,
        block: Bytes,
    },
    SynReply {
        id: u32,
        fin: bool,
        block: Bytes,
    },
    Headers {
        id: u32,
        fin: bool,
        block: Bytes,
    },
    Reset {
        id: u32,
        status: u32,
    },
    Settings {
        clear: bool,
        entries: Vec<Setting>,
    },
    Ping(u32),
    GoAway {
        last: u32,
        status: u32,
    },
    WindowUpdate {
        id: u32,
        delta: u32,
    },
    /// Data, or a piece of it: what has arrived. `fin` is with the last piece.
    Data {
        id: u32,
        fin: bool,
        data: Bytes,
    },
    /// A control frame that is not known, and not needed.
    Unknown(u16),
}

/// What is no frame, or too long. The connection cannot be read on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Not SPDY/3.
    #[error("frame of version {0}, expected 3")]
    Version(u16),
    /// A control frame above the limit.
    #[error("control frame of {0} bytes is too long")]
    TooLong(usize),
    /// The length does not fit the type.
    #[error("malformed frame of type {0}")]
    Malformed(u16),
    /// About no stream, where there must be one.
    #[error("frame of type {0} without a stream")]
    NoStream(u16),
}

impl FrameError {
    /// The code to say goodbye with.
    #[must_use]
    pub fn status(&self) -> u32 {
        match self {
            FrameError::TooLong(_) => status::FRAME_TOO_LARGE,
            _ => status::PROTOCOL_ERROR,
        }
    }
}

/// The type of data in errors.
const DATA: u16 = 0;

/// Takes frames from a buffer as it fills.
#[derive(Debug)]
pub struct Decoder {
    max_block: usize,
    /// Stream, end and remaining length of a data frame that has begun.
    data: Option<(u32, bool, usize)>,
}

impl Decoder {
    /// For control frames with blocks of at most `max_block` bytes.
    #[must_use]
    pub fn new(max_block: usize) -> Self {
        Self { max_block, data: None }
    }

    /// Whether a frame has begun whose rest is still to come, given what is in the buffer.
    #[must_use]
    pub fn inside(&self, buffer: &BytesMut) -> bool {
        self.data.is_some() || !buffer.is_empty()
    }

    /// The next frame; `None` if more bytes are needed.
    ///
    /// # Errors
    ///
    /// See [`FrameError`].
    pub fn next(&mut self, buffer: &mut BytesMut) -> Result<Option<Frame>, FrameError> {
        if let Some((id, fin, left)) = self.data {
            if buffer.is_empty() {
                return Ok(None);
            }
            return Ok(Some(self.piece(id, fin, left, buffer)));
        }
        let Some(head) = buffer.first_chunk::<8>() else { return Ok(None) };
        let first = u32::from_be_bytes([head[0], head[1], head[2], head[3]]);
        let (flags, length) = (head[4], u32::from_be_bytes([0, head[5], head[6], head[7]]));
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if first & 0x8000_0000 == 0 {
            if first == 0 {
                return Err(FrameError::NoStream(DATA));
            }
            buffer.advance(8);
            let fin = flags & FIN != 0;
            if length > 0 && buffer.is_empty() {
                self.data = Some((first, fin, length));
                return Ok(None);
            }
            return Ok(Some(self.piece(first, fin, length, buffer)));
        }
        let version = u16::from_be_bytes([head[0] & 0x7f, head[1]]);
        let kind = u16::from_be_bytes([head[2], head[3]]);
        if version != VERSION {
            return Err(FrameError::Version(version));
        }
        let limit = if matches!(kind, 1 | 2 | 8) { self.max_block } else { MAX_PLAIN };
        if length > limit {
            return Err(FrameError::TooLong(length));
        }
        if buffer.len() < 8 + length {
            return Ok(None);
        }
        buffer.advance(8);
        control(kind, flags, buffer.split_to(length).freeze()).map(Some)
    }

    fn piece(&mut self, id: u32, fin: bool, left: usize, buffer: &mut BytesMut) -> Frame {
        let data = buffer.split_to(left.min(buffer.len())).freeze();
        let left = left - data.len();
        self.data = (left > 0).then_some((id, fin, left));
        Frame::Data { id, fin: fin && left == 0, data }
    }
}

fn control(kind: u16, flags: u8, mut body: Bytes) -> Result<Frame, FrameError> {
    let malformed = |_| FrameError::Malformed(kind);
    let fin = flags & FIN != 0;
    let mut number = || body.try_get_u32().map_err(malformed);
    let frame = match kind {
        1 => {
            let (id, associated) = (stream(number()?, kind)?, number()? & 0x7fff_ffff);
            let priority = body.try_get_u8().map_err(malformed)? >> 5;
            let _slot = body.try_get_u8().map_err(malformed)?;
            Frame::SynStream {
                id,
                associated,
                priority,
                fin,
                unidirectional: flags & UNIDIRECTIONAL != 0,
                block: std::mem::take(&mut body),
            }
        }
        2 => Frame::SynReply { id: stream(number()?, kind)?, fin, block: std::mem::take(&mut body) },
        3 => Frame::Reset { id: stream(number()?, kind)?, status: number()? },
        4 => {
            let count = usize::try_from(number()?).unwrap_or(usize::MAX);
            if count.checked_mul(8) != Some(body.len()) {
                return Err(FrameError::Malformed(kind));
            }
            let mut entries = Vec::with_capacity(count);
            for _ in 0..count {
                let (head, value) = (body.try_get_u32().map_err(malformed)?, body.try_get_u32().map_err(malformed)?);
                let [flags, a, b, c] = head.to_be_bytes();
                entries.push(Setting { id: u32::from_be_bytes([0, a, b, c]), flags, value });
            }
            Frame::Settings { clear: flags & CLEAR != 0, entries }
        }
        6 => Frame::Ping(number()?),
        7 => Frame::GoAway { last: number()? & 0x7fff_ffff, status: number()? },
        8 => Frame::Headers { id: stream(number()?, kind)?, fin, block: std::mem::take(&mut body) },
        9 => Frame::WindowUpdate { id: number()? & 0x7fff_ffff, delta: number()? & 0x7fff_ffff },
        unknown => return Ok(Frame::Unknown(unknown)),
    };
    if body.is_empty() { Ok(frame) } else { Err(FrameError::Malformed(kind)) }
}

fn stream(number: u32, kind: u16) -> Result<u32, FrameError> {
    match number & 0x7fff_ffff {
        0 => Err(FrameError::NoStream(kind)),
        id => Ok(id),
    }
}

/// Writes a frame.
pub fn encode(frame: &Frame, out: &mut BytesMut) {
    match frame {
        Frame::SynStream { id, associated, priority, fin, unidirectional, block } => {
            let flags = if *fin { FIN } else { 0 } | if *unidirectional { UNIDIRECTIONAL } else { 0 };
            head(out, 1, flags, 10 + block.len());
            out.put_u32(*id);
            out.put_u32(*associated);
            out.put_u8(priority << 5);
            out.put_u8(0);
            out.put_slice(block);
        }
        Frame::SynReply { id, fin, block } => with_block(out, 2, *id, *fin, block),
        Frame::Headers { id, fin, block } => with_block(out, 8, *id, *fin, block),
        Frame::Reset { id, status } => pair(out, 3, *id, *status),
        Frame::Settings { clear, entries } => {
            head(out, 4, if *clear { CLEAR } else { 0 }, 4 + 8 * entries.len());
            out.put_u32(u32::try_from(entries.len()).unwrap_or_default());
            for entry in entries {
                let [_, a, b, c] = entry.id.to_be_bytes();
                out.put_slice(&[entry.flags, a, b, c]);
                out.put_u32(entry.value);
            }
        }
        Frame::Ping(id) => {
            head(out, 6, 0, 4);
            out.put_u32(*id);
        }
        Frame::GoAway { last, status } => pair(out, 7, *last, *status),
        Frame::WindowUpdate { id, delta } => pair(out, 9, *id, *delta),
        Frame::Data { id, fin, data } => {
            out.put_u32(*id);
            out.put_u32(length(data.len()) | if *fin { u32::from(FIN) << 24 } else { 0 });
            out.put_slice(data);
        }
        Frame::Unknown(kind) => head(out, *kind, 0, 0),
    }
}

fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX) & 0x00ff_ffff
}

fn head(out: &mut BytesMut, kind: u16, flags: u8, bytes: usize) {
    out.reserve(8 + bytes);
    out.put_u16(0x8000 | VERSION);
    out.put_u16(kind);
    out.put_u32(length(bytes) | u32::from(flags) << 24);
}

fn pair(out: &mut BytesMut, kind: u16, first: u32, second: u32) {
    head(out, kind, 0, 8);
    out.put_u32(first);
    out.put_u32(second);
}

fn with_block(out: &mut BytesMut, kind: u16, id: u32, fin: bool, block: &Bytes) {
    head(out, kind, if fin { FIN } else { 0 }, 4 + block.len());
    out.put_u32(id);
    out.put_slice(block);
}

#[cfg(test)]
mod tests;
