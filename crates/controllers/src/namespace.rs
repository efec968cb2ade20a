//! Namespaces on their way out: everything in them goes first
//! (<https://kubernetes.io/docs/concepts/overview/working-with-objects/namespaces/>).

mod conditions;

use std::{sync::Arc, time::Duration};

use corten_client::{
    ObjectKey,
    controller::{self, Outcome, ReconcileResult},
    informer::Informer,
    is_deleting,
    queue::WorkQueue,
};
use k8s_openapi::api::core::v1::{Event, Namespace, NamespaceStatus};
use kube::{
    Api, Client, ResourceExt as _,
    api::{ApiResource, DeleteParams, ListParams, PostParams},
};

use crate::{
    context::Context,
    inventory::{Inventory, Metadata},
};
use conditions::Remaining;

const NAME: &str = "namespace-controller";
const WORKERS: usize = 4;

/// The finalizer (in the spec) that this controller answers for.
const FINALIZER: &str = "kubernetes";

/// Deletions of what is left come as events; in case one is missed, it looks again.
const LOOK_AGAIN: Duration = Duration::from_secs(15);

struct Controller {
    client: Client,
    namespaces: Informer<Namespace>,
    inventory: Inventory,
}

pub(crate) async fn run(context: Context, inventory: Inventory) {
    let namespaces = context.informers.get::<Namespace>();
    let controller =
        Arc::new(Controller { client: context.clients.writer(NAME), namespaces: namespaces.clone(), inventory: inventory.clone() });
    let queue = WorkQueue::new("namespace");
    let noting = queue.clone();
    namespaces.on_event(move |delta| {
        if !delta.is_deleted() && is_deleting(delta.object().as_ref()) {
            noting.add(delta.key().name);
        }
    });
    for kind in inventory.kinds().iter().filter(|kind| kind.namespaced) {
        let noting = queue.clone();
        let store = namespaces.store().clone();
        kind.objects.on_event(move |delta| {
            let namespace = delta.key().namespace;
            let leaving =
                delta.is_deleted() && store.get(&ObjectKey::cluster(&namespace)).is_some_and(|namespace| is_deleting(namespace.as_ref()));
            if leaving {
                noting.add(namespace);
            }
        });
    }
    namespaces.has_synced().await;
    controller::run(NAME, &queue, WORKERS, &context.token, move |name: String| {
        let controller = Arc::clone(&controller);
        async move { controller.reconcile(&name).await }
    })
    .await;
}

impl Controller {
    async fn reconcile(&self, name: &str) -> ReconcileResult {
        let namespace = self.namespaces.store().get(&ObjectKey::cluster(name));
        let Some(namespace) = namespace.filter(|namespace| is_deleting(namespace.as_ref())) else {
            return Ok(Outcome::Done);
        };
        let finalizers = namespace.spec.as_ref().and_then(|spec| spec.finalizers.as_ref());
        if !finalizers.is_some_and(|finalizers| finalizers.iter().any(|name| name == FINALIZER)) {
            return Ok(Outcome::Done);
        }
        let mut remaining = Remaining::default();
        for kind in self.inventory.kinds().iter().filter(|kind| kind.namespaced) {
            let api = kind.api(&self.client, name);
            self.empty(&api, kind.deletes_collections, &kind.qualified_name(), &mut remaining).await;
        }
        // The inventory does without events, but they go as well.
        let events = Api::namespaced_with(self.client.clone(), name, &ApiResource::erase::<Event>(&()));
        self.empty(&events, true, "events.", &mut remaining).await;
        let namespace = self.report(&namespace, &remaining).await?;
        let Some(namespace) = namespace else {
            return Ok(Outcome::Done);
        };
        if !remaining.is_empty() {
            return Ok(Outcome::After(LOOK_AGAIN));
        }
        self.finalize(namespace).await?;
        Ok(Outcome::Done)
    }

    /// Deletes all objects of one kind, and counts what is left.
    async fn empty(&self, api: &Api<Metadata>, deletes_collections: bool, kind: &str, remaining: &mut Remaining) {
        match delete_all(api, deletes_collections).await {
            Ok(left) => remaining.count(kind, &left),
            Err(error) => remaining.failed(kind, &error),
        }
    }

    /// Writes the conditions; gives the namespace as it is now, if it still exists.
    async fn report(&self, namespace: &Namespace, remaining: &Remaining) -> Result<Option<Namespace>, kube::Error> {
        let old = namespace.status.clone().unwrap_or_default();
        let status = NamespaceStatus {
            phase: Some("Terminating".into()),
            conditions: remaining.conditions(old.conditions.as_deref(), &corten_client::now()),
        };
        if namespace.status.as_ref() == Some(&status) {
            return Ok(Some(namespace.clone()));
        }
        let mut updated = namespace.clone();
        updated.status = Some(status);
        let api: Api<Namespace> = Api::all(self.client.clone());
        let name = namespace.name_any();
        match api.replace_status(&name, &PostParams::default(), &updated).await {
            Err(error) if corten_client::is_not_found(&error) => Ok(None),
            result => result.map(Some),
        }
    }

    async fn finalize(&self, mut namespace: Namespace) -> Result<(), kube::Error> {
        if let Some(finalizers) = namespace.spec.get_or_insert_default().finalizers.as_mut() {
            finalizers.retain(|finalizer| finalizer != FINALIZER);
        }
        let api: Api<Namespace> = Api::all(self.client.clone());
        let name = namespace.name_any();
        let params = PostParams::default();
        match api.replace_subresource("finalize", &name, &params, &namespace).await {
            Err(error) if !corten_client::is_not_found(&error) => Err(error),
            _ => Ok(()),
        }
    }
}

/// Deletes all objects that an API lists; gives what is left.
async fn delete_all(api: &Api<Metadata>, deletes_collections: bool) -> Result<Vec<Metadata>, kube::Error> {
    let list = ListParams::default();
    let present = api.list(&list).await?.items;
    if present.is_empty() {
        return Ok(present);
    }
    let fresh = present.iter().any(|object| !is_deleting(object));
    if fresh && deletes_collections {
        let params = DeleteParams::background();
        api.delete_collection(&params, &list).await?;
    } else if fresh {
        for object in present.iter().filter(|object| !is_deleting(*object)) {
            let params = DeleteParams::background();
            match api.delete(&object.name_any(), &params).await {
                Err(error) if !corten_client::is_not_found(&error) => return Err(error),
                _ => {}
            }
        }
    }
    if fresh { Ok(api.list(&list).await?.items) } else { Ok(present) }
}
