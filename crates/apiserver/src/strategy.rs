//! What a schema cannot say about a kind.
//!
//! The engine is generic; a kind with peculiarities has a [`Strategy`]. All methods have defaults, so a kind without
//! peculiarities has none. Objects are in the kind's *storage version* and have their defaults.

mod generation;

use std::sync::Arc;

use corten_schema::{Resource, Value};

pub use corten_store::Expect;

use crate::{
    request::Context,
    server::Server,
    status::{ApiError, FieldError},
};

pub use generation::tracks_generation;

/// What a strategy sees of the request and the server.
#[derive(Clone, Copy)]
pub struct Scope<'a> {
    /// The server; reads go to its ledger.
    pub server: &'a Server,
    /// Who asks for what.
    pub context: &'a Context,
    /// The kind.
    pub resource: &'a Resource,
    /// The subresource written (`status`, `scale`, …), empty for the object itself.
    pub subresource: &'a str,
}

/// What happens to an object; what [`Strategy::effects`] derives its extra writes from.
#[derive(Clone, Copy)]
pub enum Change<'a> {
    /// It comes into being.
    Create(&'a Value),
    /// It changes.
    Update {
        /// Before.
        old: &'a Value,
        /// After.
        new: &'a Value,
    },
    /// It goes, finally.
    Delete(&'a Value),
}

/// An extra write, committed together with the object's or not at all.
///
/// When its expectation fails, the engine runs the whole request again on fresh state (a bounded number of times): so
/// effects must be computed from what the ledger says now.
#[derive(Debug, Clone)]
pub enum Effect {
    /// Writes an object (complete, in storage version). The engine sets nothing in it.
    Put {
        /// Its kind.
        resource: Arc<Resource>,
        /// Its namespace; empty for cluster scope.
        namespace: String,
        /// Its name.
        name: String,
        /// The object.
        object: Value,
        /// The state it must be in.
        expect: Expect,
    },
    /// Removes an object.
    Delete {
        /// Its kind.
        resource: Arc<Resource>,
        /// Its namespace; empty for cluster scope.
        namespace: String,
        /// Its name.
        name: String,
        /// The state it must be in.
        expect: Expect,
    },
    /// Writes (`Some`) or removes (`None`) a raw key that is no API object, such as a node port's owner. Keys begin
    /// with `/corten/`.
    Raw {
        /// The key.
        key: String,
        /// The bytes.
        value: Option<Vec<u8>>,
        /// The state it must be in.
        expect: Expect,
    },
    /// Only demands that an object still has this revision (or is still absent).
    Check {
        /// Its kind.
        resource: Arc<Resource>,
        /// Its namespace; empty for cluster scope.
        namespace: String,
        /// Its name.
        name: String,
        /// The state it must be in.
        expect: Expect,
    },
}

/// The shape of names of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameRule {
    /// DNS-1123 subdomain: the rule for most kinds.
    Subdomain,
    /// DNS-1123 label (namespaces).
    Label,
    /// DNS-1035 label (services).
    Label1035,
    /// Anything that fits into a path (RBAC).
    PathSegment,
    /// An IP address in its one canonical spelling.
    Address,
}

/// A field that a field selector may name, besides `metadata.name` and `metadata.namespace`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SelectableField {
    /// Its label: `spec.nodeName`.
    pub label: &'static str,
    /// The path to its value in the stored object.
    pub path: &'static [&'static str],
    /// The text when nothing is there.
    pub absent: &'static str,
}

/// The peculiarities of a kind. See the module's documentation.
pub trait Strategy: Send + Sync {
    /// Which names the kind allows.
    fn name_rule(&self) -> NameRule {
        NameRule::Subdomain
    }

    /// Whether a PUT may create.
    fn creates_on_update(&self) -> bool {
        false
    }

    /// Whether a PUT without resourceVersion may overwrite whatever there is.
    fn allows_unconditional_update(&self) -> bool {
        true
    }

    /// Whether the `status` that a creator sends is kept (where there is a status subresource).
    fn keeps_status_on_create(&self) -> bool {
        false
    }

