//! `cargo xtask cri`: the Rust of gRPC interfaces (CRI, the kubelet's pod resources) out of their definitions.
//!
//! The generated files are committed, so that a build needs neither a protobuf compiler nor
//! these generators; they sit behind the feature `codegen`.

use std::path::Path;

use anyhow::Context as _;

/// Definition, what the generator calls its Rust, and where that goes.
const INTERFACES: [(&str, &str, &str); 2] = [
    ("crates/cri/proto/runtime.proto", "runtime.v1.rs", "crates/cri/src/v1.rs"),
    ("crates/kubelet/proto/podresources.proto", "v1.rs", "crates/kubelet/src/podresources/v1.rs"),
];

/// Writes the Rust of all interfaces. `root` is the workspace's directory.
pub fn generate(root: &Path) -> anyhow::Result<()> {
    for (definition, made, target) in INTERFACES {
        let definition = root.join(definition);
        let directory = definition.parent().context("a definition is in a directory")?;
        let descriptors = protox::compile([&definition], [directory]).with_context(|| format!("compiling {}", definition.display()))?;
        let out = tempfile::tempdir()?;
        tonic_prost_build::configure()
            .out_dir(out.path())
            // Credentials must not reach a log: `Debug` is written by hand beside the file.
            .skip_debug(["runtime.v1.AuthConfig"])
            .compile_fds(descriptors)
            .with_context(|| format!("generating client and server of {}", definition.display()))?;
        let target = root.join(target);
        std::fs::copy(out.path().join(made), &target).with_context(|| format!("writing {}", target.display()))?;
    }
    Ok(())
}
