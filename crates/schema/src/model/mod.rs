//! The kind table: resources, types and fields.

mod resource;
mod types;

pub use resource::{GroupInfo, Resource, Storage, Subresource, Table, Verb, VersionInfo, api_version, split_api_version};
pub use types::{Field, ListType, Member, Patch, Presence, Schema, Struct, Type, TypeId, TypeSet};

use std::sync::LazyLock;

static TABLE: LazyLock<Table> = LazyLock::new(Table::builtin);

/// The built-in kinds of v1.35.
pub fn table() -> &'static Table {
    &TABLE
}
