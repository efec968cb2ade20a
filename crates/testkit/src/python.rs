//! Python programs with packages of PyPI, in a directory of their own.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::{packages, run};

/// A command that runs a Python program with a package and what it needs, in this version.
///
/// # Errors
///
/// When the package cannot be installed.
pub fn python(package: &str, version: &str, program: &str) -> Result<Command> {
    let packages = self::package(package, version)?;
    let mut command = Command::new("python3");
    command.arg("-c").arg(program).env("PYTHONPATH", packages).env("PYTHONDONTWRITEBYTECODE", "1");
    Ok(command)
}

/// The directory in which a package and what it needs are, in this version.
///
/// # Errors
///
/// When the package cannot be installed.
pub fn package(package: &str, version: &str) -> Result<PathBuf> {
    let _alone = packages::exclusive("python")?;
    let target = packages::cache()?.join(format!("python-{package}-{version}"));
    if target.is_dir() {
        return Ok(target);
    }
    println!("installing {package} {version} of PyPI into {}", target.display());
    let mut probe = Command::new("python3");
    probe.args(["-m", "pip", "--version"]);
    if !run(probe).is_ok_and(|outcome| outcome.succeeded()) {
        packages::install(&["python3", "python3-pip"], "packages of PyPI")?;
    }
    let work = tempfile::tempdir_in(packages::cache()?).context("cannot make a directory to install in")?;
    let into = work.path().join("packages");
    let mut install = Command::new("python3");
    install.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile", "--target"]).arg(&into);
    install.arg(format!("{package}=={version}"));
    run(install)?.check()?;
    fs::rename(&into, &target).with_context(|| format!("cannot move {} to {}", into.display(), target.display()))?;
    Ok(target)
}
