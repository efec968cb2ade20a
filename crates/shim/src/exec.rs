//! The child that starts one more process in a running container: a copy of the shim.
//!
//! Not libcontainer's way into a container: that leaves out the seccomp profile, and reads and writes state files that
//! nothing here needs. The order of steps is the one that each of them demands of the others.

use std::ffi::CString;
use std::fs;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use libcontainer::oci_spec::runtime::{Process, Spec};
use libcontainer::syscall::syscall::create_syscall;
use libcontainer::{capabilities, seccomp};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, PidfdFlags};
use rustix::pty::OpenptFlags;
use rustix::thread::ThreadNameSpaceType;

use crate::cgroup::{self, Door};
use crate::children::{self, Enter, Report};
use crate::wire;

/// How much of a container's passwd is read.
const PASSWD: u64 = 1 << 20;

/// Starts the child, with its end of the socket on which it reports.
pub(crate) fn start(job: &Enter, stdio: Vec<OwnedFd>, theirs: &OwnedFd) -> io::Result<()> {
    children::copy(stdio, theirs, |stdio| match &job.handler {
        Some(handler) => crate::handler::exec(job, handler, stdio, theirs),
        None => run(job, &stdio, theirs),
    })
}

#[allow(unsafe_code)]
fn run(job: &Enter, stdio: &[OwnedFd], socket: &OwnedFd) -> Result<()> {
    let spec = Spec::load(job.dir.join("config.json"))?;
    // Whoever is in the container already must not look into this process once it is in there too.
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?;
    let init = Pid::from_raw(job.init).context("no process to join")?;
    let pidfd = rustix::process::pidfd_open(init, PidfdFlags::empty()).context("the container is not running")?;
    let cgroups = cgroup::doors_to(job.init)?;
    adjust_oom_score(&spec);
    rustix::thread::move_into_thread_name_spaces(
        pidfd.as_fd(),
        other_user_namespace(job.init)?
            | ThreadNameSpaceType::MOUNT
            | ThreadNameSpaceType::CONTROL_GROUP
            | ThreadNameSpaceType::HOST_NAME_AND_NIS_DOMAIN_NAME
            | ThreadNameSpaceType::INTER_PROCESS_COMMUNICATION
            | ThreadNameSpaceType::NETWORK
            | ThreadNameSpaceType::PROCESS_ID,
    )
    .context("cannot join the container's namespaces")?;
    // The program begins when the shim has been told of it, or never: one that nobody knows could not be ended.
    let (told, tell) = pipe_with(PipeFlags::CLOEXEC)?;
    // SAFETY: this program has one thread, so the child may do anything.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()).context("cannot fork"),
        0 => {
            drop(tell);
            let error = match become_process(job, &spec, stdio, &cgroups, socket, &told) {
                Ok(never) => match never {},
                Err(error) => error,
            };
            let _ = wire::send(socket, &Report::Failed { message: format!("{error:#}") }, &[]);
            // SAFETY: ends the process; nothing of the shim's is to be done at its end.
            unsafe { libc::_exit(126) }
        }
        pid => {
            wire::send(socket, &Report::Started { pid }, &[])?;
            // It may have ended already.
            let _ = rustix::io::write(&tell, &[0]);
            Ok(())
        }
    }
}

/// The container's user namespace, if it has one of its own: to join the one that one is in is an error.
fn other_user_namespace(init: i32) -> Result<ThreadNameSpaceType> {
    let (own, theirs) = (fs::read_link("/proc/self/ns/user")?, fs::read_link(format!("/proc/{init}/ns/user"))?);
    Ok(if own == theirs { ThreadNameSpaceType::empty() } else { ThreadNameSpaceType::USER })
}

/// The same inclination to be killed as the container; lowering it may be forbidden, which the container's start has said.
fn adjust_oom_score(spec: &Spec) {
    if let Some(score) = spec.process().as_ref().and_then(Process::oom_score_adj) {
        let _ = fs::write("/proc/self/oom_score_adj", score.to_string());
    }
}

/// Turns this process into the container's program, once it is `told` to.
fn become_process(
    job: &Enter,
    spec: &Spec,
    stdio: &[OwnedFd],
    cgroups: &[Door],
    socket: &OwnedFd,
    told: &OwnedFd,
) -> Result<std::convert::Infallible> {
    let process = spec.process().as_ref().context("the container has no process")?;
    rustix::process::setsid()?;
    if job.tty {
        let master = open_terminal().context("cannot open a terminal")?;
        wire::send(socket, &Report::Terminal, &[master.as_fd()])?;
    } else {
        let [stdin, stdout, stderr] = stdio else { bail!("stdio is incomplete") };
        rustix::stdio::dup2_stdin(stdin)?;
        rustix::stdio::dup2_stdout(stdout)?;
        rustix::stdio::dup2_stderr(stderr)?;
    }
    // As late as it is allowed: from then on the container's share of the processors, which may be next to nothing, is this one's.
    // But before anything of the container is read, so that what that costs is the container's too.
    cgroups.iter().try_for_each(Door::enter).context("cannot join the container's cgroup")?;
    let mut env = process.env().clone().unwrap_or_default();
    let user = process.user();
    if !env.iter().any(|entry| entry.starts_with("HOME=")) {
        env.push(format!("HOME={}", home(user.uid())));
    }
    let profile = spec.linux().as_ref().and_then(|linux| linux.seccomp().as_ref());
    let no_new_privileges = process.no_new_privileges() == Some(true);
    // Without no-new-privileges, loading a filter is itself a privilege; with it, later is stricter.
    if let Some(profile) = profile.filter(|_| !no_new_privileges) {
        seccomp::initialize_seccomp(profile).context("cannot load the seccomp profile")?;
    }
    let cwd = process.cwd();
    let early = std::env::set_current_dir(cwd);
    label(process)?;
    drop_privileges(process)?;
    if early.is_err() {
        std::env::set_current_dir(cwd).with_context(|| format!("cannot change to {}", cwd.display()))?;
    }
    if no_new_privileges {
        rustix::thread::set_no_new_privs(true)?;
        if let Some(profile) = profile {
            seccomp::initialize_seccomp(profile).context("cannot load the seccomp profile")?;
        }
    }
    if rustix::io::retry_on_intr(|| rustix::io::read(told, &mut [0; 1]))? == 0 {
        bail!("the entering process died");
    }
    execute(&job.args, &env)
}

