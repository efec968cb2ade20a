//! `metadata.managedFields` on every write.

use corten_schema::{
    Map, Resource, Schema, Str, Value,
    apply::{Managed, Operation, Paths, Unchanged, Versions, Write, Writer, is_reset, track, track_kept},
    convert,
    json::{self, Decoded},
    model::split_api_version,
    value::Json,
};
use std::{
    borrow::Cow,
    sync::{LazyLock, atomic::Ordering},
};

use super::Kind;
use crate::{request::Context, server::Server, time::now};

/// The most bytes of a manager's name.
pub(super) const LONGEST: usize = 128;

/// Whoever makes a request, as an owner of fields.
pub(crate) fn writer(context: &Context, kind: &Kind, subresource: &str, operation: Operation) -> Writer {
    let manager = match context.info.query.get("fieldManager") {
        Some(manager) if !manager.is_empty() => manager.into(),
        _ => first_word(&context.agent),
    };
    Writer {
        manager: if manager.is_empty() { Str::from_static("unknown") } else { (&*manager).into() },
        operation,
        api_version: kind.api_version.clone(),
        subresource: subresource.into(),
    }
}

/// The first word of a user agent, as far as it is printable and short enough.
fn first_word(agent: &str) -> Cow<'_, str> {
    let word = agent.split('/').next().unwrap_or_default();
    if word.len() <= LONGEST && word.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) {
        return word.into();
    }
    let mut name = String::new();
    for c in word.chars().filter(|c| is_printable(*c)) {
        if name.len() + c.len_utf8() > LONGEST {
            break;
        }
        name.push(c);
    }
    name.into()
}

/// What Go takes for printable: no control characters, and of spaces only the ordinary one.
pub(super) fn is_printable(c: char) -> bool {
    c == ' '
        || !(c.is_control()
            || c.is_whitespace()
            || matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e000}'..='\u{f8ff}'))
}

/// Fields that a write by a subresource cannot change.
pub(crate) fn reset(kind: &Kind, subresource: &str) -> &'static Paths {
    static NOTHING: LazyLock<Paths> = LazyLock::new(Paths::none);
    static STATUS: LazyLock<Paths> = LazyLock::new(|| Paths::except(&["status"]));
    static SPEC: LazyLock<Paths> = LazyLock::new(|| Paths::except(&["spec"]));
    static SPEC_AND_LABELS: LazyLock<Paths> = LazyLock::new(|| Paths::except(&["spec", "metadata.labels"]));
    static SPEC_AND_OWNERS: LazyLock<Paths> =
        LazyLock::new(|| Paths::except(&["spec", "metadata.deletionTimestamp", "metadata.ownerReferences"]));
    static EPHEMERAL: LazyLock<Paths> = LazyLock::new(|| Paths::only(&["spec.ephemeralContainers"]));
    static RESIZE: LazyLock<Paths> = LazyLock::new(|| {
        Paths::only(&[
            "spec.containers.*.resources",
            "spec.containers.*.resizePolicy",
            "spec.initContainers.*.resources",
            "spec.initContainers.*.resizePolicy",
            "spec.resources",
        ])
    });
    static SPEC_AND_STATUS: LazyLock<Paths> = LazyLock::new(|| Paths::except(&["spec", "status"]));
    static SPEC_AND_CONDITIONS: LazyLock<Paths> = LazyLock::new(|| Paths::except(&["spec", "status.conditions"]));
    static SPEC_AND_CERTIFICATE: LazyLock<Paths> = LazyLock::new(|| Paths::except(&["spec", "status.certificate"]));
    static SPEC_AND_METADATA: LazyLock<Paths> = LazyLock::new(|| Paths::except(&["spec", "metadata"]));
    static REPLICAS: LazyLock<Paths> = LazyLock::new(|| Paths::only(&["spec.replicas"]));
    match (subresource, &*kind.storage.plural) {
        ("", "certificatesigningrequests") => &SPEC_AND_STATUS,
        ("", _) if kind.served.subresource("status").is_some() => &STATUS,
        ("status", "deployments") => &SPEC_AND_LABELS,
        ("status", "pods") => &SPEC_AND_OWNERS,
        ("status", "certificatesigningrequests") => &SPEC_AND_CONDITIONS,
        ("approval", "certificatesigningrequests") => &SPEC_AND_CERTIFICATE,
        ("status", "volumeattachments" | "resourceclaims" | "flowschemas" | "prioritylevelconfigurations") => &SPEC_AND_METADATA,
        ("status", "customresourcedefinitions" | "validatingadmissionpolicies") => &SPEC_AND_METADATA,
        ("status", _) => &SPEC,
        ("ephemeralcontainers", _) => &EPHEMERAL,
        ("resize", _) => &RESIZE,
        ("scale", _) => &REPLICAS,
        _ => &NOTHING,
    }
}

