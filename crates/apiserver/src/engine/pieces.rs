//! A long list as a stream of pieces, made while they are sent: a slow client holds references to objects that are there
//! anyway, and one piece.

use std::{io::Write, sync::Arc, vec};

use bytes::{BufMut, Bytes, BytesMut};
use flate2::{Compression, write::GzEncoder};
use http::{HeaderValue, header};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};

use crate::{
    body::{BoxError, Response},
    ledger::Entry,
};

/// Lists of at least this size are streamed; the same size from which answers are compressed, as in the reference.
pub(super) const FROM: usize = 128 * 1024;

/// The size of a piece, about.
const PIECE: usize = 64 * 1024;

/// What is left of a list.
pub(super) struct Pieces {
    head: Vec<u8>,
    entries: vec::IntoIter<Arc<Entry>>,
    first: bool,
    gzip: Option<GzEncoder<Vec<u8>>>,
    ended: bool,
}

impl Pieces {
    /// A list of objects as they are stored, behind what stands before its items.
    pub(super) fn new(head: Vec<u8>, entries: Vec<Arc<Entry>>, gzip: bool) -> Self {
        let gzip = gzip.then(|| GzEncoder::new(Vec::with_capacity(PIECE), Compression::new(1)));
        Self { head, entries: entries.into_iter(), first: true, gzip, ended: false }
    }

    /// The list as the answer to a request.
    pub(super) fn into_response(self) -> Response {
        let zipped = self.gzip.is_some();
        let pieces = futures::stream::unfold(self, |mut pieces| async move {
            let piece = pieces.next()?;
            Some((piece.map(Frame::data), pieces))
        });
        let mut response = http::Response::new(StreamBody::new(pieces).boxed_unsync());
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if zipped {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            headers.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
        }
        response
    }

    fn next(&mut self) -> Option<Result<Bytes, BoxError>> {
        while !self.ended {
            let plain = self.plain();
            let Some(gzip) = &mut self.gzip else { return Some(Ok(plain.freeze())) };
            let done = gzip.write_all(&plain).and_then(|()| if self.ended { gzip.try_finish() } else { Ok(()) });
            if let Err(error) = done {
                self.ended = true;
                return Some(Err(error.into()));
            }
            // What is compressed so far may be little: small frames would cost more than they carry.
            if self.ended || gzip.get_ref().len() >= PIECE / 4 {
                return Some(Ok(std::mem::replace(gzip.get_mut(), Vec::with_capacity(PIECE)).into()));
            }
        }
        None
    }

    /// The next piece before compression.
    fn plain(&mut self) -> BytesMut {
        let mut out = BytesMut::with_capacity(PIECE + PIECE / 8);
        out.put_slice(&std::mem::take(&mut self.head));
        for entry in self.entries.by_ref() {
            if !std::mem::replace(&mut self.first, false) {
                out.put_u8(b',');
            }
            entry.write_item(entry.revision(), &mut out);
            if out.len() >= PIECE {
                return out;
            }
        }
        out.put_slice(b"]}");
        self.ended = true;
        out
    }
}
