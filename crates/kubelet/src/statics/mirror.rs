//! Mirror pods: how the API shows static pods. They carry the status, and nothing that happens to them reaches the pod.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use corten_client::{Backoff, ObjectKey};
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::{Api, Resource as _};
use parking_lot::Mutex;
use tokio::sync::watch;

use super::{HASH, MIRROR, annotation};
use crate::context::Context;
use crate::pod::post::{Known, Wanted, patch};

/// Pauses between attempts while the API server refuses or is away.
const RETRY: Duration = Duration::from_millis(200);
const LONGEST_RETRY: Duration = Duration::from_secs(10);

type Newest = watch::Sender<Option<Arc<Pod>>>;

/// The mirrors that the API has, by name.
#[derive(Default)]
pub(crate) struct Mirrors {
    known: Mutex<HashMap<ObjectKey, Newest>>,
    /// The uids of those that are being removed because their pods are gone.
    dropping: Mutex<HashSet<String>>,
}

impl Mirrors {
    /// What the API has under the name of a static pod, from now on.
    pub(crate) fn subscribe(&self, pod: &Pod) -> watch::Receiver<Option<Arc<Pod>>> {
        let mut known = self.known.lock();
        known.retain(|_, newest| newest.receiver_count() > 0 || newest.borrow().is_some());
        known.entry(ObjectKey::of(pod)).or_insert_with(|| watch::Sender::new(None)).subscribe()
    }

    /// A mirror came, changed, or went (`there` is false).
    pub(crate) fn note(&self, pod: &Arc<Pod>, there: bool) {
        let mut known = self.known.lock();
        let newest = known.entry(ObjectKey::of(pod.as_ref())).or_insert_with(|| watch::Sender::new(None));
        newest.send_if_modified(|newest| {
            // The end of one that was replaced already says nothing.
            let other = newest.as_ref().is_some_and(|known| crate::pod::uid(known) != crate::pod::uid(pod));
            if !there && other {
                return false;
            }
            *newest = there.then(|| Arc::clone(pod));
            true
        });
    }

    /// All that the API has.
    pub(crate) fn list(&self) -> Vec<Arc<Pod>> {
        self.known.lock().values().filter_map(|newest| newest.borrow().clone()).collect()
    }
}

/// What to do about the mirror of a static pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Create,
    /// It is another pod's, or somebody deleted it.
    Remove,
    Keep,
}

/// Compares a static pod with what the API has.
pub(super) fn step(pod: &Pod, mirror: Option<&Pod>) -> Step {
    let Some(mirror) = mirror else { return Step::Create };
    let same = annotation(mirror, MIRROR) == annotation(pod, HASH);
    if !same || mirror.metadata.deletion_timestamp.is_some() { Step::Remove } else { Step::Keep }
}

/// The mirror as the API gets it.
pub(super) fn made(pod: &Pod, node: &Node) -> Pod {
    let mut mirror = pod.clone();
    let meta = &mut mirror.metadata;
    meta.uid = None;
    let hash = annotation(pod, HASH).unwrap_or_default().to_owned();
    meta.annotations.get_or_insert_default().insert(MIRROR.to_owned(), hash);
    let owner = node.controller_owner_ref(&());
    meta.owner_references = owner.map(|owner| vec![OwnerReference { block_owner_deletion: None, ..owner }]);
    mirror.status = None;
    mirror
}