/// The versions of a kind.
pub(crate) struct KindVersions<'a>(pub(crate) &'a Kind);

impl KindVersions<'_> {
    fn row(&self, api_version: &str) -> Option<&'static Resource> {
        let row = corten_schema::table().kind_of(api_version, &self.0.served.kind)?;
        (row.storage == self.0.served.storage).then_some(&**row)
    }
}

impl Versions for KindVersions<'_> {
    fn schema(&self, api_version: &str) -> Option<&Schema> {
        let served = &self.0.served;
        if split_api_version(api_version) == (&*served.group, &*served.version) {
            return Some(&served.schema);
        }
        self.row(api_version).map(|row| &row.schema)
    }

    fn convert(&self, object: &Value, api_version: &str) -> Option<Value> {
        if object.api_version() == api_version {
            return Some(object.clone());
        }
        let (from, to) = (self.row(object.api_version())?, self.row(api_version)?);
        Some(convert(from, to, object.clone()))
    }
}

/// An empty list of owners asks for them to be forgotten, as a list of one empty entry does; but the canonical form has no
/// empty lists. Puts the entry into an object that is not canonical yet.
pub(super) fn mark_reset(object: &mut Value) {
    if let Some(owners) = object.at_mut(&["metadata", "managedFields"])
        && matches!(owners, Value::List(items) if items.is_empty())
    {
        *owners = Value::List(vec![Value::map()]);
    }
}

/// The same for an object that was read from a body of JSON.
pub(super) fn mark_reset_in(body: &[u8], object: &mut Value) {
    const NAME: &[u8] = b"\"managedFields\"";
    let path = ["metadata", "managedFields"];
    if object.at(&path).is_none_or(Value::is_null)
        && body.windows(NAME.len()).any(|window| window == NAME)
        && let Ok(sent) = json::decode_untyped(body)
        && matches!(sent.at(&path), Some(Value::List(items)) if items.is_empty())
    {
        object.metadata_mut().insert("managedFields", Value::List(vec![Value::map()]));
    }
}

/// The owners of a new object. It is in the served version, as it is before admission; `sent` is what the client sent as
/// its `managedFields`.
pub(super) fn of_created(server: &Server, context: &Context, kind: &Kind, object: &Value, sent: Option<&Value>) -> Option<Value> {
    if !server.records_owners.load(Ordering::Relaxed) {
        return None;
    }
    let mut base = if is_reset(sent) { Managed::default() } else { Managed::read_sent(sent).unwrap_or_default() };
    let writer = writer(context, kind, "", Operation::Update);
    let versions = KindVersions(kind);
    let write = Write { versions: &versions, old: &kind.empty, new: object, reset: reset(kind, "") };
    if base.is_empty() {
        return track_kept(&kind.served.schema, write, None, &writer, &now()).ok().flatten().map(Value::from);
    }
    track(&kind.served.schema, write, &mut base, &writer, &now());
    base.value()
}

