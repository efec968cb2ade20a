//! The child that makes a container with libcontainer and starts it.

use std::fs;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixListener;
use std::process::exit;

use anyhow::{Context, Result, bail};
use libcontainer::container::builder::ContainerBuilder;
use libcontainer::error::LibcontainerError;
use libcontainer::oci_spec::runtime::{LinuxIdMapping, LinuxMemory, Spec};
use libcontainer::syscall::syscall::SyscallType;
use libcontainer::workload::{Executor, ExecutorError, ExecutorValidationError, default::DefaultExecutor};

use crate::children::{self, Launch, Report};
use crate::direct::Direct;
use crate::wire::{self, Inbox};
use crate::{handler, stage};

/// Where libcontainer keeps its own state, below the container's directory.
pub(crate) const STATE: &str = "oci";

/// Starts the child, with its end of the socket on which it reports.
pub(crate) fn start(job: &Launch, stdio: Vec<OwnedFd>, theirs: &OwnedFd) -> io::Result<()> {
    children::copy(stdio, theirs, |stdio| {
        let (pid, master) = run(job, stdio, Payload { reports: theirs.as_raw_fd() })?;
        let fds: Vec<_> = master.iter().map(AsFd::as_fd).collect();
        Ok(wire::send(theirs, &Report::Started { pid }, &fds)?)
    })
}

fn run(job: &Launch, stdio: Vec<OwnedFd>, payload: Payload) -> Result<(i32, Option<OwnedFd>)> {
    // Sockets have a length limit that paths have not: everything below is relative.
    std::env::set_current_dir(&job.dir).with_context(|| format!("cannot enter {}", job.dir.display()))?;
    match fs::remove_dir_all(STATE) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error).context("cannot clear old state"),
        _ => fs::create_dir(STATE).context("cannot create the state directory")?,
    }
    let spec = Spec::load(job.dir.join("config.json"))?;
    own(&stdio, &spec)?;
    if let (None, Some(direct)) = (&job.handler, Direct::new(&spec)) {
        return direct.start(spec, job, stdio, payload);
    }
    let bundle = stage::prepare(&job.dir)?;
    let bundle = bundle.as_deref().unwrap_or(&job.dir);
    if let Some(handler) = &job.handler {
        return handler::launch(job, handler, bundle, stdio);
    }
    let mut builder =
        ContainerBuilder::new(job.container.clone(), SyscallType::default()).with_executor(payload).with_root_path(job.dir.join(STATE))?;
    let mut console = None;
    if job.tty {
        let path = job.dir.join(STATE).join("console");
        console = Some(UnixListener::bind(format!("{STATE}/console")).context("cannot listen for the terminal")?);
        builder = builder.with_console_socket(Some(path));
    } else {
        let Ok([stdin, stdout, stderr]) = <[OwnedFd; 3]>::try_from(stdio) else { bail!("stdio is incomplete") };
        builder = builder.with_stdin(stdin).with_stdout(stdout).with_stderr(stderr);
    }
    let mut container = builder.as_init(bundle).with_systemd(false).with_detach(true).build().map_err(|error| refused(error, &spec))?;
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

/// Why libcontainer made no container. Of the death of a process of its own it knows no more than that it said nothing.
fn refused(error: LibcontainerError, spec: &Spec) -> anyhow::Error {
    let error = describe(error);
    let resources = spec.linux().as_ref().and_then(|linux| linux.resources().as_ref());
    let limit = resources.and_then(|resources| resources.memory().as_ref()).and_then(LinuxMemory::limit);
    match limit.filter(|_| error.to_string().contains("BrokenChannel")) {
        Some(limit) => error.context(format!("what was to make it was killed: a memory limit of {limit} bytes may be too little for it")),
        None => error,
    }
}

/// Gives the pipes to the container's user, or `/dev/stdout` could not be opened by name.
fn own(stdio: &[OwnedFd], spec: &Spec) -> Result<()> {
    let Some(process) = spec.process() else { return Ok(()) };
    let linux = spec.linux().as_ref();
    let uid = on_node(process.user().uid(), linux.and_then(|linux| linux.uid_mappings().as_deref()));
    let gid = on_node(process.user().gid(), linux.and_then(|linux| linux.gid_mappings().as_deref()));
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

/// The id that one of a container has on the node.
fn on_node(id: u32, mappings: Option<&[LinuxIdMapping]>) -> u32 {
    let within = |mapping: &&LinuxIdMapping| id.checked_sub(mapping.container_id()).is_some_and(|offset| offset < mapping.size());
    mappings.into_iter().flatten().find(within).map_or(id, |mapping| mapping.host_id() + (id - mapping.container_id()))
}

/// The terminal's master, which the container's first process sent.
pub(crate) fn take_master(console: &UnixListener) -> Result<OwnedFd> {
    let (stream, _) = console.accept()?;
    let mut inbox = Inbox::default();
    inbox.receive(&stream)?;
    inbox.take_fd().context("no terminal arrived")
}

/// The whole chain of causes, each said once.
pub(crate) fn describe(error: impl std::error::Error) -> anyhow::Error {
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

/// What the container's first process does last: it executes the program, and says on its stderr why it cannot, as by then nobody else
/// listens.
#[derive(Clone)]
pub(crate) struct Payload {
    /// The launching process's end of the socket on which it reports, of which the first process has a copy.
    reports: RawFd,
}

impl Executor for Payload {
    fn exec(&self, spec: &Spec) -> Result<(), ExecutorError> {
        // libcontainer knows labels of mounts, but not of processes.
        if let Some(label) = spec.process().as_ref().and_then(|process| process.selinux_label().as_deref())
            && let Err(error) = fs::write("/proc/thread-self/attr/exec", label)
        {
            let _ = writeln!(io::stderr(), "cannot set the SELinux label {label:?}: {error}");
            exit(126)
        }
        let Err(error) = (DefaultExecutor {}).exec(spec) else { return Ok(()) };
        let _ = writeln!(io::stderr(), "{error}");
        exit(127)
    }

    /// The last step before the first process says that it is ready, and waits to be let go.
    ///
    /// Until here it keeps the socket: when the shim sees its end without a word, the launching process is gone, and all that it has
    /// made is dead or in the container's cgroup, where it can be killed. Kept any longer, a first process that nobody lets go would
    /// hide from the shim that nobody will.
    #[allow(unsafe_code)]
    fn validate(&self, spec: &Spec) -> Result<(), ExecutorValidationError> {
        // SAFETY: this is a copy of the process whose variable owns the descriptor, and never comes back there.
        unsafe { libc::close(self.reports) };
        (DefaultExecutor {}).validate(spec)
    }
}
