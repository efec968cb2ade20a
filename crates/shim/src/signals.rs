//! Signals as something to read.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::process::Signal;

/// Blocked signals, delivered through a descriptor.
pub(crate) struct Signals {
    fd: OwnedFd,
}

impl Signals {
    /// Blocks `signals` in this process and delivers them here instead.
    #[allow(unsafe_code)]
    pub(crate) fn block(signals: &[Signal]) -> io::Result<Signals> {
        // SAFETY: the set is initialised by sigemptyset before it is used, and signalfd's result is owned by nobody else.
        unsafe {
            let mut set = MaybeUninit::<libc::sigset_t>::uninit();
            libc::sigemptyset(set.as_mut_ptr());
            for signal in signals {
                libc::sigaddset(set.as_mut_ptr(), signal.as_raw());
            }
            if libc::sigprocmask(libc::SIG_BLOCK, set.as_ptr(), std::ptr::null_mut()) != 0 {
                return Err(io::Error::last_os_error());
            }
            match libc::signalfd(-1, set.as_ptr(), libc::SFD_CLOEXEC) {
                -1 => Err(io::Error::last_os_error()),
                fd => Ok(Signals { fd: OwnedFd::from_raw_fd(fd) }),
            }
        }
    }

    /// Waits for the next signal.
    pub(crate) fn wait(&self) -> io::Result<Signal> {
        let mut info = [0; size_of::<libc::signalfd_siginfo>()];
        rustix::io::read(&self.fd, &mut info)?;
        let number = info.first_chunk::<4>().map(|bytes| u32::from_ne_bytes(*bytes)).unwrap_or_default();
        i32::try_from(number).ok().and_then(Signal::from_named_raw).ok_or_else(|| io::Error::other(format!("unexpected signal {number}")))
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Undoes [`Signals::block`] for a program that is about to be executed: signal masks survive `execve`.
#[allow(unsafe_code)]
pub(crate) fn unblock_all() {
    // SAFETY: the set is initialised by sigemptyset; an empty mask is always valid.
    unsafe {
        let mut set = MaybeUninit::<libc::sigset_t>::uninit();
        libc::sigemptyset(set.as_mut_ptr());
        libc::sigprocmask(libc::SIG_SETMASK, set.as_ptr(), std::ptr::null_mut());
    }
}
