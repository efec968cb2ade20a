//! `cargo xtask demo`: from a checkout to three nginx pods that answer.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;
use clap::Args;

use crate::setup;

#[derive(Args)]
pub(crate) struct Options {
    /// Directory of the cluster's state
    #[arg(long, default_value = "/var/lib/corten", value_name = "DIR")]
    data_dir: PathBuf,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    setup::build_packages()?;
    let programs = setup::release(&["corten", "corten-testkit"])?;
    let mut demo = Command::new(programs.join("corten-demo"));
    demo.arg("--corten").arg(programs.join("corten")).arg("--data-dir").arg(&options.data_dir);
    setup::check(demo)
}
