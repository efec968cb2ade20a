//! Termination messages: what a container left to say.
//!
//! <https://kubernetes.io/docs/tasks/debug/debug-application/determine-reason-pod-failure/>

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;

use crate::logs::line::parse;
use crate::runtime::labels;
use crate::runtime::view::{ContainerView, PodView, State};

/// Most bytes of a message.
const MESSAGE: u64 = 4096;
/// Most bytes and lines when the message is the end of the log.
const LOG_BYTES: u64 = 2048;
const LOG_LINES: usize = 80;

/// Messages of containers that have ended, by id; an ended container does not change its mind.
#[derive(Debug, Default)]
pub(crate) struct Messages(HashMap<String, String>);

impl Messages {
    /// Puts the messages into the view, reading those that are new.
    pub(crate) fn fill(&mut self, view: &mut PodView) {
        for container in view.containers.iter_mut().filter(|c| c.state == State::Exited) {
            let message =
                self.0.entry(container.id.clone()).or_insert_with(|| read(container).unwrap_or_else(|| container.message.clone()));
            container.message.clone_from(message);
        }
        self.0.retain(|id, _| view.containers.iter().any(|c| c.id == *id));
    }
}

fn read(container: &ContainerView) -> Option<String> {
    let file = container.annotations.get(labels::TERMINATION_FILE);
    let said = file.and_then(|path| head(Path::new(path), MESSAGE));
    if let Some(said) = said.filter(|text| !text.is_empty()) {
        return Some(said);
    }
    let policy = container.annotations.get(labels::TERMINATION_POLICY);
    let fallback = policy.is_some_and(|p| p == "FallbackToLogsOnError");
    if fallback && container.exit_code != 0 {
        return log_end(Path::new(&container.log_path));
    }
    None
}

fn head(path: &Path, limit: u64) -> Option<String> {
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(limit).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// The last lines of a log, without its time stamps.
fn log_end(path: &Path) -> Option<String> {
    let mut file = File::open(path).ok()?;
    let length = file.metadata().ok()?.len();
    // Time stamps and tags take room, so read more than is kept.
    let from = length.saturating_sub(LOG_BYTES * 4);
    file.seek(SeekFrom::Start(from)).ok()?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).ok()?;
    let mut lines: Vec<&[u8]> = bytes.split(|b| *b == b'\n').collect();
    if from > 0 && !lines.is_empty() {
        lines.remove(0);
    }
    let mut messages: Vec<String> = lines
        .iter()
        .rev()
        .filter_map(|line| parse(line))
        .take(LOG_LINES)
        .map(|line| String::from_utf8_lossy(line.message).into_owned())
        .collect();
    messages.reverse();
    let text = messages.join("\n");
    let mut start = text.len().saturating_sub(usize::try_from(LOG_BYTES).ok()?);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    text.get(start..).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_is_the_file_or_the_end_of_the_log() {
        let dir = tempfile::tempdir().unwrap();
        let (said, log) = (dir.path().join("message"), dir.path().join("0.log"));
        std::fs::write(&said, "boom").unwrap();
        std::fs::write(&log, "2026-01-01T00:00:00Z stdout F one\n2026-01-01T00:00:01Z stderr F two\n").unwrap();
        let annotation = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let mut container = ContainerView {
            exit_code: 1,
            log_path: log.to_str().unwrap().to_owned(),
            annotations: HashMap::from([
                annotation(labels::TERMINATION_FILE, said.to_str().unwrap()),
                annotation(labels::TERMINATION_POLICY, "FallbackToLogsOnError"),
            ]),
            ..ContainerView::default()
        };
        assert_eq!(read(&container).as_deref(), Some("boom"));
        std::fs::write(&said, "").unwrap();
        assert_eq!(read(&container).as_deref(), Some("one\ntwo"));
        container.exit_code = 0;
        assert_eq!(read(&container), None);
    }
}
