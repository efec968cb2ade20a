//! Two sides over a pipe in memory, and a raw side that says what it should not.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::*;
use crate::frame::{Decoder, Frame, encode};
use crate::headers::Decompressor;

const PATIENCE: Duration = Duration::from_secs(20);

fn pair(config: Config) -> (Connection, Connection, Incoming) {
    let (near, far) = duplex(64 << 10);
    let (client, _) = start(near, Role::Client, config.clone()).unwrap();
    let (server, incoming) = start(far, Role::Server, config).unwrap();
    (client, server, incoming)
}

async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.expect("in time")
}

/// Accepts everything and sends back what comes.
fn echo(mut incoming: Incoming) {
    tokio::spawn(async move {
        while let Some(request) = incoming.next().await {
            let (mut reader, mut writer) = request.accept().split();
            tokio::spawn(async move {
                tokio::io::copy(&mut reader, &mut writer).await.unwrap();
                writer.shutdown().await.unwrap();
            });
        }
    });
}

#[tokio::test]
async fn a_stream_is_opened_used_and_ended_by_halves() {
    let (client, _server, mut incoming) = pair(Config::default());
    let opening = tokio::spawn(async move { (client.open(Headers::new().with("streamType", "stdin")).await.unwrap(), client) });
    let request = soon(incoming.next()).await.unwrap();
    assert_eq!(request.headers().get("streamtype"), Some("stdin"));
    let mut far = request.accept();
    let (mut near, _client) = soon(opening).await.unwrap();
    near.write_all(b"question").await.unwrap();
    near.shutdown().await.unwrap();
    let mut said = String::new();
    soon(far.read_to_string(&mut said)).await.unwrap();
    assert_eq!(said, "question");
    far.write_all(b"answer").await.unwrap();
    far.shutdown().await.unwrap();
    let mut heard = String::new();
    soon(near.read_to_string(&mut heard)).await.unwrap();
    assert_eq!(heard, "answer");
    assert!(far.write_all(b"more").await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn many_streams_carry_much_at_once() {
    for flow_control in [FlowControl::Adaptive, FlowControl::Strict] {
        let (client, _server, incoming) = pair(Config { flow_control, ..Config::default() });
        echo(incoming);
        let mut tasks = tokio::task::JoinSet::new();
        for index in 0..40u32 {
            let client = client.clone();
            tasks.spawn(async move {
                let (mut reader, mut writer) = client.open(Headers::new().with("n", index.to_string())).await.unwrap().split();
                let sent: Vec<u8> = (0..1_000_000u32).map(|at| (at.wrapping_mul(index + 7) >> 3) as u8).collect();
                let copy = sent.clone();
                let writing = tokio::spawn(async move {
                    writer.write_all(&copy).await.unwrap();
                    writer.shutdown().await.unwrap();
                    writer
                });
                let mut heard = Vec::new();
                reader.read_to_end(&mut heard).await.unwrap();
                assert!(heard == sent, "stream {index}");
                writing.await.unwrap();
            });
        }
        soon(async {
            while let Some(done) = tasks.join_next().await {
                done.unwrap()
            }
        })
        .await;
    }
}

#[tokio::test]
async fn refusals_resets_pings_and_the_end_are_seen() {
    let (client, server, mut incoming) = pair(Config::default());
    let refusing = tokio::spawn(async move {
        soon(incoming.next()).await.unwrap().reject(status::INVALID_STREAM);
        drop(soon(incoming.next()).await.unwrap());
        let third = soon(incoming.next()).await.unwrap().accept();
        third.reset(status::INTERNAL_ERROR);
        incoming
    });
    assert!(matches!(soon(client.open(Headers::new())).await, Err(OpenError::Refused(status::INVALID_STREAM))));
    assert!(matches!(soon(client.open(Headers::new())).await, Err(OpenError::Refused(status::REFUSED_STREAM))));
    let mut third = soon(client.open(Headers::new())).await.unwrap();
    let error = soon(third.read_u8()).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    soon(client.ping()).await.unwrap();
    soon(server.ping()).await.unwrap();
    let _incoming = refusing.await.unwrap();
    server.go_away();
    soon(client.ping()).await.unwrap();
    assert!(matches!(client.open(Headers::new()).await, Err(OpenError::GoingAway)));
    drop(server);
    assert!(matches!(soon(client.closed()).await, Error::Closed));
    assert!(client.ping().await.is_err() && client.is_closed());
}

#[tokio::test]
async fn finishing_delivers_what_was_written() {
    let (client, server, mut incoming) = pair(Config::default());
    let opening = tokio::spawn(async move { (client.open(Headers::new()).await.unwrap(), client) });
    let mut far = soon(incoming.next()).await.unwrap().accept();
    let (mut near, client) = soon(opening).await.unwrap();
    far.write_all(&[7; 200_000]).await.unwrap();
    far.shutdown().await.unwrap();
    let finished = tokio::spawn(server.finish(PATIENCE));
    let mut heard = Vec::new();
    soon(near.read_to_end(&mut heard)).await.unwrap();
    assert_eq!(heard.len(), 200_000);
    drop((near, client));
    soon(finished).await.unwrap();
}

/// A side that is not read from does not make the other collect bytes, and what is not read holds the writer back.
#[tokio::test]
async fn backpressure_is_bounded_in_both_ways() {
    for flow_control in [FlowControl::Adaptive, FlowControl::Strict] {
        let config = Config { flow_control, ..Config::default() };
        let bound = 2 * (config.max_queued + config.stream_window as usize + (256 << 10));
        let (client, _server, mut incoming) = pair(config);
        let opening = tokio::spawn(async move { (client.open(Headers::new()).await.unwrap(), client) });
        let mut far = soon(incoming.next()).await.unwrap().accept();
        let (mut near, client) = soon(opening).await.unwrap();
        let mut taken = 0;
        let chunk = [1; 64 << 10];
        // No byte moves for a while once all is full; there is no event for nothing happening.
        while let Ok(written) = tokio::time::timeout(Duration::from_millis(200), near.write(&chunk)).await {
            taken += written.unwrap();
            assert!(taken < bound, "{taken} bytes were taken and nobody reads");
        }
        if flow_control == FlowControl::Strict {
            // Another stream is not held up by it.
            let opening = tokio::spawn(async move { (client.open(Headers::new()).await.unwrap(), client) });
            let mut other = soon(incoming.next()).await.unwrap().accept();
            let (mut third, _client) = soon(opening).await.unwrap();
            third.write_all(b"x").await.unwrap();
            assert_eq!(soon(other.read_u8()).await.unwrap(), b'x');
        }
        drop(near);
        let mut heard = Vec::new();
        let _ = soon(far.read_to_end(&mut heard)).await;
        assert!(heard.len() <= taken);
    }
}

/// A peer like `moby/spdystream`: it says nothing of windows, and takes as much as it gets.
struct Raw {
    io: DuplexStream,
    decoder: Decoder,
    buffer: BytesMut,
    compressor: Compressor,
    decompressor: Decompressor,
}

impl Raw {
    fn client(config: Config) -> (Raw, Connection, Incoming) {
        let (near, far) = duplex(1 << 20);
        let (server, incoming) = start(far, Role::Server, config).unwrap();
        let (decoder, decompressor) = (Decoder::new(64 << 10), Decompressor::new(64 << 10));
        let raw = Raw { io: near, decoder, buffer: BytesMut::new(), compressor: Compressor::new().unwrap(), decompressor };
        (raw, server, incoming)
    }

    async fn send(&mut self, frame: Frame) {
        let mut bytes = BytesMut::new();
        encode(&frame, &mut bytes);
        self.io.write_all(&bytes).await.unwrap();
    }

    async fn open(&mut self, id: u32) {
        let block = self.compressor.compress(&Headers::new().with("n", id.to_string())).unwrap();
        self.send(Frame::SynStream { id, associated: 0, priority: 0, fin: false, unidirectional: false, block }).await;
    }

    async fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = self.decoder.next(&mut self.buffer).unwrap() {
                if let Frame::SynReply { block, .. } = &frame {
                    self.decompressor.decompress(block).unwrap();
                }
                return Some(frame);
            }
            if soon(self.io.read_buf(&mut self.buffer)).await.unwrap_or(0) == 0 {
                return None;
            }
        }
    }

    /// What comes until the other side is gone.
    async fn rest(mut self) -> Vec<Frame> {
        let mut all = Vec::new();
        while let Some(frame) = self.next().await {
            all.push(frame);
        }
        all
    }
}

