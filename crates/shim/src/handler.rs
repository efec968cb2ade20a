//! Containers made by another OCI runtime: its command line is the interface (the "runtime and lifecycle" part of the OCI
//! runtime specification, as runc has it). Stdio, log, exit code and everything else stay with the shim.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use corten_shim::protocol::{Handler, Run};
use rustix::process::Signal;
use serde_json::Value;

use crate::children::{self, Enter, Launch, Report};
use crate::launch::take_master;
use crate::wire;

/// Where such a program keeps its state, below the container's directory: every container has a root of its own.
const STATE: &str = "oci";

/// Where such programs look for their helpers.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

fn command(handler: &Handler, dir: &Path, log: Option<&Path>) -> Command {
    let mut command = Command::new(&handler.binary);
    command.env_clear().env("PATH", PATH).args(&handler.options).arg("--root").arg(dir.join(STATE));
    if let Some(log) = log {
        command.arg("--log").arg(log).args(["--log-format", "json"]);
    }
    command
}

/// What the program says went wrong: the last error of its log, else what it wrote.
fn complaint(log: &Path, stderr: &[u8]) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let entries = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let is_error = |entry: &Value| {
        entry["level"].as_str().is_none_or(|level| ["error", "fatal"].iter().any(|error| level.eq_ignore_ascii_case(error)))
    };
    // runc and crun call it the one, youki the other; what comes after a blank line is where in the program it happened.
    let words = |entry: Value| ["msg", "message"].iter().find_map(|key| Some(entry[*key].as_str()?.split("\n\n").next()?.to_owned()));
    let last = entries.filter(is_error).filter_map(words).next_back();
    last.unwrap_or_else(|| String::from_utf8_lossy(stderr).trim().to_owned())
}

fn name(handler: &Handler) -> String {
    handler.binary.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// In the `launch` child: makes and starts a container from the bundle in `bundle`.
pub(crate) fn launch(job: &Launch, handler: &Handler, bundle: &Path, stdio: Vec<OwnedFd>) -> Result<(i32, Option<OwnedFd>)> {
    let state = job.dir.join(STATE);
    let (log, pid_file) = (state.join("create.log"), state.join("init.pid"));
    let mut create = command(handler, &job.dir, Some(&log));
    create.arg("create").arg("--bundle").arg(bundle).arg("--pid-file").arg(&pid_file);
    let console = console(job.tty, "console")?;
    if console.is_some() {
        create.args(["--console-socket", &reached("console")]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    } else {
        give(&mut create, stdio)?;
    }
    let status = create.arg(&job.container).status().with_context(|| format!("cannot run {}", handler.binary.display()))?;
    if !status.success() {
        bail!("{} create failed: {}", name(handler), complaint(&log, status.to_string().as_bytes()));
    }
    // Its copies of the pipes must not outlive it, or nobody would see the container close them.
    drop(create);
    let started = (|| {
        let master = console.as_ref().map(take_master).transpose()?;
        let pid = read_pid(&pid_file)?;
        let log = state.join("start.log");
        let start = command(handler, &job.dir, Some(&log)).args(["start", &job.container]).stdin(Stdio::null()).output()?;
        if !start.status.success() {
            bail!("{} start failed: {}", name(handler), complaint(&log, &start.stderr));
        }
        Ok((pid, master))
    })();
    if started.is_err() {
        let _ = command(handler, &job.dir, None).args(["delete", "--force", &job.container]).stdin(Stdio::null()).output();
    }
    started
}

/// In the `exec` child: starts one more process. Its descriptors are those of the job.
pub(crate) fn exec(job: &Enter, handler: &Handler, stdio: Vec<OwnedFd>, socket: &OwnedFd) -> Result<()> {
    std::env::set_current_dir(&job.dir).with_context(|| format!("cannot enter {}", job.dir.display()))?;
    let session = rustix::process::getpid().as_raw_nonzero().to_string();
    let file = |suffix: &str| job.dir.join(STATE).join(format!("exec-{session}.{suffix}"));
    let (process, pid_file, log) = (file("json"), file("pid"), file("log"));
    let mut spec: Value = serde_json::from_slice(&fs::read(job.dir.join("config.json"))?)?;
    let mut wanted = spec["process"].take();
    wanted["args"] = Value::from(job.args.clone());
    wanted["terminal"] = Value::from(job.tty);
    fs::write(&process, serde_json::to_vec(&wanted)?)?;
    let mut exec = command(handler, &job.dir, Some(&log));
    exec.args(["exec", "--detach"]).arg("--process").arg(&process).arg("--pid-file").arg(&pid_file);
    let socket_name = format!("exec-{session}.tty");
    let console = console(job.tty, &socket_name)?;
    if console.is_some() {
        exec.args(["--console-socket", &reached(&socket_name)]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    } else {
        give(&mut exec, stdio)?;
    }
    let status = exec.arg(&job.container).status().with_context(|| format!("cannot run {}", handler.binary.display()))?;
    drop(exec);
    let outcome = if status.success() {
        let master = console.as_ref().map(take_master).transpose()?;
        if let Some(master) = &master {
            wire::send(socket, &Report::Terminal, &[master.as_fd()])?;
        }
        read_pid(&pid_file)
    } else {
        Err(anyhow::anyhow!("{} exec failed: {}", name(handler), complaint(&log, status.to_string().as_bytes())))
    };
    for path in [&process, &pid_file, &log, &job.dir.join(STATE).join(&socket_name)] {
        let _ = fs::remove_file(path);
    }
    wire::send(socket, &Report::Started { pid: outcome? }, &[])?;
    Ok(())
}

/// Sends a signal to a container. Does not wait for the program: the event loop reaps it.
pub(crate) fn kill(handler: &Handler, run: &Run, signal: Signal) -> io::Result<()> {
    detached(command(handler, &run.dir, None).args(["kill", &run.container, &signal.as_raw().to_string()]))
}

/// Lets the program forget a container that has ended, and clear what it made for it. Does not wait for it either.
pub(crate) fn delete(handler: &Handler, run: &Run) -> io::Result<()> {
    detached(command(handler, &run.dir, None).args(["delete", "--force", &run.container]))
}

fn detached(command: &mut Command) -> io::Result<()> {
    children::unmasked(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null())).spawn().map(drop)
}

/// A path of a socket that is short enough for one, and holds wherever the runtime's working directory is.
fn reached(name: &str) -> String {
    format!("/proc/{}/cwd/{STATE}/{name}", std::process::id())
}

/// The socket on which the program hands over a terminal.
fn console(tty: bool, name: &str) -> Result<Option<UnixListener>> {
    tty.then(|| UnixListener::bind(Path::new(STATE).join(name)).context("cannot listen for the terminal")).transpose()
}

fn give(command: &mut Command, stdio: Vec<OwnedFd>) -> Result<()> {
    let Ok([stdin, stdout, stderr]) = <[OwnedFd; 3]>::try_from(stdio) else { bail!("stdio is incomplete") };
    command.stdin(stdin).stdout(stdout).stderr(stderr);
    Ok(())
}

fn read_pid(path: &PathBuf) -> Result<i32> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    text.trim().parse().with_context(|| format!("no process id in {}", path.display()))
}

#[cfg(test)]
mod tests;
