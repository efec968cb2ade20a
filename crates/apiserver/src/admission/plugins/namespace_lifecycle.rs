//! NamespaceLifecycle: nothing is created in a namespace that does not exist or is ending.

use super::super::{Attributes, Operation, Plugin};
use super::forbidden;
use corten_schema::Value;

use crate::reads;
use crate::status::{ApiError, GroupResource};
use crate::strategy::{Effect, Expect};
use crate::view::text;

/// The plugin.
pub(super) struct NamespaceLifecycle;

impl Plugin for NamespaceLifecycle {
    fn name(&self) -> &'static str {
        "NamespaceLifecycle"
    }

    fn admit(&self, attributes: &mut Attributes<'_>) -> Result<(), ApiError> {
        let namespace = attributes.namespace;
        if attributes.operation != Operation::Create || namespace.is_empty() {
            return Ok(());
        }
        let not_found = || ApiError::not_found(&GroupResource::new("", "namespaces"), namespace);
        let snapshot = attributes.server.ledger.snapshot();
        let entry = snapshot.get(&reads::key("", "namespaces", "", namespace)).ok_or_else(not_found)?;
        // The phase is indexed, and is no longer Active in the same write that begins a deletion.
        let active = entry.index().field("status.phase") == Some("Active");
        let ends = |object: &Value| object.deletion_timestamp().is_some() || text(object, "status.phase") == "Terminating";
        if !active && ends(&reads::object(entry).ok_or_else(not_found)?) {
            let why = format!("unable to create new content in namespace {namespace} because it is being terminated");
            let cause = format!("namespace {namespace} is being terminated");
            return Err(forbidden(attributes, why).cause("NamespaceTerminating", cause, "metadata.namespace"));
        }
        // So that it cannot begin to end between this look and the commit.
        let resource = reads::resource("", "v1", "namespaces").ok_or_else(ApiError::no_such_resource)?;
        attributes.effects.push(Effect::Check {
            resource: std::sync::Arc::clone(resource),
            namespace: String::new(),
            name: namespace.to_owned(),
            expect: Expect::Revision(entry.revision()),
        });
        Ok(())
    }
}
