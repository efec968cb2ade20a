//! Over SPDY: a pair of streams for each connection, one for data and one for errors, that have a number in common.

use std::collections::HashMap;

use corten_spdy::{Config, Headers, Request, Role, Stream, status};
use tokio::io::AsyncWriteExt as _;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::Forwarder;
use crate::{BoxIo, KEEP_ALIVE};

/// Pairs that may wait for their second stream.
const MAX_WAITING: usize = 64;

/// What a stream is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Data,
    Error,
}

/// What a stream's headers say.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Asked {
    kind: Kind,
    port: u16,
    /// What it has in common with its other.
    pair: String,
}

impl Asked {
    fn parse(id: u32, headers: &Headers) -> Result<Self, String> {
        let required =
            |name: &str| headers.get(name).filter(|value| !value.is_empty()).ok_or_else(|| format!("{name:?} header is required"));
        let port = required("port")?;
        let number: u64 = port.parse().map_err(|_| format!("unable to parse {port:?} as a port"))?;
        let port = u16::try_from(number).ok().filter(|port| *port > 0).ok_or_else(|| format!("port {port:?} must be > 0 and < 65536"))?;
        let kind = match required("streamType")? {
            "data" => Kind::Data,
            "error" => Kind::Error,
            other => return Err(format!("invalid stream type {other:?}")),
        };
        let pair = match (headers.get("requestID").filter(|value| !value.is_empty()), kind) {
            (Some(number), _) => number.to_owned(),
            // Old clients give no number: they open the stream for errors first, and the other right after it.
            (None, Kind::Error) => format!("stream {id}"),
            (None, Kind::Data) => format!("stream {}", id.saturating_sub(2)),
        };
        Ok(Self { kind, port, pair })
    }
}

/// A stream whose other is still to come.
struct Waiting {
    kind: Kind,
    stream: Stream,
    until: Instant,
}

pub(super) async fn serve(io: BoxIo, forwarder: Forwarder) {
    let config = Config { keep_alive: Some(KEEP_ALIVE), connection_window: 8 << 20, ..Config::default() };
    let (connection, mut incoming) = match corten_spdy::start(io, Role::Server, config) {
        Ok(started) => started,
        Err(error) => return tracing::debug!(%error, "SPDY did not begin"),
    };
    let mut waiting: HashMap<String, Waiting> = HashMap::new();
    let mut connections = JoinSet::new();
    loop {
        let next = waiting.values().map(|one| one.until).min();
        let expiry = async {
            match next {
                Some(until) => tokio::time::sleep_until(until).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            request = incoming.next() => match request {
                Some(request) => pair(request, &mut waiting, &mut connections, &forwarder),
                None => break,
            },
            () = expiry => expire(&mut waiting, &mut connections),
            Some(_) = connections.join_next() => {}
        }
    }
    connections.shutdown().await;
    drop(connection);
}

fn pair(request: Request, waiting: &mut HashMap<String, Waiting>, connections: &mut JoinSet<()>, forwarder: &Forwarder) {
    let asked = match Asked::parse(request.id(), request.headers()) {
        Ok(asked) => asked,
        Err(why) => {
            tracing::debug!(why, "a stream of a port-forward was refused");
            return request.reject(status::PROTOCOL_ERROR);
        }
    };
    match waiting.remove(&asked.pair) {
        None if waiting.len() >= MAX_WAITING => request.reject(status::REFUSED_STREAM),
        None => {
            let one = Waiting { kind: asked.kind, stream: request.accept(), until: Instant::now() + forwarder.creation };
            waiting.insert(asked.pair, one);
        }
        // Twice the same: the first stays.
        Some(first) if first.kind == asked.kind => {
            waiting.insert(asked.pair, first);
            request.reject(status::PROTOCOL_ERROR);
        }
        Some(first) => {
            let second = request.accept();
            let (data, errors) = if asked.kind == Kind::Data { (second, first.stream) } else { (first.stream, second) };
            let forwarder = forwarder.clone();
            connections.spawn(async move {
                // What a client writes on the stream for errors is thrown away.
                let (_, errors) = errors.split();
                forwarder.connect(asked.port, data, Box::new(errors), true).await;
            });
        }
    }
}

/// Gives up those whose other has not come.
fn expire(waiting: &mut HashMap<String, Waiting>, connections: &mut JoinSet<()>) {
    let now = Instant::now();
    let late: Vec<String> = waiting.iter().filter(|(_, one)| one.until <= now).map(|(pair, _)| pair.clone()).collect();
    for name in late {
        let Some(mut one) = waiting.remove(&name) else { continue };
        tracing::debug!(request = name, "a port-forward's second stream did not come");
        if one.kind == Kind::Error {
            connections.spawn(async move {
                let words = format!("timed out waiting for the data stream of request {name}");
                let _ = one.stream.write_all(words.as_bytes()).await;
                let _ = one.stream.shutdown().await;
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_known_by_their_headers() {
        let of = |id, headers: &[(&str, &str)]| {
            Asked::parse(id, &headers.iter().fold(Headers::new(), |all, (name, value)| all.with(name, *value)))
        };
        let data = Asked { kind: Kind::Data, port: 80, pair: "7".to_owned() };
        assert_eq!(of(3, &[("streamType", "data"), ("port", "80"), ("requestID", "7")]), Ok(data));
        let old = |id, kind| of(id, &[("streamType", kind), ("port", "80")]).map(|asked| asked.pair);
        assert_eq!(old(5, "error"), old(7, "data"));
        let refused = [
            (&[("port", "80")][..], "\"streamType\" header is required"),
            (&[("streamType", "data")], "\"port\" header is required"),
            (&[("streamType", "other"), ("port", "80")], "invalid stream type \"other\""),
            (&[("streamType", "data"), ("port", "http")], "unable to parse \"http\" as a port"),
            (&[("streamType", "data"), ("port", "0")], "port \"0\" must be > 0 and < 65536"),
            (&[("streamType", "data"), ("port", "65536")], "port \"65536\" must be > 0 and < 65536"),
        ];
        for (headers, words) in refused {
            assert_eq!(of(1, headers), Err(words.to_owned()));
        }
    }
}
