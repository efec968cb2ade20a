//! `/healthz`, `/livez`, `/readyz`, as a whole and check by check.

use std::{fmt::Write, time::Duration};

use http::StatusCode;

use crate::{body::Response, http::typed, request::Query, server::Server};

/// How long the store may take to answer before it counts as unwell.
const PATIENCE: Duration = Duration::from_secs(2);

/// What is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Check {
    /// The server answers at all.
    Ping,
    /// The store says what its newest revision is.
    Store,
    /// The ledger has everything that the store has published, so that reads and watches see it.
    Ledger,
    /// The bootstrap objects are written.
    Bootstrap,
    /// The server is not about to end.
    Shutdown,
}

impl Check {
    /// Named as in the reference, whose monitoring looks for these.
    fn name(self) -> &'static str {
        match self {
            Self::Ping => "ping",
            Self::Store => "etcd",
            Self::Ledger => "informer-sync",
            Self::Bootstrap => "poststarthook/bootstrap",
            Self::Shutdown => "shutdown",
        }
    }

    async fn passes(self, server: &Server) -> bool {
        match self {
            Self::Ping => true,
            Self::Store => matches!(tokio::time::timeout(PATIENCE, server.options.store.latest()).await, Ok(Ok(_))),
            Self::Ledger => matches!(tokio::time::timeout(PATIENCE, server.ledger.fresh()).await, Ok(Ok(_))),
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
            "healthz" => ("healthz", &[Check::Ping, Check::Store, Check::Bootstrap]),
            "livez" => ("livez", &[Check::Ping, Check::Store, Check::Bootstrap]),
            "readyz" => ("readyz", &[Check::Ping, Check::Store, Check::Ledger, Check::Bootstrap, Check::Shutdown]),
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
    pub(super) async fn serve(&self, server: &Server, query: &Query) -> Response {
        let excluded: Vec<&str> = query.all("exclude").collect();
        let mut text = String::new();
        let mut healthy = true;
        for check in &self.checks {
            let name = check.name();
            // Writing to a String cannot fail.
            let _ = if !self.single && excluded.contains(&name) {
                writeln!(text, "[+]{name} excluded: ok")
            } else if check.passes(server).await {
                writeln!(text, "[+]{name} ok")
            } else {
                healthy = false;
                writeln!(text, "[-]{name} failed: reason withheld")
            };
        }
        let unknown: Vec<String> = excluded
            .iter()
            .filter(|name| !name.is_empty() && !self.checks.iter().any(|check| check.name() == **name))
            .map(|name| format!("{name:?}"))
            .collect();
        if !unknown.is_empty() && !self.single {
            let _ = writeln!(text, "warn: some health checks cannot be excluded: no matches for {}", unknown.join(", "));
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
