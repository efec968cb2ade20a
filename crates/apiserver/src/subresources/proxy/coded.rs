//! An HTML body whose links are rewritten as it passes, compressed or not. Never more than a piece of it is in memory.

use std::io::{self, Write};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::{DeflateDecoder, DeflateEncoder, GzEncoder, MultiGzDecoder};
use futures::stream;
use http::HeaderMap;
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Incoming;

use super::html::Rewriter;
use super::links::Links;
use crate::body::{Body, BoxError};

/// How much is decompressed at a time: deflate makes at most 1,032 bytes of one.
const SLICE: usize = 4 << 10;

/// How a body is encoded.
enum Coding {
    Plain,
    Gzip { decoder: MultiGzDecoder<Vec<u8>>, encoder: GzEncoder<Vec<u8>> },
    Deflate { decoder: DeflateDecoder<Vec<u8>>, encoder: DeflateEncoder<Vec<u8>> },
}

/// Rewrites the pieces of one body.
pub(super) struct Pipe {
    coding: Coding,
    rewriter: Rewriter,
}

impl Pipe {
    /// For a body with these headers; `None` for an encoding that is not understood.
    pub(super) fn new(headers: &HeaderMap, links: Links) -> Option<Self> {
        let encoding = headers.get(http::header::CONTENT_ENCODING).map_or(Some(""), |value| value.to_str().ok())?;
        let coding = match encoding {
            "" => Coding::Plain,
            "gzip" => {
                Coding::Gzip { decoder: MultiGzDecoder::new(Vec::new()), encoder: GzEncoder::new(Vec::new(), Compression::default()) }
            }
            "deflate" => Coding::Deflate {
                decoder: DeflateDecoder::new(Vec::new()),
                encoder: DeflateEncoder::new(Vec::new(), Compression::default()),
            },
            _ => return None,
        };
        Some(Self { coding, rewriter: Rewriter::new(links) })
    }

    /// What becomes of a piece; may be empty.
    fn push(&mut self, piece: &[u8]) -> io::Result<Vec<u8>> {
        let mut out = Vec::with_capacity(piece.len());
        match &mut self.coding {
            Coding::Plain => self.rewriter.push(piece, &mut out),
            Coding::Gzip { decoder, encoder } => out = pass(&mut self.rewriter, decoder, encoder, piece)?,
            Coding::Deflate { decoder, encoder } => out = pass(&mut self.rewriter, decoder, encoder, piece)?,
        }
        Ok(out)
    }

    /// What comes after the last piece.
    fn finish(mut self) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        match self.coding {
            Coding::Plain => {
                self.rewriter.finish(&mut out);
                Ok(out)
            }
            Coding::Gzip { decoder, encoder } => end(self.rewriter, decoder, encoder),
            Coding::Deflate { decoder, encoder } => end(self.rewriter, decoder, encoder),
        }
    }
}

/// One half of a compression: what is written to it comes out in its buffer.
trait Stage: Write {
    fn buffer(&mut self) -> &mut Vec<u8>;
    fn end(self) -> io::Result<Vec<u8>>;
}

macro_rules! stages {
    ($($stage:ident),+) => {$(
        impl Stage for $stage<Vec<u8>> {
            fn buffer(&mut self) -> &mut Vec<u8> {
                self.get_mut()
            }

            fn end(self) -> io::Result<Vec<u8>> {
                self.finish()
            }
        }
    )+};
}

stages!(MultiGzDecoder, GzEncoder, DeflateDecoder, DeflateEncoder);

/// A compressed piece, as it goes out.
fn pass(rewriter: &mut Rewriter, decoder: &mut impl Stage, encoder: &mut impl Stage, piece: &[u8]) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    for slice in piece.chunks(SLICE) {
        decoder.write_all(slice)?;
        decoder.flush()?;
        rewriter.push(&std::mem::take(decoder.buffer()), &mut out);
        encoder.write_all(&std::mem::take(&mut out))?;
    }
    // A reader that follows sees what there is.
    encoder.flush()?;
    Ok(std::mem::take(encoder.buffer()))
}

/// What is left in a compression.
fn end(mut rewriter: Rewriter, decoder: impl Stage, mut encoder: impl Stage) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    rewriter.push(&decoder.end()?, &mut out);
    rewriter.finish(&mut out);
    encoder.write_all(&out)?;
    encoder.end()
}

