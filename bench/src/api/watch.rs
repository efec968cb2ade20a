//! Many watchers of many updates: does every one of them see all, and how late?

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http::Method;
use http_body_util::BodyExt;

use super::load::{self, Client, Endpoint, Job, run_on_a_thread};
use super::{config_map, rate};
use crate::Figure;

const WATCHERS: usize = 100;
const UPDATES: usize = 2000;
/// Objects that are updated in turn, by as many writers.
const TARGETS: usize = 16;
const PATH: &str = "/api/v1/namespaces/watched/configmaps";
/// The longest that the last event may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// What came of one run.
struct Outcome {
    patches: f64,
    events: f64,
    lag: f64,
    lost: usize,
}

pub(super) fn measure(endpoint: &Endpoint, null: &Endpoint) -> Result<Vec<Figure>> {
    let outcome = follow(endpoint, true)?;
    let ceiling = follow(null, false)?;
    let conditions = format!("{UPDATES} patches by {TARGETS} clients, {WATCHERS} watchers on connections of their own");
    let figure = |name, value: f64, unit, ceiling: f64| Figure {
        name,
        value,
        unit,
        conditions: format!("{conditions}; load generator's ceiling {ceiling:.0} {unit}"),
    };
    Ok(vec![
        figure("API: patches while 100 watchers follow", outcome.patches, "/s", ceiling.patches),
        figure("API: events to 100 watchers", outcome.events, "/s", ceiling.events),
        figure("API: lag of an event, from its patch being sent (p99)", outcome.lag * 1e3, "ms", ceiling.lag * 1e3),
        figure("API: events lost", f64::from(u32::try_from(outcome.lost)?), "", 0.0),
    ])
}

/// When each patch was sent, in microseconds since `began`.
struct Sent {
    began: Instant,
    at: Vec<AtomicU64>,
}

impl Sent {
    fn micros(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

fn follow(endpoint: &Endpoint, real: bool) -> Result<Outcome> {
    let sent = Arc::new(Sent { began: Instant::now(), at: (0..UPDATES).map(|_| AtomicU64::new(0)).collect() });
    let endpoint = endpoint.clone();
    run_on_a_thread(async move {
        let mut clients = load::connect_all(&endpoint, TARGETS).await?;
        if real {
            let jobs =
                (0..TARGETS).map(|target| Job { method: Method::POST, path: PATH.to_owned(), body: config_map(&name(target)).into() });
            load::all(load::connect_all(&endpoint, 1).await?, jobs.collect()).await?;
        }
        let mut watchers = Vec::with_capacity(WATCHERS);
        for _ in 0..WATCHERS {
            let mut client = load::connect(&endpoint).await?;
            // "Now" is a revision that all watchers share with the writers: all patches come after it.
            let path = format!("{PATH}?watch=1&resourceVersion=0&sendInitialEvents=false&resourceVersionMatch=NotOlderThan");
            let answer = client.send(Method::GET, &path, "application/json", Bytes::new()).await?;
            watchers.push(tokio::spawn(watch(client, answer.into_body(), Arc::clone(&sent))));
        }
        let began = Instant::now();
        let mut writers = Vec::with_capacity(TARGETS);
        for (target, client) in clients.drain(..).enumerate() {
            writers.push(tokio::spawn(write(client, target, Arc::clone(&sent))));
        }
        for writer in writers {
            writer.await??;
        }
        let patches = rate(UPDATES, began.elapsed());
        let (mut lags, mut seen) = (Vec::with_capacity(WATCHERS * UPDATES), 0);
        for watcher in watchers {
            let found = watcher.await??;
            seen += found.len();
            lags.extend(found);
        }
        let events = rate(seen, began.elapsed());
        lags.sort_unstable();
        let lag = lags.get(lags.len() * 99 / 100).copied().context("no events")?;
        Ok(Outcome { patches, events, lag: Duration::from_micros(lag).as_secs_f64(), lost: (WATCHERS * UPDATES).saturating_sub(seen) })
    })
}

fn name(target: usize) -> String {
    format!("watched-{target:02}")
}

/// Sends every `TARGETS`th update.
async fn write(mut client: Client, target: usize, sent: Arc<Sent>) -> Result<()> {
    let path = format!("{PATH}/{}", name(target));
    for update in (target..UPDATES).step_by(TARGETS) {
        let body = format!("{{\"data\":{{\"n\":\"update-{update:05}\"}}}}");
        if let Some(at) = sent.at.get(update) {
            at.store(sent.micros(), Ordering::Relaxed);
        }
        let answer = client.send(Method::PATCH, &path, "application/merge-patch+json", body.into()).await?;
        answer.into_body().collect().await?;
    }
    Ok(())
}

/// Reads events until all updates were seen, each once; returns their lags in microseconds. Fewer when no more come.
async fn watch(client: Client, mut body: hyper::body::Incoming, sent: Arc<Sent>) -> Result<Vec<u64>> {
    let mut lags = Vec::with_capacity(UPDATES);
    let mut seen = vec![false; UPDATES];
    let mut rest: Vec<u8> = Vec::new();
    while lags.len() < UPDATES {
        let Ok(frame) = tokio::time::timeout(PATIENCE, body.frame()).await else { break };
        let Some(frame) = frame else { break };
        let Ok(data) = frame?.into_data() else { continue };
        let now = sent.micros();
        rest.extend_from_slice(&data);
        let Some(end) = rest.iter().rposition(|byte| *byte == b'\n') else { continue };
        for line in rest.get(..end).unwrap_or_default().split(|byte| *byte == b'\n') {
            let Some(update) = number(line) else { continue };
            let slot = seen.get_mut(update).context("an update that was not sent")?;
            ensure!(!std::mem::replace(slot, true), "update {update} was seen twice");
            let at = sent.at.get(update).map_or(now, |at| at.load(Ordering::Relaxed));
            lags.push(now.saturating_sub(at));
        }
        rest.drain(..=end);
    }
    drop(client);
    Ok(lags)
}

/// The number after `update-`.
fn number(line: &[u8]) -> Option<usize> {
    const MARK: &[u8] = b"\"update-";
    let at = line.windows(MARK.len()).position(|window| window == MARK)? + MARK.len();
    std::str::from_utf8(line.get(at..at + 5)?).ok()?.parse().ok()
}
