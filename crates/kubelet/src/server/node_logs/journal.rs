//! The journal, by the program that reads it.

use std::collections::HashSet;
use std::path::Path;
use std::process::Stdio;

use bytes::{Bytes, BytesMut};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe;
use tokio::process::Command;
use tokio::sync::mpsc::Sender;

use super::query::LogQuery;
use super::say;

/// How much is read at once.
const CHUNK: usize = 64 << 10;

/// The units that the journal has something of; none where there is no journal.
pub(super) async fn units(journalctl: &Path) -> HashSet<String> {
    let mut command = Command::new(journalctl);
    let listed = command.args(["--field", "_SYSTEMD_UNIT"]).stdin(Stdio::null()).kill_on_drop(true).output().await;
    let listed = listed.ok().filter(|output| output.status.success()).map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&listed).lines().map(str::to_owned).collect()
}

/// Its arguments for a query.
pub(super) fn arguments(asked: &LogQuery, services: &[String]) -> Vec<String> {
    let mut words: Vec<String> = ["--utc", "--no-pager", "--output=short-precise"].map(str::to_owned).into();
    let time = |at: Timestamp| at.to_zoned(TimeZone::UTC).strftime("%Y-%m-%d %H:%M:%S UTC").to_string();
    words.extend(asked.since.map(|at| format!("--since={}", time(at))));
    words.extend(asked.until.map(|at| format!("--until={}", time(at))));
    if let Some(lines) = asked.tail {
        words.extend(["--pager-end".to_owned(), format!("--lines={lines}")]);
    }
    words.extend(services.iter().map(|service| format!("--unit={service}")));
    words.extend(asked.pattern.as_ref().map(|pattern| format!("--grep={pattern}")));
    words.push(format!("--boot={}", asked.boot.unwrap_or(0)));
    words
}

/// Sends what the journal has, and what the program says of it.
pub(super) async fn copy(journalctl: &Path, asked: &LogQuery, services: &[String], sink: &Sender<Bytes>) {
    if let Err(error) = run(journalctl, &arguments(asked, services), sink).await {
        tracing::warn!(%error, "reading the journal");
        say(sink, "\nerror: journal output not available\n".to_owned()).await;
    }
}

async fn run(journalctl: &Path, arguments: &[String], sink: &Sender<Bytes>) -> std::io::Result<()> {
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    rustix::io::ioctl_fionbio(&read, true)?;
    let mut command = Command::new(journalctl);
    command.args(arguments).stdin(Stdio::null()).stdout(write.try_clone()?).stderr(write).kill_on_drop(true);
    let mut child = command.spawn()?;
    // With it go our ends of the pipe for writing, so that it ends with the program.
    drop(command);
    let mut output = pipe::Receiver::from_owned_fd(read)?;
    let mut buffer = BytesMut::with_capacity(CHUNK);
    while output.read_buf(&mut buffer).await? > 0 {
        if sink.send(buffer.split().freeze()).await.is_err() {
            return Ok(());
        }
        buffer.reserve(CHUNK);
    }
    child.wait().await.map(drop)
}
