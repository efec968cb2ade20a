//! ConfigMaps and Secrets that pods refer to, one watch each, shared by the pods.
//!
//! A node may only read what its pods use, so there is no watch over all of them; and a watch per
//! object brings every change to the pods at once.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use corten_client::informer::{Informer, Object, Selection};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::certificates::v1beta1::ClusterTrustBundle;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use kube::{Api, Client};
use parking_lot::Mutex;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::inbox::Inbox;
use crate::pod::env::Looked;

/// How long a first look at an object may take before its user is told.
const PATIENCE: Duration = Duration::from_secs(10);

/// The object could not be looked up (yet).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("failed to sync {kind} cache: timed out waiting for the condition")]
pub(crate) struct LookupError {
    kind: &'static str,
}

/// Who is woken when an object changes.
#[derive(Default)]
struct Readers(Mutex<Vec<(Weak<Inbox>, Weak<AtomicU64>)>>);

impl Readers {
    fn tell(&self) {
        self.0.lock().retain(|(inbox, changes)| {
            let (Some(inbox), Some(changes)) = (inbox.upgrade(), changes.upgrade()) else {
                return false;
            };
            changes.fetch_add(1, Ordering::Relaxed);
            inbox.wake();
            true
        });
    }
}

struct Entry<K> {
    informer: Informer<K>,
    readers: Arc<Readers>,
    _stop: DropGuard,
}

impl<K> Entry<K>
where
    K: Object,
    K::DynamicType: Default,
{
    fn start(api: Api<K>, selection: Selection) -> Arc<Self> {
        let token = CancellationToken::new();
        let informer = Informer::start(api, selection, token.clone());
        let readers = Arc::new(Readers::default());
        let told = Arc::clone(&readers);
        informer.on_event(move |_| told.tell());
        Arc::new(Self { informer, readers, _stop: token.drop_guard() })
    }

    /// All that are there, once that is known.
    async fn list(&self, kind: &'static str) -> Result<Vec<Arc<K>>, LookupError> {
        tokio::time::timeout(PATIENCE, self.informer.has_synced()).await.map_err(|_| LookupError { kind })?;
        Ok(self.informer.store().list())
    }
}

type Entries<K> = HashMap<(String, String), Weak<Entry<K>>>;

struct Cache<K> {
    client: Client,
    kind: &'static str,
    /// By namespace and name.
    entries: Mutex<Entries<K>>,
}

impl<K> Cache<K>
where
    K: Object + kube::Resource<Scope = NamespaceResourceScope>,
    K::DynamicType: Default,
{
    fn new(client: Client, kind: &'static str) -> Self {
        Self { client, kind, entries: Mutex::new(HashMap::new()) }
    }

    fn subscribe(&self, namespace: &str, name: &str) -> Arc<Entry<K>> {
        let mut entries = self.entries.lock();
        entries.retain(|_, entry| entry.strong_count() > 0);
        let key = (namespace.to_owned(), name.to_owned());
        if let Some(entry) = entries.get(&key).and_then(Weak::upgrade) {
            return entry;
        }
        let selection = Selection::fields(format!("metadata.name={name}"));
        let entry = Entry::start(Api::namespaced(self.client.clone(), namespace), selection);
        entries.insert(key, Arc::downgrade(&entry));
        entry
    }

    async fn get(&self, entry: &Entry<K>) -> Result<Option<Arc<K>>, LookupError> {
        // The field selector leaves at most this one.
        Ok(entry.list(self.kind).await?.into_iter().next())
    }
}

/// All objects that pods of this node refer to.
pub(crate) struct Objects {
    config_maps: Cache<ConfigMap>,
    secrets: Cache<Secret>,
    client: Client,
    /// One watch over all of them, as long as a pod needs any.
    bundles: Mutex<Weak<Entry<ClusterTrustBundle>>>,
}

impl Objects {
    fn bundles(&self) -> Arc<Entry<ClusterTrustBundle>> {
        let mut held = self.bundles.lock();
        if let Some(entry) = held.upgrade() {
            return entry;
        }
        let entry = Entry::start(Api::all(self.client.clone()), Selection::default());
        *held = Arc::downgrade(&entry);
        entry
    }

    pub(crate) fn new(client: &Client) -> Self {
        Self {
            config_maps: Cache::new(client.clone(), "configmap"),
            secrets: Cache::new(client.clone(), "secret"),
            client: client.clone(),
            bundles: Mutex::new(Weak::new()),
        }
    }
}

/// What one pod refers to. Keeps the watches alive while it exists.
pub(crate) struct PodObjects {
    objects: Arc<Objects>,
    config_maps: HashMap<String, Arc<Entry<ConfigMap>>>,
    secrets: HashMap<String, Arc<Entry<Secret>>>,
    bundles: Option<Arc<Entry<ClusterTrustBundle>>>,
    changes: Arc<AtomicU64>,
}

impl PodObjects {
    /// Begins to watch everything that the pod refers to; `inbox` is woken by changes.
    pub(crate) fn subscribe(objects: &Arc<Objects>, pod: &Pod, inbox: &Arc<Inbox>) -> Self {
        let none = Self {
            objects: Arc::clone(objects),
            config_maps: HashMap::new(),
            secrets: HashMap::new(),
            bundles: None,
            changes: Arc::new(AtomicU64::new(0)),
        };
        none.extended(pod, inbox)
    }

