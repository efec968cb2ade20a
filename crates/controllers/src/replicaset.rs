//! ReplicaSets: as many pods of a template as wanted
//! (<https://kubernetes.io/docs/concepts/workloads/controllers/replicaset/>).

mod plan;
mod rank;
mod status;

use std::sync::Arc;

use corten_client::{
    ObjectKey,
    controller::{self, Outcome, ReconcileResult},
    controller_of,
    events::{EventType, Recorder},
    informer::{Delta, Index, Informer},
    is_deleting,
    queue::WorkQueue,
};
use futures::future::join_all;
use k8s_openapi::{
    api::{apps::v1::ReplicaSet, core::v1::Pod},
    jiff::Timestamp,
};
use kube::{
    Api, Client, ResourceExt as _,
    api::{DeleteParams, PostParams, Preconditions},
};

use crate::{
    context::Context,
    expectations::Expectations,
    ownership::{self, Claim},
    pods,
};
use plan::Plan;
use status::Failure;

const NAME: &str = "replicaset-controller";
const WORKERS: usize = 5;

struct Controller {
    client: Client,
    recorder: Recorder,
    queue: WorkQueue<ObjectKey>,
    sets: Informer<ReplicaSet>,
    sets_by_owner: Index<ReplicaSet>,
    pods_by_owner: Index<Pod>,
    orphans: Index<Pod>,
    expectations: Expectations,
}

pub(crate) async fn run(context: Context) {
    let sets = context.informers.get::<ReplicaSet>();
    let pods = context.informers.get::<Pod>();
    let controller = Arc::new(Controller {
        client: context.clients.writer(NAME),
        recorder: context.recorder(NAME),
        queue: WorkQueue::new("replicaset"),
        sets_by_owner: sets.index("controller", ownership::controller_uid),
        pods_by_owner: pods.index("controller", ownership::controller_uid),
        orphans: pods.index("orphan", ownership::orphan_namespace),
        sets: sets.clone(),
        expectations: Expectations::default(),
    });
    let noting = Arc::clone(&controller);
    sets.on_event(move |delta| noting.queue.add(delta.key()));
    let noting = Arc::clone(&controller);
    pods.on_event(move |delta| noting.note_pod(delta));
    sets.has_synced().await;
    pods.has_synced().await;

    let queue = controller.queue.clone();
    controller::run(NAME, &queue, WORKERS, &context.token, move |key| {
        let controller = Arc::clone(&controller);
        async move { controller.reconcile(&key).await }
    })
    .await;
}

impl Controller {
    fn note_pod(&self, delta: &Delta<Pod>) {
        let pod = delta.object();
        match delta {
            Delta::Added(_) => {
                if let Some(owner) = owner_key(pod) {
                    self.expectations.creation_observed(&owner);
                }
            }
            Delta::Updated { old, new } => {
                if let Some(owner) = owner_key(new)
                    && is_deleting(new.as_ref())
                    && !is_deleting(old.as_ref())
                {
                    self.expectations.deletion_observed(&owner, &uid(new));
                }
                if let Some(owner) = owner_key(old) {
                    self.queue.add(owner);
                }
            }
            Delta::Deleted(_) => {
                if let Some(owner) = owner_key(pod) {
                    self.expectations.deletion_observed(&owner, &uid(pod));
                }
            }
        }
        if let Some(owner) = owner_key(pod) {
            return self.queue.add(owner);
        }
        if controller_of(pod.as_ref()).is_none() && !delta.is_deleted() {
            let namespace = pod.namespace().unwrap_or_default();
            for set in self.sets.store().list_in(&namespace) {
                if ownership::claim(set.as_ref(), &set_selector(&set), pod.as_ref()) == Claim::Adopt {
                    self.queue.add(ObjectKey::of(set.as_ref()));
                }
            }
        }
    }

    async fn reconcile(&self, key: &ObjectKey) -> ReconcileResult {
        let Some(set) = self.sets.store().get(key) else {
            self.expectations.forget(key);
            return Ok(Outcome::Done);
        };
        // Asked before the pods are read: what is seen afterwards is at least as new.
        let satisfied = self.expectations.satisfied(key);
        let owned = self.owned_pods(&set).await?;
        let mut failure = None;
        if satisfied && !is_deleting(set.as_ref()) {
            let related = self.related_pods(&set);
            match plan::plan(&set, &owned, &related, Timestamp::now()) {
                Plan::Nothing => {}
                Plan::Create(count) => failure = self.create(key, &set, count).await,
                Plan::Delete(victims) => failure = self.delete(key, &set, victims).await,
            }
        }
        let now = Timestamp::now();
        let observed = status::observe(&set, &owned, failure.as_ref(), now);
        if set.status.as_ref() != Some(&observed.status) {
            let mut updated = ReplicaSet::clone(&set);
            updated.status = Some(observed.status);
            let api: Api<ReplicaSet> = Api::namespaced(self.client.clone(), &key.namespace);
            match api.replace_status(&key.name, &PostParams::default(), &updated).await {
                Err(error) if corten_client::is_not_found(&error) => return Ok(Outcome::Done),
                result => result?,
            };
        }
        match (failure, observed.look_again) {
            (Some(failure), _) => Err(failure.message.into()),
            (None, Some(delay)) => Ok(Outcome::After(delay)),
            (None, None) => Ok(Outcome::Done),
        }
    }

