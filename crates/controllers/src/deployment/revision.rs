//! Which ReplicaSet is the newest, what revision it is, and what is written on it.

use std::collections::BTreeMap;

use k8s_openapi::api::{
    apps::v1::{Deployment, ReplicaSet, ReplicaSetSpec},
    core::v1::PodTemplateSpec,
};
use kube::api::ObjectMeta;

use super::wanted::Wanted;
use crate::ownership;

pub(super) const REVISION: &str = "deployment.kubernetes.io/revision";
const REVISION_HISTORY: &str = "deployment.kubernetes.io/revision-history";
const DESIRED_REPLICAS: &str = "deployment.kubernetes.io/desired-replicas";
const MAX_REPLICAS: &str = "deployment.kubernetes.io/max-replicas";
pub(super) const TEMPLATE_HASH: &str = "pod-template-hash";

/// A history longer than this is cut at its old end (it is an annotation, and those are limited).
const HISTORY_CHARACTERS: usize = 2000;

/// Annotations of a deployment that say something about the deployment alone.
const NOT_COPIED: [&str; 6] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    REVISION_HISTORY,
    DESIRED_REPLICAS,
    MAX_REPLICAS,
    "deprecated.deployment.rollback.to",
];

type Annotations = BTreeMap<String, String>;

/// The oldest ReplicaSet with the deployment's template, apart from the hash label.
pub(super) fn position_of_newest(deployment: &Deployment, sets: &[ReplicaSet]) -> Option<usize> {
    let template = &deployment.spec.as_ref()?.template;
    sets.iter().enumerate().filter(|(_, set)| has_template(set, template)).min_by_key(|(_, set)| age_key(set)).map(|(index, _)| index)
}

pub(super) fn has_template(set: &ReplicaSet, template: &PodTemplateSpec) -> bool {
    let own = set.spec.as_ref().and_then(|spec| spec.template.clone());
    own.is_some_and(|own| without_hash(own) == without_hash(template.clone()))
}

fn without_hash(mut template: PodTemplateSpec) -> PodTemplateSpec {
    let meta = template.metadata.get_or_insert_default();
    if let Some(labels) = &mut meta.labels {
        labels.remove(TEMPLATE_HASH);
    }
    meta.labels = meta.labels.take().filter(|labels| !labels.is_empty());
    template
}

/// Orders by creation, then by name.
pub(super) fn age_key(set: &ReplicaSet) -> (Option<i64>, Option<String>) {
    let created = set.metadata.creation_timestamp.as_ref();
    (created.map(|time| time.0.as_second()), set.metadata.name.clone())
}

pub(super) fn revision(set: &ReplicaSet) -> i64 {
    number(set, REVISION).unwrap_or(0)
}

/// How many replicas the deployment wanted when the set was last touched.
pub(super) fn desired_replicas(set: &ReplicaSet) -> Option<i32> {
    number(set, DESIRED_REPLICAS).and_then(|count| i32::try_from(count).ok())
}

/// How many pods the deployment allowed when the set was last touched.
pub(super) fn max_replicas(set: &ReplicaSet) -> Option<i32> {
    number(set, MAX_REPLICAS).and_then(|count| i32::try_from(count).ok())
}

fn number(set: &ReplicaSet, annotation: &str) -> Option<i64> {
    set.metadata.annotations.as_ref()?.get(annotation)?.parse().ok()
}

/// Writes how far the deployment may go onto a set.
pub(super) fn annotate_size(set: &mut ReplicaSet, wanted: &Wanted) {
    let annotations = set.metadata.annotations.get_or_insert_default();
    annotations.insert(DESIRED_REPLICAS.into(), wanted.replicas.to_string());
    annotations.insert(MAX_REPLICAS.into(), wanted.max_replicas().to_string());
}

/// Brings the newest set's annotations up to the deployment's: copies of the user's, and the
/// revision, which grows when an old set becomes the newest again (a rollback).
pub(super) fn annotate_newest(deployment: &Deployment, set: &mut ReplicaSet, revision: i64) {
    let annotations = set.metadata.annotations.get_or_insert_default();
    for (key, value) in deployment.metadata.annotations.iter().flatten() {
        if !NOT_COPIED.contains(&key.as_str()) {
            annotations.insert(key.clone(), value.clone());
        }
    }
    let old = annotations.get(REVISION).cloned();
    let old_number: i64 = old.as_deref().and_then(|old| old.parse().ok()).unwrap_or(0);
    if old_number < revision {
        annotations.insert(REVISION.into(), revision.to_string());
        if let Some(old) = old {
            remember(annotations, old);
        }
    }
}

fn remember(annotations: &mut Annotations, old: String) {
    let history = annotations.get(REVISION_HISTORY).cloned().unwrap_or_default();
    let mut entries: Vec<_> = history.split(',').filter(|entry| !entry.is_empty()).collect();
    entries.push(&old);
    while entries.len() > 1 && entries.join(",").len() > HISTORY_CHARACTERS {
        entries.remove(0);
    }
    let joined = entries.join(",");
    annotations.insert(REVISION_HISTORY.into(), joined);
}

/// A set for the deployment's present template, without replicas yet.
pub(super) fn new_set(deployment: &Deployment, wanted: &Wanted, revision: i64) -> ReplicaSet {
    let spec = deployment.spec.clone().unwrap_or_default();
    let collisions = deployment.status.as_ref().and_then(|status| status.collision_count);
    let hash = template_hash(&spec.template, collisions);
    let name = deployment.metadata.name.as_deref().unwrap_or_default();

    let mut template = spec.template;
    let meta = template.metadata.get_or_insert_default();
    let labels = meta.labels.get_or_insert_default();
    labels.insert(TEMPLATE_HASH.into(), hash.clone());
    let labels = labels.clone();
    let mut selector = spec.selector;
    selector.match_labels.get_or_insert_default().insert(TEMPLATE_HASH.into(), hash.clone());

    let mut set = ReplicaSet {
        metadata: ObjectMeta {
            name: Some(format!("{name}-{hash}")),
            namespace: deployment.metadata.namespace.clone(),
            labels: Some(labels),
            owner_references: Some(vec![ownership::reference(deployment)]),
            ..ObjectMeta::default()
        },
        spec: Some(ReplicaSetSpec {
            replicas: Some(0),
            min_ready_seconds: Some(wanted.min_ready_seconds),
            selector,
            template: Some(template),
        }),
        status: None,
    };
    annotate_newest(deployment, &mut set, revision);
    annotate_size(&mut set, wanted);
    set
}

/// A short name for a template: FNV-1a of its JSON and the count of collisions so far, in letters
/// and digits that form no words.
pub(super) fn template_hash(template: &PodTemplateSpec, collisions: Option<i32>) -> String {
    const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
    let mut bytes = serde_json::to_vec(template).unwrap_or_default();
    bytes.extend(collisions.into_iter().flat_map(i32::to_le_bytes));
    let hash = bytes.iter().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193));
    let digits = hash.to_string();
    digits.bytes().filter_map(|digit| ALPHABET.get(usize::from(digit) % ALPHABET.len())).map(|byte| char::from(*byte)).collect()
}
