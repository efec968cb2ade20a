//! Questions about pods that several controllers ask.

use std::time::Duration;

use corten_client::is_deleting;
use k8s_openapi::{
    api::core::v1::{Pod, PodCondition},
    jiff::Timestamp,
};

/// The phase, `Pending` if there is none yet.
pub(crate) fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or("Pending")
}

/// Whether all containers have ended for good.
pub(crate) fn is_terminated(pod: &Pod) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed")
}

/// Whether a pod counts as a replica: neither ended nor on its way out.
pub(crate) fn is_active(pod: &Pod) -> bool {
    !is_terminated(pod) && !is_deleting(pod)
}

/// The condition of a type.
pub(crate) fn condition<'a>(pod: &'a Pod, type_: &str) -> Option<&'a PodCondition> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|condition| condition.type_ == type_)
}

/// Whether a pod is ready.
pub(crate) fn is_ready(pod: &Pod) -> bool {
    condition(pod, "Ready").is_some_and(|condition| condition.status == "True")
}

/// Since when a pod is ready.
pub(crate) fn ready_since(pod: &Pod) -> Option<Timestamp> {
    let condition = condition(pod, "Ready").filter(|condition| condition.status == "True")?;
    condition.last_transition_time.as_ref().map(|time| time.0)
}

/// How long until a pod is available: ready for at least `min_ready_seconds`. `None` if that
/// depends on it becoming ready first; zero if it is available.
pub(crate) fn available_in(pod: &Pod, min_ready_seconds: i32, now: Timestamp) -> Option<Duration> {
    if !is_ready(pod) {
        return None;
    }
    if min_ready_seconds <= 0 {
        return Some(Duration::ZERO);
    }
    let since = ready_since(pod)?;
    let ready = u64::try_from(now.as_second() - since.as_second()).unwrap_or(0);
    let wanted = u64::try_from(min_ready_seconds).unwrap_or(0);
    Some(Duration::from_secs(wanted.saturating_sub(ready)))
}

/// Restarts of all containers.
pub(crate) fn restarts(pod: &Pod) -> i32 {
    let statuses = pod.status.as_ref().and_then(|status| status.container_statuses.as_deref());
    let counts = statuses.unwrap_or_default().iter();
    counts.map(|status| status.restart_count).sum()
}

/// The node a pod is bound to.
pub(crate) fn node(pod: &Pod) -> Option<&str> {
    let spec = pod.spec.as_ref()?;
    spec.node_name.as_deref().filter(|name| !name.is_empty())
}
