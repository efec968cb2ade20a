//! Taking down test clusters whose test was killed before it could.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use corten_testkit::{packages, run};

/// Takes down every cluster whose data lies in the test kit's directory.
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
    println!("taking down a test cluster that was left behind: {}", data.display());
    let Some(corten) = program(data) else {
        println!("its program is gone; see {}", data.display());
        return Ok(());
    };
    let mut down = Command::new(corten);
    down.args(["down", "--purge", "--data-dir"]).arg(data);
    run(down)?.check()?;
    Ok(())
}

/// The program that the cluster was started with, as the test kit noted it.
fn program(data: &Path) -> Option<PathBuf> {
    let noted = fs::read_to_string(data.join("testkit-program")).ok()?;
    Some(PathBuf::from(noted)).filter(|path| path.is_file())
}
