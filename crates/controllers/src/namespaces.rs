//! Controllers that keep one object of a fixed name in every namespace.

use std::{future::Future, sync::Arc};

use corten_client::{
    ObjectKey,
    controller::{self, Outcome, ReconcileError},
    informer::{Informer, Object},
    is_deleting,
    queue::WorkQueue,
};
use k8s_openapi::api::core::v1::Namespace;

use crate::context::Context;

const WORKERS: usize = 2;

/// Calls `ensure` with a namespace and the object that is there, whenever either changes.
/// `informer` holds the objects, `name` is theirs.
pub(crate) async fn run<K, F, W>(controller: &'static str, context: &Context, informer: &Informer<K>, name: &'static str, ensure: F)
where
    K: Object,
    F: Fn(String, Option<Arc<K>>) -> W + Clone + Send + 'static,
    W: Future<Output = Result<(), kube::Error>> + Send,
{
    let namespaces = context.informers.get::<Namespace>();
    let queue = WorkQueue::new(controller);
    let noting = queue.clone();
    namespaces.on_event(move |delta| {
        if !delta.is_deleted() {
            noting.add(delta.key().name);
        }
    });
    let noting = queue.clone();
    informer.on_event(move |delta| {
        let key = delta.key();
        if key.name == name {
            noting.add(key.namespace);
        }
    });
    namespaces.has_synced().await;
    informer.has_synced().await;

    let store = informer.store().clone();
    controller::run(controller, &queue, WORKERS, &context.token, move |namespace: String| {
        let alive = namespaces.store().get(&ObjectKey::cluster(&namespace)).is_some_and(|object| !is_deleting(object.as_ref()));
        let present = store.get(&ObjectKey::new(&namespace, name));
        let ensure = ensure.clone();
        async move {
            if alive {
                match ensure(namespace, present).await {
                    // The namespace went, or somebody else was faster: both come back as events.
                    Err(error) if corten_client::is_not_found(&error) || corten_client::is_already_exists(&error) => {}
                    result => result?,
                }
            }
            Ok::<_, ReconcileError>(Outcome::Done)
        }
    })
    .await;
}
