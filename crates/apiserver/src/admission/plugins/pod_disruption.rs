//! PodDisruption: an eviction takes from the pod's disruption budget, in the same transaction as the deletion.

use super::super::{Attributes, Operation, Plugin};
use crate::status::ApiError;
use crate::subresources::budget_effect;

/// The plugin.
pub(super) struct PodDisruption;

impl Plugin for PodDisruption {
    fn name(&self) -> &'static str {
        "PodDisruption"
    }

    fn validate(&self, attributes: &mut Attributes<'_>) -> Result<(), ApiError> {
        // A deletion of a pod within a request to `pods/eviction` is an eviction.
        let eviction = attributes.operation == Operation::Delete
            && super::is(attributes, "", "pods")
            && attributes.context.info.subresource == "eviction";
        let Some(pod) = attributes.old.filter(|_| eviction) else { return Ok(()) };
        attributes.effects.extend(budget_effect(&attributes.server.ledger.snapshot(), pod)?);
        Ok(())
    }
}
