//! Stopping one container: event, hook, signal, and no more than its grace period.

use std::sync::Arc;
use std::time::Duration;

use corten_client::events::EventType::{Normal, Warning};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use tonic::Status;

use super::ephemeral::definition;
use super::hooks;
use super::plan::{Why, find};
use crate::context::Context;
use crate::metrics::families;
use crate::probe::check::Target;

/// The least time between the stop signal and SIGKILL, in seconds, as in the reference.
const MINIMUM: i64 = 2;
/// The grace period of pods that do not say.
const DEFAULT: i64 = 30;

/// One container to stop.
#[derive(Clone, Debug)]
pub(crate) struct Stop {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) why: Why,
    pub(crate) deadline: Timestamp,
    pub(crate) address: String,
    /// The stop was begun before; this one only shortens it.
    pub(crate) again: bool,
}

/// The grace period of a pod, in seconds: what its deletion says, or its definition.
pub(crate) fn grace_period(pod: &Pod) -> i64 {
    pod.metadata.deletion_grace_period_seconds.or_else(|| pod.spec.as_ref()?.termination_grace_period_seconds).unwrap_or(DEFAULT)
}

/// When a container is killed that is to stop for a reason of its own.
pub(crate) fn own_deadline(pod: &Pod, name: &str, why: Why, now: Timestamp) -> Timestamp {
    let container = pod.spec.as_ref().and_then(|s| find(s, name));
    let probe = container.and_then(|c| match why {
        Why::Liveness => c.liveness_probe.as_ref(),
        Why::Startup => c.startup_probe.as_ref(),
        _ => None,
    });
    let seconds = probe.and_then(|p| p.termination_grace_period_seconds).unwrap_or_else(|| grace_period(pod));
    now.saturating_add(jiff::SignedDuration::from_secs(seconds)).unwrap_or(now)
}

/// Stops the container and returns when it has ended.
pub(crate) async fn stop(context: Arc<Context>, pod: Arc<Pod>, job: Stop) -> Result<(), Status> {
    let container = pod.spec.as_ref().and_then(|s| definition(s, &job.name));
    if let Some(container) = container
        && !job.again
    {
        context.container_event(&pod, &container, Normal, "Killing", &announcement(&job));
        let hook = container.lifecycle.as_ref().and_then(|l| l.pre_stop.as_ref());
        if let Some(hook) = hook.filter(|_| job.why != Why::Sandbox) {
            let target = Target { address: job.address.clone(), container: container.clone().into_owned(), id: job.id.clone() };
            let limit = Duration::from_secs(left(job.deadline).unsigned_abs());
            let done = tokio::time::timeout(limit, hooks::run(&context, &pod, &target, hook)).await;
            let failure = match done {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(error),
                Err(_) => {
                    if hook.sleep.is_some() {
                        context.metrics.count(&families::SLEEPS_CUT, &[]);
                    }
                    Some("the grace period is over".to_owned())
                }
            };
            if let Some(error) = failure {
                let text = format!("PreStopHook failed: {error}");
                context.container_event(&pod, &container, Warning, "FailedPreStopHook", &text);
            }
        }
    }
    let grace = left(job.deadline).max(MINIMUM);
    context.runtime.stop_container(&job.id, grace).await
}

/// Seconds until a deadline, not below zero.
fn left(deadline: Timestamp) -> i64 {
    let left = deadline.duration_since(Timestamp::now());
    // Rounded up, or a period of 30 s would become 29.
    let seconds = left.as_secs() + i64::from(left.subsec_nanos() > 0);
    seconds.max(0)
}

fn announcement(job: &Stop) -> String {
    let name = &job.name;
    match job.why {
        Why::Liveness => format!("Container {name} failed liveness probe, will be restarted"),
        Why::Startup => format!("Container {name} failed startup probe, will be restarted"),
        Why::Changed => format!("Container {name} definition changed, will be restarted"),
        Why::Resize => format!("Container {name} resize requires restart"),
        Why::Ending | Why::Sandbox | Why::Unknown => format!("Stopping container {name}"),
    }
}
