//! What the runtime asks for.

use std::fmt::Display;
use std::io;
use std::os::fd::OwnedFd;

use corten_shim::protocol::{self, Answer, Call, Event, Fault, FaultCode, Known, Request, Run};
use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Signal};
use rustix::termios::Winsize;

use crate::children::{self, Enter, Launch, Report};
use crate::container::{self, Container, Life};
use crate::log::Stream;
use crate::output::Follower;
use crate::poll::Source;
use crate::server::Server;
use crate::wire::Inbox;

/// How much of a session's output may wait to be read.
const PIPE: usize = 256 << 10;

/// The result of a call: at once, or later when a child has reported.
pub(crate) enum Answered {
    Now(Result<Answer, Fault>, Vec<OwnedFd>),
    Later,
}

/// An exec session.
pub(crate) struct Exec {
    pub(crate) connection: u64,
    pub(crate) pid: i32,
}

impl Exec {
    /// Ends the session's process.
    pub(crate) fn kill(&self) {
        if let Some(pid) = Pid::from_raw(self.pid) {
            let _ = rustix::process::kill_process(pid, Signal::KILL);
        }
    }
}

/// What a child at work is doing, and for whom.
pub(crate) struct Helper {
    socket: OwnedFd,
    inbox: Inbox,
    connection: u64,
    request: u64,
    task: Task,
    started: Option<i32>,
    failed: Option<String>,
    master: Option<OwnedFd>,
}

enum Task {
    Run { container: String },
    Exec { container: String, session: String, fds: Vec<OwnedFd> },
}

fn fault(code: FaultCode, message: impl Display) -> Fault {
    Fault { code, message: message.to_string() }
}

fn failed(error: impl Display) -> Fault {
    fault(FaultCode::Failed, error)
}

impl Server {
    /// Does what is asked for.
    pub(crate) fn call(&mut self, connection: u64, request: Request) -> Answered {
        let mut fds = Vec::new();
        let result = match request.call {
            Call::Run(run) => match self.run(connection, request.id, run) {
                Ok(()) => return Answered::Later,
                Err(fault) => Err(fault),
            },
            Call::Exec(exec) => match self.exec(connection, request.id, exec) {
                Ok(()) => return Answered::Later,
                Err(fault) => Err(fault),
            },
            Call::Attach { container, stdin, stdout, stderr } => {
                self.attach(&container, stdin, stdout, stderr).map(|streams| fds = streams).map(|()| Answer::Done)
            }
            Call::Hello { .. } => {
                Ok(Answer::Hello { version: protocol::VERSION, pid: rustix::process::getpid().as_raw_nonzero().get(), pause: self.pause })
            }
            Call::Signal { container, signal, all } => self.signal(&container, signal, all).map(|()| Answer::Done),
            Call::KillExec { session } => match self.execs.get(&session) {
                Some(exec) => {
                    exec.kill();
                    Ok(Answer::Done)
                }
                None => Err(fault(FaultCode::NotFound, format!("no exec session {session}"))),
            },
            Call::Resize { container, width, height } => self.resize(&container, width, height).map(|()| Answer::Done),
            Call::CloseStdin { container } => self.container(&container).map(|container| {
                container.input.take_if(|_| !container.run.tty);
                Answer::Done
            }),
            Call::ReopenLog { container } => self.container(&container).and_then(|container| {
                if let Some(log) = &mut container.log {
                    log.reopen().map_err(failed)?;
                }
                Ok(Answer::Done)
            }),
            Call::List => Ok(Answer::Containers(self.list())),
            Call::Forget { container } => self.forget(&container).map(|()| Answer::Done),
            Call::Shutdown => {
                self.shut_down();
                Ok(Answer::Done)
            }
        };
        Answered::Now(result, fds)
    }

    fn container(&mut self, id: &str) -> Result<&mut Container, Fault> {
        self.containers.get_mut(id).ok_or_else(|| fault(FaultCode::NotFound, format!("no container {id}")))
    }

    fn running(&mut self, id: &str) -> Result<(&mut Container, i32), Fault> {
        let container = self.container(id)?;
        match container.pid() {
            Some(pid) => Ok((container, pid)),
            None => Err(fault(FaultCode::State, format!("container {id} is not running"))),
        }
    }

    fn list(&self) -> Vec<Known> {
        let known = self.containers.iter().map(|(id, container)| Known {
            container: id.clone(),
            pid: container.pid(),
            exit: match &container.life {
                Life::Ended(exit) => Some(exit.clone()),
                _ => None,
            },
        });
        known.collect()
    }

