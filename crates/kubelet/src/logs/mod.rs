//! Container logs: reading, following and rotating the files that the runtime writes.

pub(crate) mod line;
