//! Admission: what may still change or refuse a request after authorization.
//!
//! Two passes, as in the reference: first every plugin may change the object ([`Plugin::admit`]), then every plugin
//! may refuse the result ([`Plugin::validate`]). Objects are in the kind's storage version.

pub mod plugins;

use corten_schema::{Resource, Value};

use crate::{request::Context, server::Server, status::ApiError, strategy::Effect};

/// What a request does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// A new object.
    Create,
    /// A change (update, patch, also of subresources).
    Update,
    /// A deletion.
    Delete,
    /// A connection (exec, attach, port-forward, proxy).
    Connect,
}

/// One request as admission plugins see it.
pub struct Attributes<'a> {
    /// The server; reads go to its ledger.
    pub server: &'a Server,
    /// Who asks for what.
    pub context: &'a Context,
    /// What is done.
    pub operation: Operation,
    /// The kind.
    pub resource: &'a Resource,
    /// The subresource, or empty.
    pub subresource: &'a str,
    /// The namespace; empty for cluster scope.
    pub namespace: &'a str,
    /// The name; empty while `generateName` has not been resolved.
    pub name: &'a str,
    /// The new object; `None` for deletes.
    pub object: Option<&'a mut Value>,
    /// The object before; `None` for creates.
    pub old: Option<&'a Value>,
    /// Nothing will be written.
    pub dry_run: bool,
    /// Extra writes that are to be committed with the object's.
    pub effects: Vec<Effect>,
}

/// An admission plugin.
pub trait Plugin: Send + Sync {
    /// Its name as the reference has it (`NamespaceLifecycle`).
    fn name(&self) -> &'static str;

    /// First pass: may change `attributes.object` and add effects.
    ///
    /// # Errors
    ///
    /// The error for the client.
    fn admit(&self, attributes: &mut Attributes<'_>) -> Result<(), ApiError> {
        let _ = attributes;
        Ok(())
    }

    /// Second pass: sees the result of the first; may add effects (quota).
    ///
    /// # Errors
    ///
    /// The error for the client.
    fn validate(&self, attributes: &mut Attributes<'_>) -> Result<(), ApiError> {
        let _ = attributes;
        Ok(())
    }
}

/// First pass over all plugins.
///
/// # Errors
///
/// That of the first plugin that refuses.
pub fn admit(attributes: &mut Attributes<'_>) -> Result<(), ApiError> {
    run(attributes, |plugin, attributes| plugin.admit(attributes))
}

/// Second pass over all plugins.
///
/// # Errors
///
/// That of the first plugin that refuses.
pub fn validate(attributes: &mut Attributes<'_>) -> Result<(), ApiError> {
    run(attributes, |plugin, attributes| plugin.validate(attributes))
}

fn run(attributes: &mut Attributes<'_>, pass: impl Fn(&dyn Plugin, &mut Attributes<'_>) -> Result<(), ApiError>) -> Result<(), ApiError> {
    let server = attributes.server;
    for plugin in &server.admission {
        if let Err(error) = pass(&**plugin, attributes) {
            let Attributes { operation, resource, namespace, name, dry_run, .. } = &*attributes;
            let resource = &*resource.plural;
            tracing::debug!(plugin = plugin.name(), ?operation, resource, namespace, name, dry_run, %error, "refused");
            return Err(error);
        }
    }
    Ok(())
}
