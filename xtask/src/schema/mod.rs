//! `cargo xtask schema`: makes the kind table's data file from public facts.
//!
//! The facts are names, numbers and flags of the reference's Go type
//! declarations, as Debian packages them; no text is taken. What is newer than
//! the API level is left out: the package also has, for each kind of that level, an
//! example object with every field set.
//!
//! Raising the API level is running the task with another [`LEVEL`].

mod emit;
mod go;
mod level;
mod sources;

use anyhow::{Context, Result};
use std::path::Path;

/// The API level of the table.
const LEVEL: &str = "v1.35";

/// Types that clients exchange without being a resource's own.
const EXTRA: [&str; 22] = [
    "io.k8s.apimachinery.pkg.apis.meta.v1.APIGroupList",
    "io.k8s.apimachinery.pkg.apis.meta.v1.APIResourceList",
    "io.k8s.apimachinery.pkg.apis.meta.v1.APIVersions",
    "io.k8s.apimachinery.pkg.apis.meta.v1.CreateOptions",
    "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions",
    "io.k8s.apimachinery.pkg.apis.meta.v1.GetOptions",
    "io.k8s.apimachinery.pkg.apis.meta.v1.ListOptions",
    "io.k8s.apimachinery.pkg.apis.meta.v1.PartialObjectMetadataList",
    "io.k8s.apimachinery.pkg.apis.meta.v1.PatchOptions",
    "io.k8s.apimachinery.pkg.apis.meta.v1.Status",
    "io.k8s.apimachinery.pkg.apis.meta.v1.Table",
    "io.k8s.apimachinery.pkg.apis.meta.v1.UpdateOptions",
    "io.k8s.apimachinery.pkg.apis.meta.v1.WatchEvent",
    "io.k8s.api.admission.v1.AdmissionReview",
    "io.k8s.api.apidiscovery.v2.APIGroupDiscoveryList",
    "io.k8s.api.authentication.v1.TokenRequest",
    "io.k8s.api.autoscaling.v1.Scale",
    "io.k8s.api.core.v1.PodLogOptions",
    "io.k8s.api.core.v1.SerializedReference",
    "io.k8s.api.policy.v1.Eviction",
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.ConversionReview",
    "io.k8s.apimachinery.pkg.apis.meta.v1.PartialObjectMetadata",
];

/// Fetches the facts and writes `crates/schema/data/v1.35.types`.
pub(crate) fn run() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the workspace has a root")?;
    let tree = sources::fetch(&root.join("target/schema-sources"))?;
    write(root, &tree)
}

fn write(root: &Path, tree: &Path) -> Result<()> {
    let data = root.join("crates/schema/data");
    let mut program = go::Program::default();
    for package in go::PACKAGES {
        program.load(tree, package)?;
    }
    let known = level::Fields::of_examples(&program, &tree.join(format!("k8s.io/api/testdata/{LEVEL}.0")))?;
    for field in known.missing() {
        println!("not declared any more: {field}");
    }
    let served = emit::served(&std::fs::read_to_string(data.join("resources"))?)?;
    let overlay = std::fs::read_to_string(data.join("overlay"))?;
    let text = emit::table(LEVEL, &program, &known, &served, &overlay)?;
    let target = data.join(format!("{LEVEL}.types"));
    std::fs::write(&target, text).with_context(|| format!("write {}", target.display()))?;
    println!("wrote {}", target.display());
    Ok(())
}
