//! Requests: how many, how long, how many at the same time.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use corten_schema::Str;
use http::StatusCode;
use parking_lot::Mutex;

use super::text::{Histogram, Text, labels};
use crate::request::{RequestInfo, Verb};

/// Upper bounds of the latencies of requests, in seconds.
const BUCKETS: &[f64] =
    &[0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0, 20.0, 30.0, 45.0, 60.0];

/// Upper bounds of the sizes of events, in bytes.
const SIZES: &[f64] = &[1024.0, 2048.0, 4096.0, 8192.0, 16384.0, 32768.0, 65536.0, 131_072.0];

/// What is counted together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Series {
    group: Str,
    version: Str,
    resource: Str,
    subresource: Str,
    scope: &'static str,
    verb: &'static str,
    dry_run: bool,
}

#[derive(Debug)]
struct Counted {
    codes: BTreeMap<u16, u64>,
    latency: Histogram,
}

/// Events of one kind.
#[derive(Debug, Default)]
struct Events {
    count: AtomicU64,
    sizes: Mutex<Option<Histogram>>,
}

/// Counters of requests.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    answered: Mutex<HashMap<Series, Counted>>,
    deprecated: Mutex<BTreeMap<(Str, Str, Str, Str), String>>,
    terminated: Mutex<BTreeMap<(u16, &'static str), u64>>,
    reading: Arc<AtomicI64>,
    writing: Arc<AtomicI64>,
    long: Mutex<HashMap<Series, Arc<AtomicI64>>>,
    events: Mutex<BTreeMap<(Str, Str, Str), Arc<Events>>>,
}

/// A request under way.
#[derive(Debug)]
pub(crate) struct Observed {
    series: Series,
    long: Option<InUse>,
    _short: Option<InUse>,
}

/// One among those that a gauge counts, until it is dropped: answered, or given up because its client left.
#[derive(Debug)]
pub(crate) struct InUse(Arc<AtomicI64>);

impl InUse {
    fn new(gauge: &Arc<AtomicI64>) -> Self {
        gauge.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(gauge))
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A watch's counters.
#[derive(Debug)]
pub(crate) struct Watching {
    events: Arc<Events>,
    _running: InUse,
}

impl Watching {
    /// An event of so many bytes is told.
    pub(crate) fn told(&self, bytes: usize) {
        self.events.count.fetch_add(1, Ordering::Relaxed);
        let size = f64::from(u32::try_from(bytes).unwrap_or(u32::MAX));
        self.events.sizes.lock().get_or_insert_with(|| Histogram::new(SIZES)).observe(size);
    }
}

impl Requests {
    /// A request begins.
    pub(crate) fn begin(&self, info: &RequestInfo) -> Observed {
        let series = Series::of(info);
        let (long, short) = match info.is_long_running() {
            // A watch counts itself for as long as its stream lasts.
            true if info.verb == Verb::Watch => (None, None),
            true => (Some(self.running(&series)), None),
            false => (None, Some(InUse::new(if is_read(info) { &self.reading } else { &self.writing }))),
        };
        Observed { series, long, _short: short }
    }

    fn running(&self, series: &Series) -> InUse {
        InUse::new(self.long.lock().entry(series.clone()).or_default())
    }

    /// A watch begins; its counters are kept until it ends.
    pub(crate) fn watch(&self, info: &RequestInfo) -> Watching {
        let series = Series::of(info);
        let key = (series.group.clone(), series.version.clone(), series.resource.clone());
        Watching { events: Arc::clone(self.events.lock().entry(key).or_default()), _running: self.running(&series) }
    }

    /// A request has been answered (a long one: has begun). What is returned counts it as running until it is dropped.
    pub(crate) fn end(&self, observed: Observed, code: StatusCode, took: Duration) -> Option<InUse> {
        let Observed { series, long, .. } = observed;
        if code == StatusCode::TOO_MANY_REQUESTS {
            *self.terminated.lock().entry((code.as_u16(), series.verb)).or_default() += 1;
        }
        let is_long = long.is_some() || series.verb == "WATCH";
        let mut answered = self.answered.lock();
        let counted = answered.entry(series).or_insert_with(|| Counted { codes: BTreeMap::new(), latency: Histogram::new(BUCKETS) });
        *counted.codes.entry(code.as_u16()).or_default() += 1;
        if !is_long {
            counted.latency.observe(took.as_secs_f64());
        }
        long
    }

    /// A request asked for a deprecated version, which goes in `removed` (empty when nobody knows).
    pub(crate) fn deprecated(&self, info: &RequestInfo, removed: &str) {
        let series = Series::of(info);
        let key = (series.group, series.version, series.resource, series.subresource);
        self.deprecated.lock().entry(key).or_insert_with(|| removed.to_owned());
    }

