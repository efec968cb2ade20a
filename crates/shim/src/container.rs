//! A container as the shim holds it.

use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use corten_shim::protocol::{Exit, Run};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Signal};

use crate::log::{LogFile, Stream};
use crate::oom::Oom;
use crate::output::{Follower, Output, drop_followers};
use crate::poll::Poll;

/// Where a container is in its life.
pub(crate) enum Life {
    /// Its child is at work.
    Starting,
    /// Its first process runs.
    Running(i32),
    /// It has ended.
    Ended(Exit),
}

/// A container.
pub(crate) struct Container {
    pub(crate) run: Run,
    pub(crate) life: Life,
    pub(crate) log: Option<LogFile>,
    pub(crate) outputs: Vec<Output>,
    pub(crate) followers: Vec<Follower>,
    /// The writing end of stdin, or the terminal's master.
    pub(crate) input: Option<OwnedFd>,
    pub(crate) oom: Option<Oom>,
}

/// The container's ends of its stdio, to be handed to the child that starts it.
pub(crate) type Stdio = Vec<OwnedFd>;

impl Container {
    /// Opens the log and makes the pipes. With a terminal there are none: its master comes later.
    pub(crate) fn prepare(poll: &mut Poll, run: Run) -> io::Result<(Container, Stdio)> {
        let log = run
            .log
            .as_deref()
            .map(|path| {
                LogFile::open(path)
                    .map_err(|error| io::Error::new(error.kind(), format!("cannot open the log {}: {error}", path.display())))
            })
            .transpose()?;
        let oom = run.oom.as_deref().and_then(|path| Oom::watch(poll, &run.container, path));
        let mut container = Container { run, life: Life::Starting, log, outputs: Vec::new(), followers: Vec::new(), input: None, oom };
        if container.run.tty {
            return Ok((container, Vec::new()));
        }
        let (input, stdin) = stdin(container.run.stdin)?;
        container.input = input;
        let mut stdio = vec![stdin];
        for (index, stream) in [Stream::Stdout, Stream::Stderr].into_iter().enumerate() {
            let (reading, writing) = pipe_with(PipeFlags::CLOEXEC)?;
            rustix::io::ioctl_fionbio(&reading, true)?;
            container.outputs.push(Output::new(poll, &container.run.container, index, stream, reading)?);
            stdio.push(writing);
        }
        Ok((container, stdio))
    }

    /// Takes the terminal's master.
    pub(crate) fn set_terminal(&mut self, poll: &mut Poll, master: OwnedFd) -> io::Result<()> {
        rustix::io::ioctl_fionbio(&master, true)?;
        self.input = Some(rustix::io::fcntl_dupfd_cloexec(&master, 3)?);
        self.outputs = vec![Output::new(poll, &self.run.container, 0, Stream::Stdout, master)?];
        Ok(())
    }

    /// The first process, while it runs.
    pub(crate) fn pid(&self) -> Option<i32> {
        match self.life {
            Life::Running(pid) => Some(pid),
            _ => None,
        }
    }

    /// Kills every process of the container, also those outside of its first one's PID namespace.
    pub(crate) fn kill_all(&self, signal: Signal) {
        let listed = self.run.procs.as_deref().and_then(|procs| fs::read_to_string(procs).ok()).unwrap_or_default();
        for pid in listed.lines().filter_map(|line| Pid::from_raw(line.parse().ok()?)) {
            let _ = rustix::process::kill_process(pid, signal);
        }
    }

    /// The first process has ended: takes the last output, writes the exit record.
    pub(crate) fn end(&mut self, poll: &mut Poll, code: i32, finished_at: i64) -> Exit {
        self.kill_all(Signal::KILL);
        let oom = self.out_of_memory();
        self.release(poll);
        let exit = Exit { code, oom, finished_at };
        if let Err(error) = record(&self.run.dir, &exit) {
            eprintln!("cannot write the exit record of {}: {error}", self.run.container);
        }
        // Other programs run the hooks themselves.
        if self.run.handler.is_none()
            && let Err(error) = crate::hooks::start(&self.run.dir)
        {
            eprintln!("the poststop hooks of {} do not run: {error}", self.run.container);
        }
        self.delete();
        self.life = Life::Ended(exit.clone());
        exit
    }

    /// Lets the program that made it, if another did, forget it.
    pub(crate) fn delete(&self) {
        if let Some(handler) = &self.run.handler
            && let Err(error) = crate::handler::delete(handler, &self.run)
        {
            eprintln!("cannot delete {} with {}: {error}", self.run.container, handler.binary.display());
        }
    }

    /// Whether the kernel has killed anything in it for want of memory.
    fn out_of_memory(&mut self) -> bool {
        self.oom.as_mut().is_some_and(Oom::happened) || self.run.oom.as_deref().is_some_and(oom_killed)
    }

    /// The limit of memory that something was killed for.
    pub(crate) fn too_little_memory(&mut self) -> Option<String> {
        let counter = self.out_of_memory().then_some(self.run.oom.as_deref())??;
        let limit =
            ["memory.limit_in_bytes", "memory.max"].iter().find_map(|file| fs::read_to_string(counter.with_file_name(file)).ok())?;
        Some(format!("a memory limit of {} bytes", limit.trim()))
    }

    /// Lets go of all descriptors.
    pub(crate) fn release(&mut self, poll: &mut Poll) {
        for output in &mut self.outputs {
            output.finish(poll, &mut self.log, &mut self.followers);
        }
        drop_followers(poll, &self.outputs, &mut self.followers);
        self.outputs.clear();
        self.input = None;
        self.log = None;
        if let Some(oom) = self.oom.take() {
            oom.release(poll);
        }
    }
}

/// A pipe for stdin if it is wanted (our end first), else `/dev/null`.
pub(crate) fn stdin(wanted: bool) -> io::Result<(Option<OwnedFd>, OwnedFd)> {
    if wanted {
        let (reading, writing) = pipe_with(PipeFlags::CLOEXEC)?;
        Ok((Some(writing), reading))
    } else {
        Ok((None, File::open("/dev/null")?.into()))
    }
}

/// Whether the kernel has killed something in this cgroup. The counter is raised before the signal is sent.
fn oom_killed(path: &Path) -> bool {
    let counters = fs::read_to_string(path).unwrap_or_default();
    counters.lines().filter_map(|line| line.strip_prefix("oom_kill ")).any(|count| count.trim().parse::<u64>().is_ok_and(|count| count > 0))
}

/// Publishes the exit record: a reader sees all of it or nothing.
fn record(dir: &Path, exit: &Exit) -> io::Result<()> {
    let temporary: PathBuf = dir.join("exit.json.new");
    fs::write(&temporary, serde_json::to_vec(exit)?)?;
    fs::rename(temporary, dir.join("exit.json"))
}
