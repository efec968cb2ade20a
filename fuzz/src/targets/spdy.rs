//! SPDY: frames from a peer that may send anything.

use bytes::{Buf as _, BytesMut};
use corten_spdy::{Decoder, Decompressor, Frame, encode};

const MAX_HEADERS: usize = 16 << 10;

/// All frames of some bytes that come `step` at a time, and whether they ended well.
fn frames(data: &[u8], step: usize) -> (Vec<Frame>, bool) {
    let (mut decoder, mut buffer, mut all) = (Decoder::new(MAX_HEADERS), BytesMut::new(), Vec::new());
    for piece in data.chunks(step.max(1)) {
        buffer.extend_from_slice(piece);
        loop {
            match decoder.next(&mut buffer) {
                Ok(Some(frame)) => join(&mut all, frame),
                Ok(None) => break,
                Err(_) => return (all, false),
            }
        }
        assert!(buffer.len() <= 8 + MAX_HEADERS + step, "the buffer is bounded");
    }
    (all, true)
}

/// Data comes in pieces, which is no difference.
fn join(all: &mut Vec<Frame>, frame: Frame) {
    if let (Some(Frame::Data { id, fin, data }), Frame::Data { id: same, fin: end, data: more }) = (all.last_mut(), &frame)
        && id == same
        && !*fin
    {
        *data = [&data[..], &more[..]].concat().into();
        *fin = *end;
        return;
    }
    all.push(frame);
}

/// However the bytes arrive, the frames are the same; written again, they are read as the same; headers are bounded.
pub fn spdy(data: &[u8]) {
    let (whole, well) = frames(data, data.len());
    let (bytewise, also_well) = frames(data, 1);
    assert_eq!((&whole, well), (&bytewise, also_well));

    let mut written = BytesMut::new();
    let known: Vec<Frame> = whole.into_iter().filter(|frame| !matches!(frame, Frame::Unknown(_))).collect();
    for frame in &known {
        encode(frame, &mut written);
    }
    let mut again = Vec::new();
    known.iter().cloned().for_each(|frame| join(&mut again, frame));
    assert_eq!(frames(written.chunk(), written.len()), (again, true));

    let mut decompressor = Decompressor::new(MAX_HEADERS);
    for frame in &known {
        let (Frame::SynStream { block, .. } | Frame::SynReply { block, .. } | Frame::Headers { block, .. }) = frame else { continue };
        let Ok(headers) = decompressor.decompress(block) else { return };
        let bytes: usize = headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        // A name that has several values is written once for all of them.
        assert!(bytes <= MAX_HEADERS * MAX_HEADERS, "{bytes}");
        assert!(headers.iter().all(|(name, _)| !name.is_empty() && !name.bytes().any(|byte| byte.is_ascii_uppercase())));
        assert!(headers.to_block().len() <= MAX_HEADERS.max(4));
    }
}

/// A block of headers as it is after decompression: what can be read is written as the same.
pub fn spdy_headers(data: &[u8]) {
    let Ok(headers) = corten_spdy::Headers::from_block(data) else { return };
    let again =
        corten_spdy::Headers::from_block(&headers.to_block()).unwrap_or_else(|error| panic!("what was written cannot be read: {error:?}"));
    assert_eq!(headers, again);
}
