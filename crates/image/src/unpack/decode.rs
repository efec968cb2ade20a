//! Compression found out by the content, as containerd does: media types lie.

use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::MultiGzDecoder;

/// What the first bytes say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compression {
    None,
    Gzip,
    Zstd,
}

impl Compression {
    /// By magic number (RFC 1952; RFC 8878, where a skippable frame may come first).
    pub(crate) fn of(start: &[u8]) -> Compression {
        match start {
            [0x1f, 0x8b, 8, ..] => Compression::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Compression::Zstd,
            _ => Compression::None,
        }
    }
}

const BUFFER: usize = 128 * 1024;

/// The uncompressed content.
pub(crate) fn decoder<'a>(input: impl Read + 'a) -> io::Result<(Compression, Box<dyn Read + 'a>)> {
    let mut input = Filled { inner: BufReader::with_capacity(BUFFER, input) };
    let compression = Compression::of(input.start()?);
    let reader: Box<dyn Read + 'a> = match compression {
        Compression::None => Box::new(input.inner),
        Compression::Gzip => Box::new(MultiGzDecoder::new(input.inner)),
        // The default window limit (128 MiB) bounds what a frame can make us allocate.
        Compression::Zstd => Box::new(zstd::stream::read::Decoder::with_buffer(input.inner)?),
    };
    Ok((compression, reader))
}

struct Filled<R> {
    inner: BufReader<R>,
}

impl<R: Read> Filled<R> {
    /// The first bytes. One read of a file or pipe gives more than the four that are needed; a shorter answer only means no compression.
    fn start(&mut self) -> io::Result<&[u8]> {
        self.inner.fill_buf()
    }
}
