use super::compare::Comparison;
use super::*;
use crate::json::{Strictness, canonicalize};
use crate::{Schema, Str, Value, table, value};

mod lists;
mod managing;
mod model;
mod sets;
mod structural;

pub(super) fn schema(api_version: &str, kind: &str) -> &'static Schema {
    &table().kind_of(api_version, kind).unwrap().schema
}

pub(super) fn canonical(schema: &Schema, value: &Value) -> Value {
    canonicalize(schema, value, Strictness::Strict).unwrap().value
}

/// The sets of what differs.
pub(super) fn compare(schema: &Schema, old: &Value, new: &Value) -> Comparison {
    super::compare::compare(schema, old, new, &Paths::none()).sets()
}

pub(super) fn text(value: &Value) -> String {
    String::from_utf8(crate::json::encode(value)).unwrap()
}
