//! Headers of a stream, and their compression, whose state runs through all blocks of a direction.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use crate::dictionary;

/// The size of the window that zlib gets: what Go's and everybody else's decompressors take.
const CHUNK: usize = 4 << 10;

/// Headers that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// The compressed bytes are no such.
    #[error("header block cannot be decompressed")]
    Compression,
    /// They would be longer than is allowed.
    #[error("header block is longer than {0} bytes")]
    TooLong(usize),
    /// The decompressed bytes are no headers.
    #[error("header block is malformed")]
    Malformed,
}

/// Names and values in their order. Names are lower case.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Headers(Vec<(String, String)>);

impl Headers {
    /// None.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// With one more.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.0.push((name.to_ascii_lowercase(), value.into()));
        self
    }

    /// The first value of a name, in whatever case it is asked for.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The block as it is before compression. Values of one name stand together, with a zero byte between them.
    #[must_use]
    pub fn to_block(&self) -> Vec<u8> {
        let mut merged: Vec<(&str, String)> = Vec::new();
        for (name, value) in self.iter() {
            match merged.iter_mut().find(|(known, _)| *known == name) {
                Some((_, values)) => {
                    values.push('\0');
                    values.push_str(value);
                }
                None => merged.push((name, value.to_owned())),
            }
        }
        let mut out = Vec::new();
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        out.put_u32(number(merged.len()));
        for (name, value) in merged {
            for text in [name, value.as_str()] {
                out.put_u32(number(text.len()));
                out.extend_from_slice(text.as_bytes());
            }
        }
        out
    }

    /// Reads a decompressed block.
    ///
    /// # Errors
    ///
    /// [`HeaderError::Malformed`]: lengths that do not fit, bytes behind the end, text that is not UTF-8, a name that is
    /// empty or comes twice.
    pub fn from_block(block: &[u8]) -> Result<Self, HeaderError> {
        let mut rest = block;
        let count = rest.try_get_u32().map_err(|_| HeaderError::Malformed)?;
        let mut headers: Vec<(String, String)> = Vec::new();
        for _ in 0..count {
            let name = text(&mut rest)?.to_ascii_lowercase();
            let values = text(&mut rest)?;
            if name.is_empty() || headers.iter().any(|(known, _)| *known == name) {
                return Err(HeaderError::Malformed);
            }
            headers.extend(values.split('\0').map(|value| (name.clone(), value.to_owned())));
        }
        if rest.is_empty() { Ok(Self(headers)) } else { Err(HeaderError::Malformed) }
    }
}

fn text<'a>(rest: &mut &'a [u8]) -> Result<&'a str, HeaderError> {
    let length = rest.try_get_u32().map_err(|_| HeaderError::Malformed)?;
    let length = usize::try_from(length).map_err(|_| HeaderError::Malformed)?;
    let (text, behind) = rest.split_at_checked(length).ok_or(HeaderError::Malformed)?;
    *rest = behind;
    std::str::from_utf8(text).map_err(|_| HeaderError::Malformed)
}

/// The compressing side of a direction.
#[derive(Debug)]
pub struct Compressor {
    zlib: Compress,
}

impl Compressor {
    /// At its beginning.
    ///
    /// # Errors
    ///
    /// None in practice: the dictionary fits.
    pub fn new() -> Result<Self, HeaderError> {
        let mut zlib = Compress::new(Compression::default(), true);
        zlib.set_dictionary(dictionary::bytes()).map_err(|_| HeaderError::Compression)?;
        Ok(Self { zlib })
    }

    /// Compresses the next block.
    ///
    /// # Errors
    ///
    /// None in practice.
    pub fn compress(&mut self, headers: &Headers) -> Result<Bytes, HeaderError> {
        let block = headers.to_block();
        let mut out = Vec::with_capacity(block.len() + 64);
        let start = self.zlib.total_in();
        loop {
            let done = usize::try_from(self.zlib.total_in() - start).unwrap_or(usize::MAX);
            let rest = block.get(done..).unwrap_or_default();
            self.zlib.compress_vec(rest, &mut out, FlushCompress::Sync).map_err(|_| HeaderError::Compression)?;
            let done = usize::try_from(self.zlib.total_in() - start).unwrap_or(usize::MAX);
            // Room that is left says that all has been flushed.
            if done >= block.len() && out.len() < out.capacity() {
                return Ok(out.into());
            }
            out.reserve(CHUNK);
        }
    }
}

/// The decompressing side of a direction.
#[derive(Debug)]
pub struct Decompressor {
    zlib: Decompress,
    max: usize,
}

impl Decompressor {
    /// At its beginning, for blocks of at most `max` bytes.
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self { zlib: Decompress::new(true), max }
    }

    /// Reads the next block.
    ///
    /// # Errors
    ///
    /// After any, the connection cannot be read on: the state is lost.
    pub fn decompress(&mut self, compressed: &[u8]) -> Result<Headers, HeaderError> {
        let mut block = BytesMut::new();
        let mut chunk = vec![0; CHUNK];
        let start = self.zlib.total_in();
        loop {
            let done = usize::try_from(self.zlib.total_in() - start).unwrap_or(usize::MAX);
            let rest = compressed.get(done..).unwrap_or_default();
            let before = self.zlib.total_out();
            let status = match self.zlib.decompress(rest, &mut chunk, FlushDecompress::Sync) {
                Ok(status) => status,
                Err(error) if error.needs_dictionary().is_some() => {
                    self.zlib.set_dictionary(dictionary::bytes()).map_err(|_| HeaderError::Compression)?;
                    continue;
                }
                Err(_) => return Err(HeaderError::Compression),
            };
            let made = usize::try_from(self.zlib.total_out() - before).unwrap_or(usize::MAX);
            block.extend_from_slice(chunk.get(..made).unwrap_or_default());
            if block.len() > self.max {
                return Err(HeaderError::TooLong(self.max));
            }
            let done = usize::try_from(self.zlib.total_in() - start).unwrap_or(usize::MAX);
            match status {
                // The stream of a direction does not end.
                Status::StreamEnd => return Err(HeaderError::Compression),
                _ if made == chunk.len() => {}
                _ if done >= compressed.len() => return Headers::from_block(&block),
                _ if made == 0 => return Err(HeaderError::Compression),
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests;
