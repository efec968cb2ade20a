//! Who goes when: a pure function of priorities and settings.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;

use crate::admit::CRITICAL;

/// Pods from a priority on, and the time that they have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Class {
    /// The lowest priority of it.
    pub priority: i32,
    /// How long its pods may take together.
    pub grace: Duration,
}

impl Class {
    /// The two classes of the simple settings: everybody, and critical pods in the last part of the time.
    pub fn simple(total: Duration, critical: Duration) -> Vec<Self> {
        if total.is_zero() {
            return Vec::new();
        }
        vec![Self { priority: 0, grace: total.saturating_sub(critical) }, Self { priority: CRITICAL, grace: critical }]
    }
}

/// One step: these pods end together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) grace: Duration,
    /// Uid and seconds of each pod.
    pub(super) pods: Vec<(String, i64)>,
}

/// The steps, the least important pods first. A pod is of the highest class that it reaches; below all of them, of the lowest.
pub(super) fn steps(classes: &[Class], pods: &[Arc<Pod>]) -> Vec<Step> {
    let mut classes = classes.to_vec();
    classes.sort_by_key(|class| class.priority);
    let mut steps: Vec<Step> = classes.iter().map(|class| Step { grace: class.grace, pods: Vec::new() }).collect();
    for pod in pods {
        let spec = pod.spec.as_ref();
        let priority = spec.and_then(|spec| spec.priority).unwrap_or(0);
        let reached = classes.iter().rposition(|class| class.priority <= priority).unwrap_or(0);
        let Some(step) = steps.get_mut(reached) else { continue };
        let most = i64::try_from(step.grace.as_secs()).unwrap_or(i64::MAX);
        let own = spec.and_then(|spec| spec.termination_grace_period_seconds).unwrap_or(most);
        step.pods.push((crate::pod::uid(pod).to_owned(), own.min(most)));
    }
    steps
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(uid: &str, priority: Option<i32>, grace: Option<i64>) -> Arc<Pod> {
        let spec = json!({"containers": [], "priority": priority, "terminationGracePeriodSeconds": grace});
        Arc::new(serde_json::from_value(json!({"metadata": {"uid": uid}, "spec": spec})).unwrap())
    }

    #[test]
    fn critical_pods_have_the_last_part_of_the_time() {
        let classes = Class::simple(Duration::from_secs(30), Duration::from_secs(10));
        let pods = [
            pod("a", None, Some(5)),
            pod("b", Some(2_000_001_000), Some(60)),
            pod("c", Some(1_000_000), None),
            pod("d", Some(-5), Some(60)),
        ];
        let named = |list: &[(&str, i64)]| list.iter().map(|(uid, grace)| ((*uid).to_owned(), *grace)).collect::<Vec<_>>();
        let order: Vec<_> = steps(&classes, &pods).into_iter().map(|step| (step.grace.as_secs(), step.pods)).collect();
        assert_eq!(order, [(20, named(&[("a", 5), ("c", 20), ("d", 20)])), (10, named(&[("b", 10)]))]);
        assert!(Class::simple(Duration::ZERO, Duration::ZERO).is_empty());
    }

    #[test]
    fn a_pod_is_of_the_highest_class_that_it_reaches() {
        let class = |priority, seconds| Class { priority, grace: Duration::from_secs(seconds) };
        let classes = [class(1000, 20), class(10, 30), class(100_000, 5)];
        let pods =
            [pod("low", Some(0), None), pod("ten", Some(10), None), pod("middle", Some(99_999), None), pod("high", Some(i32::MAX), None)];
        let uids: Vec<Vec<String>> = steps(&classes, &pods).into_iter().map(|s| s.pods.into_iter().map(|(uid, _)| uid).collect()).collect();
        assert_eq!(uids, [vec!["low", "ten"], vec!["middle"], vec!["high"]]);
    }
}
