//! `cargo xtask cri`: the Rust of `crates/cri` out of its interface definition.
//!
//! The generated file is committed, so that a build needs neither a protobuf compiler nor
//! these generators; they sit behind the feature `codegen`.

use std::path::Path;

use anyhow::Context as _;

/// Writes `crates/cri/src/v1.rs` from `crates/cri/proto/runtime.proto`.
///
/// `root` is the workspace's directory.
pub fn generate(root: &Path) -> anyhow::Result<()> {
    let proto = root.join("crates/cri/proto");
    let descriptors = protox::compile(["runtime.proto"], [&proto]).context("compiling the CRI definition")?;
    let out = tempfile::tempdir()?;
    tonic_prost_build::configure()
        .out_dir(out.path())
        // Credentials must not reach a log: `Debug` is written by hand beside the file.
        .skip_debug(["runtime.v1.AuthConfig"])
        .compile_fds(descriptors)
        .context("generating the CRI client and server")?;
    let target = root.join("crates/cri/src/v1.rs");
    std::fs::copy(out.path().join("runtime.v1.rs"), &target).with_context(|| format!("writing {}", target.display()))?;
    Ok(())
}
