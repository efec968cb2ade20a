//! The conditions of a deployment, in the reference's words.

use k8s_openapi::{
    api::apps::v1::{DeploymentCondition, DeploymentStatus},
    apimachinery::pkg::apis::meta::v1::Time,
    jiff::Timestamp,
};

pub(super) const AVAILABLE: &str = "Available";
pub(super) const PROGRESSING: &str = "Progressing";
pub(super) const REPLICA_FAILURE: &str = "ReplicaFailure";

pub(super) const NEW_SET_CREATED: &str = "NewReplicaSetCreated";
pub(super) const NEW_SET_FOUND: &str = "FoundNewReplicaSet";
pub(super) const NEW_SET_AVAILABLE: &str = "NewReplicaSetAvailable";
pub(super) const SET_UPDATED: &str = "ReplicaSetUpdated";
pub(super) const SET_NOT_CREATED: &str = "ReplicaSetCreateError";
pub(super) const TIMED_OUT: &str = "ProgressDeadlineExceeded";
pub(super) const PAUSED: &str = "DeploymentPaused";
pub(super) const RESUMED: &str = "DeploymentResumed";

pub(super) fn new(type_: &str, status: &str, reason: &str, message: impl Into<String>, now: Timestamp) -> DeploymentCondition {
    DeploymentCondition {
        type_: type_.into(),
        status: status.into(),
        reason: Some(reason.into()),
        message: Some(message.into()),
        last_update_time: Some(Time(now)),
        last_transition_time: Some(Time(now)),
    }
}

pub(super) fn get<'a>(status: &'a DeploymentStatus, type_: &str) -> Option<&'a DeploymentCondition> {
    let conditions = status.conditions.as_ref()?;
    conditions.iter().find(|condition| condition.type_ == type_)
}

/// The reason of the condition `Progressing`.
pub(super) fn progress(status: &DeploymentStatus) -> Option<&str> {
    get(status, PROGRESSING)?.reason.as_deref()
}

/// Sets a condition. One with the same status and reason is left as it is; the time of transition
/// moves only with the status.
pub(super) fn set(status: &mut DeploymentStatus, condition: DeploymentCondition) {
    match get(status, &condition.type_) {
        Some(old) if old.status == condition.status && old.reason == condition.reason => {}
        _ => replace(status, condition),
    }
}

/// Sets a condition even if it says the same as before: its update time moves.
pub(super) fn replace(status: &mut DeploymentStatus, mut condition: DeploymentCondition) {
    if let Some(old) = get(status, &condition.type_)
        && old.status == condition.status
    {
        condition.last_transition_time.clone_from(&old.last_transition_time);
    }
    remove(status, &condition.type_);
    status.conditions.get_or_insert_default().push(condition);
}

pub(super) fn remove(status: &mut DeploymentStatus, type_: &str) {
    if let Some(conditions) = &mut status.conditions {
        conditions.retain(|condition| condition.type_ != type_);
    }
    status.conditions = status.conditions.take().filter(|list| !list.is_empty());
}
