use std::collections::BTreeMap;

use super::{choose_for, host};
use crate::digest::Digest;
use crate::model::{Descriptor, Platform};

fn offer(name: &str, platform: Option<&str>) -> Descriptor {
    let platform = platform.map(|text| {
        let mut parts = text.split('/').map(str::to_owned);
        Platform { os: parts.next().unwrap(), architecture: parts.next().unwrap(), variant: parts.next().unwrap_or_default() }
    });
    Descriptor { media_type: name.into(), digest: Digest::of(name.as_bytes()), size: 1, annotations: BTreeMap::new(), platform }
}

fn chosen(level: u32, offers: &[&str]) -> Result<String, String> {
    let manifests: Vec<_> = offers.iter().map(|text| offer(text, Some(text))).collect();
    let host = Platform { os: "linux".into(), architecture: "amd64".into(), variant: String::new() };
    choose_for(&host, level, &manifests).map(|found| found.media_type.clone()).map_err(|error| error.to_string())
}

#[test]
fn the_best_variant_that_runs_here_is_taken() {
    assert_eq!(chosen(3, &["linux/arm64/v8", "linux/amd64"]).unwrap(), "linux/amd64");
    assert_eq!(chosen(3, &["linux/amd64", "linux/amd64/v2", "linux/amd64/v4"]).unwrap(), "linux/amd64/v2");
    assert_eq!(chosen(1, &["linux/amd64/v3", "linux/amd64"]).unwrap(), "linux/amd64");
    assert_eq!(chosen(2, &["windows/amd64", "unknown/unknown", "linux/amd64"]).unwrap(), "linux/amd64");
}

#[test]
fn no_match_is_said_in_containerds_words() {
    assert_eq!(chosen(1, &["linux/arm64", "linux/amd64/v4"]).unwrap_err(), "no match for platform in manifest: not found");
    assert!(choose_for(&host(), 1, &[]).is_err());
}

#[test]
fn a_single_manifest_without_platform_is_taken() {
    let alone = [offer("only", None)];
    assert_eq!(choose_for(&host(), 1, &alone).unwrap().media_type, "only");
    let two = [offer("one", None), offer("two", None)];
    assert!(choose_for(&host(), 1, &two).is_err());
}
