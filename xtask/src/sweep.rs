//! Taking down test clusters whose test was killed before it could.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use corten_testkit::{packages, run};

/// Takes down every cluster whose data lies in the test kit's directory and whose test has ended.
pub(crate) fn clusters() -> Result<()> {
    for entry in fs::read_dir(packages::cache()?).context("cannot list the test kit's directory")? {
        let path = entry?.path();
        let is_cluster = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("cluster-"));
        if is_cluster {
            take_down(&path)?;
        }
    }
    Ok(())
}

fn take_down(data: &Path) -> Result<()> {
    let Some((test, corten)) = noted(data) else { return Ok(()) };
    if Path::new("/proc").join(&test).exists() {
        return Ok(());
    }
    println!("taking down a test cluster that was left behind: {}", data.display());
    if !corten.is_file() {
        println!("its program {} is gone: start it once more to take the cluster down", corten.display());
        return Ok(());
    }
    let mut down = Command::new(corten);
    down.args(["down", "--purge", "--data-dir"]).arg(data);
    run(down)?.check()?;
    Ok(())
}

/// The process of the test and the program that it started the cluster with, as the test kit noted them.
fn noted(data: &Path) -> Option<(String, PathBuf)> {
    let text = fs::read_to_string(data.join("testkit-program")).ok()?;
    let (test, program) = text.split_once('\n')?;
    Some((test.to_owned(), PathBuf::from(program)))
}
