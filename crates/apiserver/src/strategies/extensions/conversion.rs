//! How objects get from one version of a custom kind to another.
//!
//! The reference reports these fields by the names of its own inner form (`webhookClientConfig` directly below `conversion`).

use std::collections::BTreeSet;

use corten_schema::Value;

use super::versions;
use crate::status::FieldError;
use crate::strategies::registration;
use crate::strategies::validation::{Errors, Path, invalid_all, names, one_of};
use crate::view::{at, text, texts};

const KNOWN: [&str; 2] = ["v1", "v1beta1"];

fn known(conversion: &Value) -> bool {
    let mut versions = texts(conversion, "webhook.conversionReviewVersions").peekable();
    versions.peek().is_none() || versions.any(|version| KNOWN.contains(&version))
}

fn review_versions(errors: &mut Errors, path: Path<'_>, conversion: &Value, must_be_known: bool) {
    let versions: Vec<&str> = texts(conversion, "webhook.conversionReviewVersions").collect();
    if versions.is_empty() {
        errors.push(FieldError::required(path, ""));
        return;
    }
    let mut seen = BTreeSet::new();
    for (number, version) in versions.iter().enumerate() {
        if !seen.insert(version) {
            errors.push(FieldError::invalid(path.index(number), version, "duplicate version"));
        } else {
            invalid_all(errors, path.index(number), version, names::label_1035(version));
        }
    }
    if must_be_known && !versions.iter().any(|version| KNOWN.contains(version)) {
        errors.push(FieldError::invalid(path, versions, "must include at least one of v1, v1beta1"));
    }
}

/// What is wrong with `spec.conversion`. Review versions that no server knows may stay if they were there before.
pub(super) fn check(errors: &mut Errors, definition: &Value, old: Option<&Value>) {
    let Some(conversion) = at(definition, "spec.conversion") else { return };
    let path = versions::SPEC.field("conversion");
    let strategy = text(conversion, "strategy");
    match strategy {
        "" => errors.push(FieldError::required(path.field("strategy"), "")),
        other => one_of(errors, path.field("strategy"), other, &["None", "Webhook"]),
    }
    let (client, reviews) = (path.field("webhookClientConfig"), path.field("conversionReviewVersions"));
    if strategy == "Webhook" {
        match at(conversion, "webhook.clientConfig") {
            None => errors.push(FieldError::required(client, "required when strategy is set to Webhook")),
            Some(config) => registration::client(errors, client, config),
        }
        let must_be_known = old.and_then(|old| at(old, "spec.conversion")).is_none_or(known);
        review_versions(errors, reviews, conversion, must_be_known);
        return;
    }
    for (field, at_path) in [("webhook.clientConfig", client), ("webhook.conversionReviewVersions", reviews)] {
        if at(conversion, field).is_some() {
            errors.push(FieldError::forbidden(at_path, "should not be set when strategy is not set to Webhook"));
        }
    }
}
