//! A reader of tar archives (POSIX.1-2001 pax and GNU extensions) for input that nobody vouches for.
//!
//! Own code, since the common crates read extension headers of any length into memory and split extended attributes at
//! newlines, which binary capabilities contain.

use std::io::{self, Read};

/// Longest extension header (long names, extended attributes).
const EXTENSION_MAX: u64 = 1 << 20;
const BLOCK: usize = 512;

/// Why an archive cannot be read on.
#[derive(Debug, thiserror::Error)]
pub enum TarError {
    /// The input failed or ended too early.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A header that is no tar header.
    #[error("invalid tar header at byte {0}")]
    Header(u64),
    /// An extension header beyond all measure.
    #[error("tar extension header of {0} bytes is too long")]
    ExtensionTooLong(u64),
    /// A kind of entry that image layers do not have, or that cannot be represented.
    #[error("unsupported tar entry type {0:?}")]
    Unsupported(char),
}

/// What an entry makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    HardLink,
    Symlink,
    CharacterDevice,
    BlockDevice,
    Directory,
    Fifo,
}

/// Name and value of an extended attribute.
pub(crate) type Xattr = (Vec<u8>, Vec<u8>);

/// One entry, its extensions applied. Its content is what the reader yields until the next one.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) kind: Kind,
    pub(crate) path: Vec<u8>,
    pub(crate) link: Vec<u8>,
    pub(crate) mode: u32,
    pub(crate) uid: u64,
    pub(crate) gid: u64,
    /// Seconds and nanoseconds.
    pub(crate) mtime: (i64, u32),
    pub(crate) size: u64,
    pub(crate) device: (u32, u32),
    pub(crate) xattrs: Vec<Xattr>,
}

/// The archive; also the content of the current entry.
pub(crate) struct TarReader<R> {
    inner: R,
    position: u64,
    content: u64,
    padding: u64,
}

#[derive(Default)]
struct Extensions {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    uid: Option<u64>,
    gid: Option<u64>,
    mtime: Option<(i64, u32)>,
    xattrs: Vec<Xattr>,
}

impl<R: Read> TarReader<R> {
    pub(crate) fn new(inner: R) -> TarReader<R> {
        TarReader { inner, position: 0, content: 0, padding: 0 }
    }

    /// Skips what is left of the current entry and reads the next header; `None` at the archive's end.
    pub(crate) fn next_entry(&mut self) -> Result<Option<Entry>, TarError> {
        let mut extensions = Extensions::default();
        loop {
            let Some(header) = self.header()? else { return Ok(None) };
            let start = self.position - BLOCK as u64;
            let bad = || TarError::Header(start);
            let size = header.number(124, 12).ok_or_else(bad)?;
            match header.kind() {
                b'L' => extensions.path = Some(without_nul(self.extension(size)?)),
                b'K' => extensions.link = Some(without_nul(self.extension(size)?)),
                b'x' => {
                    let records = self.extension(size)?;
                    extensions.pax(&records).ok_or_else(bad)??;
                }
                // Global records hold comments (git) in practice, and containerd ignores them as well.
                b'g' => self.begin(size),
                _ => return self.entry(&header, size, extensions).map(Some),
            }
        }
    }

    /// Reads the archive's tail, which belongs to the layer's digest.
    pub(crate) fn finish(mut self) -> io::Result<R> {
        self.skip_content()?;
        io::copy(&mut self.inner, &mut io::sink())?;
        Ok(self.inner)
    }

