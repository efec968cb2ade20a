//! What a start reports while it goes on: each step with the time at which it was done.

use std::fmt;
use std::io::Write;
use std::time::Instant;

use serde::{Deserialize, Serialize};

/// One line of the report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Report {
    /// A step is done.
    Done {
        /// Its name.
        phase: String,
        /// Since the start.
        seconds: f64,
    },
    /// All steps are done.
    Ready {
        /// Since the start.
        seconds: f64,
    },
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done { phase, seconds } => write!(f, "{seconds:7.3} s  {phase}"),
            Self::Ready { seconds } => write!(f, "{seconds:7.3} s  ready"),
        }
    }
}

/// The reporter of one start. Steps run side by side, so times are counted from the start, not from the step before.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Phases {
    start: Instant,
    json: bool,
}

impl Phases {
    /// Plain lines on standard output.
    pub(crate) fn report_text() -> Self {
        Self { start: Instant::now(), json: false }
    }

    /// A JSON object a line on standard output, for the `up` that follows it.
    pub(crate) fn report_json() -> Self {
        Self { start: Instant::now(), json: true }
    }

    pub(crate) fn done(&self, phase: &str) {
        self.print(&Report::Done { phase: phase.to_owned(), seconds: self.seconds() });
    }

    pub(crate) fn ready(&self) {
        self.print(&Report::Ready { seconds: self.seconds() });
    }

    fn seconds(&self) -> f64 {
        self.start.elapsed().as_secs_f64()
    }

    fn print(&self, report: &Report) {
        let line = if self.json { serde_json::to_string(report).unwrap_or_default() } else { report.to_string() };
        // Whoever followed the start may have gone; the server does not care.
        let _ = writeln!(std::io::stdout(), "{line}");
    }
}