/// What the kernel's security module is to call the program.
fn label(process: &Process) -> Result<()> {
    let labels = [
        ("apparmor/exec", process.apparmor_profile().as_ref().map(|profile| format!("exec {profile}"))),
        ("exec", process.selinux_label().clone()),
    ];
    for (file, label) in labels {
        if let Some(label) = label {
            fs::write(Path::new("/proc/thread-self/attr").join(file), &label).with_context(|| format!("cannot set the label {label:?}"))?;
        }
    }
    Ok(())
}

/// A new terminal of the container's own devpts as this session's terminal and stdio; returns its master.
fn open_terminal() -> Result<OwnedFd> {
    let master = rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    rustix::pty::unlockpt(&master)?;
    let slave = rustix::pty::ioctl_tiocgptpeer(&master, OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    rustix::process::ioctl_tiocsctty(&slave)?;
    rustix::stdio::dup2_stdin(&slave)?;
    rustix::stdio::dup2_stdout(&slave)?;
    rustix::stdio::dup2_stderr(&slave)?;
    Ok(master)
}

/// The container's own passwd. It may be anything by now: a pipe that nobody writes to, or a device without end.
fn passwd() -> io::Result<String> {
    let file = fs::File::options().read(true).custom_flags(libc::O_NONBLOCK).open("/etc/passwd")?;
    let mut text = String::new();
    if file.metadata()?.is_file() {
        file.take(PASSWD).read_to_string(&mut text)?;
    }
    Ok(text)
}

/// The home directory by the container's own passwd.
fn home(uid: u32) -> String {
    let passwd = passwd().unwrap_or_default();
    passwd
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .find(|fields| fields.get(2).is_some_and(|field| field.parse() == Ok(uid)))
        .and_then(|fields| fields.get(5).filter(|home| !home.is_empty()).map(|home| (*home).to_owned()))
        .unwrap_or_else(|| "/".to_owned())
}

/// Groups, user and capabilities, in the order in which each is still allowed.
#[allow(unsafe_code)]
fn drop_privileges(process: &Process) -> Result<()> {
    let user = process.user();
    let groups = user.additional_gids().clone().unwrap_or_default();
    rustix::thread::set_keep_capabilities(true)?;
    // SAFETY: plain system calls; the group list outlives the call and its length is its own.
    unsafe {
        check(libc::setgroups(groups.len(), groups.as_ptr())).context("cannot set groups")?;
        check(libc::setresgid(user.gid(), user.gid(), user.gid())).context("cannot set the group")?;
        check(libc::setresuid(user.uid(), user.uid(), user.uid())).context("cannot set the user")?;
        libc::umask(user.umask().unwrap_or(0o022));
    }
    rustix::thread::set_keep_capabilities(false)?;
    let syscall = create_syscall();
    capabilities::reset_effective(syscall.as_ref())?;
    if let Some(wanted) = process.capabilities() {
        capabilities::drop_privileges(wanted, syscall.as_ref()).context("cannot drop capabilities")?;
    }
    Ok(())
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Finds the program as a shell would, and executes it.
#[allow(unsafe_code)]
fn execute(args: &[String], env: &[String]) -> Result<std::convert::Infallible> {
    let name = args.first().context("no program given")?;
    let path = find(name, env).with_context(|| format!("exec: {name:?}: executable file not found in $PATH"))?;
    let strings = |list: &[String]| -> Result<Vec<CString>> {
        list.iter().map(|item| CString::new(item.as_str()).context("a zero byte in an argument")).collect()
    };
    let (args, env) = (strings(args)?, strings(env)?);
    let pointers =
        |list: &[CString]| -> Vec<*const libc::c_char> { list.iter().map(|item| item.as_ptr()).chain([std::ptr::null()]).collect() };
    let program = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: all three point to zero-terminated data that lives until the call returns, which it does only with an error.
    unsafe { libc::execve(program.as_ptr(), pointers(&args).as_ptr(), pointers(&env).as_ptr()) };
    Err(io::Error::last_os_error()).with_context(|| format!("exec: {name:?}"))
}

fn find(name: &str, env: &[String]) -> Option<PathBuf> {
    if name.contains('/') {
        return Some(PathBuf::from(name));
    }
    let path = env.iter().rev().find_map(|entry| entry.strip_prefix("PATH="))?;
    path.split(':')
        .map(|dir| Path::new(dir).join(name))
        .find(|candidate| candidate.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0))
}
