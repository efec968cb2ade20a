//! The kind table: resources, types and fields.

mod parse;
mod resource;
mod types;

pub(crate) use parse::{name_at, place_of};
pub use resource::{GroupInfo, Resource, Storage, Subresource, Table, Verb, VersionInfo, api_version, split_api_version};
pub use types::{Field, ListType, Member, Patch, Presence, Schema, SchemaOr, Struct, Type, TypeId, TypeSet};

use std::sync::LazyLock;

static TABLE: LazyLock<Table> = LazyLock::new(|| match parse::builtin() {
    Ok(table) => table,
    Err(error) => unreachable!("the built-in table is broken: {error}"),
});

/// The built-in kinds of v1.35.
pub fn table() -> &'static Table {
    &TABLE
}

#[cfg(test)]
mod tests;
