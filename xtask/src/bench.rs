//! `cargo xtask bench`: the figures of this machine.

use std::process::Command;

use anyhow::Result;

use crate::setup;

pub(crate) fn run() -> Result<()> {
    setup::build_packages()?;
    let programs = setup::build(&["corten", "corten-bench"])?;
    let mut bench = Command::new(programs.join("corten-bench"));
    bench.arg("--corten").arg(programs.join("corten"));
    setup::check(bench)
}
