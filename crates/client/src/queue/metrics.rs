//! What the queues of this process count about themselves: what the reference's components tell under these names.

use std::{collections::BTreeMap, fmt::Write as _, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::time::Instant;

/// Upper bounds of the buckets, in seconds.
const BOUNDS: [f64; 9] = [0.000_001, 0.000_01, 0.000_1, 0.001, 0.01, 0.1, 1.0, 10.0, 100.0];

/// Queues of one name count together.
static QUEUES: Mutex<BTreeMap<&'static str, Arc<Mutex<Counts>>>> = Mutex::new(BTreeMap::new());

#[derive(Default)]
struct Histogram {
    buckets: [u64; BOUNDS.len()],
    sum: Duration,
    count: u64,
}

impl Histogram {
    fn observe(&mut self, took: Duration) {
        self.sum += took;
        self.count += 1;
        let at = BOUNDS.partition_point(|bound| *bound < took.as_secs_f64());
        if let Some(bucket) = self.buckets.get_mut(at) {
            *bucket += 1;
        }
    }
}

#[derive(Default)]
pub(super) struct Counts {
    adds: u64,
    retries: u64,
    depth: u64,
    waited: Histogram,
    worked: Histogram,
    /// Since when keys are in work, by the number of the work.
    running: BTreeMap<u64, Instant>,
    works: u64,
}

impl Counts {
    pub(super) fn of(name: &'static str) -> Arc<Mutex<Counts>> {
        Arc::clone(QUEUES.lock().entry(name).or_default())
    }

    pub(super) fn added(&mut self) {
        self.adds += 1;
    }

    pub(super) fn retried(&mut self) {
        self.retries += 1;
    }

    /// A key is ready.
    pub(super) fn waits(&mut self) {
        self.depth += 1;
    }

    /// A key that was ready since then is in work; gives the number of the work.
    pub(super) fn begins(&mut self, since: Instant) -> u64 {
        let now = Instant::now();
        self.depth = self.depth.saturating_sub(1);
        self.waited.observe(now.duration_since(since));
        self.works += 1;
        self.running.insert(self.works, now);
        self.works
    }

    /// A queue ended with keys that were ready.
    pub(super) fn dropped(&mut self, ready: usize) {
        self.depth = self.depth.saturating_sub(u64::try_from(ready).unwrap_or(u64::MAX));
    }

    pub(super) fn ends(&mut self, work: u64) {
        if let Some(began) = self.running.remove(&work) {
            self.worked.observe(began.elapsed());
        }
    }

    /// Seconds of all work that is not done, and of the longest.
    fn unfinished(&self) -> (f64, f64) {
        let now = Instant::now();
        let times = self.running.values().map(|began| now.duration_since(*began).as_secs_f64());
        times.fold((0.0, 0.0), |(sum, longest), time| (sum + time, f64::max(longest, time)))
    }
}

/// The state of all queues in Prometheus's text format.
pub fn metrics() -> String {
    let queues: Vec<_> = QUEUES.lock().iter().map(|(name, counts)| (*name, Arc::clone(counts))).collect();
    let mut out = String::new();
    let mut family = |name: &str, help: &str, kind: &str, sample: &dyn Fn(&mut String, &str, &str, &Counts)| {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for (queue, counts) in &queues {
            sample(&mut out, name, queue, &counts.lock());
        }
    };
    let number = |value: fn(&Counts) -> f64| {
        move |out: &mut String, name: &str, queue: &str, counts: &Counts| {
            let _ = writeln!(out, "{name}{{name=\"{queue}\"}} {}", value(counts));
        }
    };
    let times = |of: fn(&Counts) -> &Histogram| {
        move |out: &mut String, name: &str, queue: &str, counts: &Counts| buckets(out, name, queue, of(counts))
    };
    family("workqueue_depth", "Keys that wait.", "gauge", &number(|counts| float(counts.depth)));
    family("workqueue_adds_total", "Keys added.", "counter", &number(|counts| float(counts.adds)));
    family("workqueue_retries_total", "Keys added again after a failure.", "counter", &number(|counts| float(counts.retries)));
    family("workqueue_unfinished_work_seconds", "Seconds of work that is not done.", "gauge", &number(|counts| counts.unfinished().0));
    family(
        "workqueue_longest_running_processor_seconds",
        "Seconds of the longest work that is not done.",
        "gauge",
        &number(|counts| counts.unfinished().1),
    );
    family("workqueue_queue_duration_seconds", "How long keys waited.", "histogram", &times(|counts| &counts.waited));
    family("workqueue_work_duration_seconds", "How long work took.", "histogram", &times(|counts| &counts.worked));
    out
}

#[expect(clippy::cast_precision_loss, reason = "counters are shown as floating point numbers, like all samples")]
fn float(number: u64) -> f64 {
    number as f64
}

fn buckets(out: &mut String, name: &str, queue: &str, histogram: &Histogram) {
    let mut sum = 0;
    for (bound, count) in BOUNDS.iter().zip(&histogram.buckets) {
        sum += count;
        let _ = writeln!(out, "{name}_bucket{{name=\"{queue}\",le=\"{bound}\"}} {sum}");
    }
    let Histogram { count, .. } = histogram;
    let _ = writeln!(out, "{name}_bucket{{name=\"{queue}\",le=\"+Inf\"}} {count}");
    let _ = writeln!(out, "{name}_sum{{name=\"{queue}\"}} {}", histogram.sum.as_secs_f64());
    let _ = writeln!(out, "{name}_count{{name=\"{queue}\"}} {count}");
}
