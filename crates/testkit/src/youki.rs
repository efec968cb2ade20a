//! youki, an OCI runtime in Rust, compiled from its sources: Debian has none.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::packages::{cache, exclusive, install};
use crate::run;

const VERSION: &str = "0.7.0";

/// Its program. Compiling it takes some minutes, once.
///
/// # Errors
///
/// If the sources or what they need cannot be had.
pub fn youki() -> Result<PathBuf> {
    let name = format!("youki-{VERSION}");
    let cache = cache()?;
    let _alone = exclusive(&name)?;
    let kept = cache.join(&name);
    if !kept.is_file() {
        install(&["libseccomp-dev", "pkg-config"], "the sources of youki")?;
        let work = tempfile::tempdir_in(cache)?;
        println!("compiling youki from its sources");
        let mut compile = Command::new("cargo");
        compile.args(["install", "youki", "--version", VERSION, "--locked", "--debug", "--root"]).arg(work.path());
        // As it comes it is for cgroup v2 alone.
        compile.args(["--no-default-features", "--features", "v1,v2,seccomp"]);
        compile.env("CARGO_TARGET_DIR", work.path().join("target"));
        run(compile)?.check()?;
        std::fs::rename(work.path().join("bin/youki"), &kept).with_context(|| format!("cannot move youki to {}", kept.display()))?;
    }
    Ok(kept)
}
