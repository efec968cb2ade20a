//! Builds the embedded programs with a cargo of its own: stable cargo has no dependency of one package on another's executable.
//! The nested build has its own target directory, so the two never wait for each other's lock.

// A build script has nobody to return an error to.
#![allow(clippy::expect_used)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

const PROGRAMS: [(&str, &str); 2] = [("corten-shim", "shim"), ("corten-hello", "hello")];

fn main() {
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let target = env::var("TARGET").expect("cargo sets TARGET");
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this crate lies in crates/");
    let nested = out.join("target");

    let mut build = Command::new(env::var_os("CARGO").expect("cargo sets CARGO"));
    build.args(["build", "--locked", "--profile", "shim", "--target", &target, "--target-dir"]).arg(&nested).current_dir(crates);
    for (package, folder) in PROGRAMS {
        build.args(["--package", package]);
        for part in ["src", "Cargo.toml"] {
            println!("cargo::rerun-if-changed={}", crates.join(folder).join(part).display());
        }
    }
    let workspace = crates.parent().expect("crates/ lies in the workspace");
    for part in ["Cargo.toml", "Cargo.lock", ".cargo/config.toml"] {
        println!("cargo::rerun-if-changed={}", workspace.join(part).display());
    }
    // What the outer run set for itself (a clippy wrapper, its flags) must not leak into the inner one.
    for (name, _) in env::vars_os() {
        let name = name.to_string_lossy();
        let set_by_user = ["CARGO_HOME", "CARGO_NET", "CARGO_HTTP", "CARGO_REGISTRY", "CARGO_REGISTRIES", "CARGO_SOURCE"];
        if name.starts_with("CARGO_") && !set_by_user.iter().any(|kept| name.starts_with(kept))
            || matches!(&*name, "RUSTC_WRAPPER" | "RUSTC_WORKSPACE_WRAPPER" | "RUSTC" | "RUSTDOC" | "RUSTFLAGS")
        {
            build.env_remove(&*name);
        }
    }
    build.env("CARGO_TARGET_DIR", &nested);
    let status = build.status().expect("cargo starts");
    assert!(status.success(), "building the embedded programs failed: {build:?}");

    for (package, _) in PROGRAMS {
        let built = nested.join(&target).join("shim").join(package);
        fs::copy(&built, out.join(package)).unwrap_or_else(|error| panic!("cannot copy {}: {error}", built.display()));
    }
}
