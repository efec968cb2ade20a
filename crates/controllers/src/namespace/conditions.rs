//! What is left in a namespace, and how that is said: pure.

use std::collections::BTreeMap;

use k8s_openapi::{api::core::v1::NamespaceCondition, apimachinery::pkg::apis::meta::v1::Time};

use crate::inventory::Metadata;

/// What was found in a namespace.
#[derive(Debug, Default)]
pub(super) struct Remaining {
    by_kind: BTreeMap<String, usize>,
    by_finalizer: BTreeMap<String, usize>,
    errors: Vec<String>,
}

impl Remaining {
    pub(super) fn count(&mut self, kind: &str, objects: &[Metadata]) {
        if objects.is_empty() {
            return;
        }
        *self.by_kind.entry(kind.to_owned()).or_default() += objects.len();
        for finalizer in objects.iter().flat_map(|object| &object.metadata.finalizers) {
            for name in finalizer {
                *self.by_finalizer.entry(name.clone()).or_default() += 1;
            }
        }
    }

    pub(super) fn failed(&mut self, kind: &str, error: &kube::Error) {
        let text = match error {
            kube::Error::Api(status) => status.message.clone(),
            other => other.to_string(),
        };
        self.errors.push(format!("{kind}: {text}"));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_kind.is_empty() && self.errors.is_empty()
    }

    /// The conditions of the namespace, those that did not change with their former time.
    pub(super) fn conditions(&self, old: Option<&[NamespaceCondition]>, now: &Time) -> Option<Vec<NamespaceCondition>> {
        let listed = |counts: &BTreeMap<String, usize>, word: &str| {
            let texts = counts.iter().map(|(name, count)| format!("{name} {word} {count} resource instances"));
            texts.collect::<Vec<_>>().join(", ")
        };
        let facts = [
            ("NamespaceDeletionDiscoveryFailure", None, ("ResourcesDiscovered", "All resources successfully discovered")),
            ("NamespaceDeletionGroupVersionParsingFailure", None, ("ParsedGroupVersions", "All legacy kube types successfully parsed")),
            (
                "NamespaceDeletionContentFailure",
                (!self.errors.is_empty()).then(|| {
                    let errors = self.errors.join(", ");
                    ("ContentDeletionFailed", format!("Failed to delete all resource types, {} remaining: {errors}", self.errors.len()))
                }),
                ("ContentDeleted", "All content successfully deleted, may be waiting on finalization"),
            ),
            (
                "NamespaceContentRemaining",
                (!self.by_kind.is_empty()).then(|| {
                    let kinds = listed(&self.by_kind, "has");
                    ("SomeResourcesRemain", format!("Some resources are remaining: {kinds}"))
                }),
                ("ContentRemoved", "All content successfully removed"),
            ),
            (
                "NamespaceFinalizersRemaining",
                (!self.by_finalizer.is_empty()).then(|| {
                    let finalizers = listed(&self.by_finalizer, "in");
                    ("SomeFinalizersRemain", format!("Some content in the namespace has finalizers remaining: {finalizers}"))
                }),
                ("ContentHasNoFinalizers", "All content-preserving finalizers finished"),
            ),
        ];
        let conditions = facts.into_iter().map(|(type_, bad, good)| {
            let (status, reason, message) = match bad {
                Some((reason, message)) => ("True", reason, message),
                None => ("False", good.0, good.1.to_owned()),
            };
            let before = old.unwrap_or_default().iter().find(|condition| condition.type_ == type_ && condition.status == status);
            let since = before.and_then(|condition| condition.last_transition_time.clone());
            NamespaceCondition {
                type_: type_.into(),
                status: status.into(),
                reason: Some(reason.into()),
                message: Some(message),
                last_transition_time: since.or_else(|| Some(now.clone())),
            }
        });
        Some(conditions.collect())
    }
}
