//! Kinds whose `status` subresource writes nothing but the status: their metadata stays as well.
//!
//! In other kinds a writer of the status may change labels and annotations too; the reference decided kind by kind.

use corten_schema::Value;

use super::{EDITABLE_METADATA, keep_metadata};
use crate::status::ApiError;
use crate::strategy::{Scope, Strategy};

/// The strategy of kinds with this peculiarity alone.
pub(super) struct StatusOnly;

impl Strategy for StatusOnly {
    fn prepare_status(&self, _: Scope<'_>, object: &mut Value, old: &Value) -> Result<(), ApiError> {
        keep_metadata(object, old, EDITABLE_METADATA);
        Ok(())
    }
}
