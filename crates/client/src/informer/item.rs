//! What informers can hold.

use std::fmt::Debug;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::Resource;
use serde::{Deserialize, de::DeserializeOwned};

use crate::ObjectKey;

/// The types of `k8s-openapi`, and metadata of any kind.
pub trait Object: Resource + Clone + Debug + DeserializeOwned + Send + Sync + 'static {}

impl<K: Resource + Clone + Debug + DeserializeOwned + Send + Sync + 'static> Object for K {}

/// What an informer must know of what it holds.
pub trait Item: Clone + Debug + DeserializeOwned + Send + Sync + 'static {
    /// Its key.
    fn item_key(&self) -> ObjectKey;

    /// Its uid.
    fn item_uid(&self) -> Option<&str>;

    /// Its resourceVersion.
    fn item_version(&self) -> Option<&str>;

    /// Drops what nobody reads.
    fn strip(&mut self) {}
}

impl<K: Object> Item for K {
    fn item_key(&self) -> ObjectKey {
        ObjectKey::of(self)
    }

    fn item_uid(&self) -> Option<&str> {
        self.meta().uid.as_deref()
    }

    fn item_version(&self) -> Option<&str> {
        self.meta().resource_version.as_deref()
    }

    /// Field ownership is most of the metadata and no component reads it.
    fn strip(&mut self) {
        self.meta_mut().managed_fields = None;
    }
}

/// Of an object of any kind: which it is, whose it is, and whether it goes. A fraction of its typed metadata.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(from = "Whole")]
pub struct Outline {
    /// Namespace and name.
    pub key: ObjectKey,
    /// The uid.
    pub uid: Box<str>,
    /// The resourceVersion.
    pub version: Box<str>,
    /// What it belongs to.
    pub owners: Box<[OwnerReference]>,
    /// What must be done before it is gone.
    pub finalizers: Box<[String]>,
    /// Whether it is on its way out.
    pub deleting: bool,
}

impl Outline {
    /// Whether it has a finalizer.
    pub fn has_finalizer(&self, finalizer: &str) -> bool {
        self.finalizers.iter().any(|name| name == finalizer)
    }
}

impl Item for Outline {
    fn item_key(&self) -> ObjectKey {
        self.key.clone()
    }

    fn item_uid(&self) -> Option<&str> {
        Some(&self.uid)
    }

    fn item_version(&self) -> Option<&str> {
        Some(&self.version)
    }
}

/// The JSON that an [`Outline`] is read from: everything else in it is skipped, not decoded.
#[derive(Deserialize)]
struct Whole {
    metadata: Metadata,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    uid: Box<str>,
    #[serde(default)]
    resource_version: Box<str>,
    #[serde(default)]
    owner_references: Option<Box<[OwnerReference]>>,
    #[serde(default)]
    finalizers: Option<Box<[String]>>,
    #[serde(default)]
    deletion_timestamp: Option<Box<str>>,
}

impl From<Whole> for Outline {
    fn from(Whole { metadata }: Whole) -> Self {
        Self {
            key: ObjectKey { namespace: metadata.namespace, name: metadata.name },
            uid: metadata.uid,
            version: metadata.resource_version,
            owners: metadata.owner_references.unwrap_or_default(),
            finalizers: metadata.finalizers.unwrap_or_default(),
            deleting: metadata.deletion_timestamp.is_some(),
        }
    }
}
