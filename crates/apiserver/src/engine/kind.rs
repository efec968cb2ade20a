//! A row of the kind table together with what the engine derives from it.

use std::{
    borrow::Cow,
    collections::HashMap,
    sync::{Arc, LazyLock},
};

use corten_schema::{Resource, Str, Table, Value, json, stored};

use crate::{
    ledger::{Field, Index},
    request::RequestInfo,
    status::{ApiError, FieldError, GroupResource},
    strategies,
    strategy::{SelectableField, Strategy},
};

/// A served kind.
pub(crate) struct Kind {
    /// The row by which clients name it.
    pub(crate) served: Arc<Resource>,
    /// Its version as objects name it: `v1`, `apps/v1`.
    pub(crate) api_version: Str,
    /// The row in whose version its objects are stored, and seen by strategies and admission.
    pub(crate) storage: Arc<Resource>,
    /// Its peculiarities.
    pub(crate) strategy: &'static dyn Strategy,
    /// The status of an object whose controllers have not seen it yet.
    pub(crate) empty_status: Value,
    /// What Go takes for an empty object, in the version by which clients name it.
    pub(crate) empty: Value,
    fields: Vec<(Field, &'static SelectableField)>,
    prefix: String,
}

impl Kind {
    fn new(table: &Table, served: &Arc<Resource>) -> Self {
        let storage = &served.storage;
        let storage = table.resource(&storage.group, &storage.version, &storage.plural).unwrap_or(served);
        let strategy = strategies::find(&storage.group, &storage.plural);
        let nothing = corten_schema::value!({"status": {}});
        let canonical = json::canonicalize(&storage.schema, &nothing, corten_schema::Strictness::Ignore);
        let empty_status = canonical.ok().and_then(|mut canonical| canonical.value.remove("status")).unwrap_or_else(Value::map);
        let mut empty = served.schema.empty();
        let api_version = Str::from(served.api_version());
        empty.insert("apiVersion", api_version.clone());
        empty.insert("kind", served.kind.clone());
        let group = if storage.group.is_empty() { "core" } else { &storage.group };
        Self {
            served: Arc::clone(served),
            api_version,
            storage: Arc::clone(storage),
            strategy,
            empty_status,
            empty,
            fields: strategy.selectable_fields().iter().map(|field| (Field::from(field.label), field)).collect(),
            prefix: format!("/registry/{group}/{}/", storage.plural),
        }
    }

    /// How messages name the resource.
    pub(crate) fn group_resource(&self) -> GroupResource<'_> {
        GroupResource::new(&self.served.group, &self.served.plural)
    }

    /// Whether clients see objects just as they are stored.
    pub(crate) fn is_served_as_stored(&self) -> bool {
        self.served.group == self.storage.group && self.served.version == self.storage.version
    }

    /// The prefix of the keys of all objects, or of those in a namespace.
    pub(crate) fn prefix(&self, namespace: &str) -> String {
        if self.served.namespaced && !namespace.is_empty() { format!("{}{namespace}/", self.prefix) } else { self.prefix.clone() }
    }

    /// The key of an object.
    pub(crate) fn key(&self, namespace: &str, name: &str) -> String {
        if self.served.namespaced { format!("{}{namespace}/{name}", self.prefix) } else { format!("{}{name}", self.prefix) }
    }

    /// A field's label as the storage version has it: `events.k8s.io` has other names for some.
    pub(crate) fn stored_field<'a>(&self, label: &'a str) -> Cow<'a, str> {
        match label.strip_prefix("regarding.") {
            Some(rest) if self.served.group == "events.k8s.io" => Cow::Owned(format!("involvedObject.{rest}")),
            _ if self.served.group == "events.k8s.io" && label == "reportingController" => "reportingComponent".into(),
            _ => label.into(),
        }
    }

    /// The fields that field selectors may name, besides name and namespace.
    pub(crate) fn fields(&self) -> impl Iterator<Item = &Field> {
        self.fields.iter().map(|(field, _)| field)
    }

    /// What selectors may ask of an object (in storage version).
    pub(crate) fn index(&self, object: &Value) -> Index {
        let labels = object.labels().into_iter().flatten();
        let labels = labels.map(|(key, value)| (shared(key.as_str()), shared(value.as_str().unwrap_or_default())));
        Index::new(labels, self.fields.iter().map(|(field, of)| (Arc::clone(field), shared(&text(object, of)))))
    }

    /// 422 for an object of this kind.
    pub(crate) fn invalid(&self, name: &str, errors: Vec<FieldError>) -> ApiError {
        ApiError::invalid(&self.served.group, &self.served.kind, name, errors)
    }

    /// 404 for an object of this kind.
    pub(crate) fn not_found(&self, name: &str) -> ApiError {
        ApiError::not_found(&self.group_resource(), name)
    }
}

