//! What the runtime and its shims say to each other.
//!
//! The shim itself is the program of this package (`src/main.rs`); this library holds only
//! the words of the protocol, what both must name alike, and the claim to hooks that one of them is to run
//! ([`protocol::PostStop::claim`]: it renames a file and opens it), so that the daemon never links what the shim links.

pub mod names;
pub mod protocol;
