//! Which manifest of an index is for this machine.

use crate::model::{Descriptor, Platform};

/// An index without a manifest for this machine, in containerd's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no match for platform in manifest: not found")]
pub struct NoPlatform;

/// The platform that this program runs on, in the OCI specification's (Go's) words.
pub(crate) fn host() -> Platform {
    let (architecture, variant) = match std::env::consts::ARCH {
        "x86_64" => ("amd64", ""),
        "aarch64" => ("arm64", "v8"),
        "x86" => ("386", ""),
        "powerpc64" => ("ppc64le", ""),
        other => (other, ""),
    };
    Platform { os: "linux".into(), architecture: architecture.into(), variant: variant.into() }
}

/// The x86-64 micro-architecture level of this processor (`v1` to `v4` of the psABI), 0 elsewhere.
#[cfg(target_arch = "x86_64")]
fn amd64_level() -> u32 {
    use std::arch::is_x86_feature_detected as has;
    let v2 = has!("sse4.2") && has!("ssse3") && has!("popcnt") && has!("sse4.1");
    let v3 = v2 && has!("avx2") && has!("bmi1") && has!("bmi2") && has!("fma") && has!("lzcnt") && has!("movbe") && has!("f16c");
    let v4 = v3 && has!("avx512f") && has!("avx512bw") && has!("avx512cd") && has!("avx512dq") && has!("avx512vl");
    1 + u32::from(v2) + u32::from(v3) + u32::from(v4)
}

#[cfg(not(target_arch = "x86_64"))]
fn amd64_level() -> u32 {
    0
}

/// How well an image for `offered` suits a machine that is `host` with amd64 level `level`: higher is better, `None` is not at all.
fn fitness(host: &Platform, level: u32, offered: &Platform) -> Option<u32> {
    if offered.os != host.os || offered.architecture != host.architecture {
        return None;
    }
    let number = |variant: &str| variant.strip_prefix('v').and_then(|number| number.parse::<u32>().ok());
    match (host.architecture.as_str(), offered.variant.as_str()) {
        ("amd64", "") => Some(1),
        ("amd64", variant) => number(variant).filter(|wanted| *wanted <= level),
        ("arm64", "") => Some(8),
        ("arm64", variant) => number(variant).filter(|wanted| *wanted <= 8),
        (_, variant) => (variant.is_empty() || variant == host.variant).then_some(1),
    }
}

/// The best manifest of an index for this machine. Entries without a platform (attestations have `unknown`) are taken only if they are alone.
pub(crate) fn choose(manifests: &[Descriptor]) -> Result<&Descriptor, NoPlatform> {
    choose_for(&host(), amd64_level(), manifests)
}

fn choose_for<'a>(host: &Platform, level: u32, manifests: &'a [Descriptor]) -> Result<&'a Descriptor, NoPlatform> {
    let mut best: Option<(u32, &Descriptor)> = None;
    for manifest in manifests {
        let Some(fit) = manifest.platform.as_ref().and_then(|offered| fitness(host, level, offered)) else { continue };
        // The first of equals wins, as the index's order is its maker's preference.
        if best.is_none_or(|(known, _)| fit > known) {
            best = Some((fit, manifest));
        }
    }
    match (best, manifests) {
        (Some((_, manifest)), _) => Ok(manifest),
        (None, [single]) if single.platform.is_none() => Ok(single),
        _ => Err(NoPlatform),
    }
}

#[cfg(test)]
mod tests;
