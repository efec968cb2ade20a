//! One-time tokens of streaming URLs.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use corten_cri::v1;
use parking_lot::Mutex;

use crate::files;

/// How long a token waits to be used.
const LIFETIME: Duration = Duration::from_secs(60);

/// How many may wait; above that the oldest is forgotten.
const MAX: usize = 1000;

/// What a token allows.
#[derive(Debug, Clone)]
pub(super) enum Task {
    Exec(v1::ExecRequest),
    Attach(v1::AttachRequest),
    PortForward { sandbox: String, ports: Vec<u16> },
}

impl Task {
    /// The first part of the URL's path.
    fn kind(&self) -> &'static str {
        match self {
            Task::Exec(_) => "exec",
            Task::Attach(_) => "attach",
            Task::PortForward { .. } => "portforward",
        }
    }
}

/// Tokens that were issued and not used yet.
#[derive(Default)]
pub(super) struct Tokens {
    waiting: Mutex<HashMap<String, (Instant, Task)>>,
}

impl Tokens {
    /// A new token: 256 random bits.
    pub(super) fn issue(&self, task: Task) -> String {
        let token = files::new_id();
        let mut waiting = self.waiting.lock();
        waiting.retain(|_, (since, _)| since.elapsed() < LIFETIME);
        if waiting.len() >= MAX
            && let Some(oldest) = waiting.iter().min_by_key(|(_, (since, _))| *since).map(|(token, _)| token.clone())
        {
            waiting.remove(&oldest);
        }
        waiting.insert(token.clone(), (Instant::now(), task));
        token
    }

    /// Takes the task of a path such as `/exec/<token>`. It cannot be taken again.
    pub(super) fn redeem(&self, path: &str) -> Option<Task> {
        let (kind, token) = path.strip_prefix('/')?.split_once('/')?;
        let (since, task) = self.waiting.lock().remove(token)?;
        (since.elapsed() < LIFETIME && task.kind() == kind).then_some(task)
    }
}

#[cfg(test)]
mod tests {
    use super::{Task, Tokens};

    #[test]
    fn a_token_works_once_and_only_for_its_kind() {
        let tokens = Tokens::default();
        let task = || Task::PortForward { sandbox: "s".to_owned(), ports: Vec::new() };
        let first = tokens.issue(task());
        assert!(tokens.redeem(&format!("/portforward/{first}")).is_some());
        assert!(tokens.redeem(&format!("/portforward/{first}")).is_none());
        let second = tokens.issue(task());
        assert!(tokens.redeem(&format!("/exec/{second}")).is_none());
        assert!(tokens.redeem("/exec/").is_none() && tokens.redeem("").is_none());
    }
}
