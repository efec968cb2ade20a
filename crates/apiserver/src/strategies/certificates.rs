//! Certificate signing requests: who asked is recorded by the server, approval and issue are separate subresources.

use std::collections::HashSet;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use corten_pki::CertificateRequest;
use corten_schema::{Map, Value};

use super::field;
use super::validation::{Errors, Path, names, one_of, values_of};
use crate::status::{ApiError, FieldError};
use crate::strategy::{NameRule, Scope, SelectableField, Strategy};
use crate::view::{at, int, list, text};

/// The strategy of certificate signing requests.
pub(super) struct Requests;

fn decision(kind: &str) -> bool {
    matches!(kind, "Approved" | "Denied")
}

/// Fills in the times of conditions that their writer left out.
fn stamp(conditions: &mut [Value], old: &Value, now: &str) {
    for condition in conditions {
        let kind = text(condition, "type").to_owned();
        let before = list(old, "status.conditions").find(|condition| text(condition, "type") == kind);
        if text(condition, "lastUpdateTime").is_empty() {
            condition.insert("lastUpdateTime", now);
        }
        if text(condition, "lastTransitionTime").is_empty() {
            let same = before.filter(|before| text(before, "status") == text(condition, "status"));
            let time = same.map(|before| text(before, "lastTransitionTime")).filter(|time| !time.is_empty());
            condition.insert("lastTransitionTime", time.unwrap_or(now).to_owned());
        }
    }
}

/// `example.com/signer`: who is to sign.
fn signer(errors: &mut Errors, path: Path<'_>, name: &str) {
    let mut parts = name.split('/');
    let (domain, rest) = match (parts.next(), parts.next(), parts.next()) {
        (Some(""), None, _) => return errors.push(FieldError::required(path, "")),
        (Some(domain), Some(rest), None) => (domain, rest),
        _ => {
            let words = "must be a fully qualified domain and path of the form 'example.com/signer-name'";
            return errors.push(FieldError::invalid(path, name, words));
        }
    };
    let mut first_wrong = |part: &str, check: fn(&str) -> names::Findings| {
        let wrong = part.split('.').map(|label| (label, check(label))).find(|(_, found)| !found.is_empty());
        for (label, why) in wrong.into_iter().flat_map(|(label, found)| found.into_iter().map(move |why| (label, why))) {
            errors.push(FieldError::invalid(path, part, format!("validating label {label:?}: {why}")));
        }
    };
    first_wrong(domain, names::label);
    first_wrong(rest, names::subdomain);
    if !domain.contains('.') {
        errors.push(FieldError::invalid(path, domain, "should be a domain with at least two segments separated by dots"));
    }
}

impl Strategy for Requests {
    fn name_rule(&self) -> NameRule {
        NameRule::PathSegment
    }

