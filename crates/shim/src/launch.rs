//! The child that makes a container with libcontainer and starts it.

use std::fs;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::process::exit;

use anyhow::{Context, Result, bail};
use libcontainer::container::builder::ContainerBuilder;
use libcontainer::oci_spec::runtime::Spec;
use libcontainer::syscall::syscall::SyscallType;
use libcontainer::workload::{Executor, ExecutorError, ExecutorValidationError, default::DefaultExecutor};

use crate::children::{self, Launch, Report};
use crate::wire::{self, Inbox};

/// Where libcontainer keeps its own state, below the container's directory.
const STATE: &str = "oci";

/// Does the job that comes on descriptor 0.
pub(crate) fn main() -> Result<()> {
    let socket = children::inherited_socket()?;
    let mut inbox = Inbox::default();
    let job: Launch = wire::receive(&socket, &mut inbox)?;
    match run(&job, &mut inbox) {
        Ok((pid, master)) => {
            let fds: Vec<_> = master.iter().map(AsFd::as_fd).collect();
            wire::send(&socket, &Report::Started { pid }, &fds)?;
        }
        Err(error) => wire::send(&socket, &Report::Failed { message: format!("{error:#}") }, &[])?,
    }
    Ok(())
}

fn run(job: &Launch, inbox: &mut Inbox) -> Result<(i32, Option<OwnedFd>)> {
    // Sockets have a length limit that paths have not: everything below is relative.
    std::env::set_current_dir(&job.dir).with_context(|| format!("cannot enter {}", job.dir.display()))?;
    match fs::remove_dir_all(STATE) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error).context("cannot clear old state"),
        _ => fs::create_dir(STATE).context("cannot create the state directory")?,
    }
    let mut builder =
        ContainerBuilder::new(job.container.clone(), SyscallType::default()).with_executor(Payload).with_root_path(job.dir.join(STATE))?;
    let mut console = None;
    if job.tty {
        let path = job.dir.join(STATE).join("console");
        console = Some(UnixListener::bind(format!("{STATE}/console")).context("cannot listen for the terminal")?);
        builder = builder.with_console_socket(Some(path));
    } else {
        let stdio = children::take_stdio(inbox, job.tty)?;
        own(&stdio, job)?;
        let Ok([stdin, stdout, stderr]) = <[OwnedFd; 3]>::try_from(stdio) else { bail!("stdio is incomplete") };
        builder = builder.with_stdin(stdin).with_stdout(stdout).with_stderr(stderr);
    }
    let mut container = builder.as_init(&job.dir).with_systemd(false).with_detach(true).build().map_err(describe)?;
    let started = (|| {
        let master = console.as_ref().map(take_master).transpose()?;
        container.start().map_err(describe)?;
        let pid = container.pid().context("the container has no process")?;
        Ok((pid.as_raw(), master))
    })();
    if started.is_err() {
        // What was made must not stay; the first error is the one to tell.
        let _ = container.delete(true);
    }
    started
}

/// Gives the pipes to the container's user, or `/dev/stdout` could not be opened by name.
fn own(stdio: &[OwnedFd], job: &Launch) -> Result<()> {
    let spec = Spec::load(job.dir.join("config.json"))?;
    let Some(process) = spec.process() else { return Ok(()) };
    let (uid, gid) = (process.user().uid(), process.user().gid());
    if (uid, gid) == (0, 0) {
        return Ok(());
    }
    for fd in stdio {
        if rustix::fs::FileType::from_raw_mode(rustix::fs::fstat(fd)?.st_mode) == rustix::fs::FileType::Fifo {
            rustix::fs::fchown(fd, Some(rustix::fs::Uid::from_raw(uid)), Some(rustix::fs::Gid::from_raw(gid)))?;
        }
    }
    Ok(())
}

/// The terminal's master, which the container's first process sent.
fn take_master(console: &UnixListener) -> Result<OwnedFd> {
    let (stream, _) = console.accept()?;
    let mut inbox = Inbox::default();
    inbox.receive(&stream)?;
    inbox.take_fd().context("no terminal arrived")
}

/// The whole chain of causes, each said once.
fn describe(error: impl std::error::Error) -> anyhow::Error {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.contains(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    anyhow::Error::msg(text)
}

/// Executes the container's program, and says on its stderr why it cannot: by then nobody else listens.
#[derive(Clone)]
struct Payload;

impl Executor for Payload {
    fn exec(&self, spec: &Spec) -> Result<(), ExecutorError> {
        let Err(error) = (DefaultExecutor {}).exec(spec) else { return Ok(()) };
        let _ = writeln!(io::stderr(), "{error}");
        exit(127)
    }

    fn validate(&self, spec: &Spec) -> Result<(), ExecutorValidationError> {
        (DefaultExecutor {}).validate(spec)
    }
}
