//! All kinds of objects that the cluster serves, with an outline of each object.
//!
//! The garbage collector and the namespace controller work on any kind: they learn the kinds by
//! discovery and ask for metadata only, of which they keep the little that they need: this is held for every object there is.

use std::{sync::Arc, time::Duration};

use corten_client::Backoff;
use corten_client::informer::{Informer, Outline, Selection};
use futures::future::join_all;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{
    Api, Client, Discovery,
    api::{ApiResource, DynamicObject, PartialObjectMeta},
    discovery::Scope,
};

use crate::context::Context;

/// The metadata of an object of any kind.
pub(crate) type Metadata = PartialObjectMeta<DynamicObject>;

/// A kind that can be listed, watched and deleted.
pub(crate) struct Kind {
    pub(crate) resource: ApiResource,
    pub(crate) namespaced: bool,
    pub(crate) deletes_collections: bool,
    pub(crate) objects: Informer<Outline>,
}

impl Kind {
    /// Objects of this kind in a namespace (or the cluster, if they have none), under a client.
    pub(crate) fn api(&self, client: &Client, namespace: &str) -> Api<Metadata> {
        if self.namespaced {
            Api::namespaced_with(client.clone(), namespace, &self.resource)
        } else {
            Api::all_with(client.clone(), &self.resource)
        }
    }

    /// `pods`, `deployments.apps`.
    pub(crate) fn qualified_name(&self) -> String {
        let ApiResource { plural, group, .. } = &self.resource;
        if group.is_empty() { format!("{plural}.") } else { format!("{plural}.{group}") }
    }
}

/// All kinds; cheap to clone.
#[derive(Clone)]
pub(crate) struct Inventory {
    kinds: Arc<Vec<Arc<Kind>>>,
}

/// Nothing depends on events, and they expire by themselves.
const EXCLUDED: &str = "events";

impl Inventory {
    /// Asks the server for its kinds, until it answers or the token is cancelled.
    pub(crate) async fn discover(context: &Context) -> Option<Self> {
        let client = context.clients.reader();
        let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(30));
        loop {
            match discover(client).await {
                Ok(discovery) => return Some(Self::start(context, &discovery)),
                Err(error) => tracing::warn!(%error, "discovery failed"),
            }
            // A server that cannot say what it serves does not say when it can.
            tokio::select! {
                () = context.token.cancelled() => return None,
                () = backoff.wait() => {}
            }
        }
    }

    fn start(context: &Context, discovery: &Discovery) -> Self {
        let mut kinds = Vec::new();
        for group in discovery.groups_alphabetical() {
            for (resource, capabilities) in group.resources_by_stability() {
                let able = ["list", "watch", "delete"].iter().all(|verb| capabilities.supports_operation(verb));
                if !able || resource.plural == EXCLUDED {
                    continue;
                }
                let api = Api::<Metadata>::all_with(context.clients.reader().clone(), &resource);
                let token = context.token.clone();
                kinds.push(Arc::new(Kind {
                    namespaced: capabilities.scope == Scope::Namespaced,
                    deletes_collections: capabilities.supports_operation("deletecollection"),
                    objects: Informer::start_as(api, Selection::default(), token),
                    resource,
                }));
            }
        }
        Self { kinds: Arc::new(kinds) }
    }

    pub(crate) fn kinds(&self) -> &[Arc<Kind>] {
        &self.kinds
    }

    /// The kind that an owner reference names.
    pub(crate) fn kind_of(&self, reference: &OwnerReference) -> Option<&Arc<Kind>> {
        let group = match reference.api_version.split_once('/') {
            Some((group, _)) => group,
            None => "",
        };
        self.kinds.iter().find(|kind| kind.resource.kind == reference.kind && kind.resource.group == group)
    }

    /// Waits until all kinds are listed.
    pub(crate) async fn has_synced(&self) {
        join_all(self.kinds.iter().map(|kind| kind.objects.has_synced())).await;
    }
}

async fn discover(client: &Client) -> Result<Discovery, kube::Error> {
    match Discovery::new(client.clone()).run_aggregated().await {
        Ok(discovery) => Ok(discovery),
        // Older servers answer in the older form.
        Err(_) => Discovery::new(client.clone()).run().await,
    }
}
