//! Whom a critical pod takes the place of.
//!
//! <https://kubernetes.io/docs/tasks/administer-cluster/guaranteed-scheduling-critical-addon-pods/>

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;

use crate::pod::qos::Qos;
use crate::pod::requests::request;

/// From this priority on a pod is critical.
pub(crate) const CRITICAL: i32 = 2_000_000_000;

/// Whether the node must make room for a pod: system-critical ones and those that come from the node itself.
pub(crate) fn is_critical(pod: &Pod) -> bool {
    pod.spec.as_ref().and_then(|s| s.priority).unwrap_or(0) >= CRITICAL || crate::statics::is_static(pod)
}

/// Whether one pod may take the place of another.
fn may_preempt(pod: &Pod, victim: &Pod) -> bool {
    let priority = |pod: &Pod| pod.spec.as_ref().and_then(|s| s.priority).unwrap_or(0);
    let both_critical = is_critical(victim);
    if crate::statics::is_static(pod) && !crate::statics::is_static(victim) && !both_critical {
        return true;
    }
    if both_critical { priority(pod) > priority(victim) } else { true }
}

/// The pods to evict so that what is missing becomes free: as few and as unimportant ones as possible. If even all of them are
/// not enough: what is missing still.
pub(super) fn victims(pod: &Pod, others: &[Arc<Pod>], missing: &BTreeMap<String, i64>) -> Result<Vec<Arc<Pod>>, BTreeMap<String, i64>> {
    let mut candidates: Vec<&Arc<Pod>> = others.iter().filter(|other| may_preempt(pod, other)).collect();
    let rank = |pod: &Pod| match Qos::of(pod) {
        Qos::BestEffort => 0,
        Qos::Burstable => 1,
        Qos::Guaranteed => 2,
    };
    let freed = |pod: &Pod, resource: &str| if resource == "pods" { 1 } else { request(pod, resource) };
    // The least important class first; in it the one that frees most, so that few suffice.
    candidates.sort_by_key(|c| (rank(c), std::cmp::Reverse(missing.keys().map(|r| freed(c, r)).fold(0, i64::saturating_add))));
    let mut left = missing.clone();
    let mut chosen: Vec<Arc<Pod>> = Vec::new();
    for candidate in candidates {
        if left.values().all(|amount| *amount <= 0) {
            break;
        }
        if left.iter().any(|(resource, amount)| *amount > 0 && freed(candidate, resource) > 0) {
            for (resource, amount) in &mut left {
                *amount = amount.saturating_sub(freed(candidate, resource));
            }
            chosen.push(Arc::clone(candidate));
        }
    }
    if left.values().any(|amount| *amount > 0) {
        left.retain(|_, amount| *amount > 0);
        return Err(left);
    }
    // Spare whoever turned out not to be needed, the most important first.
    for index in (0..chosen.len()).rev() {
        let Some(candidate) = chosen.get(index) else { continue };
        if left.iter().all(|(resource, amount)| amount.saturating_add(freed(candidate, resource)) <= 0) {
            for (resource, amount) in &mut left {
                *amount = amount.saturating_add(freed(candidate, resource));
            }
            chosen.remove(index);
        }
    }
    Ok(chosen)
}
