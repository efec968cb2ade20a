//! The small static programs that the one binary carries in its data segment.
//!
//! Both are packages of this workspace, built by this crate's build script in the
//! `shim` profile (small, static, abort on panic). They are bytes here, not code:
//! nothing of them, and nothing of what they link (libcontainer), runs in the daemon.

/// The per-pod shim (`crates/shim`), an ELF executable for the target machine.
pub static SHIM: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/corten-shim"));

/// The program of the built-in images `corten.local/hello` and `corten.local/pause` (`crates/hello`).
pub static HELLO: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/corten-hello"));

#[cfg(test)]
mod tests;