    fn selectable_fields(&self) -> &'static [SelectableField] {
        const FIELDS: &[SelectableField] = &[field("spec.signerName", &["spec", "signerName"])];
        FIELDS
    }

    fn prepare_create(&self, scope: Scope<'_>, object: &mut Value) -> Result<(), ApiError> {
        let user = &scope.context.user;
        object.set_at(&["spec", "username"], user.name.as_str());
        object.set_at(&["spec", "groups"], user.groups.clone());
        if user.uid.is_empty() {
            object.remove_at(&["spec", "uid"]);
        } else {
            object.set_at(&["spec", "uid"], user.uid.as_str());
        }
        if user.extra.is_empty() {
            object.remove_at(&["spec", "extra"]);
        } else {
            let extra: Map = user.extra.iter().map(|(key, values)| (key.as_str(), values.clone())).collect();
            object.set_at(&["spec", "extra"], extra);
        }
        Ok(())
    }

    fn prepare_update(&self, scope: Scope<'_>, object: &mut Value, old: &Value) -> Result<(), ApiError> {
        if let Some(spec) = at(old, "spec") {
            object.insert("spec", spec.clone());
        }
        if scope.subresource == "approval" {
            self.prepare_status(scope, object, old)?;
        }
        Ok(())
    }

    /// Approvers change only conditions, signers everything but decisions: these stay as they were.
    fn prepare_status(&self, scope: Scope<'_>, object: &mut Value, old: &Value) -> Result<(), ApiError> {
        let approval = scope.subresource == "approval";
        let mut all: Vec<Value> = list(object, "status.conditions").cloned().collect();
        for condition in all.iter_mut().filter(|condition| !approval && decision(text(condition, "type"))) {
            let same = |before: &&Value| text(before, "type") == text(condition, "type");
            if let Some(before) = list(old, "status.conditions").find(same).cloned() {
                *condition = before;
            }
        }
        stamp(&mut all, old, &crate::time::now());
        let mut status = at(if approval { old } else { object }, "status").cloned().unwrap_or_else(Value::map);
        if all.is_empty() {
            status.remove("conditions");
        } else {
            status.insert("conditions", all);
        }
        object.insert("status", status);
        Ok(())
    }

    fn validate(&self, _: Scope<'_>, object: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        let spec = Path::Root("spec");
        let pem = STANDARD.decode(text(object, "spec.request")).unwrap_or_default();
        if let Err(error) = CertificateRequest::parse(&pem) {
            let value = text(object, "spec.request");
            errors.push(FieldError::invalid(spec.field("request"), value, error.to_string()));
        }
        let usages = at(object, "spec.usages").and_then(Value::as_list).unwrap_or_default();
        if usages.is_empty() {
            errors.push(FieldError::required(spec.field("usages"), ""));
        }
        let path = spec.field("usages");
        let known = values_of("certificates.v1.CertificateSigningRequestSpec", "usages");
        let mut seen = HashSet::new();
        for (number, usage) in usages.iter().enumerate() {
            let word = usage.as_str().unwrap_or_default();
            one_of(&mut errors, path.index(number), word, known);
            if !seen.insert(word) {
                errors.push(FieldError::duplicate(path.index(number), usage));
            }
        }
        match text(object, "spec.signerName") {
            name @ "kubernetes.io/legacy-unknown" => {
                let words = "the legacy signerName is not allowed via this API version";
                errors.push(FieldError::invalid(spec.field("signerName"), name, words));
            }
            name => signer(&mut errors, spec.field("signerName"), name),
        }
        if let Some(seconds) = int(object, "spec.expirationSeconds")
            && seconds < 600
        {
            let words = "may not specify a duration less than 600 seconds (10 minutes)";
            errors.push(FieldError::invalid(spec.field("expirationSeconds"), seconds, words));
        }
        errors
    }

    fn validate_update(&self, _: Scope<'_>, object: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        decisions(&mut errors, object, old);
        errors
    }

    fn validate_status(&self, scope: Scope<'_>, object: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        decisions(&mut errors, object, old);
        let has = |of: &Value, kind: &str| list(of, "status.conditions").any(|condition| text(condition, "type") == kind);
        for kind in ["Approved", "Denied"] {
            if scope.subresource != "approval" && has(object, kind) && !has(old, kind) {
                errors.push(FieldError::forbidden("status.conditions", format!("updates may not add a condition of type {kind:?}")));
            }
        }
        let (new, before) = (text(object, "status.certificate"), text(old, "status.certificate"));
        if !before.is_empty() && new != before {
            errors.push(FieldError::forbidden("status.certificate", "updates may not modify existing certificate content"));
        }
        let pem = STANDARD.decode(new).unwrap_or_default();
        if !new.is_empty() && !String::from_utf8_lossy(&pem).contains("-----BEGIN CERTIFICATE-----") {
            let words = "must contain at least one CERTIFICATE PEM block";
            errors.push(FieldError::invalid("status.certificate", "<certificate data>", words));
        }
        errors
    }
}

/// Decisions are never taken back, and there is one at most.
fn decisions(errors: &mut Errors, object: &Value, old: &Value) {
    let status = Path::Root("status");
    let path = status.field("conditions");
    let has = |of: &Value, kind: &str| list(of, "status.conditions").any(|condition| text(condition, "type") == kind);
    for kind in ["Approved", "Denied", "Failed"] {
        if has(old, kind) && !has(object, kind) {
            errors.push(FieldError::forbidden(path, format!("updates may not remove a condition of type {kind:?}")));
        }
    }
    let decided: Vec<&str> =
        list(object, "status.conditions").map(|condition| text(condition, "type")).filter(|kind| decision(kind)).collect();
    if let Some(later) = decided.iter().find(|kind| decided.first() != Some(kind)) {
        errors.push(FieldError::invalid(path, later, "Approved and Denied conditions are mutually exclusive"));
    }
    let mut seen = HashSet::new();
    for (number, condition) in list(object, "status.conditions").enumerate() {
        let path = path.index(number);
        let kind = text(condition, "type");
        if !seen.insert(kind) {
            errors.push(FieldError::duplicate(path.field("type"), kind));
        }
        if kind.is_empty() {
            errors.push(FieldError::required(path.field("type"), ""));
        }
        let allowed: &[&str] = if matches!(kind, "Approved" | "Denied" | "Failed") { &["True"] } else { &["False", "True", "Unknown"] };
        match text(condition, "status") {
            "" => errors.push(FieldError::required(path.field("status"), "")),
            status if !allowed.contains(&status) => errors.push(FieldError::not_supported(path.field("status"), status, allowed)),
            _ => {}
        }
    }
}
