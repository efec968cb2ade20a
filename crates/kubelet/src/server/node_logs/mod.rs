//! `/logs/`: what the node's own programs wrote, as files below `/var/log` and as queries about services.
//!
//! <https://kubernetes.io/docs/concepts/cluster-administration/system-logs/#log-query>

mod files;
mod journal;
mod query;

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use tokio::sync::mpsc::{Sender, channel};

use super::answer::{Answer, Refusal, streamed};
use super::query::Query;
use crate::config::Configuration;
use query::{LogQuery, Subject};

/// How long a query may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// Chunks that may wait for a slow reader.
const WAITING: usize = 4;

/// Where the logs are, and how they may be asked for.
#[derive(Clone, Debug)]
pub(super) struct NodeLogs {
    /// `/var/log`.
    pub(super) root: PathBuf,
    /// Whether files are served at all (`enableSystemLogHandler`).
    pub(super) files: bool,
    /// Whether services may be queried (`enableSystemLogQuery`).
    pub(super) queries: bool,
    /// The program that knows the journal.
    pub(super) journalctl: PathBuf,
    /// How long a query may take.
    pub(super) patience: Duration,
}

impl NodeLogs {
    /// As the configuration says.
    pub(super) fn new(config: &Configuration) -> Self {
        Self {
            root: PathBuf::from("/var/log"),
            files: config.system_log_files,
            queries: config.system_log_queries,
            journalctl: PathBuf::from("journalctl"),
            patience: PATIENCE,
        }
    }

    /// Answers a request; `path` is what follows `/logs`, as it was sent.
    pub(super) async fn serve(&self, path: &str, headers: &HeaderMap, query: &Query) -> Result<Answer, Refusal> {
        if !self.files {
            return Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "logs endpoint is disabled.\n"));
        }
        let asked = if self.queries { LogQuery::parse(query)? } else { None };
        let Some(asked) = asked else { return files::serve(&self.root, path, headers).await };
        if !matches!(path, "" | "/") {
            return Err(Refusal::new(StatusCode::NOT_ACCEPTABLE, "path not allowed in query mode\n"));
        }
        let root = self.root.clone();
        // It may look at the disk.
        let checked = tokio::task::spawn_blocking(move || asked.check(&root).map(|subject| (asked, subject))).await;
        let (asked, subject) = checked.map_err(|error| Refusal::internal(error.to_string()))??;
        match subject {
            Subject::File(file) => files::serve(&self.root, &file, headers).await,
            Subject::Services(services) => Ok(self.ask(asked, services)),
        }
    }

    /// What services wrote, one after the other; what goes wrong is said in the text, which has begun by then.
    fn ask(&self, asked: LogQuery, services: Vec<String>) -> Answer {
        let (sink, source) = channel(WAITING + 1);
        let logs = self.clone();
        tokio::spawn(async move {
            // A place for the last word: if it is the reader who takes too long, the others are taken.
            let Ok(last) = sink.clone().reserve_owned().await else { return };
            let work = logs.tell(&asked, services, &sink);
            if tokio::time::timeout(logs.patience, work).await.is_err() {
                last.send(Bytes::from_static(b"\nerror: the query took too long, the rest is missing\n"));
            }
        });
        streamed("text/plain;charset=UTF-8", source)
    }

    async fn tell(&self, asked: &LogQuery, services: Vec<String>, sink: &Sender<Bytes>) {
        let known = journal::units(&self.journalctl).await;
        let (native, others): (Vec<_>, Vec<_>) = services.into_iter().partition(|service| known.contains(&format!("{service}.service")));
        if !native.is_empty() {
            journal::copy(&self.journalctl, asked, &native, sink).await;
        }
        if others.is_empty() {
            return;
        }
        if asked.has_options() {
            let words =
                format!("\noptions present and query resolved to log files for [{}]\ntry without specifying options\n", others.join(" "));
            return say(sink, words).await;
        }
        for service in others {
            files::copy(&self.root, &service, sink).await;
        }
    }
}

async fn say(sink: &Sender<Bytes>, words: String) {
    // Whoever has gone need not be told.
    let _ = sink.send(Bytes::from(words)).await;
}

#[cfg(test)]
mod tests;
