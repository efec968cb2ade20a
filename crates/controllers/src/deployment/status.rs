//! The status of a deployment: counts, conditions, the progress deadline.

use std::time::Duration;

use k8s_openapi::{
    api::apps::v1::{Deployment, DeploymentCondition, DeploymentStatus, ReplicaSet},
    jiff::Timestamp,
};

use super::{
    conditions,
    plan::{Rollout, name, size},
    wanted::Wanted,
};

/// The pods of a set, as its controller reports them.
pub(super) fn replicas(set: &ReplicaSet) -> i32 {
    set.status.as_ref().map_or(0, |status| status.replicas)
}

/// The available pods of a set.
pub(super) fn available(set: &ReplicaSet) -> i32 {
    let status = set.status.as_ref();
    status.and_then(|status| status.available_replicas).unwrap_or(0)
}

fn ready(set: &ReplicaSet) -> i32 {
    let status = set.status.as_ref();
    status.and_then(|status| status.ready_replicas).unwrap_or(0)
}

/// The deployment's pods as last written into its status.
pub(super) fn total_observed(rollout: &Rollout<'_>) -> i32 {
    let status = rollout.deployment.status.as_ref();
    status.and_then(|status| status.replicas).unwrap_or(0)
}

/// Counts and availability, with the conditions as they are.
pub(super) fn counted(rollout: &Rollout<'_>) -> DeploymentStatus {
    let total = |of: fn(&ReplicaSet) -> i32| rollout.all().map(of).sum::<i32>();
    let available = total(available);
    let mut status = DeploymentStatus {
        observed_generation: rollout.deployment.metadata.generation,
        replicas: present(total(replicas)),
        updated_replicas: present(rollout.newest.as_ref().map_or(0, replicas)),
        ready_replicas: present(total(ready)),
        available_replicas: present(available),
        unavailable_replicas: present((total(size) - available).max(0)),
        ..rollout.status.clone()
    };
    let (value, reason, message) = if available >= rollout.wanted.min_available() {
        ("True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
    } else {
        ("False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.")
    };
    let type_ = conditions::AVAILABLE;
    let condition = conditions::new(type_, value, reason, message, rollout.now);
    conditions::set(&mut status, condition);
    status
}

/// Zero counts are left out, as the API does.
fn present(count: i32) -> Option<i32> {
    (count != 0).then_some(count)
}

/// The status after a step of a rollout: the counts, and how it progresses.
pub(super) fn rolled_out(rollout: &Rollout<'_>) -> DeploymentStatus {
    let mut status = counted(rollout);
    if rollout.wanted.deadline_seconds.is_none() {
        conditions::remove(&mut status, conditions::PROGRESSING);
    } else {
        let done = status.replicas == status.updated_replicas && conditions::progress(&status) == Some(conditions::NEW_SET_AVAILABLE);
        if !done {
            judge_progress(rollout, &mut status);
        }
    }
    match failure(rollout) {
        Some(condition) => conditions::set(&mut status, condition),
        None => conditions::remove(&mut status, conditions::REPLICA_FAILURE),
    }
    status
}

fn judge_progress(rollout: &Rollout<'_>, status: &mut DeploymentStatus) {
    let who = match &rollout.newest {
        Some(set) => format!("ReplicaSet \"{}\"", name(set)),
        None => {
            let name = rollout.deployment.metadata.name.as_deref();
            format!("Deployment \"{}\"", name.unwrap_or_default())
        }
    };
    let condition = |value, reason, what: &str| {
        let message = format!("{who} {what}");
        conditions::new(conditions::PROGRESSING, value, reason, message, rollout.now)
    };
    if is_complete(&rollout.wanted, rollout.deployment, status) {
        let reason = conditions::NEW_SET_AVAILABLE;
        conditions::set(status, condition("True", reason, "has successfully progressed."));
    } else if is_progressing(rollout.deployment, status) {
        // Even if it says the same: the deadline counts from the last progress.
        let reason = conditions::SET_UPDATED;
        conditions::replace(status, condition("True", reason, "is progressing."));
    } else if is_timed_out(&rollout.wanted, status, rollout.now) {
        let reason = conditions::TIMED_OUT;
        conditions::set(status, condition("False", reason, "has timed out progressing."));
    }
}

/// Whether everything wanted is there, available and of the newest revision.
pub(super) fn is_complete(wanted: &Wanted, deployment: &Deployment, status: &DeploymentStatus) -> bool {
    let all = |count: Option<i32>| count.unwrap_or(0) == wanted.replicas;
    all(status.updated_replicas)
        && all(status.replicas)
        && all(status.available_replicas)
        && status.observed_generation >= deployment.metadata.generation
}

fn is_progressing(deployment: &Deployment, status: &DeploymentStatus) -> bool {
    let before = deployment.status.clone().unwrap_or_default();
    let count = |count: Option<i32>| count.unwrap_or(0);
    let old = |status: &DeploymentStatus| count(status.replicas) - count(status.updated_replicas);
    count(status.updated_replicas) > count(before.updated_replicas)
        || old(status) < old(&before)
        || count(status.ready_replicas) > count(before.ready_replicas)
        || count(status.available_replicas) > count(before.available_replicas)
}

fn is_timed_out(wanted: &Wanted, status: &DeploymentStatus, now: Timestamp) -> bool {
    match conditions::progress(status) {
        None | Some(conditions::NEW_SET_AVAILABLE) => false,
        Some(conditions::TIMED_OUT) => true,
        Some(_) => seconds_left(wanted, status, now).is_some_and(|left| left < 0),
    }
}

/// Seconds until the deadline passes, negative afterwards.
fn seconds_left(wanted: &Wanted, status: &DeploymentStatus, now: Timestamp) -> Option<i64> {
    let condition = conditions::get(status, conditions::PROGRESSING)?;
    let since = condition.last_update_time.as_ref()?.0.as_second();
    Some(since + i64::from(wanted.deadline_seconds?) - now.as_second())
}

/// When the deadline must be looked at, if nothing else happens.
pub(super) fn look_again(rollout: &Rollout<'_>) -> Option<Duration> {
    let Rollout { wanted, status, .. } = rollout;
    let reason = conditions::progress(status)?;
    if is_complete(wanted, rollout.deployment, status) || reason == conditions::TIMED_OUT {
        return None;
    }
    // One more, so that the deadline has passed for certain.
    let left = seconds_left(wanted, status, rollout.now)?.max(0) + 1;
    u64::try_from(left).ok().map(Duration::from_secs)
}

/// A set's failure to make pods, the newest set's first.
fn failure(rollout: &Rollout<'_>) -> Option<DeploymentCondition> {
    let sets = rollout.newest.iter().chain(&rollout.old);
    let conditions = sets.flat_map(|set| {
        let status = set.status.as_ref();
        status.and_then(|status| status.conditions.as_ref()).into_iter().flatten()
    });
    let failure =
        conditions.filter(|condition| condition.type_ == conditions::REPLICA_FAILURE).find(|condition| condition.status == "True")?;
    Some(DeploymentCondition {
        type_: failure.type_.clone(),
        status: failure.status.clone(),
        reason: failure.reason.clone(),
        message: failure.message.clone(),
        last_transition_time: failure.last_transition_time.clone(),
        last_update_time: failure.last_transition_time.clone(),
    })
}