    /// Whether `metadata.generation` counts changes of the desired state.
    fn tracks_generation(&self, resource: &Resource) -> bool {
        tracks_generation(&resource.group, &resource.plural)
    }

    /// The fields that field selectors may name, besides `metadata.name` and `metadata.namespace`.
    fn selectable_fields(&self) -> &'static [SelectableField] {
        &[]
    }

    /// Seconds after which an object of this kind vanishes by itself (Events); `None` for never.
    fn time_to_live(&self) -> Option<u64> {
        None
    }

    /// Completes or cleans a new object: defaults that depend on other objects, allocated values, fields that
    /// creators may not set. Metadata is complete and `status` is emptied.
    ///
    /// # Errors
    ///
    /// When the object cannot be created at all.
    fn prepare_create(&self, scope: Scope<'_>, object: &mut Value) -> Result<(), ApiError> {
        let _ = (scope, object);
        Ok(())
    }

    /// The same for a changed object; `status` is already the old one.
    ///
    /// # Errors
    ///
    /// When the object cannot be changed at all.
    fn prepare_update(&self, scope: Scope<'_>, object: &mut Value, old: &Value) -> Result<(), ApiError> {
        let _ = (scope, object, old);
        Ok(())
    }

    /// The same for a write to the `status` subresource; all but `metadata` and `status` is already the old one's.
    ///
    /// # Errors
    ///
    /// When the status cannot be changed at all.
    fn prepare_status(&self, scope: Scope<'_>, object: &mut Value, old: &Value) -> Result<(), ApiError> {
        let _ = (scope, object, old);
        Ok(())
    }

    /// Everything wrong with a new object.
    fn validate(&self, scope: Scope<'_>, object: &Value) -> Vec<FieldError> {
        let _ = (scope, object);
        Vec::new()
    }

    /// Everything wrong with a change. By default what is wrong with the result.
    fn validate_update(&self, scope: Scope<'_>, object: &Value, old: &Value) -> Vec<FieldError> {
        let _ = old;
        self.validate(scope, object)
    }

    /// Everything wrong with a new status.
    fn validate_status(&self, scope: Scope<'_>, object: &Value, old: &Value) -> Vec<FieldError> {
        let _ = (scope, object, old);
        Vec::new()
    }

    /// What the writer should know (deprecated fields, risky values).
    fn warnings(&self, scope: Scope<'_>, object: &Value, old: Option<&Value>) -> Vec<String> {
        let _ = (scope, object, old);
        Vec::new()
    }

    /// Extra writes that must happen in the same transaction.
    ///
    /// # Errors
    ///
    /// When the change is impossible (nothing left to allocate, quota exceeded).
    fn effects(&self, scope: Scope<'_>, change: Change<'_>) -> Result<Vec<Effect>, ApiError> {
        let _ = (scope, change);
        Ok(Vec::new())
    }

    /// Seconds that the object is given to end, when it is asked to be deleted with `requested` seconds.
    ///
    /// `None`: the kind knows no graceful deletion; the object goes at once (unless finalizers hold it).
    fn grace_period(&self, object: &Value, requested: Option<i64>) -> Option<i64> {
        let _ = (object, requested);
        None
    }

    /// Whether a deleted object must stay for now, besides `metadata.finalizers` (Namespace: `spec.finalizers`).
    fn holds_deletion(&self, object: &Value) -> bool {
        let _ = object;
        false
    }

    /// Called when `deletionTimestamp` is set on an object that stays (Namespace: phase `Terminating`).
    fn on_terminating(&self, object: &mut Value) {
        let _ = object;
    }

    /// Checks that a delete is allowed at all (the namespaces that must not go).
    ///
    /// # Errors
    ///
    /// The error for the client.
    fn check_delete(&self, scope: Scope<'_>, object: &Value) -> Result<(), ApiError> {
        let _ = (scope, object);
        Ok(())
    }

    /// The finalizers that a delete without propagationPolicy means; only jobs and legacy kinds differ from
    /// background deletion.
    fn orphans_by_default(&self) -> bool {
        false
    }
}

/// The strategy of kinds without peculiarities.
#[derive(Debug, Clone, Copy)]
pub struct Plain;

impl Strategy for Plain {}
