//! What the kubelet counts about itself, under the reference's names.

pub(crate) mod families;
pub(crate) mod page;
mod process;

use std::collections::BTreeMap;
use std::time::Duration;

use parking_lot::Mutex;

use page::{Histogram, Page};

/// What the values of a family are.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Counter,
    Gauge,
    /// With the upper bounds of its classes.
    Histogram(&'static [f64]),
}

/// All series of one name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Family {
    pub(crate) name: &'static str,
    pub(crate) help: &'static str,
    pub(crate) labels: &'static [&'static str],
    pub(crate) kind: Kind,
}

impl Family {
    /// How Prometheus calls its kind.
    pub(crate) fn kind(&self) -> &'static str {
        match self.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram(_) => "histogram",
        }
    }
}

#[derive(Debug)]
enum Value {
    Number(f64),
    Times(Histogram),
}

#[derive(Debug)]
struct Series {
    family: &'static Family,
    /// By the values of its labels.
    values: BTreeMap<Vec<String>, Value>,
}

/// Everything that is counted.
#[derive(Debug, Default)]
pub(crate) struct Metrics(Mutex<BTreeMap<&'static str, Series>>);

impl Metrics {
    /// Adds one.
    pub(crate) fn count(&self, family: &'static Family, labels: &[&str]) {
        self.add(family, labels, 1.0);
    }

    /// Adds something; less than nothing to gauges only.
    pub(crate) fn add(&self, family: &'static Family, labels: &[&str], amount: f64) {
        self.with(family, labels, |value| {
            if let Value::Number(number) = value {
                *number += amount;
            }
        });
    }

    /// Sets a gauge.
    pub(crate) fn set(&self, family: &'static Family, labels: &[&str], to: f64) {
        self.with(family, labels, |value| *value = Value::Number(to));
    }

    /// Counts how long something took.
    pub(crate) fn time(&self, family: &'static Family, labels: &[&str], took: Duration) {
        self.with(family, labels, |value| {
            if let Value::Times(times) = value {
                times.observe(took.as_secs_f64());
            }
        });
    }

    fn with(&self, family: &'static Family, labels: &[&str], change: impl FnOnce(&mut Value)) {
        debug_assert_eq!(family.labels.len(), labels.len(), "{}", family.name);
        let mut all = self.0.lock();
        let series = all.entry(family.name).or_insert_with(|| Series { family, values: BTreeMap::new() });
        let key = labels.iter().map(|label| (*label).to_owned()).collect();
        change(series.values.entry(key).or_insert_with(|| match family.kind {
            Kind::Histogram(bounds) => Value::Times(Histogram::new(bounds)),
            Kind::Counter | Kind::Gauge => Value::Number(0.0),
        }));
    }

    /// Puts everything on a page, and what the kernel counts about the process.
    pub(crate) fn show(&self, page: &mut Page) {
        for Series { family, values } in self.0.lock().values() {
            for (labels, value) in values {
                let labels: Vec<(&str, &str)> = family.labels.iter().copied().zip(labels.iter().map(String::as_str)).collect();
                match value {
                    Value::Number(number) => page.add(family, &labels, number),
                    Value::Times(times) => page.histogram(family, &labels, times),
                }
            }
        }
        process::show(page);
    }
}

/// The time, in seconds since 1970.
pub(crate) fn now() -> f64 {
    jiff::Timestamp::now().as_duration().as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::families as f;
    use super::*;

    #[test]
    fn what_is_counted_is_shown() {
        let metrics = Metrics::default();
        metrics.count(&f::STARTED_CONTAINERS, &["container"]);
        metrics.count(&f::STARTED_CONTAINERS, &["container"]);
        metrics.count(&f::STARTED_CONTAINERS, &["init_container"]);
        metrics.add(&f::HTTP_INFLIGHT, &["GET", "pods", "readwrite", "false"], 1.0);
        metrics.add(&f::HTTP_INFLIGHT, &["GET", "pods", "readwrite", "false"], -1.0);
        metrics.set(&f::CGROUP_VERSION, &[], 2.0);
        for milliseconds in [4, 700, 7_200_000] {
            metrics.time(&f::POD_START, &[], Duration::from_millis(milliseconds));
        }
        let mut page = Page::default();
        metrics.show(&mut page);
        let text = page.text();
        for expected in [
            "# TYPE kubelet_started_containers_total counter\nkubelet_started_containers_total{container_type=\"container\"} 2\n\
             kubelet_started_containers_total{container_type=\"init_container\"} 1\n",
            "kubelet_http_inflight_requests{method=\"GET\",path=\"pods\",server_type=\"readwrite\",long_running=\"false\"} 0\n",
            "# TYPE kubelet_cgroup_version gauge\nkubelet_cgroup_version 2\n",
            "kubelet_pod_start_duration_seconds_bucket{le=\"0.5\"} 1\nkubelet_pod_start_duration_seconds_bucket{le=\"1\"} 2\n",
            "kubelet_pod_start_duration_seconds_bucket{le=\"3600\"} 2\nkubelet_pod_start_duration_seconds_bucket{le=\"+Inf\"} 3\n",
            "kubelet_pod_start_duration_seconds_count 3\n",
            "# TYPE process_cpu_seconds_total counter\n",
        ] {
            assert!(text.contains(expected), "{expected}\n---\n{text}");
        }
    }
}