/// The body with its links rewritten. What cannot be decompressed breaks it off.
pub(super) fn rewritten(body: Incoming, pipe: Pipe) -> Body {
    let frames = stream::try_unfold(Page { body, pipe: Some(pipe), trailers: None }, |mut page| async move {
        let frame = page.next().await?;
        Ok(frame.map(|frame| (frame, page)))
    });
    StreamBody::new(frames).map_err(|error: BoxError| error).boxed_unsync()
}

/// A body on its way.
struct Page {
    body: Incoming,
    /// Until the end of the page.
    pipe: Option<Pipe>,
    /// What comes after the page, when that is out.
    trailers: Option<Frame<Bytes>>,
}

impl Page {
    async fn next(&mut self) -> Result<Option<Frame<Bytes>>, BoxError> {
        while let Some(mut pipe) = self.pipe.take() {
            let frame = self.body.frame().await.transpose()?;
            let out = match frame.map(Frame::into_data) {
                Some(Ok(data)) => {
                    let out = pipe.push(&data)?;
                    self.pipe = Some(pipe);
                    out
                }
                Some(Err(trailers)) => {
                    self.trailers = Some(trailers);
                    pipe.finish()?
                }
                None => pipe.finish()?,
            };
            if !out.is_empty() {
                return Ok(Some(Frame::data(Bytes::from(out))));
            }
        }
        Ok(self.trailers.take())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use flate2::read::{DeflateDecoder as ReadDeflate, MultiGzDecoder as ReadGzip};

    use super::*;

    const PAGE: &str = "<html><a href=\"/x\">x</a>";
    const REWRITTEN: &str = "<html><a href=\"/p/x\">x</a>";

    fn pipe(encoding: Option<&str>) -> Option<Pipe> {
        let mut headers = HeaderMap::new();
        if let Some(encoding) = encoding {
            headers.insert("content-encoding", encoding.parse().unwrap());
        }
        Pipe::new(&headers, Links { prefix: "/p".to_owned(), backend: "b".to_owned(), asked: "a".to_owned() })
    }

    fn through(encoding: Option<&str>, page: &[u8], size: usize) -> io::Result<Vec<u8>> {
        let mut pipe = pipe(encoding).unwrap();
        let mut out = Vec::new();
        for piece in page.chunks(size) {
            out.extend(pipe.push(piece)?);
        }
        out.extend(pipe.finish()?);
        Ok(out)
    }

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn compressed_pages_are_rewritten_too() {
        for size in [1, 5, usize::MAX] {
            assert_eq!(through(None, PAGE.as_bytes(), size).unwrap(), REWRITTEN.as_bytes());
            let mut text = String::new();
            ReadGzip::new(&*through(Some("gzip"), &gzip(PAGE.as_bytes()), size).unwrap()).read_to_string(&mut text).unwrap();
            assert_eq!(text, REWRITTEN);
            let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
            encoder.write_all(PAGE.as_bytes()).unwrap();
            let mut text = String::new();
            ReadDeflate::new(&*through(Some("deflate"), &encoder.finish().unwrap(), size).unwrap()).read_to_string(&mut text).unwrap();
            assert_eq!(text, REWRITTEN);
        }
        assert!(pipe(Some("br")).is_none());
    }

    #[test]
    fn what_is_not_compressed_breaks_off() {
        assert!(through(Some("gzip"), PAGE.as_bytes(), usize::MAX).is_err());
        let half = gzip(PAGE.as_bytes());
        assert!(through(Some("gzip"), &half[..half.len() / 2], usize::MAX).is_err());
    }

    #[test]
    fn a_small_piece_that_is_a_large_page_comes_out_small() {
        let large = gzip(&vec![b' '; 2 << 20]);
        let mut pipe = pipe(Some("gzip")).unwrap();
        let out = pipe.push(&large).unwrap();
        assert!(out.len() < 64 << 10 && pipe.rewriter_holds() == 0);
    }

    impl Pipe {
        fn rewriter_holds(&self) -> usize {
            match &self.coding {
                Coding::Gzip { decoder, encoder } => decoder.get_ref().len() + encoder.get_ref().len(),
                _ => 0,
            }
        }
    }
}
