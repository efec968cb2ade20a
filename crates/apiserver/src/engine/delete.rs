//! Deleting objects: preconditions, grace, finalizers, propagation.

use corten_schema::{Strictness, Value, json, proto, yaml};
use http::{HeaderMap, StatusCode};

use super::{
    Answer, Kind, answer,
    commit::{Change, Failure},
    decode::BodyObject,
    options,
};
use crate::{
    admission::{Attributes, Operation},
    body::Response,
    http::{BodyFormat, body_format, status_response},
    request::{Context, Query},
    server::Server,
    status::{self, ApiError, Details, FieldError},
    strategy::{self, Expect, Scope},
    time::timestamp,
};

/// How often a deletion is tried on fresh state before giving up.
const ATTEMPTS: usize = 10;

const ORPHAN: &str = "orphan";
const FOREGROUND: &str = "foregroundDeletion";

/// What becomes of an object's dependents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Propagation {
    /// They stay.
    Orphan,
    /// They go afterwards.
    Background,
    /// They go first.
    Foreground,
}

/// `DeleteOptions`.
#[derive(Debug, Clone, Default)]
pub(crate) struct DeleteOptions {
    /// Do everything but write.
    pub(crate) dry_run: bool,
    /// Seconds to end in; the object's own without.
    pub(crate) grace_period: Option<i64>,
    /// What becomes of dependents; the kind's default without.
    pub(crate) propagation: Option<Propagation>,
    /// The older `orphanDependents`.
    pub(crate) orphan_dependents: Option<bool>,
    /// The UID that the object must have.
    pub(crate) uid: Option<String>,
    /// The resourceVersion that it must have.
    pub(crate) resource_version: Option<String>,
}

impl DeleteOptions {
    /// The options in a request's body or, without one, in its query.
    ///
    /// # Errors
    ///
    /// 400 and 422 for options that are not understood.
    pub(crate) fn parse(query: &Query, headers: &HeaderMap, body: &[u8]) -> Result<Self, ApiError> {
        let mut errors = Vec::new();
        let mut found = Self { dry_run: options::dry_run(query, &mut errors), ..Self::default() };
        if body.is_empty() {
            found.grace_period = super::list::number(query, "gracePeriodSeconds")?;
            found.orphan_dependents = query.bool("orphanDependents");
            found.propagation = propagation(query.get("propagationPolicy"), &mut errors);
        } else {
            let sent = decode_options(headers, body)?;
            found.grace_period = sent.get("gracePeriodSeconds").and_then(Value::as_i64);
            found.orphan_dependents = sent.get("orphanDependents").and_then(Value::as_bool);
            found.propagation = propagation(sent.get("propagationPolicy").and_then(Value::as_str), &mut errors);
            let precondition = |field: &str| sent.at(&["preconditions", field]).and_then(Value::as_str).map(ToOwned::to_owned);
            found.uid = precondition("uid");
            found.resource_version = precondition("resourceVersion");
            for value in sent.get("dryRun").and_then(Value::as_list).unwrap_or_default() {
                match value.as_str() {
                    Some("All") => found.dry_run = true,
                    other => {
                        errors.push(FieldError::not_supported("dryRun", other.unwrap_or_default(), &["All"]));
                    }
                }
            }
        }
        // A negative time is a second, as for a pod's own.
        found.grace_period = found.grace_period.map(|seconds| if seconds < 0 { 1 } else { seconds });
        if found.propagation.is_some() && found.orphan_dependents.is_some() {
            errors.push(FieldError::invalid("propagationPolicy", "", "orphanDependents and deletionPropagation cannot be both set"));
        }
        if errors.is_empty() { Ok(found) } else { Err(ApiError::invalid("meta.k8s.io", "DeleteOptions", "", errors)) }
    }

    /// The finalizer by which the garbage collector is told, if any; `finalizers` are those set already.
    fn finalizer(&self, kind: &Kind, object: &Value) -> Option<&'static str> {
        let has = |name: &str| object.finalizers().any(|finalizer| finalizer == name);
        match (self.propagation, self.orphan_dependents) {
            (Some(Propagation::Orphan), _) | (None, Some(true)) => Some(ORPHAN),
            (Some(Propagation::Foreground), _) => Some(FOREGROUND),
            (Some(Propagation::Background), _) | (None, Some(false)) => None,
            (None, None) if has(ORPHAN) => Some(ORPHAN),
            (None, None) if has(FOREGROUND) => Some(FOREGROUND),
            (None, None) => kind.strategy.orphans_by_default().then_some(ORPHAN),
        }
    }

    fn check(&self, kind: &Kind, object: &Value) -> Result<(), ApiError> {
        let conflict = |why: String| Err(ApiError::conflict(&kind.group_resource(), object.name(), why));
        match &self.uid {
            Some(uid) if uid != object.uid() => {
                return conflict(format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {}", object.uid()));
            }
            _ => {}
        }
        match &self.resource_version {
            Some(version) if version != object.resource_version() => conflict(format!(
                "Precondition failed: ResourceVersion in precondition: {version}, ResourceVersion in object meta: {}",
                object.resource_version()
            )),
            _ => Ok(()),
        }
    }
}