    /// The active pods of the set, after adoption and release.
    async fn owned_pods(&self, set: &Arc<ReplicaSet>) -> Result<Vec<Arc<Pod>>, kube::Error> {
        let selector = set_selector(set);
        let namespace = set.namespace().unwrap_or_default();
        let mut candidates = self.pods_by_owner.get(&set.uid().unwrap_or_default());
        candidates.extend(self.orphans.get(&namespace));
        let mut owned = Vec::new();
        for pod in candidates.into_iter().filter(|pod| pods::is_active(pod)) {
            let ours = match ownership::claim(set.as_ref(), &selector, pod.as_ref()) {
                Claim::Keep => true,
                Claim::Adopt => ownership::adopt(&self.client, set.as_ref(), pod.as_ref()).await?,
                Claim::Release => {
                    ownership::release(&self.client, set.as_ref(), pod.as_ref()).await?;
                    false
                }
                Claim::Ignore => false,
            };
            if ours {
                owned.push(pod);
            }
        }
        Ok(owned)
    }

    /// The active pods of all sets under the same controller: scaling down takes from nodes that
    /// run most of them.
    fn related_pods(&self, set: &ReplicaSet) -> Vec<Arc<Pod>> {
        let siblings = match controller_of(set) {
            Some(reference) => self.sets_by_owner.get(&reference.uid),
            None => Vec::new(),
        };
        let uids = siblings.iter().filter_map(|sibling| sibling.uid());
        let own = set.uid().filter(|_| siblings.is_empty());
        uids.chain(own).flat_map(|uid| self.pods_by_owner.get(&uid)).filter(|pod| pods::is_active(pod)).collect()
    }

    /// Creates pods in batches that double, so that a quota or webhook that refuses all is asked
    /// once and not five hundred times.
    async fn create(&self, key: &ObjectKey, set: &ReplicaSet, count: usize) -> Option<Failure> {
        let Some(pod) = plan::new_pod(set) else {
            return Some(Failure::create("the ReplicaSet has no template"));
        };
        let api: Api<Pod> = Api::namespaced(self.client.clone(), &key.namespace);
        let params = PostParams::default();
        self.expectations.expect_creations(key, count);
        let mut left = count;
        let mut batch = 1;
        while left > 0 {
            let size = batch.min(left);
            let results = join_all((0..size).map(|_| api.create(&params, &pod))).await;
            left -= size;
            batch = size * 2;
            let mut failed = None;
            for result in results {
                match result {
                    Ok(created) => {
                        let message = format!("Created pod: {}", created.name_any());
                        self.recorder.event(set, EventType::Normal, "SuccessfulCreate", message);
                    }
                    Err(error) => {
                        self.expectations.creation_observed(key);
                        failed = Some(error);
                    }
                }
            }
            if let Some(error) = failed {
                for _ in 0..left {
                    self.expectations.creation_observed(key);
                }
                return self.creation_failed(set, &error);
            }
        }
        None
    }

    fn creation_failed(&self, set: &ReplicaSet, error: &kube::Error) -> Option<Failure> {
        if plan::is_namespace_terminating(error) {
            // Nothing can be created there any more, and the set itself is about to go.
            return None;
        }
        let message = plan::message_of(error);
        self.recorder.event(set, EventType::Warning, "FailedCreate", format!("Error creating: {message}"));
        Some(Failure::create(&message))
    }

    async fn delete(&self, key: &ObjectKey, set: &ReplicaSet, victims: Vec<Arc<Pod>>) -> Option<Failure> {
        let api: &Api<Pod> = &Api::namespaced(self.client.clone(), &key.namespace);
        self.expectations.expect_deletions(key, victims.iter().map(|pod| uid(pod)));
        let results = join_all(victims.iter().map(|pod| async move {
            let params = DeleteParams::default().preconditions(Preconditions { uid: pod.uid(), resource_version: None });
            (pod, api.delete(&pod.name_any(), &params).await)
        }))
        .await;
        let mut failure = None;
        for (pod, result) in results {
            match result {
                Ok(_) => {
                    let message = format!("Deleted pod: {}", pod.name_any());
                    self.recorder.event(set, EventType::Normal, "SuccessfulDelete", message);
                }
                Err(error) => {
                    self.expectations.deletion_observed(key, &uid(pod));
                    if !corten_client::is_not_found(&error) && !corten_client::is_conflict(&error) {
                        let message = plan::message_of(&error);
                        let text = format!("Error deleting: {message}");
                        self.recorder.event(set, EventType::Warning, "FailedDelete", text);
                        failure = Some(Failure::delete(&message));
                    }
                }
            }
        }
        failure
    }
}

fn uid(pod: &Pod) -> String {
    pod.uid().unwrap_or_default()
}

fn set_selector(set: &ReplicaSet) -> k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector {
    set.spec.as_ref().map(|spec| spec.selector.clone()).unwrap_or_default()
}

/// The key of the ReplicaSet that owns a pod.
fn owner_key(pod: &Pod) -> Option<ObjectKey> {
    let reference = controller_of(pod).filter(|reference| reference.kind == "ReplicaSet")?;
    Some(ObjectKey::new(pod.namespace()?, &reference.name))
}

#[cfg(test)]
mod tests;
