//! Deployments: revisions of a pod template, rolled out through ReplicaSets.

mod conditions;
mod plan;
mod revision;
mod scaling;
mod status;
mod wanted;

use std::{collections::HashMap, sync::Arc};

use corten_client::{
    ObjectKey,
    controller::{self, Outcome, ReconcileResult},
    controller_of,
    events::{EventType, Recorder},
    informer::{Delta, Index, Informer},
    queue::WorkQueue,
    selector,
};
use k8s_openapi::{
    api::{
        apps::v1::{Deployment, ReplicaSet},
        core::v1::Pod,
    },
    jiff::Timestamp,
};
use kube::{
    Api, Client, ResourceExt as _,
    api::{DeleteParams, PostParams, Preconditions},
};

use crate::{
    context::Context,
    ownership::{self, Claim},
    pods,
};
use plan::{Action, Observed, Plan};

const NAME: &str = "deployment-controller";
const WORKERS: usize = 5;

struct Controller {
    client: Client,
    recorder: Recorder,
    queue: WorkQueue<ObjectKey>,
    deployments: Informer<Deployment>,
    sets: Informer<ReplicaSet>,
    sets_by_owner: Index<ReplicaSet>,
    orphans: Index<ReplicaSet>,
    pods_by_owner: Index<Pod>,
}

