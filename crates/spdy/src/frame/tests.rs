use super::*;

fn every() -> Vec<Frame> {
    let block = Bytes::from_static(b"block");
    vec![
        Frame::SynStream { id: 1, associated: 3, priority: 5, fin: true, unidirectional: true, block: block.clone() },
        Frame::SynReply { id: 1, fin: false, block: block.clone() },
        Frame::Headers { id: 0x7fff_ffff, fin: true, block },
        Frame::Reset { id: 9, status: status::CANCEL },
        Frame::Settings { clear: true, entries: vec![Setting { id: 7, flags: 1, value: 65536 }, Setting { id: 4, flags: 0, value: 9 }] },
        Frame::Ping(7),
        Frame::GoAway { last: 5, status: 0 },
        Frame::WindowUpdate { id: 0, delta: 0x7fff_ffff },
        Frame::Data { id: 2, fin: true, data: Bytes::from_static(b"hello") },
        Frame::Data { id: 2, fin: false, data: Bytes::new() },
    ]
}

#[test]
fn frames_survive_in_one_piece() {
    let mut buffer = BytesMut::new();
    for frame in every() {
        encode(&frame, &mut buffer);
    }
    let mut decoder = Decoder::new(1024);
    for frame in every() {
        assert_eq!(decoder.next(&mut buffer).unwrap(), Some(frame));
    }
    assert_eq!(decoder.next(&mut buffer).unwrap(), None);
    assert!(!decoder.inside(&buffer));
}

#[test]
fn frames_survive_byte_by_byte() {
    let mut whole = BytesMut::new();
    for frame in every() {
        encode(&frame, &mut whole);
    }
    let (mut decoder, mut buffer, mut found) = (Decoder::new(1024), BytesMut::new(), Vec::new());
    for byte in whole {
        buffer.extend_from_slice(&[byte]);
        while let Some(frame) = decoder.next(&mut buffer).unwrap() {
            match (found.last_mut(), frame) {
                // Data comes in pieces, of which the last has the end.
                (Some(Frame::Data { id, fin, data }), Frame::Data { id: same, fin: end, data: more })
                    if *id == same && !*fin && !data.is_empty() =>
                {
                    *data = [&data[..], &more[..]].concat().into();
                    *fin = end;
                }
                (_, frame) => found.push(frame),
            }
        }
    }
    assert_eq!(found, every());
}

fn decoded(bytes: &[u8]) -> Result<Option<Frame>, FrameError> {
    Decoder::new(1024).next(&mut BytesMut::from(bytes))
}

#[test]
fn what_is_no_frame_is_refused() {
    let cases: [(&[u8], FrameError); 9] = [
        (&[0x80, 2, 0, 1, 0, 0, 0, 10], FrameError::Version(2)),
        (&[0x80, 3, 0, 1, 0, 0, 4, 1], FrameError::TooLong(1025)),
        (&[0x80, 3, 0, 4, 0, 0xff, 0xff, 0xff], FrameError::TooLong(0xff_ffff)),
        (&[0x80, 3, 0, 3, 0, 0, 0, 4, 0, 0, 0, 1], FrameError::Malformed(3)),
        (&[0x80, 3, 0, 6, 0, 0, 0, 5, 0, 0, 0, 1, 0], FrameError::Malformed(6)),
        (&[0x80, 3, 0, 4, 0, 0, 0, 4, 0xff, 0xff, 0xff, 0xff], FrameError::Malformed(4)),
        (&[0x80, 3, 0, 1, 0, 0, 0, 3, 0, 0, 0], FrameError::Malformed(1)),
        (&[0x80, 3, 0, 2, 0, 0, 0, 4, 0x80, 0, 0, 0], FrameError::NoStream(2)),
        (&[0, 0, 0, 0, 0, 0, 0, 1, 7], FrameError::NoStream(0)),
    ];
    for (bytes, error) in cases {
        assert_eq!(decoded(bytes), Err(error));
    }
    assert_eq!(decoded(&[0x80, 3, 0, 10, 0, 0, 0, 1, 9]), Ok(Some(Frame::Unknown(10))));
    assert_eq!(decoded(&[0x80, 3, 0, 6, 0, 0, 0, 4, 0, 0]), Ok(None));
}
