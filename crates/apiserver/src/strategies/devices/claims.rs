//! Claims for devices, their templates, and classes of devices.

use corten_schema::Value;

use super::requests::specification;
use super::{MOST_CONFIGS, each, items, opaque, results, selectors};
use crate::reads;
use crate::status::{ApiError, FieldError};
use crate::strategies::validation::{Errors, Path, immutable, resources, volumes};
use crate::strategies::{EDITABLE_METADATA, keep_metadata};
use crate::strategy::{Scope, Strategy};
use crate::view::{at, entry, flag, list, text};

const SPEC: Path<'static> = Path::Root("spec");

/// Access to devices that others use is for namespaces that an administrator has marked.
fn admin(errors: &mut Errors, scope: Scope<'_>, object: &Value, requests: &str) {
    const LABEL: &str = "resource.kubernetes.io/admin-access";
    let Some(number) = list(object, requests).position(|request| flag(request, "exactly.adminAccess")) else { return };
    let namespace = reads::get(&scope.server.ledger, "", "namespaces", "", object.namespace());
    if namespace.is_none_or(|namespace| entry(&namespace, "metadata.labels", LABEL) != Some("true")) {
        let devices = SPEC.field("devices");
        let requests = devices.field("requests");
        let path = requests.index(number);
        let words = format!("admin access to devices requires the `{LABEL}: true` label on the containing namespace");
        errors.push(FieldError::forbidden(path.field("adminAccess"), words));
    }
}

/// The strategy of claims.
pub(in crate::strategies) struct Claims;

impl Strategy for Claims {
    fn prepare_status(&self, _: Scope<'_>, claim: &mut Value, old: &Value) -> Result<(), ApiError> {
        keep_metadata(claim, old, EDITABLE_METADATA);
        forget(claim, old);
        Ok(())
    }

    fn validate(&self, scope: Scope<'_>, claim: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        admin(&mut errors, scope, claim, "spec.devices.requests");
        specification(&mut errors, SPEC, at(claim, "spec").unwrap_or(&Value::Null));
        errors
    }

    fn validate_update(&self, _: Scope<'_>, claim: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        immutable(&mut errors, SPEC, at(claim, "spec"), at(old, "spec"));
        errors
    }

    fn validate_status(&self, _: Scope<'_>, claim: &Value, old: &Value) -> Vec<FieldError> {
        results::validate(claim, old)
    }
}

/// Drops the reports about devices that the claim has given back.
fn forget(claim: &mut Value, old: &Value) {
    const RESULTS: &str = "status.allocation.devices.results";
    let kept: Vec<String> = list(claim, RESULTS).map(results::device).collect();
    let gone: Vec<String> = list(old, RESULTS).map(results::device).filter(|device| !kept.contains(device)).collect();
    let Some(reports) = at(claim, "status.devices").and_then(Value::as_list).filter(|_| !gone.is_empty()) else { return };
    let left: Vec<Value> = reports.iter().filter(|report| !gone.contains(&results::device(report))).cloned().collect();
    if left.is_empty() {
        claim.remove_at(&["status", "devices"]);
    } else {
        claim.set_at(&["status", "devices"], Value::from(left));
    }
}

/// The strategy of claim templates.
pub(in crate::strategies) struct Templates;

impl Strategy for Templates {
    fn validate(&self, scope: Scope<'_>, template: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        admin(&mut errors, scope, template, "spec.spec.devices.requests");
        volumes::template_metadata(&mut errors, SPEC.field("metadata"), at(template, "spec.metadata"));
        specification(&mut errors, SPEC.field("spec"), at(template, "spec.spec").unwrap_or(&Value::Null));
        errors
    }

    fn validate_update(&self, _: Scope<'_>, template: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        immutable(&mut errors, SPEC, at(template, "spec"), at(old, "spec"));
        errors
    }
}

/// The strategy of classes.
pub(in crate::strategies) struct Classes;

impl Classes {
    fn check(class: &Value, old: Option<&Value>) -> Errors {
        let mut errors = Errors::new();
        let spec = at(class, "spec").unwrap_or(&Value::Null);
        selectors(&mut errors, SPEC.field("selectors"), spec);
        let stored = old.is_some_and(|old| at(old, "spec.config") == at(class, "spec.config"));
        each(&mut errors, SPEC.field("config"), items(spec, "config"), MOST_CONFIGS, |errors, path, config| {
            opaque(errors, path, config, stored);
        });
        let resource = text(spec, "extendedResourceName");
        if at(spec, "extendedResourceName").is_some() && !resources::is_extended(resource) {
            let path = SPEC.field("extendedResourceName");
            errors.push(FieldError::invalid(path, resource, "must be a valid extended resource name"));
        }
        errors
    }
}

impl Strategy for Classes {
    fn validate(&self, _: Scope<'_>, class: &Value) -> Vec<FieldError> {
        Self::check(class, None)
    }

    fn validate_update(&self, _: Scope<'_>, class: &Value, old: &Value) -> Vec<FieldError> {
        Self::check(class, Some(old))
    }
}
