//! One step of a rollout: from what is observed to what is to be written. Pure.
//!
//! The steps are those of <https://kubernetes.io/docs/concepts/workloads/controllers/deployment/>:
//! find or make the newest ReplicaSet, then either grow it or shrink the old ones, never both in
//! the same step, so that each step sees what the one before did.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use k8s_openapi::{
    api::apps::v1::{Deployment, DeploymentStatus, ReplicaSet},
    jiff::Timestamp,
};

use super::{conditions, revision, scaling, status, wanted::Wanted};

/// What a step is decided on.
pub(super) struct Observed {
    pub(super) deployment: Deployment,
    /// The ReplicaSets that the deployment owns.
    pub(super) sets: Vec<ReplicaSet>,
    /// Pods that still exist and have not ended, by the uid of their ReplicaSet.
    pub(super) running: HashMap<String, usize>,
    pub(super) now: Timestamp,
}

/// Something to be written.
#[derive(Debug, PartialEq)]
pub(super) enum Action {
    /// A new ReplicaSet.
    Create(Box<ReplicaSet>),
    /// A changed ReplicaSet; `from` is its former size.
    Update { set: Box<ReplicaSet>, from: i32 },
    /// An old ReplicaSet that the history has no room for.
    Delete(Box<ReplicaSet>),
    /// The deployment's own revision annotation.
    Revision(String),
}

/// What comes out of a step: first the actions, then the status.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) actions: Vec<Action>,
    pub(super) status: DeploymentStatus,
    /// When the progress deadline must be looked at.
    pub(super) look_again: Option<Duration>,
}

/// The state that a step works on.
pub(super) struct Rollout<'a> {
    pub(super) deployment: &'a Deployment,
    pub(super) wanted: Wanted,
    pub(super) newest: Option<ReplicaSet>,
    /// All others, the oldest first.
    pub(super) old: Vec<ReplicaSet>,
    pub(super) status: DeploymentStatus,
    pub(super) now: Timestamp,
    created: bool,
    deleted: HashSet<String>,
    revision: Option<String>,
}

pub(super) fn plan(observed: &Observed) -> Plan {
    let mut rollout = Rollout::new(observed);
    if observed.deployment.metadata.deletion_timestamp.is_some() {
        rollout.sync_newest(false);
        rollout.status = status::counted(&rollout);
    } else {
        rollout.note_pause();
        if rollout.wanted.paused || rollout.is_rescaled() {
            rollout.sync_newest(false);
            scaling::scale(&mut rollout);
            if rollout.wanted.paused {
                rollout.clean_up();
            }
            rollout.status = status::counted(&rollout);
        } else if rollout.wanted.rolling {
            rollout.roll();
        } else {
            rollout.recreate(&observed.running);
        }
    }
    rollout.finish(observed)
}

