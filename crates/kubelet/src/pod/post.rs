//! Telling the API about a pod: its status, and in the end its deletion.
//!
//! A task of its own, so that a slow or absent API server never delays what happens on the node.
//! Only the newest status counts.

mod patch;

pub(crate) use patch::patch;

use std::sync::Arc;
use std::time::{Duration, Instant};

use corten_client::Backoff;
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use tokio::sync::watch;

use crate::context::Context;
use crate::metrics::families;
use crate::statics::mirror;

/// Pauses between attempts while the API server refuses or is away.
const RETRY: Duration = Duration::from_millis(200);
const LONGEST_RETRY: Duration = Duration::from_secs(10);

/// What the API is to know of a pod.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) status: PodStatus,
    /// The newest state of the pod that came from the API.
    observed: Arc<Pod>,
    /// The pod has ended and was deleted: remove the object.
    pub(crate) delete: bool,
}

/// Where a pod's status goes. Its task ends when this is dropped.
pub(crate) struct Poster {
    wanted: watch::Sender<Wanted>,
}

impl Poster {
    /// Starts the task.
    pub(crate) fn new(context: Arc<Context>, pod: Arc<Pod>) -> Self {
        let (wanted, receiver) =
            watch::channel(Wanted { status: pod.status.clone().unwrap_or_default(), observed: Arc::clone(&pod), delete: false });
        if crate::statics::is_static(&pod) {
            let mirrors = context.mirrors.subscribe(&pod);
            tokio::spawn(mirror::keep(context, pod, receiver, mirrors));
        } else {
            tokio::spawn(run(context, pod, receiver));
        }
        Self { wanted }
    }

    /// Posts a status, unless the API has it already.
    pub(crate) fn post(&self, status: PodStatus, observed: &Arc<Pod>, delete: bool) {
        self.wanted.send_replace(Wanted { status, observed: Arc::clone(observed), delete });
    }
}

async fn run(context: Arc<Context>, pod: Arc<Pod>, mut wanted: watch::Receiver<Wanted>) {
    let name = super::name(&pod).to_owned();
    let api: Api<Pod> = Api::namespaced(context.client.clone(), super::namespace(&pod));
    let mut known = Known::of(&pod);
    let mut changed_at = Instant::now();
    let mut backoff = Backoff::new(RETRY, LONGEST_RETRY);
    loop {
        let now = wanted.borrow_and_update().clone();
        known.observe(&now.observed);
        match step(&api, &name, super::uid(&pod), &mut known, &now).await {
            Ok(posted) => {
                backoff.reset();
                if posted {
                    context.metrics.time(&families::POD_STATUS_SYNC, &[], changed_at.elapsed());
                }
                if wanted.changed().await.is_err() {
                    return;
                }
                changed_at = Instant::now();
            }
            Err(error) if corten_client::is_not_found(&error) => return,
            // Another pod of the same name: this one is gone.
            Err(error) if corten_client::is_conflict(&error) && replaced(&api, &name, super::uid(&pod)).await => return,
            Err(error) => {
                tracing::warn!(%error, pod = name, "posting a pod's status");
                // The API server does not say when it is back.
                backoff.wait().await;
            }
        }
        if wanted.has_changed().is_err() {
            return;
        }
    }
}

/// Whether a pod is no more: there is none of its name, or another one.
async fn replaced(api: &Api<Pod>, name: &str, uid: &str) -> bool {
    match api.get_opt(name).await {
        Ok(found) => found.is_none_or(|pod| super::uid(&pod) != uid),
        Err(error) => {
            tracing::debug!(%error, pod = name, "looking for a pod after a conflict");
            false
        }
    }
}

/// Posts what has changed; true if something has.
async fn step(api: &Api<Pod>, name: &str, uid: &str, known: &mut Known, wanted: &Wanted) -> Result<bool, kube::Error> {
    let patch = patch(uid, &known.status, &wanted.status);
    let posted = patch.is_some();
    if let Some(patch) = patch {
        let patch = Patch::Strategic(patch);
        let pod = api.patch_status(name, &PatchParams::default(), &patch).await?;
        known.posted(&pod, &wanted.status);
    }
    if wanted.delete {
        let params = DeleteParams {
            grace_period_seconds: Some(0),
            preconditions: Some(Preconditions { uid: Some(uid.to_owned()), resource_version: None }),
            ..DeleteParams::default()
        };
        api.delete(name, &params).await?;
    }
    Ok(posted)
}

/// The status in the API, as far as is known.
pub(crate) struct Known {
    version: u64,
    status: PodStatus,
}

impl Known {
    /// The status.
    pub(crate) fn status(&self) -> &PodStatus {
        &self.status
    }

    /// Takes what a write has made. What the server makes of it counts as ours, or it would be posted for ever.
    pub(crate) fn posted(&mut self, pod: &Pod, status: &PodStatus) {
        *self = Self { version: version(pod), status: status.clone() };
    }

    pub(crate) fn of(pod: &Pod) -> Self {
        Self { version: version(pod), status: pod.status.clone().unwrap_or_default() }
    }

    /// Takes what a watch brings, if it is newer than our own last write: somebody else may have
    /// changed the status.
    pub(crate) fn observe(&mut self, pod: &Pod) {
        if version(pod) > self.version {
            *self = Self::of(pod);
        }
    }
}

/// Revisions grow (KEP 5504).
fn version(pod: &Pod) -> u64 {
    let text = pod.metadata.resource_version.as_deref();
    text.and_then(|t| t.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::{Request, Response};
    use http_body_util::Full;

    use super::*;

    #[tokio::test]
    async fn a_conflict_ends_only_what_is_replaced() {
        let pod = |uid: &str| format!(r#"{{"apiVersion":"v1","kind":"Pod","metadata":{{"name":"p","namespace":"ns","uid":"{uid}"}}}}"#);
        let status = |code: u16, reason: &str| {
            format!(r#"{{"apiVersion":"v1","kind":"Status","status":"Failure","reason":"{reason}","message":"","code":{code}}}"#)
        };
        for (code, body, expected) in [
            (200, pod("u"), false),
            (200, pod("other"), true),
            (404, status(404, "NotFound"), true),
            (500, status(500, "InternalError"), false),
        ] {
            let service = tower::service_fn(move |_: Request<kube::client::Body>| {
                let response = Response::builder().status(code).body(Full::new(Bytes::from(body.clone())));
                async move { response }
            });
            let api = Api::namespaced(kube::Client::new(service, "default"), "ns");
            assert_eq!(replaced(&api, "p", "u").await, expected, "{code}");
        }
    }
}
