//! The short way to a container.
//!
//! libcontainer makes a container by a process that comes into the cgroup and starts the container's first process, which
//! then makes everything else. The latter is used here as it is. The former reads the table of mounts a dozen times, is moved in a way
//! that waits for the whole machine, and keeps state in files that nothing reads; what it does is done here, by the
//! launching process and the new one, for containers as most are. All others go libcontainer's way.

use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use anyhow::{Context, Result, anyhow, bail};
use libcgroups::common::CgroupConfig;
use libcontainer::apparmor;
use libcontainer::channel::ChannelError::BrokenChannel;
use libcontainer::namespaces::Namespaces;
use libcontainer::notify_socket::NotifyListener;
use libcontainer::oci_spec::runtime::{LinuxNamespaceType, LinuxResources, Mount, Spec};
use libcontainer::process::args::{ContainerArgs, ContainerType};
use libcontainer::process::channel::{self, ChannelError, InitReceiver, MainSender};
use libcontainer::process::init::container_init_process;
use libcontainer::seccomp;
use libcontainer::syscall::syscall::{SyscallType, create_syscall};
use libcontainer::validator::Validator;
use rustix::process::{DumpableBehavior, Pid, Signal, WaitOptions};

use crate::cgroup::Cgroup;
use crate::children::Launch;
use crate::launch::{Payload, STATE, describe};
use crate::wire::Inbox;
use crate::{layout, limits};

/// A container that can be made this way.
pub(crate) struct Direct {
    cgroup: Cgroup,
    path: PathBuf,
}

impl Direct {
    /// Looks whether it can be.
    pub(crate) fn new(spec: &Spec) -> Option<Direct> {
        let path = spec.linux().as_ref()?.cgroups_path().clone()?;
        let cgroup = plain(spec).then(|| Cgroup::find(&path)).flatten()?;
        Some(Direct { cgroup, path })
    }

    /// Makes and starts it by the spec that was looked at, from a working directory that has a directory for [`STATE`]. Returns its
    /// first process, and the terminal's master if it has one.
    pub(crate) fn start(self, mut spec: Spec, job: &Launch, stdio: Vec<OwnedFd>, payload: Payload) -> Result<(i32, Option<OwnedFd>)> {
        let Direct { cgroup, path } = self;
        Validator::validate_spec(&spec).map_err(describe)?;
        spec.canonicalize_rootfs(&job.dir).map_err(describe)?;
        let rootfs = fs::canonicalize(spec.root().as_ref().context("the container has no root")?.path())?;
        let process = spec.process().as_ref().context("the container has no process")?;
        if let Some(score) = process.oom_score_adj() {
            fs::write("/proc/self/oom_score_adj", score.to_string()).with_context(|| format!("cannot set the OOM score to {score}"))?;
        }
        // From here on nothing of a container whose namespaces are joined may look into this process and those it starts.
        rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
        let linux = spec.linux().as_ref().context("this is no container of Linux")?;
        cgroup.limit(linux.resources().as_ref().unwrap_or(&LinuxResources::default()))?;
        let start = Path::new(STATE).join("start");
        let listener = NotifyListener::new(&start).map_err(describe)?;
        let console = if job.tty { Some(UnixStream::pair()?) } else { None };
        let rootfs = layout::enter(&mut spec, &rootfs, &cgroup)?;
        let namespaces = spec.linux().as_ref().and_then(|linux| linux.namespaces().as_ref());
        let namespaces = Namespaces::try_from(namespaces).map_err(describe)?;
        let fd = |index: usize| stdio.get(index).map(AsRawFd::as_raw_fd);
        let args = ContainerArgs {
            container_type: ContainerType::InitContainer,
            syscall: SyscallType::default(),
            spec: Rc::new(spec),
            rootfs,
            console_socket: console.as_ref().map(|(_, theirs)| theirs.as_raw_fd()),
            notify_listener: listener,
            preserve_fds: 0,
            // For hooks alone.
            container: None,
            user_ns_config: None,
            cgroup_config: CgroupConfig { cgroup_path: path, systemd_cgroup: false, container_name: job.container.clone() },
            detached: true,
            executor: Box::new(payload),
            no_pivot: false,
            stdin: fd(0),
            stdout: fd(1),
            stderr: fd(2),
            as_sibling: false,
            pid_file: None,
        };
        let (mut to_us, mut from_it) = channel::main_channel().map_err(describe)?;
        let (to_it, mut from_us) = channel::init_channel().map_err(describe)?;
        // What comes from here is in it, this process is not.
        if let Some(pids) = namespaces.get(LinuxNamespaceType::Pid).map_err(describe)? {
            namespaces.unshare_or_setns(pids).map_err(describe)?;
        }
        let pid = fork(&args, &cgroup, &mut to_us, &mut from_us)?;
        let mut gone = false;
        let made = to_us.close().map_err(describe).and_then(|()| {
            from_it.wait_for_init_ready().map_err(|error| {
                gone = matches!(&error, ChannelError::ReceiveError { source: BrokenChannel, .. });
                describe(error)
            })?;
            to_it.close().map_err(describe)?;
            let master = console.map(|(ours, _)| master(&ours)).transpose()?;
            // It waits for no more than that somebody connects.
            UnixStream::connect(&start)?;
            Ok((pid.as_raw_nonzero().get(), master))
        });
        made.map_err(|error| {
            // What was made must not stay.
            let _ = rustix::process::kill_process(pid, Signal::KILL);
            let ended = rustix::process::waitpid(Some(pid), WaitOptions::empty()).ok().flatten();
            // A process that could say nothing any more has met its own end, not this one.
            match ended.and_then(|(_, status)| status.terminating_signal()).filter(|_| gone) {
                Some(signal) => anyhow!("the container's first process was killed by signal {signal}"),
                None => error,
            }
        })
    }
}

