//! The generic REST engine: every verb, for every kind of the table, once.
//!
//! Reads are answered from the ledger's stored bytes; writes go through [`write`](self::write): decode, admission,
//! strategy, validation, one transaction.

mod answer;
pub(crate) mod apply;
mod collection;
mod commit;
pub(crate) mod components;
mod create;
mod decode;
mod delete;
mod deprecated;
mod get;
mod kind;
mod list;
pub(crate) mod managed;
mod meta;
mod names;
mod options;
mod patch;
mod pieces;
mod route;
mod selector;
mod table;
#[cfg(test)]
mod tests;
mod token;
mod update;
mod watch;

pub(crate) use answer::Answer;
pub(crate) use create::{Creation, admit};
pub(crate) use decode::{BodyObject, decode_body};
pub(crate) use delete::{DeleteOptions, Deleted};
pub(crate) use kind::{Kind, Kinds};
pub(crate) use names::generate as generate_name;
pub(crate) use options::{FieldValidation, WriteOptions};
pub(crate) use patch::{Patch, check_name, check_namespace};
pub(crate) use route::serve;
pub(crate) use selector::{FieldSelector, LabelSelector};
pub(crate) use token::fuzz as fuzz_token;
pub(crate) use update::{Part, Target};
