//! The process that holds a shared PID namespace: its PID 1, which does nothing but reap.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::exit;

use anyhow::Context;
use rustix::process::{Signal, WaitOptions};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space};

use crate::signals::Signals;
use crate::wire;

/// Makes the namespace, in the pod's user namespace if it has one, and leaves its first process behind. Writes that process's id to the socket on descriptor 0.
#[allow(unsafe_code)]
pub(crate) fn main(userns: Option<&Path>) -> anyhow::Result<()> {
    let socket = crate::children::inherited_socket()?;
    if let Some(path) = userns {
        let namespace = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::User)).context("cannot join the user namespace")?;
    }
    // The shim's own child, not this process's: it must not outlive the shim, and the kernel sees to that only for its parent's end.
    // SAFETY: this program has one thread, so unsharing and forking leave no lock behind and no other thread changed. Without a stack
    // of its own the child goes on with a copy of this one, as after fork.
    let child = unsafe {
        rustix::thread::unshare_unsafe(UnshareFlags::NEWPID)?;
        libc::syscall(libc::SYS_clone, libc::CLONE_PARENT | libc::SIGCHLD, 0, 0, 0, 0)
    };
    match child {
        -1 => Err(std::io::Error::last_os_error().into()),
        0 => {
            drop(socket);
            hold()
        }
        pid => Ok(wire::send(&socket, &crate::children::Report::Started { pid: i32::try_from(pid)? }, &[])?),
    }
}

/// Reaps what containers leave behind until it is told to end.
fn hold() -> ! {
    let _ = rustix::thread::set_name(c"pause");
    if rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).is_err() {
        exit(1);
    }
    let Ok(signals) = Signals::block(&[Signal::CHILD, Signal::TERM, Signal::INT]) else { exit(1) };
    loop {
        match signals.wait() {
            Ok(signal) if signal == Signal::CHILD => while let Ok(Some(_)) = rustix::process::wait(WaitOptions::NOHANG) {},
            _ => exit(0),
        }
    }
}