    fn run(&mut self, connection: u64, request: u64, run: Run) -> Result<(), Fault> {
        if self.stopping {
            return Err(fault(FaultCode::State, "the sandbox is being stopped"));
        }
        let id = run.container.clone();
        if self.containers.contains_key(&id) {
            return Err(fault(FaultCode::Exists, format!("container {id} was started already")));
        }
        let job = Launch { container: id.clone(), dir: run.dir.clone(), tty: run.tty, handler: run.handler.clone() };
        let (mut container, stdio) = Container::prepare(&mut self.poll, run).map_err(failed)?;
        let task = Task::Run { container: id.clone() };
        if let Err(fault) = self.begin(connection, request, task, |theirs| crate::launch::start(&job, stdio, theirs)) {
            container.release(&mut self.poll);
            return Err(fault);
        }
        self.containers.insert(id, container);
        Ok(())
    }

    fn exec(&mut self, connection: u64, request: u64, exec: protocol::Exec) -> Result<(), Fault> {
        let (container, init) = self.running(&exec.container)?;
        let (dir, handler) = (container.run.dir.clone(), container.run.handler.clone());
        let job = Enter { container: exec.container.clone(), dir, init, args: exec.args, tty: exec.tty, handler };
        let (mut ours, mut stdio) = (Vec::new(), Vec::new());
        if !exec.tty {
            let (input, stdin) = container::stdin(exec.stdin).map_err(failed)?;
            ours.extend(input);
            stdio.push(stdin);
            for _ in 0..2 {
                let (reading, writing) = pipe_with(PipeFlags::CLOEXEC).map_err(failed)?;
                // What is large goes through in few steps. The kernel may have given out all that it has for such pipes.
                let _ = rustix::pipe::fcntl_setpipe_size(&writing, PIPE);
                ours.push(reading);
                stdio.push(writing);
            }
        }
        let task = Task::Exec { container: exec.container, session: exec.session, fds: ours };
        self.begin(connection, request, task, |theirs| crate::exec::start(&job, stdio, theirs))
    }

    /// Starts a child, given its end of the socket on which it reports.
    fn begin(&mut self, connection: u64, request: u64, task: Task, start: impl FnOnce(&OwnedFd) -> io::Result<()>) -> Result<(), Fault> {
        let (socket, theirs) = children::reports().map_err(failed)?;
        // Before there is a process: one whose reports nobody hears could not be ended.
        let token = self.watch(socket, connection, request, task)?;
        start(&theirs).map_err(|error| {
            if let Some(helper) = self.helpers.remove(&token) {
                self.poll.remove(&helper.socket, token);
            }
            failed(error)
        })
    }

    /// Hears what a child reports; the token that it goes by.
    fn watch(&mut self, socket: OwnedFd, connection: u64, request: u64, task: Task) -> Result<u64, Fault> {
        rustix::io::ioctl_fionbio(&socket, true).map_err(failed)?;
        let token = self.poll.add(&socket, Source::Helper, EventFlags::IN).map_err(failed)?;
        let inbox = Inbox::default();
        let helper = Helper { socket, inbox, connection, request, task, started: None, failed: None, master: None };
        self.helpers.insert(token, helper);
        Ok(token)
    }

    /// A child reports, or has ended.
    pub(crate) fn helper_ready(&mut self, token: u64) {
        let Some(helper) = self.helpers.get_mut(&token) else { return };
        let open = match helper.inbox.receive(&helper.socket) {
            Ok(open) => open,
            Err(Errno::AGAIN | Errno::INTR) => true,
            Err(_) => false,
        };
        loop {
            match helper.inbox.next::<Report>() {
                Ok(Some(Report::Started { pid })) => {
                    helper.started = Some(pid);
                    helper.master = helper.master.take().or_else(|| helper.inbox.take_fd());
                }
                // Sent by another process than `Started`: where both came at once, that one has taken the terminal already.
                Ok(Some(Report::Terminal)) => helper.master = helper.inbox.take_fd().or_else(|| helper.master.take()),
                Ok(Some(Report::Failed { message })) => helper.failed = Some(message),
                Ok(None) => break,
                Err(error) => helper.failed = Some(format!("bad report: {error}")),
            }
        }
        // A started container is known at once; whether an exec worked shows when the socket closes on execve.
        let finished = !open || matches!(helper.task, Task::Run { .. }) && helper.started.is_some();
        if !finished {
            return;
        }
        if let Some(helper) = self.helpers.remove(&token) {
            self.poll.remove(&helper.socket, token);
            match &helper.task {
                Task::Run { .. } => self.run_finished(helper),
                Task::Exec { .. } => self.exec_finished(helper),
            }
        }
        if self.helpers.is_empty() {
            self.early.clear();
        }
    }

