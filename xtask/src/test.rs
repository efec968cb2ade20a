//! `cargo xtask test`: every test of the project.

use std::process::Command;

use anyhow::{Result, bail};
use clap::Args;
use corten_testkit::run as run_quietly;

use crate::{setup, sweep};

#[derive(Args)]
pub(crate) struct Options {
    /// Run the slow suites too
    #[arg(long)]
    full: bool,
    /// Only tests whose name contains this
    filter: Option<String>,
}

fn run_tests(options: &Options) -> Result<bool> {
    let nextest = has_nextest()?;
    let mut command = if nextest {
        setup::cargo(&["nextest", "run", "--locked", "--workspace"])
    } else {
        setup::cargo(&["test", "--locked", "--workspace"])
    };
    if options.full && nextest {
        command.args(["--run-ignored", "all"]);
    }
    if let Some(filter) = &options.filter {
        command.arg(filter);
    }
    if options.full && !nextest {
        command.args(["--", "--include-ignored"]);
    }
    Ok(setup::run(command)?.success())
}

pub(crate) fn run(options: &Options) -> Result<()> {
    setup::build_packages()?;
    let passed = run_tests(options)?;
    // Tests clean up after themselves, but not when they are killed from outside.
    sweep::clusters()?;
    if !passed {
        bail!("tests failed");
    }
    Ok(())
}

/// Nextest runs tests side by side and prints better; plain `cargo test` runs the same ones.
fn has_nextest() -> Result<bool> {
    let mut probe = Command::new("cargo");
    probe.args(["nextest", "--version"]);
    Ok(run_quietly(probe)?.succeeded())
}
