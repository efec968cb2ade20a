//! The garbage collector: what is owned goes with its owner
//! (<https://kubernetes.io/docs/concepts/architecture/garbage-collection/>).
//!
//! The graph only says what to look at. Before anything is deleted, the object and its owners are
//! read from the server: an informer may be behind.

mod decide;
mod graph;

use std::{
    collections::{HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use corten_client::{
    ObjectKey,
    controller::{self, Outcome, ReconcileResult},
    has_finalizer,
    informer::{Delta, Outline},
    is_deleting,
    queue::WorkQueue,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{
    Client, ResourceExt as _,
    api::{DeleteParams, Patch, PatchParams, Preconditions, PropagationPolicy},
};
use parking_lot::Mutex;
use serde_json::json;

use crate::{
    context::Context,
    inventory::{Inventory, Kind, Metadata},
};
use decide::{Decision, OwnerState, decide};
use graph::{FOREGROUND, Graph, ORPHAN, Object, Work};

const NAME: &str = "generic-garbage-collector";
const WORKERS: usize = 10;

/// A kind that cannot be listed must not keep all others from being collected.
const SYNC_DEADLINE: Duration = Duration::from_secs(30);

struct Collector {
    client: Client,
    inventory: Inventory,
    graph: Mutex<Graph>,
    absent: Mutex<Absent>,
    queue: WorkQueue<Work>,
}

pub(crate) async fn run(context: Context, inventory: Inventory) {
    let collector = Arc::new(Collector {
        client: context.clients.writer(NAME),
        inventory: inventory.clone(),
        graph: Mutex::default(),
        absent: Mutex::default(),
        queue: WorkQueue::new("garbage_collector_attempt_to_delete"),
    });
    for (index, kind) in inventory.kinds().iter().enumerate() {
        let noting = Arc::clone(&collector);
        kind.objects.on_event(move |delta| noting.note(index, delta));
    }
    if tokio::time::timeout(SYNC_DEADLINE, inventory.has_synced()).await.is_err() {
        tracing::warn!("some kinds cannot be listed: their objects are not collected");
    }
    let queue = collector.queue.clone();
    controller::run(NAME, &queue, WORKERS, &context.token, move |work| {
        let collector = Arc::clone(&collector);
        async move {
            match &work {
                Work::Examine(uid) => collector.examine(uid).await,
                Work::Orphan(uid) => collector.orphan(uid).await,
            }
        }
    })
    .await;
}

impl Collector {
    fn note(&self, kind: usize, delta: &Delta<Outline>) {
        let object = delta.object();
        let uid = object.uid.to_string();
        let work = if delta.is_deleted() {
            self.absent.lock().insert(uid.clone());
            self.graph.lock().remove(&uid)
        } else {
            self.graph.lock().observe(Object {
                uid,
                kind: Some(kind),
                key: object.key.clone(),
                owners: object.owners.to_vec(),
                deleting: object.deleting,
                foreground: object.deleting && object.has_finalizer(FOREGROUND),
                orphaning: object.deleting && object.has_finalizer(ORPHAN),
            })
        };
        self.add(work);
    }

    fn add(&self, work: Vec<Work>) {
        for work in work {
            self.queue.add(work);
        }
    }

    async fn examine(&self, uid: &str) -> ReconcileResult {
        let Some(object) = self.graph.lock().get(uid) else {
            return Ok(Outcome::Done);
        };
        let Some(kind) = object.kind.and_then(|kind| self.inventory.kinds().get(kind)) else {
            return self.examine_unseen(uid).await;
        };
        if object.deleting && !object.foreground {
            return Ok(Outcome::Done);
        }
        let api = kind.api(&self.client, &object.key.namespace);
        let fresh = api.get_opt(&object.key.name).await?;
        let Some(fresh) = fresh.filter(|fresh| fresh.metadata.uid.as_deref() == Some(uid)) else {
            // Its deletion is on the way to the informer, or was missed.
            let work = self.graph.lock().remove(uid);
            self.add(work);
            return Ok(Outcome::Done);
        };
        if object.foreground {
            return self.finish_foreground(kind, &fresh, uid).await;
        }
        let mut owners = Vec::new();
        for owner in fresh.metadata.owner_references.iter().flatten() {
            let state = self.owner_state(owner, &object.key).await?;
            owners.push((owner.clone(), state));
        }
        let dependents = self.graph.lock().dependents(uid);
        match decide(&fresh.metadata, &owners, !dependents.is_empty()) {
            Decision::Keep => {}
            Decision::DropOwners(gone) => self.drop_owners(kind, &fresh, &gone).await?,
            Decision::Delete(policy) => {
                let circle = dependents.iter().any(|dependent| dependent.foreground);
                if circle && policy == PropagationPolicy::Foreground {
                    self.unblock_owners(kind, &fresh).await?;
                }
                self.delete(kind, &fresh, policy).await?;
            }
        }
        Ok(Outcome::Done)
    }

    /// An object that only its dependents speak of: if it does not exist, they go.
    async fn examine_unseen(&self, uid: &str) -> ReconcileResult {
        let reference = self.graph.lock().reference_to(uid);
        if let Some((reference, dependent)) = reference
            && self.owner_state(&reference, &dependent).await? == OwnerState::Absent
        {
            let work = self.graph.lock().remove(uid);
            self.add(work);
        }
        Ok(Outcome::Done)
    }

    async fn owner_state(&self, owner: &OwnerReference, dependent: &ObjectKey) -> Result<OwnerState, kube::Error> {
        if self.absent.lock().contains(&owner.uid) {
            return Ok(OwnerState::Absent);
        }
        let Some(kind) = self.inventory.kind_of(owner) else {
            tracing::debug!(kind = owner.kind, "owner of a kind that is not served");
            return Ok(OwnerState::Solid);
        };
        if kind.namespaced && dependent.namespace.is_empty() {
            // An object of the cluster cannot be owned by one of a namespace: which namespace?
            return Ok(OwnerState::Solid);
        }
        let api = kind.api(&self.client, &dependent.namespace);
        match api.get_opt(&owner.name).await? {
            Some(found) if found.metadata.uid.as_ref() == Some(&owner.uid) => {
                let waiting = is_deleting(&found) && has_finalizer(&found, FOREGROUND);
                Ok(if waiting { OwnerState::Waiting } else { OwnerState::Solid })
            }
            _ => {
                self.absent.lock().insert(owner.uid.clone());
                Ok(OwnerState::Absent)
            }
        }
    }

    /// An object that waits for its dependents: looks at them, or lets it go if there are none.
    async fn finish_foreground(&self, kind: &Kind, object: &Metadata, uid: &str) -> ReconcileResult {
        let blocking = self.graph.lock().blocking_dependents(uid);
        if blocking.is_empty() {
            self.remove_finalizer(kind, object, FOREGROUND).await?;
        }
        for dependent in blocking {
            if !dependent.foreground {
                self.queue.add(Work::Examine(dependent.uid));
            }
        }
        Ok(Outcome::Done)
    }

    /// Releases the dependents of an object that is deleted without them.
    async fn orphan(&self, uid: &str) -> ReconcileResult {
        let Some(owner) = self.graph.lock().get(uid).filter(|object| object.orphaning) else {
            return Ok(Outcome::Done);
        };
        let dependents = self.graph.lock().dependents(uid);
        let kinds = self.inventory.kinds();
        for dependent in dependents {
            let Some(kind) = dependent.kind.and_then(|kind| kinds.get(kind)) else {
                continue;
            };
            let api = kind.api(&self.client, &dependent.key.namespace);
            let fresh = api.get_opt(&dependent.key.name).await?;
            if let Some(fresh) = fresh.filter(|fresh| fresh.uid().as_ref() == Some(&dependent.uid)) {
                self.drop_owners(kind, &fresh, &[uid.to_owned()]).await?;
            }
        }
        if let Some(kind) = owner.kind.and_then(|kind| kinds.get(kind)) {
            let api = kind.api(&self.client, &owner.key.namespace);
            let fresh = api.get_opt(&owner.key.name).await?;
            if let Some(fresh) = fresh.filter(|fresh| fresh.uid().as_deref() == Some(uid)) {
                self.remove_finalizer(kind, &fresh, ORPHAN).await?;
            }
        }
        Ok(Outcome::Done)
    }

    async fn drop_owners(&self, kind: &Kind, object: &Metadata, gone: &[String]) -> Result<(), kube::Error> {
        let mut owners = object.metadata.owner_references.clone().unwrap_or_default();
        owners.retain(|owner| !gone.contains(&owner.uid));
        self.patch(kind, object, json!({ "ownerReferences": owners })).await
    }

    /// Breaks a circle of objects that wait for each other.
    async fn unblock_owners(&self, kind: &Kind, object: &Metadata) -> Result<(), kube::Error> {
        let mut owners = object.metadata.owner_references.clone().unwrap_or_default();
        for owner in &mut owners {
            owner.block_owner_deletion = Some(false);
        }
        self.patch(kind, object, json!({ "ownerReferences": owners })).await
    }

    async fn remove_finalizer(&self, kind: &Kind, object: &Metadata, finalizer: &str) -> Result<(), kube::Error> {
        let mut finalizers = object.metadata.finalizers.clone().unwrap_or_default();
        if finalizers.iter().any(|name| name == finalizer) {
            finalizers.retain(|name| name != finalizer);
            self.patch(kind, object, json!({ "finalizers": finalizers })).await?;
        }
        Ok(())
    }

    /// Changes metadata if the object is still exactly what was read. A merge patch, since kinds
    /// of extensions know no other.
    async fn patch(&self, kind: &Kind, object: &Metadata, mut metadata: serde_json::Value) -> Result<(), kube::Error> {
        metadata["uid"] = json!(object.metadata.uid);
        metadata["resourceVersion"] = json!(object.metadata.resource_version);
        let patch = Patch::Merge(json!({ "metadata": metadata }));
        let namespace = object.namespace().unwrap_or_default();
        let api = kind.api(&self.client, &namespace);
        match api.patch(&object.name_any(), &PatchParams::default(), &patch).await {
            Err(error) if !corten_client::is_not_found(&error) => Err(error),
            _ => Ok(()),
        }
    }

    async fn delete(&self, kind: &Kind, object: &Metadata, policy: PropagationPolicy) -> Result<(), kube::Error> {
        let namespace = object.namespace().unwrap_or_default();
        let name = object.name_any();
        // The revision too: an owner that was added meanwhile must not be overlooked.
        let params = DeleteParams { propagation_policy: Some(policy), ..DeleteParams::default() }
            .preconditions(Preconditions { uid: object.uid(), resource_version: object.resource_version() });
        match kind.api(&self.client, &namespace).delete(&name, &params).await {
            Err(error) if !corten_client::is_not_found(&error) => Err(error),
            _ => {
                let kind = &kind.resource.kind;
                tracing::debug!(kind, namespace, name, "collected");
                Ok(())
            }
        }
    }
}

/// Uids of objects that are known not to exist, the latest few: uids are never used again.
#[derive(Default)]
struct Absent {
    uids: HashSet<String>,
    order: VecDeque<String>,
}

impl Absent {
    const SIZE: usize = 1000;

    fn contains(&self, uid: &str) -> bool {
        self.uids.contains(uid)
    }

    fn insert(&mut self, uid: String) {
        if self.uids.insert(uid.clone()) {
            self.order.push_back(uid);
        }
        if self.order.len() > Self::SIZE
            && let Some(oldest) = self.order.pop_front()
        {
            self.uids.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests;
