//! How long a server takes from its first instruction to a Ready node.

use std::path::Path;

use anyhow::{Context, Result};
use corten_testkit::{Cluster, Options};

use crate::{Figure, median};

pub(crate) fn measure(corten: &Path, runs: usize) -> Result<Vec<Figure>> {
    let (mut empty, mut existing) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        let mut cluster = Cluster::up(corten, Options::default());
        empty.push(ready_after(cluster.report())?);
        cluster.down()?;
        existing.push(ready_after(&cluster.start(&[])?)?);
    }
    let conditions = format!("median of {runs}, API ready and node Ready");
    Ok(vec![
        Figure { name: "start, empty data directory", value: median(empty), unit: "s", conditions: conditions.clone() },
        Figure { name: "start, existing data directory", value: median(existing), unit: "s", conditions },
    ])
}

/// The time that the report of `corten up` ends with.
fn ready_after(report: &str) -> Result<f64> {
    let line = report.lines().find(|line| line.ends_with("ready")).with_context(|| format!("no time of readiness in {report}"))?;
    line.split_whitespace().next().and_then(|word| word.parse().ok()).with_context(|| format!("no time in {line:?}"))
}