fn propagation(word: Option<&str>, errors: &mut Vec<FieldError>) -> Option<Propagation> {
    match word? {
        "Orphan" => Some(Propagation::Orphan),
        "Background" => Some(Propagation::Background),
        "Foreground" => Some(Propagation::Foreground),
        other => {
            let known = &["Foreground", "Background", "Orphan"];
            errors.push(FieldError::not_supported("propagationPolicy", other, known));
            None
        }
    }
}

/// Clients send the options in the version of the group that they are for (`apps/v1`): only the kind counts.
fn decode_options(headers: &HeaderMap, body: &[u8]) -> Result<Value, ApiError> {
    let schema = corten_schema::table().meta("DeleteOptions").ok_or_else(|| ApiError::internal("DeleteOptions has no schema"))?;
    let format = body_format(headers)?;
    let decoded = match format {
        BodyFormat::Json => json::decode(&schema, body, Strictness::Ignore),
        BodyFormat::Yaml => yaml::decode(&schema, body, Strictness::Ignore),
        BodyFormat::Protobuf => proto::decode(&schema, body),
    };
    let options = match decoded {
        Ok(decoded) => decoded.value,
        Err(error) => {
            let expected = BodyObject { schema: &schema, group: "", version: "v1", kind: "DeleteOptions" };
            return Err(expected.refuse(&error, format, body));
        }
    };
    match options.kind() {
        "" | "DeleteOptions" => Ok(options),
        other => Err(ApiError::bad_request(format!("decoded object cannot be converted to DeleteOptions: {other}"))),
    }
}

/// What came of a deletion.
pub(crate) enum Deleted {
    /// The object is gone; this is what it was last.
    Gone(Value),
    /// It stays for now, marked: something holds it, or it ends gracefully.
    Pending(Value),
}

/// What is to be done to an object that is to be deleted.
pub(super) enum Step {
    /// It goes.
    Remove(Value),
    /// It is marked, and stays.
    Mark(Value),
    /// It is marked already.
    Nothing(Value),
}

impl Server {
    /// Deletes an object.
    ///
    /// # Errors
    ///
    /// 404, 409 for preconditions, and what admission and the strategy say.
    pub(crate) async fn delete(
        &self,
        context: &Context,
        kind: &Kind,
        namespace: &str,
        name: &str,
        options: &DeleteOptions,
    ) -> Result<Deleted, ApiError> {
        let scope = Scope { server: self, context, resource: &kind.storage, subresource: "" };
        for _ in 0..ATTEMPTS {
            let entry = self.entry(kind, namespace, name)?;
            let old = answer::read(&entry, entry.revision())?;
            options.check(kind, &old)?;
            kind.strategy.check_delete(scope, &old)?;
            let mut attributes = Attributes {
                server: self,
                context,
                operation: Operation::Delete,
                resource: &kind.storage,
                subresource: "",
                namespace,
                name,
                object: None,
                old: Some(&old),
                dry_run: options.dry_run,
                effects: Vec::new(),
            };
            super::admit(&mut attributes)?;
            let mut effects = attributes.effects;
            let (change, pending) = match step(kind, options, &old) {
                Step::Nothing(object) => return Ok(Deleted::Pending(object)),
                Step::Mark(object) => {
                    let change = strategy::Change::Update { old: &old, new: &object };
                    effects.extend(kind.strategy.effects(scope, change)?);
                    (Change::Put(object), true)
                }
                Step::Remove(object) => {
                    effects.extend(kind.strategy.effects(scope, strategy::Change::Delete(&object))?);
                    (Change::Delete(object), false)
                }
            };
            if options.dry_run {
                let (Change::Put(object) | Change::Delete(object)) = change;
                return Ok(if pending { Deleted::Pending(object) } else { Deleted::Gone(object) });
            }
            match self.commit(kind, namespace, name, Expect::Revision(entry.revision()), change, effects).await {
                Ok(object) if pending => return Ok(Deleted::Pending(object)),
                Ok(object) => return Ok(Deleted::Gone(object)),
                Err(Failure::Object | Failure::Effect) => {}
                Err(Failure::Error(error)) => return Err(error),
            }
        }
        Err(ApiError::modified(&kind.group_resource(), name))
    }
}