/// The owners of a changed object. Both are in storage version; `sent` is what the client sent as `managedFields`.
pub(super) fn of_changed(
    server: &Server,
    context: &Context,
    kind: &Kind,
    subresource: &str,
    new: &Value,
    old: &Value,
    sent: Option<&Value>,
) -> Option<Value> {
    if !server.records_owners.load(Ordering::Relaxed) {
        return None;
    }
    let before = old.at(&["metadata", "managedFields"]);
    if subresource == "binding" {
        return before.cloned();
    }
    let given = sent.filter(|sent| match sent {
        Value::List(entries) => !entries.is_empty(),
        sent => matches!(sent, Value::Json(_)),
    });
    // Whoever sends an object back sends its owners as they are stored, though often with their members in another order.
    let is_stored = |sent: &Value| {
        matches!((sent, before), (Value::Json(sent), Some(Value::Json(before))) if sent == before)
            || Managed::read(Some(sent)).is_ok_and(|sent| sent == Managed::read(before).unwrap_or_default())
    };
    let given = given.filter(|sent| subresource.is_empty() && !is_stored(sent));
    if is_reset(given) {
        return None;
    }
    let given = given.and_then(|sent| Managed::read_sent(Some(sent)).ok());
    let writer = writer(context, kind, subresource, Operation::Update);
    let (versions, reset, now) = (KindVersions(kind), reset(kind, subresource), now());
    let seen = |object: &Value| convert(&kind.storage, &kind.served, object.clone());
    let converted = (!kind.is_served_as_stored()).then(|| (seen(old), seen(new)));
    let (old, new) = converted.as_ref().map_or((old, new), |(old, new)| (old, new));
    let (schema, write) = (&kind.served.schema, Write { versions: &versions, old, new, reset });
    if let (None, Some(Value::Json(Json::Owners(owners)))) = (&given, before) {
        return match track_kept(schema, write, Some(owners), &writer, &now) {
            Ok(owners) => owners.map(Value::from),
            Err(Unchanged) => before.cloned(),
        };
    }
    let kept = given.is_none();
    let mut base = given.unwrap_or_else(|| Managed::read(before).unwrap_or_default());
    if base.is_empty() {
        return None;
    }
    let tracked = track(schema, write, &mut base, &writer, &now);
    if tracked || !kept { base.value() } else { before.cloned() }
}

/// Brings an object whose metadata has changed into its canonical form without its owners, if they are the text that is stored, which
/// has that form.
pub(super) fn aside<E>(object: &mut Value, before: &Value, read: impl FnOnce(&Value) -> Result<Decoded, E>) -> Result<Decoded, E> {
    let metadata = match object.at_mut(&["metadata"]) {
        Some(metadata) if before.get("metadata") == Some(metadata) => return read(object),
        Some(Value::Map(metadata)) if matches!(metadata.get("managedFields"), Some(Value::Json(_))) => metadata,
        _ => return read(object),
    };
    let owners = metadata.remove("managedFields").unwrap_or(Value::Null);
    let mut decoded = read(object);
    if let Ok(decoded) = &mut decoded {
        decoded.value.metadata_mut().insert("managedFields", owners.clone());
    }
    object.metadata_mut().insert("managedFields", owners);
    decoded
}

/// Whether a write changes nothing, apart from the times in `managedFields`. Those of a write that changes nothing else
/// are not kept.
pub(super) fn is_unchanged(new: &mut Value, old: &Value) -> bool {
    let path = ["metadata", "managedFields"];
    if !same_apart_from(new, old, &path) {
        return false;
    }
    let (owners, before) = (new.at(&path), old.at(&path));
    if owners == before {
        return true;
    }
    let same = matches!((Managed::read(owners), Managed::read(before)), (Ok(a), Ok(b)) if a.same_apart_from_times(&b));
    match before.filter(|_| same) {
        Some(before) => {
            new.metadata_mut().insert("managedFields", before.clone());
            true
        }
        None => false,
    }
}

/// Whether two trees are equal but for what is at a path.
fn same_apart_from(a: &Value, b: &Value, path: &[&str]) -> bool {
    let Some((name, rest)) = path.split_first() else { return true };
    let (Value::Map(a), Value::Map(b)) = (a, b) else { return a == b };
    let below = match (a.get(name), b.get(name)) {
        (Some(a), Some(b)) => same_apart_from(a, b, rest),
        (a, b) => rest.is_empty() || a == b,
    };
    let others = |map: &Map| map.len() - usize::from(map.contains_key(name));
    below && others(a) == others(b) && a.iter().filter(|(key, _)| **key != *name).all(|(key, value)| b.get(key) == Some(value))
}
