//! Children that ended.

use corten_shim::protocol::Event;
use rustix::process::{WaitOptions, WaitStatus};

use crate::clock;
use crate::container::Life;
use crate::server::Server;

/// A process that ended before the shim learnt what it was.
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) at: i64,
}

impl Server {
    /// Reaps all that have ended.
    pub(crate) fn reap(&mut self) {
        while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
            let pid = pid.as_raw_nonzero().get();
            let ended = Ended { code: exit_code(status), at: clock::now() };
            let container = self.containers.iter().find(|(_, container)| container.pid() == Some(pid));
            if let Some(id) = container.map(|(id, _)| id.clone()) {
                self.container_ended(&id, &ended);
            } else if let Some(session) = self.execs.iter().find(|(_, exec)| exec.pid == pid).map(|(session, _)| session.clone()) {
                self.exec_ended(&session, &ended);
            } else if self.pause == Some(pid) {
                eprintln!("the process that holds the PID namespace ended");
                self.pause = None;
            } else if !self.helpers.is_empty() {
                self.early.insert(pid, ended);
            }
        }
    }

    /// A container's first process ended.
    pub(crate) fn container_ended(&mut self, id: &str, ended: &Ended) {
        let Some(container) = self.containers.get_mut(id) else { return };
        let exit = container.end(&mut self.poll, ended.code, ended.at);
        self.broadcast(&Event::Exited { container: id.to_owned(), exit });
        self.end_if_done();
    }

    /// An exec session's process ended.
    pub(crate) fn exec_ended(&mut self, session: &str, ended: &Ended) {
        if let Some(exec) = self.execs.remove(session) {
            self.tell(exec.connection, &Event::ExecExited { session: session.to_owned(), code: ended.code });
        }
    }

    /// After [`corten_shim::protocol::Call::Shutdown`]: ends the loop once nothing runs.
    pub(crate) fn end_if_done(&mut self) {
        let busy = |life: &Life| matches!(life, Life::Starting | Life::Running(_));
        self.done = self.stopping && !self.containers.values().any(|container| busy(&container.life));
    }
}

/// The code that a shell would show.
fn exit_code(status: WaitStatus) -> i32 {
    status.exit_status().or_else(|| status.terminating_signal().map(|signal| 128 + signal)).unwrap_or(255)
}
