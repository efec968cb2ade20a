//! The shim's program in a sealed memory file, and starting it.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::Path;
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
        command.arg0(OsStr::new("corten-shim")).env_clear();
        command
    }

    /// Starts a shim. Whoever connects to its socket is answered when it serves, and cut off if it ends before.
    ///
    /// The socket is this process's work: it is there before the shim, and as long as anything of the shim is, so a daemon that
    /// comes after this one finds a shim at whatever moment of its start this one was killed.
    pub(crate) fn start(&self, paths: &SandboxPaths, serve: &Serve) -> Result<()> {
        let listener = listen(&paths.socket).map_err(Error::io("listen on", &paths.socket))?;
        let log = fs::OpenOptions::new().create(true).append(true).open(paths.shim_log()).map_err(Error::io("open", &paths.shim_log()))?;
        let settings = serde_json::to_string(serve).map_err(Error::internal)?;
        let mut child = tokio::process::Command::from(self.command())
            .arg("serve")
            .arg(&paths.socket)
            .arg(settings)
            .stdin(OwnedFd::from(listener))
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .map_err(|error| Error::Internal(format!("cannot start a shim: {error}")))?;
        // It leaves the shim behind as nobody's child, and ends.
        tokio::spawn(async move { child.wait().await });
        Ok(())
    }
}

/// Listens on a path of any length, by way of its directory.
fn listen(path: &Path) -> io::Result<UnixListener> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let (_dir, near) = super::near(path)?;
    let listener = UnixListener::bind(near)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}