#[tokio::test]
async fn a_peer_without_windows_gets_everything() {
    let (mut raw, _server, mut incoming) = Raw::client(Config::default());
    raw.open(1).await;
    let mut stream = soon(incoming.next()).await.unwrap().accept();
    let writing = tokio::spawn(async move {
        stream.write_all(&[9; 3_000_000]).await.unwrap();
        stream.shutdown().await.unwrap();
        stream
    });
    assert!(matches!(raw.next().await, Some(Frame::SynReply { id: 1, .. })), "the reply comes before data");
    let mut count = 0;
    loop {
        match raw.next().await.unwrap() {
            Frame::Data { fin, data, .. } => {
                count += data.len();
                if fin {
                    break;
                }
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(count, 3_000_000);
    drop(writing.await.unwrap());
}

#[tokio::test]
async fn one_that_has_windows_is_obeyed() {
    let (mut raw, _server, mut incoming) = Raw::client(Config { flow_control: FlowControl::Strict, ..Config::default() });
    assert!(matches!(raw.next().await, Some(Frame::Settings { .. })));
    assert!(matches!(raw.next().await, Some(Frame::WindowUpdate { id: 0, .. })));
    raw.open(1).await;
    let mut stream = soon(incoming.next()).await.unwrap().accept();
    let writing = tokio::spawn(async move { stream.write_all(&[9; 100_000]).await.map(|()| stream) });
    let mut count = 0;
    while count < 64 << 10 {
        if let Frame::Data { data, .. } = raw.next().await.unwrap() {
            count += data.len();
        }
    }
    assert_eq!(count, 64 << 10);
    // The window of the stream alone does not help.
    raw.send(Frame::WindowUpdate { id: 1, delta: 100_000 }).await;
    raw.send(Frame::Ping(1)).await;
    assert_eq!(raw.next().await, Some(Frame::Ping(1)));
    raw.send(Frame::WindowUpdate { id: 0, delta: 100_000 }).await;
    while count < 100_000 {
        if let Frame::Data { data, .. } = raw.next().await.unwrap() {
            count += data.len();
        }
    }
    drop(soon(writing).await.unwrap().unwrap());
    // More than it was given.
    raw.open(3).await;
    let _held = soon(incoming.next()).await.unwrap().accept();
    let much = Bytes::from(vec![0; 70_000]);
    for _ in 0..4 {
        raw.send(Frame::Data { id: 3, fin: false, data: much.clone() }).await;
    }
    loop {
        match raw.next().await.unwrap() {
            Frame::Reset { id: 3, status } => break assert_eq!(status, status::FLOW_CONTROL_ERROR),
            Frame::Reset { id: 1, .. } | Frame::SynReply { .. } | Frame::WindowUpdate { .. } | Frame::Data { .. } => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn too_many_streams_are_refused_and_the_others_go_on() {
    let (mut raw, _server, mut incoming) = Raw::client(Config { max_streams: 3, backlog: 2, ..Config::default() });
    raw.open(1).await;
    let mut first = soon(incoming.next()).await.unwrap().accept();
    assert!(matches!(raw.next().await, Some(Frame::SynReply { id: 1, .. })));
    for id in [3, 5, 7, 9] {
        raw.open(id).await;
    }
    for id in [7, 9] {
        assert_eq!(raw.next().await, Some(Frame::Reset { id, status: status::REFUSED_STREAM }), "two wait, and no more");
    }
    let _second = soon(incoming.next()).await.unwrap().accept();
    let _third = soon(incoming.next()).await.unwrap().accept();
    raw.open(11).await;
    first.write_all(b"still here").await.unwrap();
    let mut seen = Vec::new();
    while seen.len() < 4 {
        seen.push(raw.next().await.unwrap());
    }
    assert!(seen.contains(&Frame::Reset { id: 11, status: status::REFUSED_STREAM }), "{seen:?}");
    assert!(seen.iter().any(|frame| matches!(frame, Frame::Data { id: 1, .. })));
}

#[tokio::test]
async fn what_is_against_the_rules_ends_the_connection_with_a_word() {
    let syn = |id, block| Frame::SynStream { id, associated: 0, priority: 0, fin: false, unidirectional: false, block };
    let good = || Compressor::new().unwrap().compress(&Headers::new()).unwrap();
    let bomb = Compressor::new().unwrap().compress(&Headers::new().with("b", "0".repeat(1 << 20))).unwrap();
    let encoded = |frames: &[Frame]| {
        let mut out = BytesMut::new();
        frames.iter().for_each(|frame| encode(frame, &mut out));
        out.to_vec()
    };
    let mut long = BytesMut::new();
    encode(&syn(1, Bytes::from(vec![0; 65 << 10])), &mut long);
    let cases = [
        ("a header bomb", encoded(&[syn(1, bomb)]), status::PROTOCOL_ERROR),
        ("a frame too long", long.to_vec(), status::FRAME_TOO_LARGE),
        ("no compression", encoded(&[syn(1, Bytes::from_static(b"xxxx"))]), status::PROTOCOL_ERROR),
        ("an even number", encoded(&[syn(2, good())]), status::PROTOCOL_ERROR),
        ("data of no stream", encoded(&[Frame::Data { id: 5, fin: false, data: Bytes::from_static(b"x") }]), status::PROTOCOL_ERROR),
        ("another version", vec![0x80, 2, 0, 1, 0, 0, 0, 0], status::PROTOCOL_ERROR),
        ("a window of nothing", encoded(&[Frame::WindowUpdate { id: 0, delta: 0 }]), status::PROTOCOL_ERROR),
        ("a window too large", encoded(&[Frame::WindowUpdate { id: 0, delta: 0x7fff_ffff }]), status::PROTOCOL_ERROR),
    ];
    for (what, bytes, expected) in cases {
        let (mut raw, server, _incoming) = Raw::client(Config::default());
        raw.io.write_all(&bytes).await.unwrap();
        let rest = soon(raw.rest()).await;
        assert!(matches!(rest.last(), Some(Frame::GoAway { status, .. }) if *status == expected), "{what}: {rest:?}");
        soon(server.closed()).await;
    }
    // Out of order: a number that was given before.
    let (mut raw, server, mut incoming) = Raw::client(Config::default());
    raw.open(5).await;
    let _held = soon(incoming.next()).await.unwrap().accept();
    raw.open(3).await;
    assert!(matches!(soon(raw.rest()).await.last(), Some(Frame::GoAway { status: status::PROTOCOL_ERROR, .. })));
    assert!(matches!(soon(server.closed()).await, Error::Protocol(_)));
}

#[tokio::test]
async fn a_connection_cut_within_a_frame_is_not_a_good_end() {
    for (cut, truncated) in [(0, false), (5, true), (11, true)] {
        let (mut raw, server, mut incoming) = Raw::client(Config::default());
        raw.open(1).await;
        let mut stream = soon(incoming.next()).await.unwrap().accept();
        let mut bytes = BytesMut::new();
        encode(&Frame::Data { id: 1, fin: true, data: Bytes::from_static(b"hello") }, &mut bytes);
        raw.io.write_all(&bytes[..cut]).await.unwrap();
        raw.io.shutdown().await.unwrap();
        assert_eq!(matches!(soon(server.closed()).await, Error::Truncated), truncated);
        let mut heard = Vec::new();
        let error = soon(stream.read_to_end(&mut heard)).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof, "the stream had not ended");
    }
}

#[tokio::test]
async fn a_flood_of_pings_is_not_collected() {
    let (near, far) = duplex(64 << 10);
    let (server, _incoming) = start(far, Role::Server, Config::default()).unwrap();
    let (_unread, mut writing) = tokio::io::split(near);
    let mut bytes = BytesMut::new();
    (0..1000u32).for_each(|id| encode(&Frame::Ping(2 * id + 1), &mut bytes));
    let flood = async { while writing.write_all(&bytes).await.is_ok() {} };
    tokio::select! {
        () = flood => {}
        error = soon(server.closed()) => assert!(matches!(error, Error::Protocol(_)), "{error}"),
    }
}
