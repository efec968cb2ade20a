//! Request metrics under the reference's names, in Prometheus's text format.

use std::{
    collections::BTreeMap,
    fmt::Write,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use corten_schema::Str;
use http::StatusCode;
use parking_lot::Mutex;

use crate::request::RequestInfo;

/// Upper bounds of the latency buckets, in seconds.
const BUCKETS: [f64; 10] = [0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.5, 5.0, 30.0];

/// What is counted together. All parts come from the kind table, so that clients cannot invent series.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Series {
    verb: &'static str,
    group: Str,
    version: Str,
    resource: Str,
}

#[derive(Debug, Default)]
struct Latency {
    buckets: [u64; BUCKETS.len()],
    seconds: f64,
    count: u64,
}

/// Counters of requests.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    totals: Mutex<BTreeMap<(Series, u16), u64>>,
    latencies: Mutex<BTreeMap<Series, Latency>>,
    in_flight: Arc<AtomicI64>,
}

/// A request under way.
#[derive(Debug)]
pub(crate) struct Observed {
    series: Series,
    long_running: bool,
    _counted: Counted,
}

/// One request among those in flight, until it is dropped: answered, or given up because its client left.
#[derive(Debug)]
struct Counted(Arc<AtomicI64>);

impl Counted {
    fn new(gauge: &Arc<AtomicI64>) -> Self {
        gauge.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(gauge))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Metrics {
    /// A request begins.
    pub(crate) fn begin(&self, info: &RequestInfo) -> Observed {
        let row = corten_schema::table().resource(&info.group, &info.version, &info.resource);
        let series = Series {
            verb: if info.is_resource { info.verb.as_str() } else { "" },
            group: row.map(|row| row.group.clone()).unwrap_or_default(),
            version: row.map(|row| row.version.clone()).unwrap_or_default(),
            resource: row.map(|row| row.plural.clone()).unwrap_or_default(),
        };
        Observed { series, long_running: info.is_long_running(), _counted: Counted::new(&self.in_flight) }
    }

    /// A request has been answered (a watch: has begun).
    pub(crate) fn end(&self, observed: Observed, code: StatusCode, took: Duration) {
        *self.totals.lock().entry((observed.series.clone(), code.as_u16())).or_default() += 1;
        if observed.long_running {
            return;
        }
        let mut latencies = self.latencies.lock();
        let latency = latencies.entry(observed.series).or_default();
        let seconds = took.as_secs_f64();
        latency.seconds += seconds;
        latency.count += 1;
        for (bucket, bound) in latency.buckets.iter_mut().zip(BUCKETS) {
            *bucket += u64::from(seconds <= bound);
        }
    }

    /// The text for `/metrics`.
    pub(crate) fn render(&self) -> String {
        let mut out = String::from("# TYPE apiserver_current_inflight_requests gauge\n");
        // Writing to a String cannot fail.
        let _ = writeln!(out, "apiserver_current_inflight_requests {}", self.in_flight.load(Ordering::Relaxed));
        out.push_str("# TYPE apiserver_request_total counter\n");
        for ((series, code), count) in &*self.totals.lock() {
            let _ = writeln!(out, "apiserver_request_total{{code=\"{code}\",{}}} {count}", series.labels());
        }
        out.push_str("# TYPE apiserver_request_duration_seconds histogram\n");
        for (series, latency) in &*self.latencies.lock() {
            let (name, labels) = ("apiserver_request_duration_seconds", series.labels());
            for (bound, count) in BUCKETS.iter().zip(latency.buckets) {
                let _ = writeln!(out, "{name}_bucket{{{labels},le=\"{bound}\"}} {count}");
            }
            let _ = writeln!(out, "{name}_bucket{{{labels},le=\"+Inf\"}} {}", latency.count);
            let _ = writeln!(out, "{name}_sum{{{labels}}} {}", latency.seconds);
            let _ = writeln!(out, "{name}_count{{{labels}}} {}", latency.count);
        }
        out
    }
}

impl Series {
    fn labels(&self) -> String {
        format!(
            "group=\"{}\",resource=\"{}\",verb=\"{}\",version=\"{}\"",
            self.group,
            self.resource,
            self.verb.to_ascii_uppercase(),
            self.version
        )
    }
}
