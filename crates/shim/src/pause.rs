//! The process that holds a shared PID namespace: its PID 1, which does nothing but reap.

use std::process::exit;

use rustix::process::{Signal, WaitOptions};
use rustix::thread::UnshareFlags;

use crate::signals::Signals;
use crate::wire;

/// Makes the namespace and leaves its first process behind. Writes that process's id to the socket on descriptor 0.
#[allow(unsafe_code)]
pub(crate) fn main() -> anyhow::Result<()> {
    let socket = crate::children::inherited_socket()?;
    // SAFETY: this program has one thread, so unsharing and forking leave no lock behind and no other thread changed.
    let child = unsafe {
        rustix::thread::unshare_unsafe(UnshareFlags::NEWPID)?;
        libc::fork()
    };
    match child {
        -1 => Err(std::io::Error::last_os_error().into()),
        0 => {
            drop(socket);
            hold()
        }
        pid => Ok(wire::send(&socket, &crate::children::Report::Started { pid }, &[])?),
    }
}

/// Reaps what containers leave behind until it is told to end.
fn hold() -> ! {
    let _ = rustix::thread::set_name(c"pause");
    let Ok(signals) = Signals::block(&[Signal::CHILD, Signal::TERM, Signal::INT]) else { exit(1) };
    loop {
        match signals.wait() {
            Ok(signal) if signal == Signal::CHILD => while let Ok(Some(_)) = rustix::process::wait(WaitOptions::NOHANG) {},
            _ => exit(0),
        }
    }
}
