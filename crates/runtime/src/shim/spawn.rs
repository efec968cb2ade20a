//! The shim's program in a sealed memory file, and starting it.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Stdio;

use corten_shim::protocol::Serve;
use rustix::fs::{MemfdFlags, SealFlags};

use crate::error::{Error, Result};
use crate::paths::SandboxPaths;

/// The program that shims run: one memory file for all, which nobody can write to any more, so that a container that
/// reached it through `/proc/self/exe` could not change what the node runs.
#[derive(Debug)]
pub(crate) struct Program {
    file: OwnedFd,
}

/// How often sealing is tried; each attempt lets the kernel wait for a tenth of a second and more.
const SEAL_ATTEMPTS: usize = 50;

impl Program {
    /// Seals `bytes`, an executable.
    pub(crate) fn seal(bytes: &[u8]) -> io::Result<Program> {
        let fd = rustix::fs::memfd_create("corten-shim", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        let mut file = File::from(fd);
        file.write_all(bytes)?;
        // The kernel refuses while anything else of it, such as page migration, holds one of the pages. It waits a moment itself.
        let seals = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
        let mut attempts = 0;
        while let Err(error) = rustix::fs::fcntl_add_seals(&file, seals) {
            attempts += 1;
            if error != rustix::io::Errno::BUSY || attempts == SEAL_ATTEMPTS {
                return Err(error.into());
            }
        }
        Ok(Program { file: file.into() })
    }

    /// A command that runs the program; what it is to do comes as arguments.
    pub(crate) fn command(&self) -> std::process::Command {
        let mut command = std::process::Command::new(format!("/proc/self/fd/{}", self.file.as_raw_fd()));
        command.arg0(OsStr::new("corten-shim")).env_clear().current_dir("/");
        command
    }

    /// Starts a shim and returns when its socket is there. It is nobody's child by then.
    pub(crate) async fn start(&self, paths: &SandboxPaths, serve: &Serve) -> Result<()> {
        let log = fs::OpenOptions::new().create(true).append(true).open(paths.shim_log()).map_err(Error::io("open", &paths.shim_log()))?;
        let settings = serde_json::to_string(serve).map_err(Error::internal)?;
        // Not `output()`: it would make a pipe of standard error too, and wait until the shim, which keeps it, ends.
        let child = tokio::process::Command::from(self.command())
            .arg("serve")
            .arg(&paths.socket)
            .arg(settings)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .map_err(|error| Error::Internal(format!("cannot start a shim: {error}")))?;
        let output = child.wait_with_output().await.map_err(|error| Error::Internal(format!("cannot wait for a shim: {error}")))?;
        if output.status.success() && output.stdout.starts_with(b"ready") {
            return Ok(());
        }
        let said = fs::read_to_string(paths.shim_log()).unwrap_or_default();
        Err(Error::Internal(format!("the shim did not start ({}): {}", output.status, said.trim())))
    }
}
