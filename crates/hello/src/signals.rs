//! Signals taken one by one from a blocked set: process 1 of a PID namespace gets no default action.

use std::process::ExitCode;

const WANTED: [libc::c_int; 4] = [libc::SIGTERM, libc::SIGINT, libc::SIGQUIT, libc::SIGCHLD];

#[allow(unsafe_code)]
fn wanted() -> libc::sigset_t {
    // SAFETY: sigemptyset initialises the set before it is read, and sigaddset gets valid signal numbers.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        for signal in WANTED {
            libc::sigaddset(&raw mut set, signal);
        }
        set
    }
}

/// Blocks the signals that [`wait`] takes, for this thread and those that it starts.
#[allow(unsafe_code)]
pub(crate) fn block() {
    let set = wanted();
    // SAFETY: the set is initialised, and a null old set is allowed.
    unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) };
}

/// Reaps children until a signal asks to end.
#[allow(unsafe_code)]
pub(crate) fn wait() -> ExitCode {
    let set = wanted();
    loop {
        let mut signal = 0;
        // SAFETY: both pointers are to live values of the right types.
        if unsafe { libc::sigwait(&raw const set, &raw mut signal) } != 0 {
            return ExitCode::FAILURE;
        }
        if signal != libc::SIGCHLD {
            return ExitCode::SUCCESS;
        }
        // One SIGCHLD may stand for many children.
        // SAFETY: a null status pointer is allowed.
        while unsafe { libc::waitpid(-1, std::ptr::null_mut(), libc::WNOHANG) } > 0 {}
    }
}
