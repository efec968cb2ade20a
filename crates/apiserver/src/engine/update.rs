//! Changing objects: the loop of read, change, check and commit that PUT, PATCH and subresources share.

use corten_schema::{Str, Value};

use super::{
    Kind, WriteOptions, answer,
    commit::{Change, Failure},
    managed, meta,
};
use crate::{
    admission::{self, Attributes, Operation},
    request::Context,
    server::Server,
    status::{ApiError, FieldError},
    strategy::{self, Effect, Expect, Scope},
};

/// How often a change is tried on fresh state before giving up.
const ATTEMPTS: usize = 10;

/// Which part of an object a write is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// The object without its status.
    Main,
    /// Its status.
    Status,
    /// Whatever the caller changes: the strategy is not asked (scale, binding, ephemeral containers, finalize, …).
    Custom,
}

/// The object that is changed, and how.
#[derive(Clone, Copy)]
pub(crate) struct Target<'a> {
    /// Who changes it.
    pub(crate) context: &'a Context,
    /// Its kind.
    pub(crate) kind: &'a Kind,
    /// Its namespace; empty for cluster scope.
    pub(crate) namespace: &'a str,
    /// Its name.
    pub(crate) name: &'a str,
    /// The part that is written.
    pub(crate) part: Part,
    /// The subresource by which it is written, or empty.
    pub(crate) subresource: &'a str,
    /// The options.
    pub(crate) options: WriteOptions,
}

impl Server {
    /// Changes an object. `change` gets the object as it is (storage version, resourceVersion set) and turns it into what
    /// is wanted; it may add effects. It is called again on fresh state when another writer was faster, unless the
    /// resourceVersion that it leaves in the object says that only one state will do.
    ///
    /// Returns the object as stored; unchanged if nothing changed.
    ///
    /// # Errors
    ///
    /// 404, 409, and what `change`, admission and validation say.
    pub(crate) async fn modify(
        &self,
        target: &Target<'_>,
        mut change: impl FnMut(&mut Value, &mut Vec<Effect>) -> Result<(), ApiError>,
    ) -> Result<Value, ApiError> {
        let Target { kind, namespace, name, .. } = *target;
        for _ in 0..ATTEMPTS {
            let entry = self.entry(kind, namespace, name)?;
            let old = answer::read(&entry, entry.revision())?;
            let mut effects = Vec::new();
            let mut new = old.clone();
            change(&mut new, &mut effects)?;
            target.check_preconditions(&new, &old)?;
            let Some(new) = target.prepare(self, new, &old, &mut effects)? else { return Ok(old) };
            if target.options.dry_run {
                return Ok(new);
            }
            let change = match is_released(kind, &new) {
                true => {
                    let scope = target.scope(self);
                    effects.extend(kind.strategy.effects(scope, strategy::Change::Delete(&new))?);
                    Change::Delete(new)
                }
                false => Change::Put(new),
            };
            match self.commit(kind, namespace, name, Expect::Revision(entry.revision()), change, effects).await {
                Ok(object) => return Ok(object),
                Err(Failure::Object | Failure::Effect) => {}
                Err(Failure::Error(error)) => return Err(error),
            }
        }
        Err(ApiError::modified(&kind.group_resource(), name))
    }
}

/// Whether nothing holds a deleted object any more, so that this write is its end.
pub(super) fn is_released(kind: &Kind, object: &Value) -> bool {
    object.deletion_timestamp().is_some()
        && object.at(&["metadata", "deletionGracePeriodSeconds"]).and_then(Value::as_i64).unwrap_or(0) == 0
        && object.finalizers().next().is_none()
        && !kind.strategy.holds_deletion(object)
}

