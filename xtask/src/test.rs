//! `cargo xtask test`: every test of the project.

use std::process::Command;

use anyhow::{Result, bail};
use clap::Args;
use corten_testkit::run as run_quietly;

use crate::{root, schema, setup, sweep};

#[derive(Args)]
pub(crate) struct Options {
    /// Make the kind table anew first, and compare it and its codecs with the reference's own examples; take every `kubectl` from
    /// 1.28 to 1.35, copy as much with it as is promised, and leave sessions silent for longer than any time-out; compile a kubelet of
    /// the reference and youki, and use them; kill the runtime's daemon 10,000 times; ask the model of owners with many more seeds
    #[arg(long)]
    full: bool,
    /// Run only the end-to-end tests, with their nodes on this container runtime: containerd-1.6 or containerd-1.7
    #[arg(long, value_name = "RUNTIME")]
    on: Option<String>,
    /// Only tests whose name contains this
    filter: Option<String>,
}

fn run_tests(options: &Options) -> Result<bool> {
    let runner: &[&str] = if has_nextest()? { &["nextest", "run", "--locked"] } else { &["test", "--locked"] };
    let mut command = setup::cargo(runner);
    if options.on.is_none() {
        command.arg("--workspace");
    }
    if options.full {
        command.env("CORTEN_TEST_FULL", "1");
    }
    if let Some(runtime) = &options.on {
        command.args(["--package", "corten", "--test", "*"]).env("CORTEN_TEST_RUNTIME", runtime);
    }
    if let Some(filter) = &options.filter {
        command.arg(filter);
    }
    Ok(setup::run(command)?.success())
}

/// The tests that take long, by package and target: a kubelet of the reference and another OCI runtime are compiled and used; the
/// runtime's daemon is killed ten thousand times; the model of owners is asked with many more seeds, and the other versions of kubectl edit.
const LONG: [(&str, &str, &[&str]); 3] = [
    (
        "corten-runtime",
        "--test=cri",
        &[
            "upstream::a_kubelet_of_the_reference_runs_its_pods",
            "handlers::youki_is_driven_like_the_built_in_runtime",
            "crash::a_daemon_killed_ten_thousand_times_leaves_nothing_behind",
        ],
    ),
    ("corten-schema", "--lib", &["apply::tests::model::many_writes_of_several_managers_agree_with_the_model"]),
    ("corten", "--test=edits", &["the_other_kubectls_edit"]),
];

fn run_long_tests() -> Result<bool> {
    for (package, target, names) in LONG {
        let mut command = setup::cargo(&["test", "--locked", "--package", package, target, "--", "--ignored", "--exact"]);
        command.args(names);
        if !setup::run(command)?.success() {
            return Ok(false);
        }
    }
    Ok(true)
}

pub(crate) fn run(options: &Options) -> Result<()> {
    setup::build_packages()?;
    corten_testkit::packages::install(&["dbus-daemon"], "a message bus for the test of a node that shuts down")?;
    if options.full {
        table_is_reproducible()?;
    }
    let passed = run_tests(options)? && (!options.full || run_long_tests()?);
    // Tests clean up after themselves, but not when they are killed from outside.
    sweep::clusters()?;
    if !passed {
        bail!("tests failed");
    }
    Ok(())
}

/// The committed table is what the task makes. The reference's examples that it leaves behind are what a test of the codecs reads.
fn table_is_reproducible() -> Result<()> {
    schema::run()?;
    let mut diff = Command::new("git");
    diff.args(["diff", "--exit-code", "--stat", "--", "crates/schema/data"]).current_dir(root());
    run_quietly(diff)?.check()?;
    Ok(())
}

/// Nextest runs tests side by side and prints better; plain `cargo test` runs the same ones.
fn has_nextest() -> Result<bool> {
    let mut probe = Command::new("cargo");
    probe.args(["nextest", "--version"]);
    Ok(run_quietly(probe)?.succeeded())
}