    fn entry(&mut self, header: &Header, size: u64, extensions: Extensions) -> Result<Entry, TarError> {
        let start = self.position - BLOCK as u64;
        let bad = || TarError::Header(start);
        let path = extensions.path.unwrap_or_else(|| header.path());
        let kind = match header.kind() {
            b'0' | 0 | b'7' if path.ends_with(b"/") => Kind::Directory,
            b'0' | 0 | b'7' => Kind::File,
            b'1' => Kind::HardLink,
            b'2' => Kind::Symlink,
            b'3' => Kind::CharacterDevice,
            b'4' => Kind::BlockDevice,
            b'5' => Kind::Directory,
            b'6' => Kind::Fifo,
            other => return Err(TarError::Unsupported(char::from(other))),
        };
        let size = extensions.size.unwrap_or(size);
        // Only files have content; some writers give links the size of what they point to.
        let size = if kind == Kind::File { size } else { 0 };
        self.begin(size);
        let device = |at| u32::try_from(header.number(at, 8).unwrap_or(0)).map_err(|_| bad());
        let mtime = || i64::try_from(header.number(136, 12).unwrap_or(0)).ok().map(|seconds| (seconds, 0));
        Ok(Entry {
            kind,
            path,
            link: extensions.link.unwrap_or_else(|| header.text(157, 100)),
            mode: u32::try_from(header.number(100, 8).ok_or_else(bad)? & 0o7777).unwrap_or_default(),
            uid: extensions.uid.or_else(|| header.number(108, 8)).ok_or_else(bad)?,
            gid: extensions.gid.or_else(|| header.number(116, 8)).ok_or_else(bad)?,
            mtime: extensions.mtime.or_else(mtime).unwrap_or_default(),
            size,
            device: (device(329)?, device(337)?),
            xattrs: extensions.xattrs,
        })
    }

    fn begin(&mut self, size: u64) {
        self.content = size;
        self.padding = (BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64;
    }

    fn extension(&mut self, size: u64) -> Result<Vec<u8>, TarError> {
        if size > EXTENSION_MAX {
            return Err(TarError::ExtensionTooLong(size));
        }
        self.begin(size);
        let mut data = Vec::new();
        (&mut *self).take(size).read_to_end(&mut data)?;
        Ok(data)
    }

    fn skip_content(&mut self) -> io::Result<()> {
        let left = self.content.saturating_add(self.padding);
        let skipped = io::copy(&mut (&mut self.inner).take(left), &mut io::sink())?;
        self.position += skipped;
        // Padding of the last entry may be missing.
        let missing = skipped < self.content;
        (self.content, self.padding) = (0, 0);
        if missing { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }

    fn header(&mut self) -> Result<Option<Header>, TarError> {
        self.skip_content()?;
        let mut block = [0; BLOCK];
        let mut filled = 0;
        while let Some(rest) = block.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.inner.read(rest) {
                Ok(0) if filled == 0 => return Ok(None),
                Ok(0) => return Err(TarError::Io(io::ErrorKind::UnexpectedEof.into())),
                Ok(n) => filled += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        let start = self.position;
        self.position += BLOCK as u64;
        if block.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        let header = Header { block };
        if header.checksum_matches() { Ok(Some(header)) } else { Err(TarError::Header(start)) }
    }
}

impl<R: Read> Read for TarReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let limit = usize::try_from(self.content).unwrap_or(usize::MAX).min(buffer.len());
        let Some(buffer) = buffer.get_mut(..limit).filter(|buffer| !buffer.is_empty()) else { return Ok(0) };
        let n = self.inner.read(buffer)?;
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.content -= n as u64;
        self.position += n as u64;
        Ok(n)
    }
}

struct Header {
    block: [u8; BLOCK],
}

impl Header {
    fn field(&self, at: usize, length: usize) -> &[u8] {
        self.block.get(at..at + length).unwrap_or_default()
    }

    fn kind(&self) -> u8 {
        self.field(156, 1).first().copied().unwrap_or_default()
    }

    fn text(&self, at: usize, length: usize) -> Vec<u8> {
        without_nul(self.field(at, length).to_vec())
    }

    /// The name, with POSIX's prefix field (GNU uses those bytes otherwise).
    fn path(&self) -> Vec<u8> {
        let name = self.text(0, 100);
        let prefix = if self.field(257, 6) == b"ustar\0" { self.text(345, 155) } else { Vec::new() };
        if prefix.is_empty() { name } else { [prefix, name].join(&b'/') }
    }

