//! What a cluster without work costs.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use corten_testkit::{Cluster, Options};

use crate::Figure;

/// Long enough for a lease renewal and for noise to even out.
const WINDOW: Duration = Duration::from_secs(20);

pub(crate) fn measure(corten: &Path) -> Result<Vec<Figure>> {
    let cluster = Cluster::up(corten, Options::default());
    let pid = cluster.server_pid()?;
    // What the start left to do is done after a window; the next one is idle.
    thread::sleep(WINDOW);
    let before = cpu_ticks(pid)?;
    thread::sleep(WINDOW);
    // Kernel ticks are 1/100 s on every Linux architecture that Rust supports (USER_HZ).
    let used = (cpu_ticks(pid)? - before) / 100.0;
    let conditions = "one node, no pods".to_owned();
    Ok(vec![
        Figure { name: "idle memory, control plane and node (RSS)", value: resident(pid)?, unit: "MB", conditions: conditions.clone() },
        Figure { name: "idle CPU, control plane and node", value: 100.0 * used / WINDOW.as_secs_f64(), unit: "% core", conditions },
    ])
}

/// User and system time of a process, in ticks (proc_pid_stat(5), fields 14 and 15).
pub(crate) fn cpu_ticks(pid: i32) -> Result<f64> {
    let path = format!("/proc/{pid}/stat");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let after_name = text.rsplit(')').next().unwrap_or_default();
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    // The first field after the name is number 3.
    [11, 12]
        .iter()
        .map(|at| fields.get(*at).and_then(|field| field.parse::<f64>().ok()).with_context(|| format!("no field {at} in {path}")))
        .sum()
}

/// Resident memory of a process in megabytes.
pub(crate) fn resident(pid: i32) -> Result<f64> {
    let path = format!("/proc/{pid}/status");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).with_context(|| format!("no VmRSS in {path}"))?;
    let kilobytes: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kilobytes * 1024.0 / 1e6)
}