/// Keeps the mirror of one static pod until the pod is gone, and takes it away then.
pub(crate) async fn keep(
    context: Arc<Context>,
    pod: Arc<Pod>,
    mut wanted: watch::Receiver<Wanted>,
    mut mirrors: watch::Receiver<Option<Arc<Pod>>>,
) {
    let api: Api<Pod> = Api::namespaced(context.client.clone(), crate::pod::namespace(&pod));
    let mut known: Option<(String, Known)> = None;
    let mut backoff = Backoff::new(RETRY, LONGEST_RETRY);
    loop {
        let now = wanted.borrow_and_update().clone();
        let mirror = mirrors.borrow_and_update().clone();
        let done = if now.delete {
            match &mirror {
                // Another one is that of a pod that has come in this one's place.
                Some(mirror) if annotation(mirror, MIRROR) == annotation(&pod, HASH) => remove(&api, mirror).await,
                _ => Ok(()),
            }
        } else {
            round(&context, &api, &pod, mirror.as_ref(), &now, &mut known).await
        };
        match done {
            Ok(()) if now.delete => return,
            Ok(()) => {
                backoff.reset();
                tokio::select! {
                    changed = wanted.changed() => if changed.is_err() { return },
                    changed = mirrors.changed() => if changed.is_err() { return },
                }
            }
            Err(error) => {
                tracing::warn!(%error, pod = crate::pod::name(&pod), "keeping the mirror of a static pod");
                // The API server does not say when it is back, nor the Node when it is registered.
                backoff.wait().await;
                if wanted.has_changed().is_err() && !wanted.borrow().delete {
                    return;
                }
            }
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum MirrorError {
    #[error("the Node is not registered yet")]
    NoNode,
    #[error(transparent)]
    Api(#[from] kube::Error),
}

async fn round(
    context: &Context,
    api: &Api<Pod>,
    pod: &Pod,
    mirror: Option<&Arc<Pod>>,
    wanted: &Wanted,
    known: &mut Option<(String, Known)>,
) -> Result<(), MirrorError> {
    match (step(pod, mirror.map(AsRef::as_ref)), mirror) {
        (Step::Create, _) => {
            let node = context.node.store().list().into_iter().next().ok_or(MirrorError::NoNode)?;
            let made = made(pod, &node);
            match api.create(&PostParams::default(), &made).await {
                Ok(_) => Ok(()),
                // Made already, and the watch has not brought it yet; or a pod of its own, which has the name until it goes.
                Err(error) if corten_client::is_already_exists(&error) && mirror_of(api, pod).await? => Ok(()),
                Err(error) => Err(error.into()),
            }
        }
        (Step::Remove, Some(mirror)) => remove(api, mirror).await,
        (Step::Keep, Some(mirror)) => {
            let uid = crate::pod::uid(mirror);
            if known.as_ref().is_none_or(|(of, _)| of != uid) {
                *known = Some((uid.to_owned(), Known::of(mirror)));
            }
            let Some((_, known)) = known else { return Ok(()) };
            known.observe(mirror);
            if let Some(patch) = patch(uid, known.status(), &wanted.status) {
                let patched = api.patch_status(crate::pod::name(pod), &PatchParams::default(), &Patch::Strategic(patch)).await;
                match patched {
                    Ok(patched) => known.posted(&patched, &wanted.status),
                    // It is gone, or another one: the watch will tell.
                    Err(error) if corten_client::is_not_found(&error) || corten_client::is_conflict(&error) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            Ok(())
        }
        (Step::Remove | Step::Keep, None) => Ok(()),
    }
}

/// Whether the API has this pod's mirror.
async fn mirror_of(api: &Api<Pod>, pod: &Pod) -> Result<bool, kube::Error> {
    let found = api.get_opt(crate::pod::name(pod)).await?;
    Ok(found.is_some_and(|found| annotation(&found, MIRROR) == annotation(pod, HASH)))
}

/// Removes a mirror at once; it is no more than a sign.
async fn remove(api: &Api<Pod>, mirror: &Pod) -> Result<(), MirrorError> {
    let params = DeleteParams {
        grace_period_seconds: Some(0),
        preconditions: Some(Preconditions { uid: mirror.metadata.uid.clone(), resource_version: None }),
        ..DeleteParams::default()
    };
    match api.delete(crate::pod::name(mirror), &params).await {
        Ok(_) => Ok(()),
        Err(error) if corten_client::is_not_found(&error) || corten_client::is_conflict(&error) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Removes a mirror whose pod the node does not have, unless that is under way.
pub(crate) async fn drop_orphan(context: Arc<Context>, mirror: Arc<Pod>) {
    let uid = crate::pod::uid(&mirror).to_owned();
    if !context.mirrors.dropping.lock().insert(uid.clone()) {
        return;
    }
    let api: Api<Pod> = Api::namespaced(context.client.clone(), crate::pod::namespace(&mirror));
    let mut backoff = Backoff::new(RETRY, LONGEST_RETRY);
    while let Err(error) = remove(&api, &mirror).await {
        tracing::warn!(%error, pod = crate::pod::name(&mirror), "removing the mirror of a static pod that is gone");
        backoff.wait().await;
    }
    context.mirrors.dropping.lock().remove(&uid);
}
