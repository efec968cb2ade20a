//! The child that makes a pod's user namespace and the namespaces that belong to it. Only a process with one thread can make a
//! user namespace, so the daemon cannot.

use std::io::{self, Read, Write};

use anyhow::{Context, Result, bail};
use rustix::thread::UnshareFlags;

/// Makes the namespaces named in `names` in a user namespace of their own, says so on standard output, and lives until standard
/// input ends: until then the daemon writes the mappings and pins what was made.
#[allow(unsafe_code)]
pub(crate) fn main(names: impl Iterator<Item = String>) -> Result<()> {
    let mut flags = UnshareFlags::NEWUSER;
    for name in names {
        flags |= match name.as_str() {
            "net" => UnshareFlags::NEWNET,
            "ipc" => UnshareFlags::NEWIPC,
            "uts" => UnshareFlags::NEWUTS,
            other => bail!("unknown namespace {other:?}"),
        };
    }
    // SAFETY: this program has one thread, and the file table is not among the flags.
    unsafe { rustix::thread::unshare_unsafe(flags) }.context("cannot make a user namespace")?;
    let mut said = io::stdout();
    said.write_all(b"made\n")?;
    said.flush()?;
    io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