pub(crate) async fn run(context: Context) {
    let deployments = context.informers.get::<Deployment>();
    let sets = context.informers.get::<ReplicaSet>();
    let pods = context.informers.get::<Pod>();
    let controller = Arc::new(Controller {
        client: context.clients.writer(NAME),
        recorder: context.recorder(NAME),
        queue: WorkQueue::new("deployment"),
        sets_by_owner: sets.index("controller", ownership::controller_uid),
        orphans: sets.index("orphan", ownership::orphan_namespace),
        pods_by_owner: pods.index("controller", ownership::controller_uid),
        deployments: deployments.clone(),
        sets: sets.clone(),
    });
    let noting = Arc::clone(&controller);
    deployments.on_event(move |delta| noting.queue.add(delta.key()));
    let noting = Arc::clone(&controller);
    sets.on_event(move |delta| noting.note_set(delta));
    let noting = Arc::clone(&controller);
    pods.on_event(move |delta| noting.note_pod(delta));
    deployments.has_synced().await;
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
    fn note_set(&self, delta: &Delta<ReplicaSet>) {
        let old = delta.old().and_then(|old| owner_key(old));
        let new = owner_key(delta.object());
        let orphan = new.is_none() && !delta.is_deleted();
        for key in old.into_iter().chain(new) {
            self.queue.add(key);
        }
        if orphan && controller_of(delta.object().as_ref()).is_none() {
            let namespace = delta.object().namespace().unwrap_or_default();
            for deployment in self.deployments.store().list_in(&namespace) {
                let selector = deployment.spec.as_ref().map(|spec| &spec.selector);
                let takes = selector
                    .is_some_and(|selector| ownership::claim(deployment.as_ref(), selector, delta.object().as_ref()) == Claim::Adopt);
                if takes {
                    self.queue.add(ObjectKey::of(deployment.as_ref()));
                }
            }
        }
    }

    /// A `Recreate` rollout goes on when the last old pod is gone.
    fn note_pod(&self, delta: &Delta<Pod>) {
        let ended = delta.is_deleted() || pods::is_terminated(delta.object());
        let Some(reference) = controller_of(delta.object().as_ref()).filter(|_| ended) else {
            return;
        };
        if reference.kind == "ReplicaSet" {
            let namespace = delta.object().namespace().unwrap_or_default();
            let set = self.sets.store().get(&ObjectKey::new(namespace, &reference.name));
            if let Some(owner) = set.and_then(|set| owner_key(&set)) {
                self.queue.add(owner);
            }
        }
    }

    async fn reconcile(&self, key: &ObjectKey) -> ReconcileResult {
        let Some(deployment) = self.deployments.store().get(key) else {
            return Ok(Outcome::Done);
        };
        let selector = deployment.spec.as_ref().map(|spec| spec.selector.clone());
        if selector.is_none_or(|selector| selector::is_empty(&selector)) {
            let message = "This deployment is selecting all pods. A non-empty selector is required.";
            self.recorder.event(deployment.as_ref(), EventType::Warning, "SelectingAll", message);
            return Ok(Outcome::Done);
        }
        let sets = self.owned_sets(&deployment).await?;
        let observed =
            Observed { running: self.running_pods(&sets), sets, deployment: Deployment::clone(&deployment), now: corten_client::now().0 };
        let Plan { actions, status, look_again } = plan::plan(&observed);

        let mut deployment = observed.deployment;
        for action in actions {
            self.act(&mut deployment, action).await?;
        }
        if deployment.status.as_ref() != Some(&status) {
            deployment.status = Some(status);
            self.write_status(&deployment).await?;
        }
        Ok(look_again.map_or(Outcome::Done, Outcome::After))
    }

    /// The ReplicaSets of the deployment, after adoption and release.
    async fn owned_sets(&self, deployment: &Deployment) -> Result<Vec<ReplicaSet>, kube::Error> {
        let selector = deployment.spec.as_ref().map(|spec| spec.selector.clone());
        let selector = selector.unwrap_or_default();
        let mut candidates = self.sets_by_owner.get(&deployment.uid().unwrap_or_default());
        let namespace = deployment.namespace().unwrap_or_default();
        candidates.extend(self.orphans.get(&namespace));
        let mut owned = Vec::new();
        for set in candidates {
            let ours = match ownership::claim(deployment, &selector, set.as_ref()) {
                Claim::Keep => true,
                Claim::Adopt => {
                    ownership::adopt(&self.client, deployment, set.as_ref()).await?;
                    // It comes back from the informer with its new owner.
                    false
                }
                Claim::Release => {
                    ownership::release(&self.client, deployment, set.as_ref()).await?;
                    false
                }
                Claim::Ignore => false,
            };
            if ours {
                owned.push(ReplicaSet::clone(&set));
            }
        }
        Ok(owned)
    }

    fn running_pods(&self, sets: &[ReplicaSet]) -> HashMap<String, usize> {
        let uids = sets.iter().filter_map(|set| set.uid());
        uids.map(|uid| {
            let pods = self.pods_by_owner.get(&uid);
            let running = pods.iter().filter(|pod| !pods::is_terminated(pod)).count();
            (uid, running)
        })
        .collect()
    }

    async fn act(&self, deployment: &mut Deployment, action: Action) -> Result<(), kube::Error> {
        let namespace = deployment.namespace().unwrap_or_default();
        let api: Api<ReplicaSet> = Api::namespaced(self.client.clone(), &namespace);
        let params = PostParams::default();
        match action {
            Action::Create(set) => self.create(deployment, &api, &set).await,
            Action::Update { set, from } => {
                api.replace(&set.name_any(), &params, &set).await?;
                self.report_scaling(deployment, &set, from);
                Ok(())
            }
            Action::Delete(set) => {
                let precondition = Preconditions { uid: set.uid(), resource_version: None };
                let params = DeleteParams::background().preconditions(precondition);
                match api.delete(&set.name_any(), &params).await {
                    Err(error) if !corten_client::is_not_found(&error) => Err(error),
                    _ => Ok(()),
                }
            }
            Action::Revision(revision) => {
                let annotations = deployment.metadata.annotations.get_or_insert_default();
                annotations.insert(revision::REVISION.into(), revision);
                let api: Api<Deployment> = Api::namespaced(self.client.clone(), &namespace);
                *deployment = api.replace(&deployment.name_any(), &params, deployment).await?;
                Ok(())
            }
        }
    }

    async fn create(&self, deployment: &mut Deployment, api: &Api<ReplicaSet>, set: &ReplicaSet) -> Result<(), kube::Error> {
        let error = match api.create(&PostParams::default(), set).await {
            Ok(_) => {
                self.report_scaling(deployment, set, 0);
                return Ok(());
            }
            Err(error) => error,
        };
        let status = deployment.status.get_or_insert_default();
        if corten_client::is_already_exists(&error) {
            let existing = api.get(&set.name_any()).await?;
            let ours = controller_of(&existing).is_some_and(|owner| Some(&owner.uid) == deployment.metadata.uid.as_ref());
            let template = deployment.spec.as_ref().map(|spec| &spec.template);
            if ours && template.is_some_and(|own| revision::has_template(&existing, own)) {
                // Made by the step before, and the informer has not shown it yet.
                return Ok(());
            }
            status.collision_count = Some(status.collision_count.unwrap_or(0) + 1);
        } else {
            let text = match &error {
                kube::Error::Api(status) => status.message.clone(),
                other => other.to_string(),
            };
            let name = set.name_any();
            let condition = conditions::new(
                conditions::PROGRESSING,
                "False",
                conditions::SET_NOT_CREATED,
                format!("Failed to create new replica set \"{name}\": {text}"),
                Timestamp::now(),
            );
            conditions::set(status, condition);
        }
        self.write_status(deployment).await?;
        Err(error)
    }

    fn report_scaling(&self, deployment: &Deployment, set: &ReplicaSet, from: i32) {
        let to = plan::size(set);
        let direction = match to.cmp(&from) {
            std::cmp::Ordering::Greater => "up",
            std::cmp::Ordering::Less => "down",
            std::cmp::Ordering::Equal => return,
        };
        let name = set.name_any();
        let message = format!("Scaled {direction} replica set {name} from {from} to {to}");
        self.recorder.event(deployment, EventType::Normal, "ScalingReplicaSet", message);
    }

    async fn write_status(&self, deployment: &Deployment) -> Result<(), kube::Error> {
        let namespace = deployment.namespace().unwrap_or_default();
        let api: Api<Deployment> = Api::namespaced(self.client.clone(), &namespace);
        let name = deployment.name_any();
        match api.replace_status(&name, &PostParams::default(), deployment).await {
            Err(error) if !corten_client::is_not_found(&error) => Err(error),
            _ => Ok(()),
        }
    }
}

/// The key of the deployment that owns a ReplicaSet.
fn owner_key(set: &ReplicaSet) -> Option<ObjectKey> {
    let reference = controller_of(set).filter(|reference| reference.kind == "Deployment")?;
    Some(ObjectKey::new(set.namespace()?, &reference.name))
}

#[cfg(test)]
mod tests;
