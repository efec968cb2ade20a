//! Objects that exist before anybody creates them: namespaces, roles, priority classes, the `kubernetes` Service.
//!
//! Every start puts back what is missing. What an administrator changed stays, except where the reference repairs it too: default
//! roles get missing rights back unless they are annotated not to, and the `kubernetes` Service follows the server's address.

mod objects;
mod rbac;
pub(crate) mod roles;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use corten_schema::Value;
use futures::future::try_join_all;

use crate::engine::{Creation, Kind, Part, Target, WriteOptions};
use crate::request::Context;
use crate::{server::Server, status::ApiError};

/// Creates or repairs the bootstrap objects. Runs before `/readyz` is ok.
///
/// # Errors
///
/// When an object cannot be written.
pub async fn run(server: &Arc<Server>) -> Result<(), ApiError> {
    let scribe = Scribe { server, context: Context::internal() };
    // Each step is written concurrently, so that its commits share their fsyncs; the order of steps is that of dependence.
    try_join_all(objects::namespaces().map(|object| scribe.ensure("", "v1", "namespaces", object))).await?;
    let classes = objects::priority_classes();
    try_join_all(classes.map(|object| scribe.ensure("scheduling.k8s.io", "v1", "priorityclasses", object))).await?;
    try_join_all(roles::roles().map(|role| rbac::role(&scribe, role))).await?;
    try_join_all(roles::bindings().map(|binding| rbac::binding(&scribe, binding))).await?;
    objects::own_service(&scribe).await
}

/// Writes objects on the server's own account.
struct Scribe<'a> {
    server: &'a Server,
    context: Context,
}

impl Scribe<'_> {
    fn kind(&self, group: &str, version: &str, plural: &str) -> Result<&Arc<Kind>, ApiError> {
        self.server.kinds.find(group, version, plural).ok_or_else(ApiError::no_such_resource)
    }

    /// Creates an object unless there is one of its name.
    async fn ensure(&self, group: &str, version: &str, plural: &str, object: Value) -> Result<(), ApiError> {
        self.reconcile(group, version, plural, object, |_, _| {}).await
    }

    /// Creates an object, or lets `repair` change the one that is there, given what was wanted.
    async fn reconcile(
        &self,
        group: &str,
        version: &str,
        plural: &str,
        object: Value,
        repair: impl Fn(&mut Value, &Value),
    ) -> Result<(), ApiError> {
        let kind = self.kind(group, version, plural)?;
        let (namespace, name) = (object.namespace().to_owned(), object.name().to_owned());
        if self.server.entry(kind, &namespace, &name).is_err() {
            let options = WriteOptions::default();
            let creation = Creation { context: &self.context, kind, namespace: &namespace, options };
            return match self.server.create(creation, object).await {
                Err(error) if error.reason != "AlreadyExists" => Err(error),
                _ => Ok(()),
            };
        }
        let target = Target {
            context: &self.context,
            kind,
            namespace: &namespace,
            name: &name,
            part: Part::Main,
            subresource: "",
            options: WriteOptions::default(),
        };
        let change = |current: &mut Value, _: &mut Vec<_>| {
            repair(current, &object);
            Ok(())
        };
        self.server.modify(&target, change).await.map(drop)
    }
}