/// Decides what a deletion does to an object: a pure function of the object and the options.
pub(super) fn step(kind: &Kind, options: &DeleteOptions, old: &Value) -> Step {
    let mut object = old.clone();
    set_finalizers(&mut object, options.finalizer(kind, old));
    let held = object.finalizers().next().is_some() || kind.strategy.holds_deletion(&object);
    let grace = kind.strategy.grace_period(&object, options.grace_period).map(|seconds| seconds.max(0));
    let marked_with = old.at(&["metadata", "deletionGracePeriodSeconds"]).and_then(Value::as_i64);
    match (old.deletion_timestamp(), grace) {
        // Under way already: the time can only become shorter.
        (Some(_), Some(seconds)) if seconds > 0 || options.grace_period.is_none() => {
            let running = marked_with.unwrap_or(0);
            if running == 0 {
                return if held { unless_changed(object, old) } else { Step::Remove(object) };
            }
            if options.grace_period.is_some() && seconds < running {
                shorten(&mut object, running, seconds);
                return Step::Mark(object);
            }
            unless_changed(object, old)
        }
        (Some(_), _) if held => {
            if let Some(running) = marked_with.filter(|running| *running > 0) {
                shorten(&mut object, running, 0);
            }
            unless_changed(object, old)
        }
        (Some(_), _) => Step::Remove(object),
        (None, Some(seconds)) if seconds > 0 => {
            mark(&mut object, seconds);
            kind.strategy.on_terminating(&mut object);
            Step::Mark(object)
        }
        (None, _) if held => {
            mark(&mut object, 0);
            kind.strategy.on_terminating(&mut object);
            Step::Mark(object)
        }
        (None, _) => Step::Remove(object),
    }
}

fn unless_changed(object: Value, old: &Value) -> Step {
    if object == *old { Step::Nothing(object) } else { Step::Mark(object) }
}

/// Marks an object as being deleted, to end in so many seconds.
fn mark(object: &mut Value, seconds: i64) {
    mark_at(object, jiff::Timestamp::now() + jiff::SignedDuration::from_secs(seconds), seconds);
}

/// Gives an object that is being deleted less time, counted from when its deletion began.
fn shorten(object: &mut Value, running: i64, seconds: i64) {
    let end: Option<jiff::Timestamp> = object.deletion_timestamp().and_then(|at| at.parse().ok());
    let earlier = jiff::SignedDuration::from_secs(running.saturating_sub(seconds));
    match end.and_then(|end| end.checked_sub(earlier).ok()) {
        Some(end) => mark_at(object, end, seconds),
        None => mark(object, seconds),
    }
}

/// The desired state has changed: so does the generation.
fn mark_at(object: &mut Value, end: jiff::Timestamp, seconds: i64) {
    let generation = object.generation();
    let metadata = object.metadata_mut();
    metadata.insert("deletionTimestamp", timestamp(end));
    metadata.insert("deletionGracePeriodSeconds", seconds);
    if generation > 0 {
        metadata.insert("generation", generation + 1);
    }
}

/// Sets the propagation finalizer that was asked for, and removes the other.
fn set_finalizers(object: &mut Value, wanted: Option<&str>) {
    let mut finalizers: Vec<String> =
        object.finalizers().filter(|name| !matches!(*name, ORPHAN | FOREGROUND)).map(ToOwned::to_owned).collect();
    finalizers.extend(wanted.map(ToOwned::to_owned));
    let metadata = object.metadata_mut();
    if finalizers.is_empty() {
        metadata.remove("finalizers");
    } else {
        metadata.insert("finalizers", finalizers);
    }
}

/// Kinds whose deletion is answered with the object instead of a `Status`.
const RETURNED: &[(&str, &str)] = &[
    ("", "pods"),
    ("", "services"),
    ("", "persistentvolumes"),
    ("", "persistentvolumeclaims"),
    ("", "resourcequotas"),
    ("", "serviceaccounts"),
    ("", "podtemplates"),
    ("", "replicationcontrollers"),
    ("storage.k8s.io", "storageclasses"),
    ("storage.k8s.io", "volumeattachments"),
    ("storage.k8s.io", "csidrivers"),
    ("storage.k8s.io", "csinodes"),
];

/// The answer to a DELETE of one object.
///
/// # Errors
///
/// When the object cannot be encoded.
pub(super) fn deleted(answer: Answer<'_>, options: &DeleteOptions, deleted: Deleted) -> Result<Response, ApiError> {
    let row = &answer.kind.storage;
    match deleted {
        Deleted::Pending(object) => {
            let waits = options.orphan_dependents == Some(false) || options.propagation == Some(Propagation::Foreground);
            answer.object(if waits { StatusCode::ACCEPTED } else { StatusCode::OK }, object)
        }
        Deleted::Gone(object) if RETURNED.contains(&(row.group.as_str(), row.plural.as_str())) => answer.object(StatusCode::OK, object),
        Deleted::Gone(object) => {
            let details = Details {
                name: object.name().to_owned(),
                group: answer.kind.served.group.to_string(),
                kind: answer.kind.served.plural.to_string(),
                uid: object.uid().to_owned(),
                ..Details::default()
            };
            Ok(status_response(answer.accepted, StatusCode::OK, status::success(&details)))
        }
    }
}
