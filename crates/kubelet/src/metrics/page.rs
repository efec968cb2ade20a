//! The text format of Prometheus.

use std::collections::BTreeMap;
use std::fmt::{Display, Write as _};

use super::Family;

/// How many values were at most as large as each bound.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Histogram {
    bounds: &'static [f64],
    within: Vec<u64>,
    count: u64,
    sum: f64,
}

impl Histogram {
    pub(crate) fn new(bounds: &'static [f64]) -> Self {
        Self { bounds, within: vec![0; bounds.len()], count: 0, sum: 0.0 }
    }

    pub(crate) fn observe(&mut self, value: f64) {
        self.count += 1;
        self.sum += value;
        self.within.iter_mut().zip(self.bounds).filter(|(_, bound)| value <= **bound).for_each(|(count, _)| *count += 1);
    }
}

/// What all samples of a name have in common.
#[derive(Default)]
struct Samples {
    kind: &'static str,
    help: String,
    lines: Vec<String>,
}

/// Metrics by name, so that each has its head once.
#[derive(Default)]
pub(crate) struct Page(BTreeMap<String, Samples>);

impl Page {
    /// One sample of a family.
    pub(crate) fn add(&mut self, family: &Family, labels: &[(&str, &str)], value: impl Display) {
        self.sample(family.name, family.kind(), family.help, labels, value);
    }

    /// One sample of a name that is not known beforehand.
    pub(crate) fn sample(&mut self, name: &str, kind: &'static str, help: &str, labels: &[(&str, &str)], value: impl Display) {
        let line = format!("{} {value}", named(name, "", labels));
        self.lines(name, kind, help).push(line);
    }

    /// One series of a histogram: how many are within each bound, how many there are, and their sum.
    pub(crate) fn histogram(&mut self, family: &Family, labels: &[(&str, &str)], values: &Histogram) {
        let mut made = Vec::new();
        for (bound, count) in values.bounds.iter().zip(&values.within) {
            let bound = bound.to_string();
            let labels: Vec<_> = labels.iter().copied().chain([("le", bound.as_str())]).collect();
            made.push(format!("{} {count}", named(family.name, "_bucket", &labels)));
        }
        let all: Vec<_> = labels.iter().copied().chain([("le", "+Inf")]).collect();
        made.push(format!("{} {}", named(family.name, "_bucket", &all), values.count));
        made.push(format!("{} {}", named(family.name, "_sum", labels), values.sum));
        made.push(format!("{} {}", named(family.name, "_count", labels), values.count));
        self.lines(family.name, family.kind(), family.help).extend(made);
    }

    fn lines(&mut self, name: &str, kind: &'static str, help: &str) -> &mut Vec<String> {
        let samples = self.0.entry(name.to_owned()).or_insert_with(|| Samples { kind, help: help.to_owned(), lines: Vec::new() });
        &mut samples.lines
    }

    /// The page.
    pub(crate) fn text(self) -> String {
        let mut text = String::new();
        for (name, Samples { kind, help, lines }) in self.0 {
            // Writing to a text cannot fail.
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{}", lines.join("\n"));
        }
        text
    }
}

fn named(name: &str, suffix: &str, labels: &[(&str, &str)]) -> String {
    let labels: Vec<String> = labels.iter().map(|(key, value)| format!("{key}=\"{}\"", escaped(value))).collect();
    if labels.is_empty() { format!("{name}{suffix}") } else { format!("{name}{suffix}{{{}}}", labels.join(",")) }
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
