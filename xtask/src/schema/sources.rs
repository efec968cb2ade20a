//! Fetching the packages that hold the declarations.

use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const PACKAGES: [&str; 3] = ["golang-k8s-api-dev", "golang-k8s-apimachinery-dev", "golang-k8s-apiextensions-apiserver-dev"];

/// The Debian suite whose packages have the API level.
const SUITE: &str = "sid";

/// Downloads and unpacks the packages under `dir` (once) and returns their Go source root.
///
/// The suite is newer than the machine's, so it gets package lists of its own: nothing of the
/// machine's configuration changes, and nothing is installed.
pub(super) fn fetch(dir: &Path) -> Result<PathBuf> {
    let tree = dir.join("unpacked/usr/share/gocode/src");
    if tree.join("k8s.io/api").exists() && tree.join("k8s.io/apiextensions-apiserver").exists() {
        return Ok(tree);
    }
    let packages = dir.join("packages");
    for part in ["lists/partial", "cache/archives/partial", "packages"] {
        fs::create_dir_all(dir.join(part))?;
    }
    let list = dir.join("sources.list");
    fs::write(&list, format!("deb {} {SUITE} main\n", mirror()?))?;
    let apt = |program: &str| {
        let mut command = Command::new(program);
        for (key, value) in [
            ("Dir::Etc::sourcelist", list.as_os_str()),
            ("Dir::Etc::sourceparts", "/nonexistent".as_ref()),
            ("Dir::State::lists", dir.join("lists").as_os_str()),
            ("Dir::Cache", dir.join("cache").as_os_str()),
            ("Acquire::Languages", "none".as_ref()),
            ("APT::Sandbox::User", "root".as_ref()),
        ] {
            let mut option = std::ffi::OsString::from(format!("{key}="));
            option.push(value);
            command.arg("-o").arg(option);
        }
        command.current_dir(&packages);
        command
    };
    succeed(apt("apt-get").arg("update"))?;
    succeed(apt("apt-get").arg("download").args(PACKAGES))?;
    for entry in fs::read_dir(&packages)? {
        succeed(Command::new("dpkg-deb").arg("-x").arg(entry?.path()).arg(dir.join("unpacked")))?;
    }
    Ok(tree)
}

/// The mirror that the machine itself uses.
fn mirror() -> Result<String> {
    let output = Command::new("apt-get")
        .args(["indextargets", "--format", "$(REPO_URI)", "Created-By: Packages", "Origin: Debian"])
        .output()
        .context("run apt-get indextargets")?;
    let text = String::from_utf8(output.stdout).context("apt-get printed no text")?;
    text.lines().next().map(str::to_owned).context("no Debian mirror is configured: run apt-get update")
}

fn succeed(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("run {command:?}"))?;
    if !status.success() {
        bail!("{command:?} failed: {status}");
    }
    Ok(())
}
