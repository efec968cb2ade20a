//! The loop of one probe: check, count, tell.

use std::sync::Arc;
use std::time::Duration;

use corten_client::events::EventType::Warning;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, Probe};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::check::{Target, check};
use crate::context::Context;
use crate::inbox::Inbox;
use crate::pod::plan::{Failure, Health};

/// What a probe is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Startup,
    Liveness,
    Readiness,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Startup => "Startup",
            Self::Liveness => "Liveness",
            Self::Readiness => "Readiness",
        }
    }
}

#[derive(Clone)]
pub(super) struct Task {
    pub(super) context: Arc<Context>,
    pub(super) inbox: Arc<Inbox>,
    pub(super) pod: Arc<Pod>,
    pub(super) health: Arc<Mutex<Health>>,
    pub(super) started_at: Option<Timestamp>,
    pub(super) target: Arc<Target>,
}

impl Task {
    /// Spawns the probes that the container has.
    pub(super) fn spawn(self) -> Vec<(Kind, AbortHandle)> {
        let container = &self.target.container;
        let started = watch::Sender::new(self.health.lock().started);
        let probes = [
            (Kind::Liveness, container.liveness_probe.clone()),
            (Kind::Readiness, container.readiness_probe.clone()),
            (Kind::Startup, container.startup_probe.clone()),
        ];
        let mut tasks = Vec::new();
        for (kind, probe) in probes {
            let Some(probe) = probe else { continue };
            let task = self.clone();
            let mut has_started = started.subscribe();
            let started = started.clone();
            let run = async move {
                if kind == Kind::Startup {
                    if !*has_started.borrow() {
                        task.run(kind, &probe, &started).await;
                    }
                // The sender is held by this very task, so the wait cannot fail.
                } else if has_started.wait_for(|s| *s).await.is_ok() {
                    task.run(kind, &probe, &started).await;
                }
            };
            tasks.push((kind, tokio::spawn(run).abort_handle()));
        }
        tasks
    }

    async fn run(&self, kind: Kind, probe: &Probe, started: &watch::Sender<bool>) {
        let seconds = |value: Option<i32>, default: u64| {
            let value = value.and_then(|v| u64::try_from(v).ok());
            Duration::from_secs(value.filter(|v| *v > 0).unwrap_or(default))
        };
        let period = seconds(probe.period_seconds, 10);
        let timeout = seconds(probe.timeout_seconds, 1);
        let first = Instant::now() + self.delay(probe);
        let mut ticks = interval_at(first, period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut count = Count::new(kind, probe);
        loop {
            ticks.tick().await;
            let begun = Instant::now();
            let result = check(&self.context, &self.target, probe, timeout).await;
            self.context.probes.add(&self.pod, &self.target.container.name, kind.as_str(), result.is_ok(), begun.elapsed());
            if let Err(message) = &result {
                let text = format!("{} probe failed: {message}", kind.as_str());
                let container = &self.target.container;
                self.context.container_event(&self.pod, container, Warning, "Unhealthy", &text);
            }
            let Some(verdict) = count.add(result.is_ok()) else {
                continue;
            };
            if self.conclude(kind, verdict, started) {
                return;
            }
        }
    }

    /// How long until the first check.
    fn delay(&self, probe: &Probe) -> Duration {
        let initial = u64::try_from(probe.initial_delay_seconds.unwrap_or(0)).unwrap_or(0);
        let initial = Duration::from_secs(initial);
        let running =
            self.started_at.map(|at| Timestamp::now().duration_since(at)).and_then(|d| Duration::try_from(d).ok()).unwrap_or_default();
        initial.saturating_sub(running)
    }

    /// Notes a verdict and wakes the pod if it changes anything; true if the probe is done.
    fn conclude(&self, kind: Kind, good: bool, started: &watch::Sender<bool>) -> bool {
        let (changed, done) = {
            let mut health = self.health.lock();
            let before = *health;
            let done = match (kind, good) {
                (Kind::Startup, true) => {
                    health.started = true;
                    health.ready = self.target.container.readiness_probe.is_none();
                    true
                }
                (Kind::Startup, false) => {
                    health.failure = Some(Failure::Startup);
                    true
                }
                (Kind::Liveness, true) => false,
                (Kind::Liveness, false) => {
                    health.failure = Some(Failure::Liveness);
                    true
                }
                (Kind::Readiness, good) => {
                    health.ready = good;
                    false
                }
            };
            (*health != before, done)
        };
        if kind == Kind::Startup && good {
            started.send_replace(true);
        }
        if changed {
            self.inbox.wake();
        }
        done
    }
}

/// Counts results in a row.
struct Count {
    success_threshold: u32,
    failure_threshold: u32,
    last: Option<bool>,
    run: u32,
}

impl Count {
    fn new(kind: Kind, probe: &Probe) -> Self {
        let threshold = |value: Option<i32>, default: u32| {
            let value = value.and_then(|v| u32::try_from(v).ok());
            value.filter(|v| *v > 0).unwrap_or(default)
        };
        Self {
            success_threshold: match kind {
                Kind::Readiness => threshold(probe.success_threshold, 1),
                Kind::Startup | Kind::Liveness => 1,
            },
            failure_threshold: threshold(probe.failure_threshold, 3),
            last: None,
            run: 0,
        }
    }

    /// The verdict, once enough results in a row agree.
    fn add(&mut self, good: bool) -> Option<bool> {
        if self.last == Some(good) {
            self.run = self.run.saturating_add(1);
        } else {
            self.last = Some(good);
            self.run = 1;
        }
        let threshold = if good { self.success_threshold } else { self.failure_threshold };
        (self.run >= threshold).then_some(good)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_needs_enough_results_in_a_row() {
        let probe = Probe { success_threshold: Some(2), failure_threshold: Some(3), ..Probe::default() };
        let mut count = Count::new(Kind::Readiness, &probe);
        let verdicts: Vec<_> =
            [true, false, true, true, true, false, false, false, false].into_iter().map(|good| count.add(good)).collect();
        let (none, good, bad) = (None, Some(true), Some(false));
        assert_eq!(verdicts, [none, none, none, good, good, none, none, bad, bad]);
    }
}
