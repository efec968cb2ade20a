//! Debian packages that tests and builds need.

use std::fs::{self, File};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use rustix::fs::{FlockOperation, flock};

use crate::run;

/// Where fixtures are kept between runs. Nothing in it is needed: it is made anew when it is gone.
pub const CACHE: &str = "/var/tmp/corten-testkit";

/// The cache directory, made when it is missing. What lies in it is run as root: it must be root's alone.
pub fn cache() -> Result<&'static Path> {
    match fs::DirBuilder::new().mode(0o700).create(CACHE) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            return Err(error).with_context(|| format!("cannot create {CACHE}"));
        }
        _ => {}
    }
    let found = fs::symlink_metadata(CACHE).with_context(|| format!("cannot look at {CACHE}"))?;
    if !found.is_dir() || found.uid() != 0 || found.mode() & 0o022 != 0 {
        bail!("{CACHE} is not a directory that only root can write to; remove it");
    }
    Ok(Path::new(CACHE))
}

/// Holds off other processes that prepare the same thing; let go on drop.
pub fn exclusive(name: &str) -> Result<File> {
    let path = cache()?.join(format!("{name}.lock"));
    let file =
        File::options().create(true).truncate(false).write(true).open(&path).with_context(|| format!("cannot open {}", path.display()))?;
    flock(&file, FlockOperation::LockExclusive).with_context(|| format!("cannot lock {}", path.display()))?;
    Ok(file)
}

/// Installs Debian packages that are not there yet, saying which and what for.
pub fn install(packages: &[&str], purpose: &str) -> Result<()> {
    let missing: Vec<&str> = packages.iter().copied().filter(|package| !is_installed(package)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let _alone = exclusive("apt")?;
    println!("installing Debian packages {} ({purpose})", missing.join(" "));
    let install = || {
        let mut command = Command::new("apt-get");
        // Another user of the package manager may be at work, as on a machine that has just started.
        command
            .args(["-o", "DPkg::Lock::Timeout=120", "install", "--yes", "--no-install-recommends", "--quiet"])
            .args(&missing)
            .env("DEBIAN_FRONTEND", "noninteractive");
        run(command)
    };
    // The package lists of a fresh machine are empty or old: look first, fetch them only when needed.
    if install()?.succeeded() {
        return Ok(());
    }
    let mut update = Command::new("apt-get");
    update.args(["update", "--quiet"]);
    run(update)?.check()?;
    install()?.check()?;
    Ok(())
}

fn is_installed(package: &str) -> bool {
    let mut query = Command::new("dpkg-query");
    query.args(["--show", "--showformat=${db:Status-Status}", package]);
    run(query).is_ok_and(|outcome| outcome.stdout == "installed")
}
