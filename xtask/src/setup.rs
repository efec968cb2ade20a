//! What the build needs from Debian, and running cargo on the workspace.

use std::path::PathBuf;
use std::process::{Command, ExitStatus};

use anyhow::{Context, Result, bail};
use corten_testkit::{packages, run as run_quietly};

use crate::root;

/// Beyond a Rust toolchain: the linker and C compiler (ring has C and assembly), and libseccomp, which the shim's
/// libcontainer links statically.
const BUILD: [&str; 4] = ["gcc", "libc6-dev", "libseccomp-dev", "pkg-config"];

/// Installs what the build needs.
pub(crate) fn build_packages() -> Result<()> {
    packages::install(&BUILD, "the C compiler for ring, libseccomp for the container shim")
}

/// A cargo command on this workspace. It must not inherit what the cargo that runs this task set for it.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let mut cargo = Command::new("cargo");
    cargo.args(arguments).current_dir(root());
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") || name == "CARGO" {
            cargo.env_remove(&*name);
        }
    }
    cargo
}

/// Runs a command on this terminal to its end.
pub(crate) fn run(mut command: Command) -> Result<ExitStatus> {
    command.status().with_context(|| format!("cannot run {}", command.get_program().to_string_lossy()))
}

/// Runs a command that must succeed.
pub(crate) fn check(command: Command) -> Result<()> {
    let name = format!("{command:?}");
    let status = run(command)?;
    if !status.success() {
        bail!("{name} ended with {status}");
    }
    Ok(())
}

/// Builds packages of the workspace for release; returns the directory of their programs.
pub(crate) fn build(packages: &[&str]) -> Result<PathBuf> {
    println!("building {} (release)", packages.join(", "));
    let mut build = cargo(&["build", "--release", "--locked", "--features", "corten-testkit/clusters"]);
    for package in packages {
        build.args(["--package", package]);
    }
    check(build)?;
    program_directory("release")
}

/// Builds all programs as tests do, with the same features of everything they use, so that little is built twice.
pub(crate) fn build_for_development() -> Result<PathBuf> {
    check(cargo(&["build", "--locked", "--workspace"]))?;
    program_directory("debug")
}

/// Where cargo puts programs: the target directory may be anyone's choice, and the target is named explicitly.
fn program_directory(profile: &str) -> Result<PathBuf> {
    let metadata = run_quietly(cargo(&["metadata", "--format-version", "1", "--no-deps", "--locked"]))?.check()?;
    let metadata: serde_json::Value = serde_json::from_str(&metadata).context("cargo metadata is not JSON")?;
    let target = metadata.get("target_directory").and_then(|value| value.as_str()).context("cargo metadata names no target directory")?;
    let mut rustc = Command::new("rustc");
    rustc.arg("-vV");
    let version = run_quietly(rustc)?.check()?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc names no host")?;
    Ok(PathBuf::from(target).join(host).join(profile))
}
