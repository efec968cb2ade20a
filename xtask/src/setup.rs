//! What the build needs from Debian, and running cargo on the workspace.

use std::process::{Command, ExitStatus};

use anyhow::{Context, Result, bail};
use corten_testkit::packages;

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
