//! Groups of the community (`*.k8s.io`, `*.kubernetes.io`) need a word of approval.

use corten_schema::Value;

use crate::status::FieldError;
use crate::strategies::validation::{Errors, Path};
use crate::view::text;

const KEY: &str = "api-approved.kubernetes.io";
const SEE: &str = "see https://github.com/kubernetes/enhancements/pull/1111";

#[derive(PartialEq, Eq)]
enum Approval {
    Missing,
    Bypassed,
    Given,
    Invalid,
}

fn protected(group: &str) -> bool {
    ["k8s.io", "kubernetes.io"].iter().any(|domain| group == *domain || group.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.')))
}

fn state(definition: &Value) -> Approval {
    match definition.annotation(KEY).unwrap_or_default() {
        "" => Approval::Missing,
        words if words.starts_with("unapproved") => Approval::Bypassed,
        url => match url.split_once("://") {
            Some((scheme, rest)) if !scheme.is_empty() && !rest.split('/').next().unwrap_or_default().is_empty() => Approval::Given,
            _ => Approval::Invalid,
        },
    }
}

/// What is wrong with the annotation; nothing as long as it stays as bad as it was.
pub(super) fn check(errors: &mut Errors, definition: &Value, old: Option<&Value>) {
    let now = state(definition);
    if !protected(text(definition, "spec.group")) || old.is_some_and(|old| state(old) == now) {
        return;
    }
    let metadata = Path::Root("metadata");
    let annotations = metadata.field("annotations");
    let path = annotations.key(KEY);
    match now {
        Approval::Missing => {
            errors.push(FieldError::required(path, format!("protected groups must have approval annotation {KEY:?}, {SEE}")));
        }
        Approval::Invalid => {
            let words = format!(
                "protected groups must have approval annotation {KEY:?} with either a URL or a reason starting with \"unapproved\", {SEE}"
            );
            errors.push(FieldError::invalid(path, definition.annotation(KEY).unwrap_or_default(), words));
        }
        Approval::Bypassed | Approval::Given => {}
    }
}