    /// Octal text, or base 256 when the first bit is set (GNU).
    fn number(&self, at: usize, length: usize) -> Option<u64> {
        let field = self.field(at, length);
        let (first, rest) = field.split_first()?;
        if *first == 0x80 {
            return rest.iter().try_fold(0_u64, |number, byte| number.checked_mul(256)?.checked_add(u64::from(*byte)));
        }
        let digits: Vec<u8> = field.iter().copied().skip_while(|b| *b == b' ').take_while(|b| !matches!(b, b' ' | 0)).collect();
        digits.iter().try_fold(0_u64, |number, digit| match digit {
            b'0'..=b'7' => number.checked_mul(8)?.checked_add(u64::from(digit - b'0')),
            _ => None,
        })
    }

    fn checksum_matches(&self) -> bool {
        let bytes = self.block.iter().enumerate().map(|(at, byte)| if (148..156).contains(&at) { b' ' } else { *byte });
        let unsigned: u64 = bytes.clone().map(u64::from).sum();
        // Some old writers summed signed bytes.
        let signed: i64 = bytes.map(|byte| i64::from(byte.cast_signed())).sum();
        self.number(148, 8).is_some_and(|sum| sum == unsigned || i64::try_from(sum) == Ok(signed))
    }
}

fn without_nul(mut bytes: Vec<u8>) -> Vec<u8> {
    if let Some(end) = bytes.iter().position(|byte| *byte == 0) {
        bytes.truncate(end);
    }
    bytes
}

impl Extensions {
    /// Records of the form `length key=value\n`, where the length counts the whole record. `None` if they are malformed.
    fn pax(&mut self, mut records: &[u8]) -> Option<Result<(), TarError>> {
        while !records.is_empty() {
            let space = records.iter().position(|byte| *byte == b' ')?;
            let length: usize = std::str::from_utf8(records.get(..space)?).ok()?.parse().ok()?;
            let record = records.get(space + 1..length.checked_sub(1)?)?;
            if records.get(length - 1) != Some(&b'\n') {
                return None;
            }
            records = records.get(length..)?;
            let equals = record.iter().position(|byte| *byte == b'=')?;
            let (key, value) = (record.get(..equals)?, record.get(equals + 1..)?);
            if key.starts_with(b"GNU.sparse.") {
                return Some(Err(TarError::Unsupported('S')));
            }
            self.record(key, value)?;
        }
        Some(Ok(()))
    }

    fn record(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        let text = || std::str::from_utf8(value).ok();
        match key {
            // An empty value takes the extension back.
            b"path" => self.path = (!value.is_empty()).then(|| without_nul(value.to_vec())),
            b"linkpath" => self.link = (!value.is_empty()).then(|| without_nul(value.to_vec())),
            b"size" => self.size = Some(text()?.parse().ok()?),
            b"uid" => self.uid = Some(text()?.parse().ok()?),
            b"gid" => self.gid = Some(text()?.parse().ok()?),
            b"mtime" => self.mtime = Some(time(text()?)?),
            _ => {
                if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                    self.xattrs.push((name.to_vec(), value.to_vec()));
                }
            }
        }
        Some(())
    }
}

/// `seconds[.fraction]`, possibly negative.
fn time(text: &str) -> Option<(i64, u32)> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits: String = fraction.chars().chain("000000000".chars()).take(9).collect();
    let (seconds, nanos): (i64, u32) = (seconds.parse().ok()?, digits.parse().ok()?);
    // A negative time's fraction counts further back.
    if text.starts_with('-') && nanos > 0 { Some((seconds.checked_sub(1)?, 1_000_000_000 - nanos)) } else { Some((seconds, nanos)) }
}

#[cfg(test)]
mod tests;
