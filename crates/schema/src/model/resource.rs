//! What discovery says about a kind, and how the engine finds it.

use super::{Schema, TypeSet};
use crate::Str;
use std::collections::HashMap;
use std::sync::Arc;

/// What a client may do with a resource, in the words of discovery and RBAC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Verb {
    Create,
    Delete,
    DeleteCollection,
    Get,
    List,
    Patch,
    Update,
    Watch,
}

impl Verb {
    /// All verbs in the order of discovery documents.
    pub const ALL: [Self; 8] =
        [Self::Create, Self::Delete, Self::DeleteCollection, Self::Get, Self::List, Self::Patch, Self::Update, Self::Watch];

    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Delete => "delete",
            Self::DeleteCollection => "deletecollection",
            Self::Get => "get",
            Self::List => "list",
            Self::Patch => "patch",
            Self::Update => "update",
            Self::Watch => "watch",
        }
    }

    /// The verb for a word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|verb| verb.as_str() == word)
    }
}

/// Group, version, kind and plural under which a resource's objects are stored.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Storage {
    /// Group of the stored objects (`events.k8s.io/v1` Events are stored in the core group).
    pub group: Str,
    /// Version of the stored objects.
    pub version: Str,
    /// Plural in the storage key.
    pub plural: Str,
}

/// A served kind: one row of the table, or one version of a custom resource.
#[derive(Clone, Debug)]
pub struct Resource {
    /// API group; empty for the core group.
    pub group: Str,
    /// Version, e.g. `v1`.
    pub version: Str,
    /// Kind, e.g. `Pod`.
    pub kind: Str,
    /// Kind of its list, e.g. `PodList`.
    pub list_kind: Str,
    /// Name in URLs, e.g. `pods`.
    pub plural: Str,
    /// Lower-case singular, e.g. `pod`.
    pub singular: Str,
    /// Short names, e.g. `po`.
    pub short_names: Vec<Str>,
    /// Categories, e.g. `all`.
    pub categories: Vec<Str>,
    /// True if objects live in namespaces.
    pub namespaced: bool,
    /// What the resource supports; reviews only `create`.
    pub verbs: Vec<Verb>,
    /// Subresources in the order of discovery documents.
    pub subresources: Vec<Subresource>,
    /// Where the objects are stored.
    pub storage: Storage,
    /// The shape of an object.
    pub schema: Schema,
}

impl Resource {
    /// `v1` or `apps/v1`.
    pub fn api_version(&self) -> String {
        api_version(&self.group, &self.version)
    }

    /// True if the resource supports the verb.
    pub fn allows(&self, verb: Verb) -> bool {
        self.verbs.contains(&verb)
    }

    /// True if objects are kept; false for reviews, which are answered at once.
    pub fn is_stored(&self) -> bool {
        self.allows(Verb::Get)
    }

    /// True if the stored objects have this version's form.
    pub fn is_storage_version(&self) -> bool {
        self.storage.group == self.group && self.storage.version == self.version
    }

    /// The subresource of that name, e.g. `status`.
    pub fn subresource(&self, name: &str) -> Option<&Subresource> {
        self.subresources.iter().find(|sub| sub.name == name)
    }

    /// `pods`, `deployments.apps`: how messages name the resource.
    pub fn qualified_name(&self) -> String {
        if self.group.is_empty() { self.plural.to_string() } else { format!("{}.{}", self.plural, self.group) }
    }
}

/// A subresource, e.g. `pods/eviction`.
#[derive(Clone, Debug)]
pub struct Subresource {
    /// Name in URLs, e.g. `status`; `proxy` also stands for `proxy/{path}`.
    pub name: Str,
    /// Group of its kind; the parent's for `status`.
    pub group: Str,
    /// Version of its kind.
    pub version: Str,
    /// Kind that is read and written, e.g. `Eviction`, `Scale`.
    pub kind: Str,
    /// What the subresource supports (discovery lists them; `connect` ones are `create` and `get`, …).
    pub verbs: Vec<Verb>,
    /// The shape of what is read and written.
    pub schema: Schema,
}

/// A group in discovery.
#[derive(Clone, Debug)]
pub struct GroupInfo {
    /// API group; empty for the core group.
    pub name: Str,
    /// Versions, the preferred one first.
    pub versions: Vec<VersionInfo>,
}

/// A version of a group in discovery.
#[derive(Clone, Debug)]
pub struct VersionInfo {
    /// Version, e.g. `v1`.
    pub version: Str,
    /// Its resources in order of their plurals.
    pub resources: Vec<Arc<Resource>>,
}

/// All kinds and types.
#[derive(Debug)]
pub struct Table {
    types: Arc<TypeSet>,
    resources: Vec<Arc<Resource>>,
    groups: Vec<GroupInfo>,
    by_plural: HashMap<(Str, Str, Str), usize>,
    by_kind: HashMap<(Str, Str, Str), usize>,
}

impl Table {
    pub(super) fn new(types: Arc<TypeSet>, resources: Vec<Arc<Resource>>, groups: Vec<GroupInfo>) -> Self {
        let key = |r: &Resource, name: &Str| (r.group.clone(), r.version.clone(), name.clone());
        let by_plural = resources.iter().enumerate().map(|(index, r)| (key(r, &r.plural), index)).collect();
        let by_kind = resources.iter().enumerate().map(|(index, r)| (key(r, &r.kind), index)).collect();
        Self { types, resources, groups, by_plural, by_kind }
    }

    /// All types, also those that are no kind of their own (`meta/v1` options, `Status`, …).
    pub fn types(&self) -> &Arc<TypeSet> {
        &self.types
    }

    /// All resources, groups in the reference's order.
    pub fn resources(&self) -> &[Arc<Resource>] {
        &self.resources
    }

    /// Groups in the reference's order, the core group first.
    pub fn groups(&self) -> &[GroupInfo] {
        &self.groups
    }

    /// The resource behind `/apis/<group>/<version>/<plural>`.
    pub fn resource(&self, group: &str, version: &str, plural: &str) -> Option<&Arc<Resource>> {
        let index = self.by_plural.get(&(group.into(), version.into(), plural.into()))?;
        self.resources.get(*index)
    }

    /// The resource of a kind.
    pub fn kind(&self, group: &str, version: &str, kind: &str) -> Option<&Arc<Resource>> {
        let index = self.by_kind.get(&(group.into(), version.into(), kind.into()))?;
        self.resources.get(*index)
    }

    /// The resource of an object's `apiVersion` and `kind`.
    pub fn kind_of(&self, api_version: &str, kind: &str) -> Option<&Arc<Resource>> {
        let (group, version) = split_api_version(api_version);
        self.kind(group, version, kind)
    }

    /// The shape of any type by its OpenAPI name, e.g.
    /// `io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions`.
    pub fn schema(&self, name: &str) -> Option<Schema> {
        Some(Schema::new(self.types.clone(), self.types.find(name)?))
    }

    /// The shape of a `meta/v1` type by its short name, e.g. `DeleteOptions`.
    pub fn meta(&self, name: &str) -> Option<Schema> {
        self.schema(&format!("io.k8s.apimachinery.pkg.apis.meta.v1.{name}"))
    }
}

/// `v1` or `apps/v1`.
pub fn api_version(group: &str, version: &str) -> String {
    if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") }
}

/// Group and version of an `apiVersion`.
pub fn split_api_version(api_version: &str) -> (&str, &str) {
    api_version.split_once('/').unwrap_or(("", api_version))
}