/// Whether a container needs nothing of what only libcontainer's whole way does. Specs that are to be refused go there too.
fn plain(spec: &Spec) -> bool {
    let Some(linux) = spec.linux() else { return false };
    let profile = spec.process().as_ref().and_then(|process| process.apparmor_profile().as_ref());
    let namespaces = linux.namespaces().iter().flatten();
    let mapped = |mount: &Mount| {
        let by_option = mount.options().iter().flatten().any(|option| option == "idmap" || option == "ridmap");
        by_option || mount.uid_mappings().is_some() || mount.gid_mappings().is_some()
    };
    spec.version().starts_with("1.")
        && spec.hooks().is_none()
        && profile.is_none_or(|_| apparmor::is_enabled().unwrap_or_default())
        && !spec.mounts().iter().flatten().any(mapped)
        && linux.net_devices().is_none()
        && linux.intel_rdt().is_none()
        && linux.uid_mappings().is_none()
        && linux.gid_mappings().is_none()
        && linux.seccomp().as_ref().is_none_or(|profile| !seccomp::is_notify(profile))
        && linux.resources().as_ref().is_none_or(limits::known)
        && namespaces.clone().any(|namespace| namespace.typ() == LinuxNamespaceType::Mount && namespace.path().is_none())
        && !namespaces
            .clone()
            .any(|namespace| matches!(namespace.typ(), LinuxNamespaceType::User | LinuxNamespaceType::Time | LinuxNamespaceType::Cgroup))
}

/// Starts the container's first process.
#[allow(unsafe_code)]
fn fork(args: &ContainerArgs, cgroup: &Cgroup, to_us: &mut MainSender, from_us: &mut InitReceiver) -> Result<Pid> {
    // SAFETY: this program has one thread, so the child may do anything.
    match unsafe { libc::fork() } {
        -1 => Err(std::io::Error::last_os_error()).context("cannot start the container's first process"),
        0 => {
            if let Err(error) = first(args, cgroup, to_us, from_us) {
                let _ = to_us.exec_failed(format!("{error:#}"));
            }
            // SAFETY: ends the process; nothing of its parent's is to be done at its end.
            unsafe { libc::_exit(1) }
        }
        pid => Pid::from_raw(pid).context("a process without a number"),
    }
}

/// Becomes the container's first process. Returns only with an error.
fn first(args: &ContainerArgs, cgroup: &Cgroup, to_us: &mut MainSender, from_us: &mut InitReceiver) -> Result<()> {
    // As long as it has the way there in sight.
    cgroup.join()?;
    let syscall = create_syscall();
    let process = args.spec.process().as_ref().context("the container has no process")?;
    for limit in process.rlimits().iter().flatten() {
        syscall.set_rlimit(limit).map_err(describe)?;
    }
    container_init_process(args, to_us, from_us).map_err(describe)
}

/// The terminal's master, which was sent before the first process said that it is ready.
fn master(socket: &UnixStream) -> Result<OwnedFd> {
    let mut inbox = Inbox::default();
    if !inbox.receive(socket)? {
        bail!("no terminal arrived");
    }
    inbox.take_fd().context("no terminal arrived")
}

#[cfg(test)]
mod tests;
