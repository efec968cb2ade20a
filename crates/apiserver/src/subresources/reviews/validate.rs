//! What is wrong with a question about access, and what of it is not understood.

use corten_schema::{Map, Value};

use super::super::exchange::Exchange;
use crate::engine::LabelSelector;
use crate::request::Term;
use crate::status::FieldError;
use crate::strategies::validation::{Errors, Path, labels};
use crate::view::{at, list, text};

const SPEC: Path<'static> = Path::Root("spec");
const RESOURCE: Path<'static> = Path::Root("spec.resourceAttributes");

/// Everything wrong with a review of access.
pub(super) fn review(exchange: &Exchange, kind: &str, review: &Value) -> Errors {
    let mut errors = Errors::new();
    let (resource, other) = (at(review, "spec.resourceAttributes"), at(review, "spec.nonResourceAttributes"));
    let shown = || other.map_or(Value::Null, in_go);
    match (resource, other) {
        (Some(_), Some(_)) => {
            let words = "cannot be specified in combination with resourceAttributes";
            errors.push(FieldError::invalid(SPEC.field("nonResourceAttributes"), shown(), words));
        }
        (None, None) => {
            let words = "exactly one of nonResourceAttributes or resourceAttributes must be specified";
            errors.push(FieldError::invalid(RESOURCE, Value::Null, words));
        }
        _ => {}
    }
    let own = kind == "SelfSubjectAccessReview";
    if !own && text(review, "spec.user").is_empty() && list(review, "spec.groups").len() == 0 {
        errors.push(FieldError::invalid(SPEC.field("user"), "", "at least one of user or group must be specified"));
    }
    if let Some(resource) = resource {
        selectors(&mut errors, resource);
    }
    let local = kind == "LocalSubjectAccessReview";
    metadata(&mut errors, review, local);
    if local {
        let namespace = resource.map(|resource| text(resource, "namespace"));
        if let Some(namespace) = namespace.filter(|namespace| *namespace != exchange.namespace()) {
            errors.push(FieldError::invalid(RESOURCE.field("namespace"), namespace, "must match metadata.namespace"));
        }
        if other.is_some() {
            let words = "disallowed on this kind of request";
            errors.push(FieldError::invalid(SPEC.field("nonResourceAttributes"), shown(), words));
        }
    }
    errors
}

/// Attributes of a path as the reference shows them, by the names that they have inside of it.
fn in_go(attributes: &Value) -> Value {
    corten_schema::value!({"Path": (text(attributes, "path")), "Verb": (text(attributes, "verb"))})
}

/// Nobody gives a question a name.
fn metadata(errors: &mut Errors, review: &Value, local: bool) {
    let is_given = |(name, _): &(&corten_schema::Str, &Value)| name.as_str() != "managedFields" && !(local && name.as_str() == "namespace");
    if review.metadata().into_iter().flat_map(Map::iter).any(|entry| is_given(&entry)) {
        let words = if local { "must be empty except for namespace" } else { "must be empty" };
        errors.push(FieldError::invalid(Path::Root("metadata"), at(review, "metadata"), words));
    }
}

fn selectors(errors: &mut Errors, resource: &Value) {
    for name in ["fieldSelector", "labelSelector"] {
        let Some(selector) = at(resource, name) else { continue };
        let path = RESOURCE.field(name);
        let (raw, requirements) = (text(selector, "rawSelector"), list(selector, "requirements"));
        match (raw, requirements.len()) {
            ("", 0) => {
                let words = format!("when {path} is specified, requirements or rawSelector is required");
                errors.push(FieldError::required(path.field("requirements"), words));
            }
            ("", _) | (_, 0) => {}
            (raw, _) => {
                let words = "may not specified at the same time as requirements";
                errors.push(FieldError::invalid(path.field("rawSelector"), raw, words));
            }
        }
        let all = path.field("requirements");
        for (number, requirement) in requirements.enumerate() {
            let path = all.index(number);
            if name == "labelSelector" {
                // Operators of newer clients are let pass.
                labels::values_fit_operator(errors, path, requirement);
                labels::term(errors, path, requirement);
            } else {
                if text(requirement, "key").is_empty() {
                    errors.push(FieldError::required(path.field("key"), "must be specified"));
                }
                labels::values_fit_operator(errors, path, requirement);
            }
        }
    }
}

/// What of the selectors cannot be read, and so counts for nothing: whoever may see everything may also see less.
pub(super) fn ignored(review: &Value) -> String {
    let mut told = Vec::new();
    for name in ["fieldSelector", "labelSelector"] {
        let Some(selector) = at(review, "spec.resourceAttributes").and_then(|resource| at(resource, name)) else { continue };
        let (wrong, all) = match text(selector, "rawSelector") {
            "" => (list(selector, "requirements").filter(|one| !is_read(name, one)).count(), list(selector, "requirements").len()),
            raw if name == "fieldSelector" => (usize::from(Term::parse_all(raw).is_err()), 1),
            raw => (usize::from(LabelSelector::parse(raw).is_err()), 1),
        };
        if wrong > 0 {
            let how = if wrong < all { "partially ignored" } else { "ignored" };
            told.push(format!("{RESOURCE}.{name} {how} due to parse error"));
        }
    }
    told.join("; ")
}

fn is_read(name: &str, requirement: &Value) -> bool {
    let (operator, values) = (text(requirement, "operator"), list(requirement, "values").len());
    match name {
        "labelSelector" => matches!(operator, "In" | "NotIn" | "Exists" | "DoesNotExist"),
        _ => matches!(operator, "In" | "NotIn") && values == 1,
    }
}
