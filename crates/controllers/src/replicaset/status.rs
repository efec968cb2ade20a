//! The status of a ReplicaSet: pure.

use std::{sync::Arc, time::Duration};

use corten_client::selector;
use k8s_openapi::{
    api::{
        apps::v1::{ReplicaSet, ReplicaSetCondition, ReplicaSetStatus},
        core::v1::Pod,
    },
    apimachinery::pkg::apis::meta::v1::Time,
    jiff::Timestamp,
};

use crate::pods;

/// Why pods could not be made or deleted.
#[derive(Debug)]
pub(super) struct Failure {
    reason: &'static str,
    pub(super) message: String,
}

impl Failure {
    pub(super) fn create(message: &str) -> Self {
        Self { reason: "FailedCreate", message: message.to_owned() }
    }

    pub(super) fn delete(message: &str) -> Self {
        Self { reason: "FailedDelete", message: message.to_owned() }
    }
}

pub(super) struct Observed {
    pub(super) status: ReplicaSetStatus,
    /// When a ready pod becomes available without anything else happening.
    pub(super) look_again: Option<Duration>,
}

pub(super) fn observe(set: &ReplicaSet, owned: &[Arc<Pod>], failure: Option<&Failure>, now: Timestamp) -> Observed {
    let spec = set.spec.clone().unwrap_or_default();
    let template = spec.template.unwrap_or_default();
    let labels = template.metadata.unwrap_or_default().labels;
    let min_ready = spec.min_ready_seconds.unwrap_or(0);
    let (mut labeled, mut ready, mut available) = (0, 0, 0);
    let mut look_again: Option<Duration> = None;
    for pod in owned {
        let own = pod.metadata.labels.clone().unwrap_or_default();
        labeled += i32::from(selector::contains_all(&own, labels.as_ref()));
        ready += i32::from(pods::is_ready(pod));
        match pods::available_in(pod, min_ready, now) {
            Some(Duration::ZERO) => available += 1,
            Some(delay) => look_again = Some(look_again.map_or(delay, |other| other.min(delay))),
            None => {}
        }
    }
    let old = set.status.clone().unwrap_or_default();
    Observed {
        status: ReplicaSetStatus {
            replicas: i32::try_from(owned.len()).unwrap_or(i32::MAX),
            fully_labeled_replicas: present(labeled),
            ready_replicas: present(ready),
            available_replicas: present(available),
            observed_generation: set.metadata.generation,
            conditions: conditions(old.conditions, failure, now),
            ..old
        },
        look_again,
    }
}

/// Zero counts are left out, as the API does.
fn present(count: i32) -> Option<i32> {
    (count != 0).then_some(count)
}

fn conditions(old: Option<Vec<ReplicaSetCondition>>, failure: Option<&Failure>, now: Timestamp) -> Option<Vec<ReplicaSetCondition>> {
    let mut conditions = old.unwrap_or_default();
    let known = conditions.iter().position(|condition| condition.type_ == "ReplicaFailure");
    match (failure, known) {
        (None, Some(index)) => {
            conditions.remove(index);
        }
        (Some(failure), None) => conditions.push(ReplicaSetCondition {
            type_: "ReplicaFailure".into(),
            status: "True".into(),
            reason: Some(failure.reason.into()),
            message: Some(failure.message.clone()),
            last_transition_time: Some(Time(now)),
        }),
        _ => {}
    }
    (!conditions.is_empty()).then_some(conditions)
}