    fn run_finished(&mut self, helper: Helper) {
        let Task::Run { container: id } = helper.task else { return };
        let Some(container) = self.containers.get_mut(&id) else { return };
        let terminal = helper.master.map_or(Ok(()), |master| container.set_terminal(&mut self.poll, master));
        if let Err(error) = terminal {
            eprintln!("container {id} has no terminal: {error}");
        }
        let Some(pid) = helper.started else {
            let limit = container.too_little_memory();
            // Whoever was to start it may be gone, and what it has made may have got to any point.
            container.kill_all(Signal::KILL);
            container.release(&mut self.poll);
            if helper.failed.is_none() {
                container.delete();
            }
            self.containers.remove(&id);
            let message = helper.failed.unwrap_or_else(|| "the launching process died".to_owned());
            let message = limit.map_or_else(|| message.clone(), |limit| format!("{limit} is too little for it to start: {message}"));
            self.reply(helper.connection, helper.request, Err(failed(message)), Vec::new());
            return self.end_if_done();
        };
        container.life = Life::Running(pid);
        self.broadcast(&Event::Started { container: id.clone(), pid });
        self.reply(helper.connection, helper.request, Ok(Answer::Started { pid }), Vec::new());
        if let Some(ended) = self.early.remove(&pid) {
            self.container_ended(&id, &ended);
        } else if self.stopping {
            self.shut_down();
        }
    }

    fn exec_finished(&mut self, helper: Helper) {
        let Task::Exec { container, session, fds } = helper.task else { return };
        let pid = match (helper.started, helper.failed) {
            (Some(pid), None) => pid,
            (_, message) => {
                let message = message.unwrap_or_else(|| "the entering process died".to_owned());
                return self.reply(helper.connection, helper.request, Err(failed(message)), Vec::new());
            }
        };
        let fds = match helper.master {
            Some(master) => vec![master],
            None => fds,
        };
        let exec = Exec { connection: helper.connection, pid };
        // Nobody can take its output any more if the runtime that asked for it is gone; and where processes are shared, it can have
        // come into its container after that had ended and all in it was killed.
        let left = !self.is_connected(exec.connection) || self.running(&container).is_err();
        // One that was reaped has no pid any more.
        if left && !self.early.contains_key(&pid) {
            exec.kill();
        }
        self.reply(helper.connection, helper.request, Ok(Answer::Started { pid }), fds);
        self.execs.insert(session.clone(), exec);
        if let Some(ended) = self.early.remove(&pid) {
            self.exec_ended(&session, &ended);
        }
    }

    fn attach(&mut self, id: &str, stdin: bool, stdout: bool, stderr: bool) -> Result<Vec<OwnedFd>, Fault> {
        self.running(id)?;
        let Some(container) = self.containers.get_mut(id) else { return Ok(Vec::new()) };
        let mut fds = Vec::new();
        if stdin {
            let input = container.input.as_ref().ok_or_else(|| fault(FaultCode::State, "stdin is closed"))?;
            fds.push(rustix::io::fcntl_dupfd_cloexec(input, 3).map_err(failed)?);
        }
        for stream in [(stdout, Stream::Stdout), (stderr, Stream::Stderr)].into_iter().filter(|(on, _)| *on) {
            let (reading, writing) = pipe_with(PipeFlags::CLOEXEC).map_err(failed)?;
            rustix::io::ioctl_fionbio(&writing, true).map_err(failed)?;
            container.followers.push(Follower::new(&mut self.poll, id, stream.1, writing).map_err(failed)?);
            fds.push(reading);
        }
        crate::output::drop_followers(&mut self.poll, &container.outputs, &mut container.followers);
        Ok(fds)
    }

    fn resize(&mut self, id: &str, width: u16, height: u16) -> Result<(), Fault> {
        let container = self.container(id)?;
        let Some(terminal) = container.input.as_ref().filter(|_| container.run.tty) else {
            return Err(fault(FaultCode::State, format!("container {id} has no terminal")));
        };
        let size = Winsize { ws_col: width, ws_row: height, ws_xpixel: 0, ws_ypixel: 0 };
        rustix::termios::tcsetwinsize(terminal, size).map_err(failed)
    }

    fn signal(&mut self, id: &str, signal: i32, all: bool) -> Result<(), Fault> {
        let (container, pid) = self.running(id)?;
        let signal = Signal::from_named_raw(signal).ok_or_else(|| failed(format!("signal {signal} cannot be sent")))?;
        if let Some(handler) = &container.run.handler {
            // What the first process is, only that program knows: it may be a virtual machine.
            crate::handler::kill(handler, &container.run, signal).map_err(failed)?;
            if signal != Signal::KILL {
                return Ok(());
            }
        }
        if all {
            container.kill_all(signal);
        }
        let Some(pid) = Pid::from_raw(pid) else { return Ok(()) };
        rustix::process::kill_process(pid, signal).map_err(failed)
    }

    fn forget(&mut self, id: &str) -> Result<(), Fault> {
        match self.container(id)?.life {
            Life::Ended(_) => {
                self.containers.remove(id);
                Ok(())
            }
            _ => Err(fault(FaultCode::State, format!("container {id} is running"))),
        }
    }

    fn shut_down(&mut self) {
        self.stopping = true;
        for container in self.containers.values() {
            if let Some(pid) = container.pid().and_then(Pid::from_raw) {
                container.kill_all(Signal::KILL);
                let _ = rustix::process::kill_process(pid, Signal::KILL);
            }
        }
        self.end_if_done();
    }
}
