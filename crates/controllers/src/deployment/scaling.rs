//! The sizes of a deployment's ReplicaSets.

use std::cmp::Reverse;

use k8s_openapi::api::apps::v1::ReplicaSet;

use super::{
    plan::{Rollout, name, resize, size},
    revision, status,
    wanted::Wanted,
};

/// How large the newest set may be, given its size and that of all others.
pub(super) fn size_of_new(wanted: &Wanted, newest: i32, others: i32) -> i32 {
    if !wanted.rolling {
        return wanted.replicas;
    }
    let room = wanted.max_replicas() - newest - others;
    newest + room.min(wanted.replicas - newest).max(0)
}

/// Grows the newest set as far as the surge allows, or shrinks it to what is wanted. True if its
/// size changed.
pub(super) fn grow_newest(rollout: &mut Rollout<'_>) -> bool {
    let others = rollout.old.iter().map(size).sum();
    let wanted = &rollout.wanted;
    let Some(newest) = &mut rollout.newest else {
        return false;
    };
    let before = size(newest);
    let after = if before > wanted.replicas { wanted.replicas } else { size_of_new(wanted, before, others) };
    if before != after {
        resize(newest, after, wanted);
    }
    before != after
}

/// Shrinks the old sets as far as availability allows, those pods first that are not available
/// anyway. True if a size changed.
pub(super) fn shrink_old(rollout: &mut Rollout<'_>) -> bool {
    let old: i32 = rollout.old.iter().map(size).sum();
    let Some(newest) = &rollout.newest else {
        return false;
    };
    if old == 0 {
        return false;
    }
    let wanted = &rollout.wanted;
    let unavailable_new = size(newest) - status::available(newest);
    let most = old + size(newest) - wanted.min_available() - unavailable_new;
    if most <= 0 {
        return false;
    }
    let available: i32 = rollout.all().map(status::available).sum();
    let spare = available - rollout.wanted.min_available();

    let mut unhealthy = 0;
    for set in &mut rollout.old {
        let excess = (size(set) - status::available(set)).max(0);
        let count = excess.min(most - unhealthy);
        unhealthy += shrink(set, count, &rollout.wanted);
    }
    let mut healthy = 0;
    for set in &mut rollout.old {
        let count = size(set).min(spare - healthy);
        healthy += shrink(set, count, &rollout.wanted);
    }
    unhealthy + healthy > 0
}

fn shrink(set: &mut ReplicaSet, count: i32, wanted: &Wanted) -> i32 {
    if count <= 0 {
        return 0;
    }
    let after = size(set) - count;
    resize(set, after, wanted);
    count
}

/// Follows a change of the deployment's size: with one set that one gets it, in the middle of a
/// rollout all sets get their proportion, so that a failing new revision is not what grows.
pub(super) fn scale(rollout: &mut Rollout<'_>) {
    let wanted = rollout.wanted.clone();
    if let Some(set) = active_or_latest(rollout) {
        if size(set) != wanted.replicas {
            resize(set, wanted.replicas, &wanted);
        }
        return;
    }
    if is_saturated(rollout) {
        for set in &mut rollout.old {
            if size(set) > 0 {
                resize(set, 0, &wanted);
            }
        }
        return;
    }
    if wanted.rolling {
        scale_proportionally(rollout, &wanted);
    }
}

/// The only set with pods, or if none has any the newest or the latest old one; nothing if several
/// have.
fn active_or_latest<'r>(rollout: &'r mut Rollout<'_>) -> Option<&'r mut ReplicaSet> {
    let Rollout { newest, old, .. } = rollout;
    let active = old.iter().chain(newest.iter()).filter(|set| size(set) > 0);
    match active.count() {
        0 => newest.as_mut().or_else(|| old.last_mut()),
        1 => old.iter_mut().chain(newest).find(|set| size(set) > 0),
        _ => None,
    }
}

/// Whether the newest set alone is all that is wanted.
fn is_saturated(rollout: &Rollout<'_>) -> bool {
    let replicas = rollout.wanted.replicas;
    rollout
        .newest
        .as_ref()
        .is_some_and(|set| size(set) == replicas && revision::desired_replicas(set) == Some(replicas) && status::available(set) == replicas)
}

fn scale_proportionally(rollout: &mut Rollout<'_>, wanted: &Wanted) {
    let observed = status::total_observed(rollout);
    let mut sets: Vec<&mut ReplicaSet> = rollout.old.iter_mut().chain(&mut rollout.newest).filter(|set| size(set) > 0).collect();
    let present: i32 = sets.iter().map(|set| size(set)).sum();
    let allowed = if wanted.replicas > 0 { wanted.max_replicas() } else { 0 };
    let to_add = allowed - present;
    // The largest first; of equals the newer grows and the older shrinks.
    if to_add > 0 {
        sets.sort_by_cached_key(|set| (Reverse(size(set)), Reverse(revision::age_key(set))));
    } else {
        sets.sort_by_cached_key(|set| (Reverse(size(set)), revision::age_key(set)));
    }
    let mut added = 0;
    let mut sizes = Vec::with_capacity(sets.len());
    for set in &sets {
        let share = proportion(set, wanted, observed, to_add, added);
        added += share;
        sizes.push(size(set) + share);
    }
    // Rounding leaves a rest: the largest takes it.
    if let Some(first) = sizes.first_mut() {
        *first = (*first + to_add - added).max(0);
    }
    for (set, size) in sets.into_iter().zip(sizes) {
        tracing::trace!(set = name(set), size, "scaled in proportion");
        resize(set, size, wanted);
    }
}

fn proportion(set: &ReplicaSet, wanted: &Wanted, observed: i32, to_add: i32, added: i32) -> i32 {
    let left = to_add - added;
    if size(set) == 0 || left == 0 {
        return 0;
    }
    let fraction = fraction(set, wanted, observed);
    if to_add > 0 { fraction.min(left) } else { fraction.max(left) }
}

/// By how much a set would change if it kept its share of all pods.
fn fraction(set: &ReplicaSet, wanted: &Wanted, observed: i32) -> i32 {
    let own = size(set);
    if wanted.replicas == 0 {
        return -own;
    }
    let before = revision::max_replicas(set).filter(|count| *count > 0);
    let before = i64::from(before.unwrap_or(observed));
    if before <= 0 {
        return 0;
    }
    // Rounded half up: all numbers are positive.
    let share = (2 * i64::from(own) * i64::from(wanted.max_replicas()) + before) / (2 * before);
    i32::try_from(share).unwrap_or(i32::MAX) - own
}
