//! Certificate signing requests: who asked is recorded by the server, approval and issue are separate subresources.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use corten_pki::CertificateRequest;
use corten_schema::{Map, Value};

use super::field;
use super::validation::{Errors, Path};
use crate::status::{ApiError, FieldError};
use crate::strategy::{Scope, SelectableField, Strategy};
use crate::view::{at, int, list, text};

/// The strategy of certificate signing requests.
pub(super) struct Requests;

/// The conditions of the kinds for which `keep` is true.
fn conditions(object: &Value, keep: impl Fn(&str) -> bool) -> Vec<Value> {
    list(object, "status.conditions").filter(|condition| keep(text(condition, "type"))).cloned().collect()
}

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

impl Strategy for Requests {
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

    /// Approvers change only the decision, signers everything else.
    fn prepare_status(&self, scope: Scope<'_>, object: &mut Value, old: &Value) -> Result<(), ApiError> {
        let approval = scope.subresource == "approval";
        let mut all = if approval {
            let mut all = conditions(object, decision);
            all.extend(conditions(old, |kind| !decision(kind)));
            all
        } else {
            let mut all = conditions(old, decision);
            all.extend(conditions(object, |kind| !decision(kind)));
            all
        };
        stamp(&mut all, old, &jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
        let mut status = at(if approval { old } else { object }, "status").cloned().unwrap_or_else(Value::map);
        status.insert("conditions", all);
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
        for (number, usage) in usages.iter().enumerate() {
            if usages.iter().take(number).any(|other| other == usage) {
                errors.push(FieldError::duplicate(path.index(number), usage));
            }
        }
        let signer = text(object, "spec.signerName");
        if signer.is_empty() {
            errors.push(FieldError::required(spec.field("signerName"), ""));
        } else if !signer.contains('/') {
            let words = "must be a fully qualified domain and path of the form 'example.com/signer-name'";
            errors.push(FieldError::invalid(spec.field("signerName"), signer, words));
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

    fn validate_status(&self, _: Scope<'_>, object: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        decisions(&mut errors, object, old);
        let (new, before) = (text(object, "status.certificate"), text(old, "status.certificate"));
        if !before.is_empty() && new != before {
            errors.push(FieldError::forbidden("status.certificate", "updates may not set certificate content"));
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
    if has(object, "Approved") && has(object, "Denied") {
        errors.push(FieldError::invalid(path, "Denied", "Approved and Denied conditions are mutually exclusive"));
    }
    for (number, condition) in list(object, "status.conditions").enumerate() {
        let path = path.index(number);
        let kind = text(condition, "type");
        if kind.is_empty() {
            errors.push(FieldError::required(path.field("type"), ""));
        }
        if matches!(kind, "Approved" | "Denied" | "Failed") && text(condition, "status") != "True" {
            errors.push(FieldError::not_supported(path.field("status"), text(condition, "status"), &["True"]));
        }
    }
}
