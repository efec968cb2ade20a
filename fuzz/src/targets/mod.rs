//! The properties, by subject.

pub mod decode;
pub mod requests;

pub use decode::{json, protobuf, yaml};
pub use requests::{continue_token, selectors};
