//! `cargo xtask bench`: figures of this machine, as a table and as JSON. Nothing here is asserted: the machine decides.

mod api;
mod docker;
mod idle;
mod kubelet;
mod owners;
mod runtime;
mod start;
mod streams;

use std::path::PathBuf;

use anyhow::Result;
use clap::Parser;
use serde::Serialize;

#[derive(Parser)]
#[command(about = "Measures what SPECIFICATION.md promises")]
struct Options {
    /// The `corten` program, a release build
    #[arg(long)]
    corten: PathBuf,
    /// Starts to measure of each kind
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// Only these subjects (start, idle, api, owners, …)
    #[arg(long)]
    only: Vec<String>,
    /// Leave the peers out
    #[arg(long)]
    alone: bool,
    /// Print JSON alone
    #[arg(long)]
    json: bool,
}

impl Options {
    fn wants(&self, subject: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == subject)
    }
}

/// One figure.
#[derive(Debug, Serialize)]
struct Figure {
    /// What was measured.
    name: &'static str,
    /// How much.
    value: f64,
    /// Of what.
    unit: &'static str,
    /// Under which conditions.
    conditions: String,
}

/// That of `corten`, since parts of it are measured in this process.
#[global_allocator]
static ALLOCATOR: corten_allocator::Allocator = corten_allocator::Allocator;

fn main() -> Result<()> {
    // The runtime under measurement is this program too, in a process of its own.
    let words: Vec<std::ffi::OsString> = std::env::args_os().collect();
    if let [_, mode, dir, cgroup] = words.as_slice()
        && mode == runtime::MODE
    {
        return runtime::daemon(dir.as_ref(), cgroup.to_string_lossy().into_owned());
    }
    let options = Options::parse();
    corten_testkit::clean_up_when_interrupted()?;
    let mut figures = Vec::new();
    if options.wants("start") {
        figures.extend(start::measure(&options.corten, options.runs)?);
    }
    if options.wants("idle") {
        figures.extend(idle::measure(&options.corten)?);
    }
    if options.wants("api") {
        figures.extend(api::measure(&options.corten)?);
    }
    if options.wants("owners") {
        figures.extend(owners::measure()?);
    }
    if options.wants("runtime") {
        figures.extend(runtime::measure(&options.corten, options.alone)?);
    }
    if options.wants("bare") {
        figures.extend(runtime::without_daemons(options.alone)?);
    }
    if options.wants("kubelet") {
        figures.extend(kubelet::measure(&options.corten)?);
    }
    if options.wants("streams") {
        figures.extend(streams::measure(&options.corten, options.alone)?);
    }
    if !options.json {
        for figure in &figures {
            println!("{:<44} {:>10.3} {:<6} {}", figure.name, figure.value, figure.unit, figure.conditions);
        }
        println!();
    }
    println!("{}", serde_json::to_string_pretty(&figures)?);
    Ok(())
}

/// The value below which so many percent of all values are.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "an index into a short list")]
fn percentile(mut values: Vec<f64>, percent: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let at = (values.len() as f64 * percent / 100.0) as usize;
    values.get(at.min(values.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
}

/// The middle of the sorted values.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
