//! Container logs: reading, following and rotating the files that the runtime writes.

mod filter;
pub(crate) mod follow;
pub(crate) mod line;
pub(crate) mod read;
pub(crate) mod rotate;
mod tail;
