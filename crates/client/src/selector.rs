//! Label selectors
//! (<https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#resources-that-support-set-based-requirements>).

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};

/// Labels as objects carry them.
pub type Labels = BTreeMap<String, String>;

/// Whether a selector takes an object with these labels. An empty selector takes everything; what
/// a missing one means differs by field, so the caller decides that. A requirement with an unknown
/// operator (which validation refuses) takes nothing.
pub fn matches(selector: &LabelSelector, labels: Option<&Labels>) -> bool {
    let empty = Labels::new();
    let labels = labels.unwrap_or(&empty);
    contains_all(labels, selector.match_labels.as_ref())
        && selector.match_expressions.iter().flatten().all(|requirement| requirement_matches(requirement, labels))
}

/// Whether a selector selects nothing in particular: such a selector takes everything.
pub fn is_empty(selector: &LabelSelector) -> bool {
    selector.match_labels.as_ref().is_none_or(BTreeMap::is_empty) && selector.match_expressions.as_ref().is_none_or(Vec::is_empty)
}

/// Whether all wanted labels are there with the wanted values (an equality selector, such as that
/// of a Service or a node selector).
pub fn contains_all(labels: &Labels, wanted: Option<&Labels>) -> bool {
    wanted.into_iter().flatten().all(|(key, value)| labels.get(key) == Some(value))
}

fn requirement_matches(requirement: &LabelSelectorRequirement, labels: &Labels) -> bool {
    let value = labels.get(&requirement.key);
    let listed = || value.is_some_and(|value| requirement.values.as_ref().is_some_and(|values| values.contains(value)));
    match requirement.operator.as_str() {
        "In" => listed(),
        "NotIn" => !listed(),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        _ => false,
    }
}

/// The selector in the text form of list requests (`labelSelector=`).
pub fn to_query(selector: &LabelSelector) -> String {
    let equal = selector.match_labels.iter().flatten().map(|(key, value)| format!("{key}={value}"));
    let expressions = selector.match_expressions.iter().flatten().map(|requirement| {
        let key = &requirement.key;
        let values = requirement.values.as_deref().unwrap_or_default().join(",");
        match requirement.operator.as_str() {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "DoesNotExist" => format!("!{key}"),
            _ => key.clone(),
        }
    });
    equal.chain(expressions).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests;
