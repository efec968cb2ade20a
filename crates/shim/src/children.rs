//! Children of the shim: each does one job that would otherwise change the shim itself (namespaces, working directory, cgroups),
//! reports over a socket, and ends. Most are copies of it; the one that makes a PID namespace is the program executed once more.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Result;
use corten_shim::protocol::Handler;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use serde::{Deserialize, Serialize};

use crate::wire;

/// For the child that makes and starts a container. Comes with its stdio (three descriptors) unless it has a terminal.
#[derive(Debug)]
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

/// Starts this program again as `pause`, with one end of a socket pair as descriptor 0, and returns the other end.
pub(crate) fn spawn_pause(userns: Option<&Path>) -> io::Result<OwnedFd> {
    let (ours, theirs) = reports()?;
    // Reaped by the event loop, like every other child.
    Command::new("/proc/self/exe").arg("pause").args(userns).env_clear().stdin(Stdio::from(theirs)).spawn().map(drop)?;
    Ok(ours)
}

/// The shim's end and a child's of the socket on which the child reports.
pub(crate) fn reports() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?)
}

/// Starts a copy of the shim that does `work` with the descriptors; should that fail, it says so on its end of the socket.
///
/// A copy, not the program once more: that would take longer than much of the work does.
#[allow(unsafe_code)]
pub(crate) fn copy(stdio: Vec<OwnedFd>, theirs: &OwnedFd, work: impl FnOnce(Vec<OwnedFd>) -> Result<()>) -> io::Result<()> {
    // SAFETY: this program has one thread, so the child may do anything.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            // Whatever holds this process up must not hold the shim's connections and the containers' pipes open.
            let kept = stdio.iter().chain([theirs]).map(AsRawFd::as_raw_fd).collect();
            let done = close_others(kept).map_err(Into::into).and_then(|()| {
                forget_signals();
                work(stdio)
            });
            if let Err(error) = done {
                // The shim sees the end of the socket without this too.
                let _ = wire::send(theirs, &Report::Failed { message: format!("{error:#}") }, &[]);
            }
            // SAFETY: ends the process; nothing of the shim's is to be done at its end.
            unsafe { libc::_exit(0) }
        }
        _ => Ok(()),
    }
}

/// Closes all descriptors but these, and those of stdio. For a copy of the shim, and for the shim before it opens any.
#[allow(unsafe_code)]
pub(crate) fn close_others(mut kept: Vec<RawFd>) -> io::Result<()> {
    let mut from = 3;
    kept.sort_unstable();
    let ends = kept.iter().map(|fd| fd.unsigned_abs()).chain([libc::c_uint::MAX]);
    for end in ends {
        let last = if end == libc::c_uint::MAX { end } else { end.saturating_sub(1) };
        // SAFETY: in a copy, what owns these descriptors is the shim's; the copy never comes back there, and drops none of it. At the
        // shim's start nothing owns any yet.
        if from <= last && unsafe { libc::close_range(from, last, 0) } != 0 {
            return Err(io::Error::last_os_error());
        }
        // One of stdio may be among them.
        from = from.max(end.saturating_add(1));
    }
    Ok(())
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
