//! `cargo xtask demo`: from a checkout to three nginx pods that answer.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};
use clap::Args;

use crate::setup;

#[derive(Args)]
pub(crate) struct Options {
    /// Directory of the cluster's state
    #[arg(long, default_value = "/var/lib/corten", value_name = "DIR")]
    data_dir: PathBuf,
    /// Rehearse: a development build, twice, a stop, once more, and everything goes again. Wants a --data-dir that does not exist
    #[arg(long, requires = "data_dir")]
    rehearse: bool,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    setup::build_packages()?;
    if options.rehearse {
        return rehearse(&options.data_dir);
    }
    let programs = setup::build(&["corten", "corten-testkit"])?;
    setup::check(demo(&programs, &options.data_dir))
}

fn rehearse(data: &Path) -> Result<()> {
    if data.exists() {
        bail!("{} exists; a rehearsal would remove it", data.display());
    }
    let programs = setup::build_for_development()?;
    let rehearsed = [false, false, true, false].into_iter().try_for_each(|stop| {
        let command = if stop { corten(&programs, data, &["down"]) } else { demo(&programs, data) };
        setup::check(command)
    });
    setup::check(corten(&programs, data, &["down", "--purge"]))?;
    rehearsed
}

fn demo(programs: &Path, data: &Path) -> Command {
    let mut demo = Command::new(programs.join("corten-demo"));
    demo.arg("--corten").arg(programs.join("corten")).arg("--data-dir").arg(data);
    demo
}

fn corten(programs: &Path, data: &Path, arguments: &[&str]) -> Command {
    let mut corten = Command::new(programs.join("corten"));
    corten.args(arguments).arg("--data-dir").arg(data);
    corten
}