    pub(super) fn render(&self, text: &mut Text) {
        text.gauge("apiserver_current_inflight_requests", "Requests under way, by kind; long-running ones do not count.");
        for (kind, gauge) in [("mutating", &self.writing), ("readOnly", &self.reading)] {
            let value = gauge.load(Ordering::Relaxed);
            text.sample("apiserver_current_inflight_requests", &labels(&[("request_kind", kind)]), value);
        }
        let answered = self.answered.lock();
        let mut sorted: Vec<_> = answered.iter().collect();
        sorted.sort_by(|a, b| a.0.cmp(b.0));
        text.counter("apiserver_request_total", "Answered requests.");
        for (series, counted) in &sorted {
            for (code, count) in &counted.codes {
                let labels = format!("code=\"{code}\",{}", series.labels(true));
                text.sample("apiserver_request_total", &labels, count);
            }
        }
        text.histogram("apiserver_request_duration_seconds", "Time until the answer's head was ready, in seconds.");
        for (series, counted) in sorted.iter().filter(|(_, counted)| counted.latency.is_used()) {
            text.buckets("apiserver_request_duration_seconds", &series.labels(true), &counted.latency);
        }
        drop(answered);
        self.render_long(text);
        text.gauge("apiserver_requested_deprecated_apis", "Deprecated versions that were asked for.");
        for ((group, version, resource, subresource), removed) in &*self.deprecated.lock() {
            let labels = labels(&[
                ("group", group),
                ("removed_release", removed),
                ("resource", resource),
                ("subresource", subresource),
                ("version", version),
            ]);
            text.sample("apiserver_requested_deprecated_apis", &labels, 1_u64);
        }
        text.counter("apiserver_request_terminations_total", "Requests that the server refused to protect itself.");
        for ((code, verb), count) in &*self.terminated.lock() {
            let labels = labels(&[("code", &code.to_string()), ("component", "apiserver"), ("verb", verb)]);
            text.sample("apiserver_request_terminations_total", &labels, count);
        }
    }

    fn render_long(&self, text: &mut Text) {
        text.gauge("apiserver_longrunning_requests", "Watches and other requests that last, under way.");
        let long = self.long.lock();
        let mut sorted: Vec<_> = long.iter().collect();
        sorted.sort_by(|a, b| a.0.cmp(b.0));
        for (series, gauge) in sorted {
            text.sample("apiserver_longrunning_requests", &series.labels(false), gauge.load(Ordering::Relaxed));
        }
        let events = self.events.lock();
        let labels =
            |(group, version, resource): &(Str, Str, Str)| labels(&[("group", group), ("resource", resource), ("version", version)]);
        text.counter("apiserver_watch_events_total", "Events told to watches.");
        for (of, events) in &*events {
            text.sample("apiserver_watch_events_total", &labels(of), events.count.load(Ordering::Relaxed));
        }
        text.histogram("apiserver_watch_events_sizes", "Sizes of events told to watches, in bytes.");
        for (of, events) in &*events {
            if let Some(sizes) = &*events.sizes.lock() {
                text.buckets("apiserver_watch_events_sizes", &labels(of), sizes);
            }
        }
    }
}

fn is_read(info: &RequestInfo) -> bool {
    matches!(info.verb, Verb::Get | Verb::List | Verb::Watch | Verb::Other)
}

impl Series {
    fn of(info: &RequestInfo) -> Self {
        let row = corten_schema::table().resource(&info.group, &info.version, &info.resource);
        let sub = row.and_then(|row| row.subresource(&info.subresource)).map(|sub| sub.name.clone());
        Self {
            group: row.map(|row| row.group.clone()).unwrap_or_default(),
            version: row.map(|row| row.version.clone()).unwrap_or_default(),
            resource: row.map(|row| row.plural.clone()).unwrap_or_default(),
            subresource: sub.unwrap_or_else(|| Str::from_static(endpoint(info))),
            scope: match (row.is_some(), info.name.is_empty(), info.namespace.is_empty()) {
                (false, ..) => "",
                (true, true, _) if info.verb == Verb::Create => "resource",
                (true, false, _) => "resource",
                (true, true, false) => "namespace",
                (true, true, true) => "cluster",
            },
            verb: match info.verb {
                _ if matches!(&*info.subresource, "exec" | "attach" | "portforward" | "proxy") => "CONNECT",
                Verb::Get => "GET",
                Verb::List => "LIST",
                Verb::Watch => "WATCH",
                Verb::Create => "POST",
                Verb::Update => "PUT",
                Verb::Patch => "PATCH",
                Verb::Delete => "DELETE",
                Verb::DeleteCollection => "DELETECOLLECTION",
                Verb::Other => "other",
            },
            dry_run: info.is_resource && info.query.all("dryRun").any(|value| value == "All"),
        }
    }

    fn labels(&self, with_dry_run: bool) -> String {
        let mut pairs = vec![("component", "apiserver")];
        if with_dry_run {
            pairs.push(("dry_run", if self.dry_run { "All" } else { "" }));
        }
        pairs.extend([
            ("group", &*self.group),
            ("resource", &*self.resource),
            ("scope", self.scope),
            ("subresource", &*self.subresource),
            ("verb", self.verb),
            ("version", &*self.version),
        ]);
        labels(&pairs)
    }
}

/// The health endpoints count by their paths.
fn endpoint(info: &RequestInfo) -> &'static str {
    match info.path.as_str() {
        "/healthz" => "/healthz",
        "/livez" => "/livez",
        "/readyz" => "/readyz",
        _ => "",
    }
}
