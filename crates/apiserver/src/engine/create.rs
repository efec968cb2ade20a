//! Creating objects.

use corten_schema::{Value, apply_defaults, convert};

use super::{
    Kind, WriteOptions,
    commit::{Change, Failure},
    managed, meta, names,
    patch::check_namespace,
};
use crate::{
    admission::{self, Attributes, Operation},
    request::Context,
    server::Server,
    status::{ApiError, GroupResource},
    strategy::{self, Expect, Scope},
};

/// How often names are made up, and effects computed again, before giving up.
const ATTEMPTS: usize = 8;

/// A new object on its way into the ledger.
pub(crate) struct Creation<'a> {
    /// Who creates it.
    pub(crate) context: &'a Context,
    /// Its kind.
    pub(crate) kind: &'a Kind,
    /// Its namespace; empty for cluster scope.
    pub(crate) namespace: &'a str,
    /// The options.
    pub(crate) options: WriteOptions,
}

impl Server {
    /// Creates an object. `object` is what the client sent: canonical, in the served version, without defaults. Returns
    /// it as stored, with its resourceVersion.
    ///
    /// # Errors
    ///
    /// What admission, validation and the ledger say.
    pub(crate) async fn create(&self, creation: Creation<'_>, object: Value) -> Result<Value, ApiError> {
        let Creation { kind, namespace, .. } = creation;
        let object = creation.complete(self, object)?;
        let generated = object.name().is_empty() && !object.generate_name().is_empty();
        for _ in 0..ATTEMPTS {
            let (object, effects) = creation.prepare(self, object.clone(), generated)?;
            if creation.options.dry_run {
                let taken = self.ledger.snapshot().get(&kind.key(namespace, object.name())).is_some();
                return if taken { Err(creation.exists(object.name(), generated)) } else { Ok(object) };
            }
            let name = object.name().to_owned();
            let change = Change::Put(object);
            match self.commit(kind, namespace, &name, Expect::Absent, change, effects).await {
                Ok(object) => return Ok(object),
                Err(Failure::Object) if !generated => return Err(creation.exists(&name, false)),
                Err(Failure::Object | Failure::Effect) => {}
                Err(Failure::Error(error)) => return Err(error),
            }
        }
        Err(match generated {
            true => creation.exists(object.generate_name(), true),
            false => ApiError::server_timeout(&kind.group_resource(), "create"),
        })
    }
}

impl Creation<'_> {
    /// What does not depend on the state: defaults, storage version, system metadata.
    fn complete(&self, server: &Server, mut object: Value) -> Result<Value, ApiError> {
        let kind = self.kind;
        if !object.resource_version().is_empty() {
            return Err(ApiError::bad_request("resourceVersion should not be set on objects to be created"));
        }
        check_namespace(&mut object, self.namespace)?;
        apply_defaults(&kind.served, &mut object);
        meta::complete(kind, &mut object, self.namespace);
        if !self.options.applied {
            let sent = object.metadata_mut().remove("managedFields");
            if let Some(owners) = managed::of_created(server, self.context, kind, &object, sent.as_ref()) {
                object.metadata_mut().insert("managedFields", owners);
            }
        }
        if !kind.is_served_as_stored() {
            object = convert(&kind.served, &kind.storage, object);
        }
        if kind.served.subresource("status").is_some() && !kind.strategy.keeps_status_on_create() && object.get("status").is_some() {
            object.insert("status", kind.empty_status.clone());
        }
        Ok(object)
    }

    /// The request as admission sees it.
    fn attributes<'r>(&'r self, server: &'r Server, name: &'r str, object: &'r mut Value) -> Attributes<'r> {
        Attributes {
            server,
            context: self.context,
            operation: Operation::Create,
            resource: &self.kind.storage,
            subresource: "",
            namespace: self.namespace,
            name,
            object: Some(object),
            old: None,
            dry_run: self.options.dry_run,
            effects: Vec::new(),
        }
    }

    /// Admission, strategy, validation: what must be done again when the state has changed.
    fn prepare(&self, server: &Server, mut object: Value, generated: bool) -> Result<(Value, Vec<strategy::Effect>), ApiError> {
        let Self { context, kind, .. } = *self;
        if generated {
            let name = names::generate(object.generate_name());
            object.metadata_mut().insert("name", name);
        }
        let name = object.name().to_owned();
        let scope = Scope { server, context, resource: &kind.storage, subresource: "" };
        let mut attributes = self.attributes(server, &name, &mut object);
        admission::admit(&mut attributes)?;
        let mut effects = std::mem::take(&mut attributes.effects);
        kind.strategy.prepare_create(scope, &mut object)?;
        let mut errors = meta::validate(kind, &object);
        errors.extend(kind.strategy.validate(scope, &object));
        if !errors.is_empty() {
            return Err(kind.invalid(&name, errors));
        }
        for warning in kind.strategy.warnings(scope, &object, None) {
            context.warn(warning);
        }
        let mut attributes = self.attributes(server, &name, &mut object);
        admission::validate(&mut attributes)?;
        effects.append(&mut attributes.effects);
        effects.extend(kind.strategy.effects(scope, strategy::Change::Create(&object))?);
        Ok((object, effects))
    }

    fn exists(&self, name: &str, generated: bool) -> ApiError {
        let of = self.kind.group_resource();
        let mut error = ApiError::already_exists(&GroupResource::new(of.group, of.resource), name);
        if generated {
            error.message.push_str(", the server was not able to generate a unique name for the object");
            error = error.retry_after(1);
        }
        error
    }
}

/// Runs both admission passes for something that is not stored (a review, an eviction, a binding).
///
/// # Errors
///
/// What a plugin says.
pub(crate) fn admit(attributes: &mut Attributes<'_>) -> Result<(), ApiError> {
    admission::admit(attributes)?;
    admission::validate(attributes)
}