    /// The same with what the pod has come to refer to since.
    pub(crate) fn extended(&self, pod: &Pod, inbox: &Arc<Inbox>) -> Self {
        let namespace = crate::pod::namespace(pod);
        let names = references(pod);
        let reader = || (Arc::downgrade(inbox), Arc::downgrade(&self.changes));
        let (mut config_maps, mut secrets) = (self.config_maps.clone(), self.secrets.clone());
        for name in names.config_maps {
            config_maps.entry(name).or_insert_with_key(|name| {
                let entry = self.objects.config_maps.subscribe(namespace, name);
                entry.readers.0.lock().push(reader());
                entry
            });
        }
        for name in names.secrets {
            secrets.entry(name).or_insert_with_key(|name| {
                let entry = self.objects.secrets.subscribe(namespace, name);
                entry.readers.0.lock().push(reader());
                entry
            });
        }
        let bundles = self.bundles.clone().or_else(|| {
            let entry = names.bundles.then(|| self.objects.bundles())?;
            entry.readers.0.lock().push(reader());
            Some(entry)
        });
        Self { objects: Arc::clone(&self.objects), config_maps, secrets, bundles, changes: Arc::clone(&self.changes) }
    }

    /// Grows with every change of any of the objects.
    pub(crate) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Relaxed)
    }

    /// A ConfigMap by name; `None` if it does not exist.
    pub(crate) async fn config_map(&self, name: &str) -> Result<Option<Arc<ConfigMap>>, LookupError> {
        match self.config_maps.get(name) {
            Some(entry) => self.objects.config_maps.get(entry).await,
            None => Ok(None),
        }
    }

    /// A Secret by name; `None` if it does not exist.
    pub(crate) async fn secret(&self, name: &str) -> Result<Option<Arc<Secret>>, LookupError> {
        match self.secrets.get(name) {
            Some(entry) => self.objects.secrets.get(entry).await,
            None => Ok(None),
        }
    }

    /// All ClusterTrustBundles, if the pod refers to any.
    pub(crate) async fn trust_bundles(&self) -> Result<Vec<Arc<ClusterTrustBundle>>, LookupError> {
        match &self.bundles {
            Some(entry) => entry.list("clustertrustbundle").await,
            None => Ok(Vec::new()),
        }
    }

    /// Everything at once, for an environment.
    pub(crate) async fn look(&self) -> Result<Looked, LookupError> {
        let mut looked = Looked::default();
        for name in self.config_maps.keys() {
            let found = self.config_map(name).await?;
            looked.config_maps.insert(name.clone(), found);
        }
        for name in self.secrets.keys() {
            let found = self.secret(name).await?;
            looked.secrets.insert(name.clone(), found);
        }
        Ok(looked)
    }
}

/// What in a pod's definition only the API could give, if there is anything.
pub(crate) fn referred(pod: &Pod) -> Option<&'static str> {
    let spec = pod.spec.as_ref()?;
    let found = references(pod);
    let given = |name: &Option<String>| name.as_deref().is_some_and(|name| !name.is_empty());
    let volumes = || spec.volumes.iter().flatten();
    let projections = || volumes().filter_map(|v| v.projected.as_ref()).flat_map(|p| p.sources.iter().flatten());
    let any = [
        ("a ServiceAccount", given(&spec.service_account_name) || given(&spec.service_account)),
        ("ConfigMaps", !found.config_maps.is_empty()),
        ("Secrets", !found.secrets.is_empty()),
        ("PersistentVolumeClaims", volumes().any(|v| v.persistent_volume_claim.is_some() || v.ephemeral.is_some())),
        ("ServiceAccount tokens", projections().any(|p| p.service_account_token.is_some())),
        ("ClusterTrustBundles", projections().any(|p| p.cluster_trust_bundle.is_some())),
        ("ResourceClaims", spec.resource_claims.iter().flatten().next().is_some()),
    ];
    any.into_iter().find(|(_, there)| *there).map(|(what, _)| what)
}

#[derive(Default)]
struct References {
    config_maps: std::collections::BTreeSet<String>,
    secrets: std::collections::BTreeSet<String>,
    bundles: bool,
}

/// The names of all ConfigMaps and Secrets in a pod's definition.
fn references(pod: &Pod) -> References {
    let mut found = References::default();
    let Some(spec) = &pod.spec else { return found };
    let lasting = crate::pod::qos::all_containers(pod).map(|c| (&c.env_from, &c.env));
    let ephemeral = spec.ephemeral_containers.iter().flatten().map(|c| (&c.env_from, &c.env));
    for (env_from, env) in lasting.chain(ephemeral) {
        for source in env_from.iter().flatten() {
            found.config_maps.extend(source.config_map_ref.as_ref().map(|r| r.name.clone()));
            found.secrets.extend(source.secret_ref.as_ref().map(|r| r.name.clone()));
        }
        for source in env.iter().flatten().filter_map(|v| v.value_from.as_ref()) {
            found.config_maps.extend(source.config_map_key_ref.as_ref().map(|r| r.name.clone()));
            found.secrets.extend(source.secret_key_ref.as_ref().map(|r| r.name.clone()));
        }
    }
    for volume in spec.volumes.iter().flatten() {
        found.config_maps.extend(volume.config_map.as_ref().map(|c| c.name.clone()));
        found.secrets.extend(volume.secret.as_ref().and_then(|s| s.secret_name.clone()));
        let projections = volume.projected.iter().flat_map(|p| p.sources.iter().flatten());
        for projection in projections {
            found.config_maps.extend(projection.config_map.as_ref().map(|c| c.name.clone()));
            found.secrets.extend(projection.secret.as_ref().map(|s| s.name.clone()));
            found.bundles |= projection.cluster_trust_bundle.is_some();
        }
    }
    found.secrets.extend(spec.image_pull_secrets.iter().flatten().map(|r| r.name.clone()));
    found
}
