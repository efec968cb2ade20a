//! `/healthz`, `/livez`, `/readyz`, as a whole and check by check.

use std::fmt::Write;

use http::StatusCode;

use crate::{body::Response, http::typed, request::Query, server::Server};

/// What is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Check {
    /// The server answers at all.
    Ping,
    /// The ledger follows the store.
    Ledger,
    /// The bootstrap objects are written.
    Bootstrap,
    /// The server is not about to end.
    Shutdown,
}

impl Check {
    fn name(self) -> &'static str {
        match self {
            Self::Ping => "ping",
            // Named as in the reference, whose monitoring looks for it.
            Self::Ledger => "etcd",
            Self::Bootstrap => "poststarthook/bootstrap",
            Self::Shutdown => "shutdown",
        }
    }

    fn passes(self, server: &Server) -> bool {
        match self {
            // A ledger that could not be loaded has no server.
            Self::Ping | Self::Ledger => true,
            Self::Bootstrap => server.is_ready(),
            Self::Shutdown => !server.ending.is_cancelled(),
        }
    }
}

/// A request about health.
pub(super) struct Probe {
    endpoint: &'static str,
    checks: Vec<Check>,
    single: bool,
}

impl Probe {
    /// The probe at `path`: an endpoint, or one of its checks.
    pub(super) fn of(path: &str) -> Option<Self> {
        let rest = path.strip_prefix('/')?;
        let (endpoint, check) = rest.split_once('/').map_or((rest, None), |(endpoint, check)| (endpoint, Some(check)));
        let (endpoint, checks): (_, &[Check]) = match endpoint {
            "healthz" => ("healthz", &[Check::Ping, Check::Ledger, Check::Bootstrap]),
            "livez" => ("livez", &[Check::Ping, Check::Ledger]),
            "readyz" => ("readyz", &[Check::Ping, Check::Ledger, Check::Bootstrap, Check::Shutdown]),
            _ => return None,
        };
        match check {
            None => Some(Self { endpoint, checks: checks.to_vec(), single: false }),
            Some(name) => {
                let one = *checks.iter().find(|check| check.name() == name)?;
                Some(Self { endpoint, checks: vec![one], single: true })
            }
        }
    }

    /// Runs the checks.
    pub(super) fn serve(&self, server: &Server, query: &Query) -> Response {
        let excluded: Vec<&str> = query.all("exclude").collect();
        let mut text = String::new();
        let mut healthy = true;
        for check in &self.checks {
            let name = check.name();
            // Writing to a String cannot fail.
            let _ = if excluded.contains(&name) {
                writeln!(text, "[+]{name} excluded: ok")
            } else if check.passes(server) {
                writeln!(text, "[+]{name} ok")
            } else {
                healthy = false;
                writeln!(text, "[-]{name} failed: reason withheld")
            };
        }
        let _ = writeln!(text, "{} check {}", self.endpoint, if healthy { "passed" } else { "failed" });
        let (code, body) = match (healthy, query.flag("verbose") && !self.single) {
            (true, true) => (StatusCode::OK, text),
            (true, false) => (StatusCode::OK, "ok".to_owned()),
            (false, _) => (StatusCode::INTERNAL_SERVER_ERROR, text),
        };
        typed(code, "text/plain; charset=utf-8", body.into())
    }
}
