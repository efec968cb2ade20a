//! The child that runs a container's `poststop` hooks, so that the shim need not wait for them. All other kinds are run by
//! whoever makes the container.

use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};
use corten_shim::protocol::PostStop;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde_json::Value;

/// Starts the child if the container in `dir` has such hooks that nobody runs yet. The event loop reaps it.
pub(crate) fn start(dir: &Path) -> io::Result<()> {
    // Opened here: the directory may be removed before the child looks.
    let Some(list) = PostStop::claim(dir)? else { return Ok(()) };
    Command::new("/proc/self/exe").arg("poststop").env_clear().stdin(list).spawn().map(drop)
}

/// Runs the hooks on standard input one by one. One that fails is told of, and keeps no other from running (OCI runtime specification, "Lifecycle").
pub(crate) fn main() -> Result<()> {
    crate::signals::unblock_all();
    let PostStop { state, hooks } = serde_json::from_reader(io::stdin())?;
    for hook in hooks {
        if let Err(error) = run(&hook, &state) {
            eprintln!("poststop hook {}: {error:#}", hook["path"]);
        }
    }
    Ok(())
}

fn run(hook: &Value, state: &Value) -> Result<()> {
    let words = |key: &str| hook[key].as_array().into_iter().flatten().filter_map(Value::as_str);
    let mut command = Command::new(hook["path"].as_str().context("it has no path")?);
    if let Some(name) = words("args").next() {
        command.arg0(name);
    }
    command.args(words("args").skip(1)).env_clear().envs(words("env").filter_map(|entry| entry.split_once('=')));
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        let state = state.to_string();
        // One that does not care for the state does not read it, and its time runs all the same.
        std::thread::spawn(move || stdin.write_all(state.as_bytes()));
    }
    if let Some(seconds) = hook["timeout"].as_i64().filter(|seconds| *seconds > 0)
        && !ended_within(&child, seconds)?
    {
        child.kill()?;
        child.wait()?;
        bail!("it was killed after {seconds} s");
    }
    let status = child.wait()?;
    if status.success() { Ok(()) } else { bail!("{status}") }
}

fn ended_within(child: &Child, seconds: i64) -> Result<bool> {
    let pid = Pid::from_raw(i32::try_from(child.id())?).context("it has no process")?;
    let process = pidfd_open(pid, PidfdFlags::empty())?;
    let patience = Timespec { tv_sec: seconds, tv_nsec: 0 };
    Ok(poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&patience))? > 0)
}
