//! Who owns whom: a graph of everything, kept from metadata alone. Pure.

use std::collections::{BTreeSet, HashMap};

use corten_client::ObjectKey;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

/// The finalizer of a deletion that waits for the dependents.
pub(super) const FOREGROUND: &str = "foregroundDeletion";

/// The finalizer of a deletion that leaves the dependents behind.
pub(super) const ORPHAN: &str = "orphan";

/// What the collector must look at.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Work {
    /// The object with this uid: whether it must be deleted.
    Examine(String),
    /// The object with this uid: its dependents must be released.
    Orphan(String),
}

/// An object as the graph needs it.
#[derive(Clone, Debug, Default)]
pub(super) struct Object {
    pub(super) uid: String,
    /// Index of its kind in the inventory; `None` if only somebody's owner reference says that it
    /// exists.
    pub(super) kind: Option<usize>,
    pub(super) key: ObjectKey,
    pub(super) owners: Vec<OwnerReference>,
    /// It has a deletion timestamp.
    pub(super) deleting: bool,
    /// It is deleted in the foreground.
    pub(super) foreground: bool,
    /// It is deleted and its dependents stay.
    pub(super) orphaning: bool,
}

struct Node {
    object: Object,
    dependents: BTreeSet<String>,
}

#[derive(Default)]
pub(super) struct Graph {
    nodes: HashMap<String, Node>,
}

impl Graph {
    pub(super) fn get(&self, uid: &str) -> Option<Object> {
        self.nodes.get(uid).map(|node| node.object.clone())
    }

    /// A reference to an object, from one of its dependents.
    pub(super) fn reference_to(&self, uid: &str) -> Option<(OwnerReference, ObjectKey)> {
        let dependents = &self.nodes.get(uid)?.dependents;
        dependents.iter().find_map(|dependent| {
            let object = &self.nodes.get(dependent)?.object;
            let reference = object.owners.iter().find(|owner| owner.uid == uid)?;
            Some((reference.clone(), object.key.clone()))
        })
    }

    pub(super) fn dependents(&self, uid: &str) -> Vec<Object> {
        let dependents = self.nodes.get(uid).map(|node| &node.dependents);
        dependents.into_iter().flatten().filter_map(|dependent| self.get(dependent)).collect()
    }

    /// The dependents whose existence holds up a foreground deletion.
    pub(super) fn blocking_dependents(&self, uid: &str) -> Vec<Object> {
        let blocks = |object: &Object| {
            let mut owners = object.owners.iter();
            owners.any(|owner| owner.uid == uid && owner.block_owner_deletion == Some(true))
        };
        let mut dependents = self.dependents(uid);
        dependents.retain(blocks);
        dependents
    }

    /// An object was seen.
    pub(super) fn observe(&mut self, object: Object) -> Vec<Work> {
        let uid = object.uid.clone();
        let mut work = Vec::new();
        let before = self.nodes.get(&uid).map(|node| node.object.clone());
        let before = before.unwrap_or_default();

        for owner in &before.owners {
            let now = object.owners.iter().find(|now| now.uid == owner.uid);
            if now.is_none() {
                self.unlink(&owner.uid, &uid);
            }
            let blocked = owner.block_owner_deletion == Some(true);
            let blocks = now.is_some_and(|now| now.block_owner_deletion == Some(true));
            if blocked && !blocks && self.is_foreground(&owner.uid) {
                work.push(Work::Examine(owner.uid.clone()));
            }
        }
        let owners = object.owners.clone();
        let starts_foreground = object.foreground && !before.foreground;
        let starts_orphaning = object.orphaning && !before.orphaning;
        self.nodes.entry(uid.clone()).or_insert_with(|| Node { object: Object::default(), dependents: BTreeSet::new() }).object = object;

        for owner in owners {
            let node = self.nodes.entry(owner.uid.clone()).or_insert_with(|| {
                // Nobody has seen the owner yet: does it exist?
                work.push(Work::Examine(owner.uid.clone()));
                Node { object: Object { uid: owner.uid.clone(), ..Object::default() }, dependents: BTreeSet::new() }
            });
            node.dependents.insert(uid.clone());
            if node.object.foreground {
                // It came while its owner is already on the way out.
                work.push(Work::Examine(uid.clone()));
            }
        }
        if starts_orphaning {
            work.push(Work::Orphan(uid.clone()));
        }
        if starts_foreground {
            work.extend(self.dependents_work(&uid));
            work.push(Work::Examine(uid));
        }
        work
    }

    /// An object is gone, or never was.
    pub(super) fn remove(&mut self, uid: &str) -> Vec<Work> {
        let mut work = self.dependents_work(uid);
        let Some(node) = self.nodes.remove(uid) else {
            return work;
        };
        for owner in &node.object.owners {
            self.unlink(&owner.uid, uid);
            if self.is_foreground(&owner.uid) {
                work.push(Work::Examine(owner.uid.clone()));
            }
        }
        work
    }

    fn dependents_work(&self, uid: &str) -> Vec<Work> {
        let dependents = self.nodes.get(uid).map(|node| &node.dependents);
        let dependents = dependents.into_iter().flatten();
        dependents.cloned().map(Work::Examine).collect()
    }

    fn is_foreground(&self, uid: &str) -> bool {
        self.nodes.get(uid).is_some_and(|node| node.object.foreground)
    }

    /// Forgets that one object depends on another, and the other if only that kept it here.
    fn unlink(&mut self, owner: &str, dependent: &str) {
        if let Some(node) = self.nodes.get_mut(owner) {
            node.dependents.remove(dependent);
            if node.object.kind.is_none() && node.dependents.is_empty() {
                self.nodes.remove(owner);
            }
        }
    }
}
