//! The kind table of Kubernetes v1.35 and everything structural that follows from it.
//!
//! One generated data file says what each kind looks like: fields, JSON names,
//! types, protobuf tags, presence, list types, merge keys. From it this crate
//! decodes and encodes JSON, YAML and protobuf, applies defaults, converts
//! between versions, merges patches and writes OpenAPI documents, once for all
//! kinds. It is pure: no input or output, no clock, no tasks.
//!
//! The **canonical form** of an object is the tree that the reference would
//! print after reading it: see [`json::decode`]. Every decoder returns it and
//! every other function keeps it.

pub mod apply;
mod canonical;
pub mod convert;
pub mod defaults;
pub mod go;
pub mod json;
mod merge;
pub mod model;
pub mod openapi;
pub mod patch;
pub mod proto;
pub mod scalar;
pub mod stored;
pub mod value;
pub mod yaml;

pub use convert::convert;
pub use defaults::apply_defaults;
pub use json::{DecodeError, Decoded, Strictness, TypeMeta};
pub use model::{Resource, Schema, Subresource, Table, Verb, table};
pub use value::{Map, Str, Value};
