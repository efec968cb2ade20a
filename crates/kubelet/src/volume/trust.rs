//! Trust anchors of ClusterTrustBundles in one file.
//!
//! <https://kubernetes.io/docs/concepts/storage/projected-volumes/#clustertrustbundle>. The kind is one of those that the
//! reference serves on demand only; where it is not served, a volume that refers to it says so, optional or not, as there.

use std::collections::BTreeSet;

use corten_client::selector;
use k8s_openapi::api::certificates::v1beta1::ClusterTrustBundle;
use k8s_openapi::api::core::v1::ClusterTrustBundleProjection;

use super::{Context, VolumeError};

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

/// The file's content.
pub(super) async fn file(source: &ClusterTrustBundleProjection, context: &Context<'_>) -> Result<Vec<u8>, VolumeError> {
    let bundles = context.objects.trust_bundles().await?;
    anchors(source, bundles.iter().map(AsRef::as_ref)).map(String::into_bytes)
}

/// All certificates of the bundles that are meant, each once, in an order that tells nothing.
fn anchors<'a>(source: &ClusterTrustBundleProjection, all: impl Iterator<Item = &'a ClusterTrustBundle>) -> Result<String, VolumeError> {
    let meant = |bundle: &&ClusterTrustBundle| match (&source.name, &source.signer_name) {
        (Some(name), _) => bundle.metadata.name.as_ref() == Some(name),
        (None, Some(signer)) => {
            // Without a selector none is meant; an empty one means all.
            let labels = source.label_selector.as_ref().is_some_and(|s| selector::matches(s, bundle.metadata.labels.as_ref()));
            bundle.spec.signer_name.as_ref() == Some(signer) && labels
        }
        (None, None) => false,
    };
    let mut found = false;
    let mut certificates = BTreeSet::new();
    for bundle in all.filter(meant) {
        found = true;
        certificates.extend(blocks(&bundle.spec.trust_bundle));
    }
    if !found && source.optional != Some(true) {
        return Err(match &source.name {
            Some(name) => VolumeError::NoTrustBundle(name.clone()),
            None => VolumeError::NoTrustBundles,
        });
    }
    Ok(certificates.into_iter().fold(String::new(), |mut text, block| {
        text.push_str(BEGIN);
        text.push('\n');
        text.push_str(&block);
        text.push_str(END);
        text.push('\n');
        text
    }))
}

/// What stands between the lines of each certificate, without comments and headers.
fn blocks(pem: &str) -> impl Iterator<Item = String> {
    pem.split(BEGIN).skip(1).filter_map(|rest| {
        let (body, _) = rest.split_once(END)?;
        let lines = body.lines().map(str::trim).filter(|line| !line.is_empty() && !line.contains(':'));
        Some(lines.fold(String::new(), |text, line| text + line + "\n"))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn bundle(name: &str, signer: Option<&str>, label: &str, bodies: &[&str]) -> ClusterTrustBundle {
        let pem: String = bodies.iter().map(|body| format!("a comment\n{BEGIN}\nA: header\n\n{body}\n{END}\n")).collect();
        serde_json::from_value(json!({
            "metadata": {"name": name, "labels": {"stage": label}}, "spec": {"signerName": signer, "trustBundle": pem},
        }))
        .unwrap()
    }

    #[test]
    fn every_anchor_is_there_once_and_nothing_else() {
        let all = [
            bundle("plain", None, "live", &["Zm9v"]),
            bundle("a:one", Some("a"), "live", &["Zm9v", "YmFy"]),
            bundle("a:two", Some("a"), "live", &["YmFy"]),
            bundle("a:old", Some("a"), "old", &["b2xk"]),
            bundle("b:one", Some("b"), "live", &["b3RoZXI="]),
        ];
        let file = |bodies: &[&str]| bodies.iter().map(|b| format!("{BEGIN}\n{b}\n{END}\n")).collect::<String>();
        for (source, expected) in [
            (json!({"path": "p", "name": "plain"}), Ok(file(&["Zm9v"]))),
            (json!({"path": "p", "name": "none"}), Err("clustertrustbundle \"none\" not found")),
            (json!({"path": "p", "name": "none", "optional": true}), Ok(String::new())),
            (json!({"path": "p", "signerName": "a", "labelSelector": {"matchLabels": {"stage": "live"}}}), Ok(file(&["YmFy", "Zm9v"]))),
            (json!({"path": "p", "signerName": "a", "labelSelector": {}}), Ok(file(&["YmFy", "Zm9v", "b2xk"]))),
            (json!({"path": "p", "signerName": "a"}), Err("combination of signerName and labelSelector matched zero ClusterTrustBundles")),
        ] {
            let wanted: ClusterTrustBundleProjection = serde_json::from_value(source.clone()).unwrap();
            let made = anchors(&wanted, all.iter()).map_err(|e| e.to_string());
            assert_eq!(made, expected.map_err(str::to_owned), "{source}");
        }
    }
}
