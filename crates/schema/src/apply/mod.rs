//! Server-side apply and `managedFields`: who owns which fields, and what becomes of an object when owners speak.
//!
//! Everything works from the schema: lists are atomic, sets or told apart by keys, maps and structs are granular or
//! atomic, and where the schema knows nothing the value says what it is. The rules are those of KEP-555 and of the
//! reference's documentation of server-side apply.
//!
//! Writes are frequent, mostly change what their writer owns already, and are like those to other objects. So sets are only
//! read where something differs ([`track`]), stay text otherwise ([`Fields`]), and what was found out once (what a text says,
//! the sets of a difference, what it makes of somebody's set, or of all that an object's owners say) is remembered. Objects keep
//! what they have in common once ([`Owners`]).

mod cache;
mod check;
mod compare;
mod difference;
mod element;
mod entry;
mod fields;
mod form;
mod managed;
mod merge;
mod owned;
mod owners;
mod pack;
mod paths;
mod remove;
mod set;
mod settle;
mod shape;
mod statement;
mod trace;
mod track;
mod transition;
mod update;

#[cfg(test)]
mod tests;

pub use check::check;
pub use element::Element;
pub use entry::{Entry, Operation, Writer};
pub use fields::{Fields, decode as decode_fields, encode as encode_fields};
pub use managed::{Managed, ManagedError, is_reset};
pub use merge::merge;
pub use owned::owned;
pub use owners::Owners;
pub(crate) use owners::ValuesAre;
pub use paths::Paths;
pub use remove::{extract, remove};
pub use set::{FieldSet, Path};
pub use track::{OneVersion, Unchanged, Versions, Write, track, track_kept};
pub use update::{Application, Applied, ApplyError, Conflict};
