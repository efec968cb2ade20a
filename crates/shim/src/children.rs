//! Re-executed children of the shim: each does one job that would otherwise change the shim itself (namespaces, working
//! directory, cgroups), reports over a socket, and ends.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use corten_shim::protocol::Handler;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use serde::{Deserialize, Serialize};

use crate::wire;

/// To the `launch` child: make and start a container. Comes with its stdio (three descriptors) unless it has a terminal.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Launch {
    pub(crate) container: String,
    pub(crate) dir: PathBuf,
    pub(crate) tty: bool,
    pub(crate) handler: Option<Handler>,
}

/// One more process in a container. Comes with stdio like [`Launch`].
#[derive(Debug)]
pub(crate) struct Enter {
    pub(crate) container: String,
    pub(crate) dir: PathBuf,
    pub(crate) init: i32,
    pub(crate) args: Vec<String>,
    pub(crate) tty: bool,
    pub(crate) handler: Option<Handler>,
}

/// From a child.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Report {
    /// The process exists. From `launch` with a terminal it comes with the master.
    Started { pid: i32 },
    /// The terminal's master comes with this.
    Terminal,
    /// It did not work.
    Failed { message: String },
}

/// Starts this program again as `mode`, with one end of a socket pair as descriptor 0, and returns the other end.
pub(crate) fn spawn(mode: &str, argument: Option<&Path>) -> io::Result<(OwnedFd, i32)> {
    let (ours, theirs) = rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    let child = Command::new("/proc/self/exe").arg(mode).args(argument).env_clear().stdin(Stdio::from(theirs)).spawn()?;
    // Reaped by the event loop, like every other child.
    let pid = i32::try_from(child.id()).map_err(io::Error::other)?;
    Ok((ours, pid))
}

/// Hands a job to a child.
pub(crate) fn assign(socket: &OwnedFd, job: &impl Serialize, stdio: &[OwnedFd]) -> io::Result<()> {
    let fds: Vec<BorrowedFd<'_>> = stdio.iter().map(AsFd::as_fd).collect();
    wire::send(socket, job, &fds)
}

/// In a child: takes the socket from descriptor 0, which becomes `/dev/null`.
pub(crate) fn inherited_socket() -> io::Result<OwnedFd> {
    let socket = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
    rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
    forget_signals();
    Ok(socket)
}

/// In a child: undoes what a Rust program's start-up and the shim changed about signals, since masks and ignored signals
/// survive `execve`.
#[allow(unsafe_code)]
pub(crate) fn forget_signals() {
    crate::signals::unblock_all();
    // SAFETY: restoring the default action of a signal has no preconditions.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
}

/// In a child: the stdio that came with a job. Empty if the job has a terminal.
pub(crate) fn take_stdio(inbox: &mut wire::Inbox, tty: bool) -> io::Result<Vec<OwnedFd>> {
    if tty {
        return Ok(Vec::new());
    }
    let fds: Vec<OwnedFd> = std::iter::from_fn(|| inbox.take_fd()).take(3).collect();
    match fds.len() {
        3 if fds.iter().all(|fd| fd.as_raw_fd() > 2) => Ok(fds),
        count => Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{count} descriptors for stdio"))),
    }
}

/// Undoes, in the program that `command` will run, that the shim holds its signals back: masks survive `execve`.
#[allow(unsafe_code)]
pub(crate) fn unmasked(command: &mut Command) -> &mut Command {
    // SAFETY: only sets the signal mask, which is allowed between fork and exec.
    unsafe {
        command.pre_exec(|| {
            crate::signals::unblock_all();
            Ok(())
        })
    }
}