impl Target<'_> {
    fn scope<'a>(&'a self, server: &'a Server) -> Scope<'a> {
        Scope { server, context: self.context, resource: &self.kind.storage, subresource: self.subresource }
    }

    /// UID and resourceVersion in the new object are preconditions.
    fn check_preconditions(&self, new: &Value, old: &Value) -> Result<(), ApiError> {
        let of = self.kind.group_resource();
        if !new.uid().is_empty() && new.uid() != old.uid() {
            return Err(ApiError::conflict(
                &of,
                self.name,
                format_args!("Precondition failed: UID in precondition: {}, UID in object meta: {}", new.uid(), old.uid()),
            ));
        }
        match new.resource_version() {
            "" | "0" if !self.kind.strategy.allows_unconditional_update() && self.part == Part::Main => {
                let why = FieldError::invalid("metadata.resourceVersion", 0, "must be specified for an update");
                Err(self.kind.invalid(self.name, vec![why]))
            }
            "" | "0" => Ok(()),
            version if version == old.resource_version() => Ok(()),
            version if version.parse::<u64>().is_err() => {
                Err(self.kind.invalid(self.name, vec![FieldError::invalid("metadata.resourceVersion", version, "must be a number")]))
            }
            _ => Err(ApiError::modified(&of, self.name)),
        }
    }

    /// Everything between the wanted object and the one that is committed; `None` if nothing changes.
    fn prepare(&self, server: &Server, mut new: Value, old: &Value, effects: &mut Vec<Effect>) -> Result<Option<Value>, ApiError> {
        let (kind, context) = (self.kind, self.context);
        meta::carry_over(&mut new, old);
        let sent = new.metadata_mut().remove("managedFields");
        self.isolate(&mut new, old);
        // Who owns what is settled before admission: what it adds, nobody has asked for.
        let owners = match self.options.applied {
            true => sent,
            false => managed::of_changed(server, context, kind, self.subresource, &new, old, sent.as_ref()),
        };
        if let Some(owners) = owners {
            new.metadata_mut().insert("managedFields", owners);
        }
        let scope = self.scope(server);
        let admission = |new: &mut Value, validate: bool, effects: &mut Vec<Effect>| {
            let mut attributes = Attributes {
                server,
                context,
                operation: Operation::Update,
                resource: &kind.storage,
                subresource: self.subresource,
                namespace: self.namespace,
                name: self.name,
                object: Some(new),
                old: Some(old),
                dry_run: self.options.dry_run,
                effects: Vec::new(),
            };
            let result = if validate { admission::validate(&mut attributes) } else { admission::admit(&mut attributes) };
            effects.append(&mut attributes.effects);
            result
        };
        admission(&mut new, false, effects)?;
        match self.part {
            Part::Main => kind.strategy.prepare_update(scope, &mut new, old)?,
            Part::Status => kind.strategy.prepare_status(scope, &mut new, old)?,
            Part::Custom => {}
        }
        // A binding is not what the pod's owner wants, but what becomes of it.
        if self.part != Part::Status && self.subresource != "binding" {
            count_generation(kind, &mut new, old);
        }
        let mut errors = meta::validate_update(kind, &new, old);
        errors.extend(match self.part {
            Part::Main => kind.strategy.validate_update(scope, &new, old),
            Part::Status => kind.strategy.validate_status(scope, &new, old),
            Part::Custom => Vec::new(),
        });
        if !errors.is_empty() {
            return Err(kind.invalid(self.name, errors));
        }
        if self.part == Part::Main {
            for warning in kind.strategy.warnings(scope, &new, Some(old)) {
                context.warn(warning);
            }
        }
        admission(&mut new, true, effects)?;
        let revision = old.resource_version();
        new.metadata_mut().insert("resourceVersion", revision);
        if effects.is_empty() && !is_released(kind, &new) && managed::is_unchanged(&mut new, old) {
            return Ok(None);
        }
        effects.extend(kind.strategy.effects(scope, strategy::Change::Update { old, new: &new })?);
        Ok(Some(new))
    }

    /// A write to one part leaves the other as it was.
    fn isolate(&self, new: &mut Value, old: &Value) {
        match self.part {
            Part::Custom => {}
            Part::Main if self.kind.served.subresource("status").is_none() => {}
            Part::Main => match old.get("status") {
                Some(status) => new.insert("status", status.clone()),
                None => {
                    new.remove("status");
                }
            },
            Part::Status => {
                let mut isolated = old.clone();
                if let Some(metadata) = new.remove("metadata") {
                    isolated.insert("metadata", metadata);
                }
                match new.remove("status") {
                    Some(status) => isolated.insert("status", status),
                    None => {
                        isolated.remove("status");
                    }
                }
                *new = isolated;
            }
        }
    }
}

/// Counts a change of the desired state: of anything but `metadata` and `status`.
fn count_generation(kind: &Kind, new: &mut Value, old: &Value) {
    if !kind.strategy.tracks_generation(&kind.storage) {
        return;
    }
    let same = desired(new).count() == desired(old).count() && desired(new).all(|(name, value)| old.get(name) == Some(value));
    if !same {
        new.metadata_mut().insert("generation", old.generation() + 1);
    }
}

/// What is neither `metadata` nor `status`.
fn desired(object: &Value) -> impl Iterator<Item = (&Str, &Value)> {
    object.as_map().into_iter().flatten().filter(|(name, _)| !matches!(name.as_str(), "metadata" | "status"))
}
