//! Debian packages that are unpacked and used from there, without being installed: peers for tests, parts of images.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::packages::{cache, exclusive};
use crate::run;

/// Where packages come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Suite {
    /// The releases that the machine is set up for.
    Machine,
    /// Another release of Debian, by its code name, from the machine's mirror.
    Other(&'static str),
}

/// Debian packages, downloaded but not installed.
pub struct Packages<'a> {
    cache: &'a Path,
    suite: Suite,
}

impl<'a> Packages<'a> {
    /// Packages of the machine's own releases, kept in `cache`.
    pub fn new(cache: &'a Path) -> Self {
        Self::of(cache, Suite::Machine)
    }

    /// Packages of a suite.
    pub fn of(cache: &'a Path, suite: Suite) -> Self {
        Self { cache, suite }
    }

    /// Unpacks packages once, and keeps the tree in the cache as `name`.
    ///
    /// # Errors
    ///
    /// If a package cannot be downloaded or unpacked.
    pub fn kept(&self, name: &str, packages: &[&str]) -> Result<PathBuf> {
        self.kept_with(name, packages, |_| false)
    }

    /// The same, with those of the packages that they depend on that `wanted` names.
    ///
    /// # Errors
    ///
    /// If a package cannot be downloaded or unpacked.
    pub fn kept_with(&self, name: &str, packages: &[&str], wanted: impl Fn(&str) -> bool) -> Result<PathBuf> {
        let kept = self.cache.join("trees").join(name);
        let _alone = exclusive(&format!("tree-{name}"))?;
        if !kept.is_dir() {
            let tree = self.unpack(packages, wanted)?;
            fs::create_dir_all(self.cache.join("trees"))?;
            fs::rename(tree.path(), &kept).with_context(|| format!("cannot move a tree to {}", kept.display()))?;
        }
        Ok(kept)
    }

    /// Unpacks packages, and of what they depend on those that `wanted` names, into a directory that goes away when dropped.
    ///
    /// # Errors
    ///
    /// If a package cannot be downloaded or unpacked.
    pub fn unpack(&self, packages: &[&str], wanted: impl Fn(&str) -> bool) -> Result<tempfile::TempDir> {
        let directory = tempfile::tempdir_in(self.cache)?;
        let tree = directory.path().join("tree");
        let mut known: BTreeSet<String> = packages.iter().map(|package| (*package).to_owned()).collect();
        let mut waiting: Vec<String> = known.iter().cloned().collect();
        while let Some(package) = waiting.pop() {
            let file = self.download(&package)?;
            let mut unpack = Command::new("dpkg-deb");
            unpack.arg("-x").arg(&file).arg(&tree);
            run(unpack)?.check()?;
            let mut fields = Command::new("dpkg-deb");
            fields.arg("-f").arg(&file).args(["Depends", "Pre-Depends"]);
            for dependency in dependencies(&run(fields)?.check()?) {
                if wanted(&dependency) && known.insert(dependency.clone()) {
                    waiting.push(dependency);
                }
            }
        }
        // The tree only, so that callers see nothing but what the packages have.
        let only_tree = tempfile::tempdir_in(self.cache)?;
        fs::rename(&tree, only_tree.path())?;
        Ok(only_tree)
    }

    /// Downloads a package unless it was before; the package lists are fetched only if it is unknown or outdated.
    fn download(&self, package: &str) -> Result<PathBuf> {
        let kept = match self.suite {
            Suite::Machine => self.cache.join("debs").join(package),
            Suite::Other(name) => self.cache.join("debs").join(name).join(package),
        };
        if !kept.is_dir() {
            println!("downloading Debian package {package} (used from a directory; not installed)");
            let into = tempfile::tempdir_in(self.cache)?;
            let options = self.options()?;
            let fetch = || {
                let mut command = Command::new("apt-get");
                command.args(&options).args(["download", "--quiet", package]).current_dir(into.path());
                run(command)
            };
            if !fetch()?.succeeded() {
                let mut update = Command::new("apt-get");
                update.args(&options).args(["update", "--quiet"]);
                run(update)?.check()?;
                fetch()?.check()?;
            }
            fs::create_dir_all(kept.parent().unwrap_or(self.cache))?;
            fs::rename(into.path(), &kept)?;
        }
        let file = fs::read_dir(&kept)?.next().with_context(|| format!("apt-get downloaded nothing for {package}"))??;
        Ok(file.path())
    }

