//! The properties, by subject.

pub mod decode;
pub mod objects;
pub mod patches;
pub mod requests;
pub mod spdy;

pub use decode::{json, protobuf, yaml};
pub use objects::pod;
pub use patches::{apply, fields, patches};
pub use requests::{continue_token, selectors};
pub use spdy::{spdy, spdy_headers};
