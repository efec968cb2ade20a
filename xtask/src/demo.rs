//! `cargo xtask demo`: from a checkout to three nginx pods that answer.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use clap::Args;
use corten_testkit::run as run_quietly;

use crate::setup;

#[derive(Args)]
pub(crate) struct Options {
    /// Directory of the cluster's state
    #[arg(long, default_value = "/var/lib/corten", value_name = "DIR")]
    data_dir: PathBuf,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    setup::build_packages()?;
    println!("building Corten (release)");
    let mut build = setup::cargo(&[
        "build",
        "--release",
        "--locked",
        "--package",
        "corten",
        "--package",
        "corten-testkit",
        "--features",
        "corten-testkit/clusters",
    ]);
    build.args(["--bin", "corten", "--bin", "corten-demo"]);
    setup::check(build)?;
    let programs = release_directory()?;
    let mut demo = Command::new(programs.join("corten-demo"));
    demo.arg("--corten").arg(programs.join("corten")).arg("--data-dir").arg(&options.data_dir);
    setup::check(demo)
}

/// Where cargo puts release programs: the target directory may be anyone's choice, and the target is named explicitly.
fn release_directory() -> Result<PathBuf> {
    let metadata = run_quietly(setup::cargo(&["metadata", "--format-version", "1", "--no-deps", "--locked"]))?.check()?;
    let metadata: serde_json::Value = serde_json::from_str(&metadata).context("cargo metadata is not JSON")?;
    let target = metadata.get("target_directory").and_then(|value| value.as_str()).context("cargo metadata names no target directory")?;
    let mut rustc = Command::new("rustc");
    rustc.arg("-vV");
    let version = run_quietly(rustc)?.check()?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc names no host")?;
    Ok(PathBuf::from(target).join(host).join("release"))
}