    /// What `apt-get` must be told to look at the suite. Another one has package lists of its own: the machine's stay as they are.
    fn options(&self) -> Result<Vec<String>> {
        let Suite::Other(name) = self.suite else { return Ok(Vec::new()) };
        let _alone = exclusive(&format!("suite-{name}"))?;
        let state = self.cache.join("suites").join(name);
        for directory in ["lists/partial", "archives/partial"] {
            fs::create_dir_all(state.join(directory))?;
        }
        let sources = state.join("sources.list");
        if !sources.is_file() {
            fs::write(&sources, format!("deb [signed-by={KEYRING}] {} {name} main\n", mirror()?))?;
        }
        let settings = [
            ("Dir::State", state.display().to_string()),
            ("Dir::State::status", "/var/lib/dpkg/status".to_owned()),
            ("Dir::Cache", state.display().to_string()),
            ("Dir::Etc::sourcelist", sources.display().to_string()),
            ("Dir::Etc::sourceparts", "-".to_owned()),
            // The directory is root's alone.
            ("APT::Sandbox::User", "root".to_owned()),
        ];
        Ok(settings.into_iter().flat_map(|(name, value)| ["-o".to_owned(), format!("{name}={value}")]).collect())
    }
}

/// The directory of Debian's CNI plugins: bridge, host-local, portmap, …
///
/// # Errors
///
/// If the package cannot be had.
pub fn cni_plugins() -> Result<PathBuf> {
    let tree = Packages::new(cache()?).kept("containernetworking-plugins", &["containernetworking-plugins"])?;
    Ok(tree.join("usr/lib/cni"))
}

/// A command for CRIU of Debian 13, which knows newer kernels than that of Debian 12; with its libraries, for they are newer
/// than the machine's too.
///
/// # Errors
///
/// If the packages cannot be had.
pub fn criu() -> Result<Vec<String>> {
    let library = |name: &str| name.starts_with("lib") || name == "zlib1g";
    let tree = Packages::of(cache()?, Suite::Other("trixie")).kept_with("criu-4", &["criu"], library)?;
    let path = |name: &str| tree.join(name).display().to_string();
    let (loader, libraries) = (path("usr/lib64/ld-linux-x86-64.so.2"), path("usr/lib/x86_64-linux-gnu"));
    Ok(vec![loader, "--library-path".to_owned(), libraries, path("usr/sbin/criu")])
}

/// gVisor's OCI runtime, of Debian 13.
///
/// # Errors
///
/// If the package cannot be had.
pub fn runsc() -> Result<PathBuf> {
    Ok(Packages::of(cache()?, Suite::Other("trixie")).kept("runsc", &["runsc"])?.join("usr/bin/runsc"))
}

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// The mirror of Debian's main archive that the machine uses.
pub(crate) fn mirror() -> Result<String> {
    let mut targets = Command::new("apt-get");
    targets.args(["indextargets", "--format", "$(REPO_URI) $(COMPONENT)"]);
    let found = run(targets)?.check()?;
    let of_main = found.lines().filter_map(|line| line.strip_suffix(" main"));
    let archive = of_main.filter(|uri| !uri.contains("security")).map(|uri| uri.trim_end_matches('/').to_owned()).next();
    archive.context("apt knows no mirror of Debian's archive")
}

/// Names in `Depends: a (>= 1) | b, c`.
pub(crate) fn dependencies(fields: &str) -> Vec<String> {
    let values = fields.lines().filter_map(|line| line.split_once(':')).map(|(_, value)| value);
    let names = values.flat_map(|value| value.split([',', '|'])).filter_map(|item| item.split_whitespace().next());
    names.map(|name| name.split(':').next().unwrap_or(name).to_owned()).collect()
}