impl<'a> Rollout<'a> {
    fn new(observed: &'a Observed) -> Self {
        let deployment = &observed.deployment;
        let mut old = observed.sets.clone();
        old.sort_by_cached_key(revision::age_key);
        let newest = revision::position_of_newest(deployment, &old).map(|index| old.remove(index));
        Self {
            deployment,
            wanted: Wanted::of(deployment),
            newest,
            old,
            status: deployment.status.clone().unwrap_or_default(),
            now: observed.now,
            created: false,
            deleted: HashSet::new(),
            revision: None,
        }
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &ReplicaSet> {
        self.old.iter().chain(&self.newest)
    }

    /// Whether the deployment's size changed since a set with pods was last touched.
    fn is_rescaled(&self) -> bool {
        let active = self.all().filter(|set| size(set) > 0);
        active.filter_map(revision::desired_replicas).any(|desired| desired != self.wanted.replicas)
    }

    fn note_pause(&mut self) {
        if self.wanted.deadline_seconds.is_none() {
            return;
        }
        let reason = conditions::progress(&self.status);
        if reason == Some(conditions::TIMED_OUT) {
            return;
        }
        let noted = reason == Some(conditions::PAUSED);
        if self.wanted.paused && !noted {
            self.progress("Unknown", conditions::PAUSED, "Deployment is paused");
        } else if !self.wanted.paused && noted {
            self.progress("Unknown", conditions::RESUMED, "Deployment is resumed");
        }
    }

    fn progress(&mut self, status: &str, reason: &str, message: impl Into<String>) {
        let type_ = conditions::PROGRESSING;
        let condition = conditions::new(type_, status, reason, message, self.now);
        conditions::set(&mut self.status, condition);
    }

    /// Brings the newest set's annotations up to date, or makes it if there is none and `create`.
    fn sync_newest(&mut self, create: bool) {
        let next = self.old.iter().map(revision::revision).max().unwrap_or(0) + 1;
        let deadline = self.wanted.deadline_seconds.is_some();
        match &mut self.newest {
            Some(set) => {
                revision::annotate_newest(self.deployment, set, next);
                if let Some(spec) = &mut set.spec
                    && spec.min_ready_seconds.unwrap_or(0) != self.wanted.min_ready_seconds
                {
                    spec.min_ready_seconds = Some(self.wanted.min_ready_seconds);
                }
                self.revision = set.metadata.annotations.as_ref().and_then(|annotations| annotations.get(revision::REVISION).cloned());
                let message = format!("Found new replica set \"{}\"", name(set));
                if deadline && conditions::progress(&self.status).is_none() {
                    self.progress("True", conditions::NEW_SET_FOUND, message);
                }
            }
            None if create => {
                let mut set = revision::new_set(self.deployment, &self.wanted, next);
                let message = format!("Created new replica set \"{}\"", name(&set));
                let replicas = scaling::size_of_new(&self.wanted, 0, self.old_size());
                set_size(&mut set, replicas);
                self.newest = Some(set);
                self.created = true;
                self.revision = Some(next.to_string());
                if deadline {
                    self.progress("True", conditions::NEW_SET_CREATED, message);
                }
            }
            None => {}
        }
    }

    fn old_size(&self) -> i32 {
        self.old.iter().map(size).sum()
    }

    fn roll(&mut self) {
        self.sync_newest(true);
        if !scaling::grow_newest(self) && !scaling::shrink_old(self) && self.is_complete() {
            self.clean_up();
        }
        self.status = status::rolled_out(self);
    }

    fn recreate(&mut self, running: &HashMap<String, usize>) {
        self.sync_newest(false);
        if self.old_size() > 0 {
            for set in &mut self.old {
                if size(set) > 0 {
                    resize(set, 0, &self.wanted);
                }
            }
        } else if !self.old_pods_run(running) {
            if self.newest.is_none() {
                self.sync_newest(true);
            }
            scaling::grow_newest(self);
            if self.is_complete() {
                self.clean_up();
            }
        }
        self.status = status::rolled_out(self);
    }

    fn old_pods_run(&self, running: &HashMap<String, usize>) -> bool {
        let newest = self.newest.as_ref().and_then(|set| set.metadata.uid.as_ref());
        let observed: i32 = self.old.iter().map(status::replicas).sum();
        observed > 0 || running.iter().any(|(uid, count)| *count > 0 && Some(uid) != newest)
    }

    fn is_complete(&self) -> bool {
        status::is_complete(&self.wanted, self.deployment, &self.status)
    }

    /// Removes the oldest revisions that the history has no room for and that have no pods.
    fn clean_up(&mut self) {
        let Some(limit) = self.wanted.history_limit else {
            return;
        };
        let mut old: Vec<_> = self.old.iter().filter(|set| set.metadata.deletion_timestamp.is_none()).collect();
        let surplus = old.len().saturating_sub(limit);
        old.sort_by_key(|set| revision::revision(set));
        for set in old.into_iter().take(surplus) {
            let observed = set.status.as_ref().and_then(|status| status.observed_generation);
            let settled = set.metadata.generation <= observed;
            if status::replicas(set) == 0 && size(set) == 0 && settled {
                self.deleted.insert(name(set).to_owned());
            }
        }
    }

    /// What differs from what was observed.
    fn finish(self, observed: &Observed) -> Plan {
        let before: HashMap<_, _> = observed.sets.iter().map(|set| (name(set), set)).collect();
        let annotations = self.deployment.metadata.annotations.as_ref();
        let known = annotations.and_then(|annotations| annotations.get(revision::REVISION));
        let look_again = status::look_again(&self);
        let mut actions = Vec::new();
        for set in self.newest.iter().chain(&self.old) {
            match before.get(name(set)) {
                _ if self.deleted.contains(name(set)) => {
                    actions.push(Action::Delete(Box::new(set.clone())));
                }
                Some(original) if *original != set => actions.push(Action::Update { set: Box::new(set.clone()), from: size(original) }),
                Some(_) => {}
                None if self.created => actions.push(Action::Create(Box::new(set.clone()))),
                None => {}
            }
        }
        if let Some(revision) = self.revision
            && known != Some(&revision)
        {
            actions.push(Action::Revision(revision));
        }
        Plan { actions, status: self.status, look_again }
    }
}

pub(super) fn name(set: &ReplicaSet) -> &str {
    set.metadata.name.as_deref().unwrap_or_default()
}

/// The wanted size of a set.
pub(super) fn size(set: &ReplicaSet) -> i32 {
    set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)
}

pub(super) fn set_size(set: &mut ReplicaSet, replicas: i32) {
    set.spec.get_or_insert_default().replicas = Some(replicas);
}

/// Changes the size of a set and writes onto it what the deployment wanted then.
pub(super) fn resize(set: &mut ReplicaSet, replicas: i32, wanted: &Wanted) {
    set_size(set, replicas);
    revision::annotate_size(set, wanted);
}