/// The text of a field as field selectors compare it.
fn text<'a>(object: &'a Value, field: &SelectableField) -> Cow<'a, str> {
    match object.at(field.path) {
        None | Some(Value::Null) => field.absent.into(),
        Some(Value::String(text)) if text.is_empty() => field.absent.into(),
        Some(Value::String(text)) => text.as_str().into(),
        Some(Value::Bool(flag)) => if *flag { "true" } else { "false" }.into(),
        Some(Value::Int(number)) => number.to_string().into(),
        Some(other) => String::from_utf8_lossy(&json::encode(other)).into_owned().into(),
    }
}

/// What many objects are indexed by, which is in memory once. Sorted.
const COMMON: &[&str] = &[
    "",
    "0",
    "1",
    "Always",
    "Failed",
    "Never",
    "OnFailure",
    "Pending",
    "Running",
    "Succeeded",
    "default",
    "default-scheduler",
    "false",
    "true",
];

/// A text that may be another object's, too.
fn shared(text: &str) -> Arc<str> {
    static TEXTS: LazyLock<Vec<Arc<str>>> = LazyLock::new(|| COMMON.iter().map(|text| Arc::from(*text)).collect());
    match TEXTS.binary_search_by(|known| (**known).cmp(text)) {
        Ok(at) => TEXTS.get(at).map_or_else(|| text.into(), Arc::clone),
        Err(_) => text.into(),
    }
}

/// All served kinds.
pub(crate) struct Kinds {
    by_name: HashMap<(String, String, String), Arc<Kind>>,
    by_prefix: HashMap<String, Arc<Kind>>,
}

impl Kinds {
    /// The kinds of the table.
    pub(crate) fn new(table: &Table) -> Self {
        let (mut by_name, mut by_prefix) = (HashMap::new(), HashMap::new());
        for row in table.resources() {
            let kind = Arc::new(Kind::new(table, row));
            by_prefix.entry(kind.prefix.clone()).or_insert_with(|| Arc::clone(&kind));
            by_name.insert(name(&row.group, &row.version, &row.plural), kind);
        }
        Self { by_name, by_prefix }
    }

    /// The kind served as `<plural>` of a group and version.
    pub(crate) fn find(&self, group: &str, version: &str, plural: &str) -> Option<&Arc<Kind>> {
        self.by_name.get(&name(group, version, plural))
    }

    /// Every stored kind once, in the order of the keys.
    pub(crate) fn stored(&self) -> impl Iterator<Item = &Kind> {
        let mut kinds: Vec<&Kind> = self.by_prefix.values().map(AsRef::as_ref).filter(|kind| kind.served.is_stored()).collect();
        kinds.sort_by(|a, b| a.prefix.cmp(&b.prefix));
        kinds.into_iter()
    }

    /// The kind that a row of the table serves.
    ///
    /// # Errors
    ///
    /// 404 for a row that is not served.
    pub(crate) fn of(&self, row: &Resource) -> Result<&Arc<Kind>, ApiError> {
        self.find(&row.group, &row.version, &row.plural).ok_or_else(ApiError::no_such_resource)
    }

    /// The kind that a request is about.
    ///
    /// # Errors
    ///
    /// 404 when nothing of that name is served.
    pub(crate) fn requested(&self, info: &RequestInfo) -> Result<&Arc<Kind>, ApiError> {
        self.find(&info.group, &info.version, &info.resource).ok_or_else(ApiError::no_such_resource)
    }

    /// The index of an object that was read from the store.
    pub(crate) fn index_stored(&self, key: &str, json: &[u8]) -> Index {
        let end = key.match_indices('/').nth(3).map_or(0, |(at, _)| at + 1);
        let kind = key.get(..end).and_then(|prefix| self.by_prefix.get(prefix));
        match (kind, stored::decode(json)) {
            (Some(kind), Ok(object)) => kind.index(&object),
            _ => Index::default(),
        }
    }
}

fn name(group: &str, version: &str, plural: &str) -> (String, String, String) {
    (group.to_owned(), version.to_owned(), plural.to_owned())
}
