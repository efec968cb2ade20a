//! One call of one plugin: a process, with what it is to do in its environment and on its standard input.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};

use super::{PluginError, Record};
use crate::netns;

/// A plugin may ask servers for addresses and wait for them. One that takes longer is stuck, and would hold its pod for ever.
const PATIENCE: Duration = Duration::from_secs(120);

/// The most that is read of what a plugin writes.
const OUTPUT: u64 = 4 << 20;

/// The most that is told of what a failed plugin wrote, in bytes.
const MESSAGE: usize = 4 << 10;

/// Where plugins look for programs such as iptables.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The program of a plugin.
pub(super) fn find(plugin: &str, path: &[PathBuf]) -> Result<PathBuf, PluginError> {
    let found = path.iter().map(|dir| dir.join(plugin)).find(|program| program.is_file());
    found.ok_or_else(|| PluginError::Missing { plugin: plugin.to_owned(), path: path.to_vec() })
}

/// What a plugin is asked to do.
pub(super) struct Job<'a> {
    command: &'static str,
    plugin: &'a str,
    path: &'a [PathBuf],
    pod: Option<(&'a str, &'a Record)>,
}

impl<'a> Job<'a> {
    /// Something that is about no pod.
    pub(super) fn plain(command: &'static str, plugin: &'a str, path: &'a [PathBuf]) -> Self {
        Self { command, plugin, path, pod: None }
    }

    /// Something that is about a pod.
    pub(super) fn of(command: &'static str, plugin: &'a str, id: &'a str, record: &'a Record) -> Self {
        Self { command, plugin, path: &record.programs, pod: Some((id, record)) }
    }

    /// Runs the plugin to its end and returns what it wrote.
    pub(super) async fn run(&self, program: &Path, input: &Value) -> Result<Vec<u8>, PluginError> {
        let failed =
            |message: String| PluginError::Failed { plugin: self.plugin.to_owned(), command: self.command.to_lowercase(), message };
        let mut command = tokio::process::Command::new(program);
        command.env_clear().env("PATH", PATH).env("CNI_COMMAND", self.command);
        command.env("CNI_PATH", self.path.iter().map(|dir| dir.display().to_string()).collect::<Vec<_>>().join(":"));
        if let Some((id, record)) = self.pod {
            command.env("CNI_CONTAINERID", id).env("CNI_IFNAME", &record.interface).env("CNI_ARGS", &record.arguments);
            // After a reboot there is no namespace any more, only what plugins wrote down.
            let there = netns::is_pinned(&record.netns);
            command.env("CNI_NETNS", if there { record.netns.as_os_str() } else { "".as_ref() });
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let mut process = command.spawn().map_err(|error| failed(format!("cannot run {}: {error}", program.display())))?;
        let mut group = Group::of(&process);
        let (stdin, stdout, stderr) = (process.stdin.take(), process.stdout.take(), process.stderr.take());
        let text = input.to_string();
        let feed = async move {
            if let Some(mut stdin) = stdin {
                // A plugin that does not read it says itself what it misses.
                let _ = stdin.write_all(text.as_bytes()).await;
            }
        };
        let work = async { tokio::join!(feed, read(stdout), read(stderr), process.wait()) };
        let ended = tokio::time::timeout(PATIENCE, work).await;
        let ((), stdout, stderr, status) = ended.map_err(|_| failed(format!("it did not end within {} s", PATIENCE.as_secs())))?;
        let wait = |error: io::Error| failed(format!("cannot wait for {}: {error}", program.display()));
        let (stdout, stderr, status) = (stdout.map_err(wait)?, stderr.map_err(wait)?, status.map_err(wait)?);
        group.0 = None;
        if status.success() {
            return Ok(stdout);
        }
        Err(failed(complaint(&stdout, &stderr).unwrap_or_else(|| format!("it ended with {status}"))))
    }
}

/// A plugin that runs, with whatever it has started. All of it is killed if nobody waits for its end any more.
struct Group(Option<Pid>);

impl Group {
    fn of(process: &tokio::process::Child) -> Self {
        Self(process.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // That it has ended meanwhile is as well.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// What a plugin writes, to the end or to the limit; it cannot write on then.
async fn read(stream: Option<impl AsyncRead + Unpin>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(stream) = stream {
        stream.take(OUTPUT).read_to_end(&mut bytes).await?;
    }
    Ok(bytes)
}

/// What a failed plugin says: the specification's error object, or whatever it wrote.
fn complaint(stdout: &[u8], stderr: &[u8]) -> Option<String> {
    let told = serde_json::from_slice::<Value>(stdout).ok();
    let text = |name: &str| told.as_ref().and_then(|told| told.get(name)).and_then(Value::as_str).filter(|text| !text.is_empty());
    match (text("msg"), text("details")) {
        (Some(message), Some(details)) => return Some(format!("{message}; {details}")),
        (Some(message), None) => return Some(message.to_owned()),
        _ => {}
    }
    let written = |bytes: &[u8]| {
        Some(String::from_utf8_lossy(bytes.get(..MESSAGE).unwrap_or(bytes)).trim().to_owned()).filter(|text| !text.is_empty())
    };
    written(stderr).or_else(|| written(stdout))
}
