//! The model that every engine must agree with.
