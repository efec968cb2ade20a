//! What the runtime and its shims say to each other.
//!
//! The shim itself is the program of this package (`src/main.rs`); this library holds only
//! the words of the protocol and what both must name alike, so that the daemon never links what the shim links.

pub mod names;
pub mod protocol;
