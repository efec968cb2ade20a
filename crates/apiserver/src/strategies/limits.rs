//! Limit ranges and resource quotas.

use std::collections::HashSet;

use corten_schema::Value;

use super::validation::{Errors, IMMUTABLE, Path, invalid_all, names, quantity, resources};
use crate::status::FieldError;
use crate::strategy::{Scope, Strategy};
use crate::view::{at, entries, entry, list, text, texts};

const SPEC: Path<'static> = Path::Root("spec");

/// The strategy of limit ranges.
pub(super) struct LimitRanges;

impl Strategy for LimitRanges {
    fn validate(&self, _: Scope<'_>, object: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        let all = SPEC.field("limits");
        let mut seen = HashSet::new();
        for (number, limit) in list(object, "spec.limits").enumerate() {
            let path = all.index(number);
            let kind = text(limit, "type");
            let findings = names::qualified_name(kind);
            if findings.is_empty() && !kind.contains('/') && !matches!(kind, "Pod" | "Container" | "PersistentVolumeClaim") {
                let words = "must be a standard limit type or fully qualified";
                errors.push(FieldError::invalid(path.field("type"), kind, words));
            }
            invalid_all(&mut errors, path.field("type"), kind, findings);
            if !seen.insert(kind) {
                errors.push(FieldError::duplicate(path.field("type"), kind));
            }
            item(&mut errors, path, kind, limit);
        }
        errors
    }
}

const AMOUNTS: [&str; 5] = ["max", "min", "default", "defaultRequest", "maxLimitRequestRatio"];

fn item(errors: &mut Errors, path: Path<'_>, kind: &str, limit: &Value) {
    let check: resources::NameCheck = if matches!(kind, "Pod" | "Container") { resources::container_name } else { resources::any_name };
    let mut keys: Vec<&str> = Vec::new();
    for field in AMOUNTS {
        let path = path.field(field);
        if kind == "Pod" && matches!(field, "default" | "defaultRequest") {
            if entries(limit, field).next().is_some() {
                errors.push(FieldError::forbidden(path, "may not be specified when `type` is 'Pod'"));
            }
            continue;
        }
        for (name, _) in entries(limit, field) {
            check(errors, path.key(name), name);
            if !keys.contains(&name) {
                keys.push(name);
            }
        }
    }
    let storage = |field: &str| entry(limit, field, "storage").is_some();
    if kind == "PersistentVolumeClaim" && !storage("min") && !storage("max") {
        let words = "either minimum or maximum storage value is required, but neither was provided";
        errors.push(FieldError::required(path.field("limits"), words));
    }
    for name in keys {
        compare(errors, path, kind, limit, name);
    }
}

/// The amounts of a resource must fit together.
fn compare(errors: &mut Errors, path: Path<'_>, kind: &str, limit: &Value, name: &str) {
    let amount = |field: &str| {
        let hidden = kind == "Pod" && matches!(field, "default" | "defaultRequest");
        let text = entry(limit, field, name).filter(|_| !hidden)?;
        Some((text, quantity::parse(text)?))
    };
    let [max, min, default, request, ratio] = AMOUNTS.map(amount);
    let mut refuse = |field: &str, shown: &str, words: String| {
        let path = path.field(field);
        errors.push(FieldError::invalid(path.key(name), shown, words));
    };
    if let (Some((low, least)), Some((high, most))) = (min, max)
        && least > most
    {
        refuse("min", low, format!("min value {low} is greater than max value {high}"));
    }
    if let Some((wanted, number)) = request {
        if let Some((low, _)) = min.filter(|(_, least)| *least > number) {
            refuse("defaultRequest", wanted, format!("min value {low} is greater than default request value {wanted}"));
        }
        if let Some((high, _)) = max.filter(|(_, most)| number > *most) {
            refuse("defaultRequest", wanted, format!("default request value {wanted} is greater than max value {high}"));
        }
        if let Some((usual, _)) = default.filter(|(_, usual)| number > *usual) {
            refuse("defaultRequest", wanted, format!("default request value {wanted} is greater than default limit value {usual}"));
        }
    }
    if let Some((usual, number)) = default {
        if let Some((low, _)) = min.filter(|(_, least)| *least > number) {
            refuse("default", low, format!("min value {low} is greater than default value {usual}"));
        }
        if let Some((high, _)) = max.filter(|(_, most)| number > *most) {
            refuse("default", high, format!("default value {usual} is greater than max value {high}"));
        }
    }
    if let Some((shown, number)) = ratio {
        if quantity::parse("1").is_some_and(|one| number < one) {
            refuse("maxLimitRequestRatio", shown, format!("ratio {shown} is less than 1"));
        }
        if let (Some((_, least)), Some((_, most))) = (min, max)
            && least > 0
        {
            let factor = most as f64 / least as f64;
            if quantity::parse("1").is_some_and(|one| number as f64 / one as f64 > factor) {
                refuse("maxLimitRequestRatio", shown, format!("ratio {shown} is greater than max/min = {factor:.6}"));
            }
        }
    }
    if let (Some((usual, one)), Some((wanted, other))) = (default, request)
        && one != other
        && !resources::may_overcommit(name)
    {
        let words = format!("default value {usual} must equal to defaultRequest value {wanted} in {name}");
        refuse("defaultRequest", wanted, words);
    }
}

/// The strategy of resource quotas.
pub(super) struct ResourceQuotas;

impl Strategy for ResourceQuotas {
    fn validate(&self, _: Scope<'_>, object: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        amounts(&mut errors, SPEC.field("hard"), object, "spec.hard");
        scopes(&mut errors, SPEC.field("scopes"), object);
        let selector = SPEC.field("scopeSelector");
        selected(&mut errors, selector.field("matchExpressions"), object);
        errors
    }

    fn validate_update(&self, scope: Scope<'_>, object: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = self.validate(scope, object);
        let has_all = |one: &Value, other: &Value| texts(one, "spec.scopes").all(|scope| texts(other, "spec.scopes").any(|it| it == scope));
        if !has_all(object, old) || !has_all(old, object) {
            let shown: Vec<&str> = texts(object, "spec.scopes").collect();
            errors.push(FieldError::invalid(SPEC.field("scopes"), shown, IMMUTABLE));
        }
        errors
    }

    fn validate_status(&self, _: Scope<'_>, object: &Value, _: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        let status = Path::Root("status");
        amounts(&mut errors, status.field("hard"), object, "status.hard");
        amounts(&mut errors, status.field("used"), object, "status.used");
        errors
    }
}

fn amounts(errors: &mut Errors, path: Path<'_>, object: &Value, field: &str) {
    for (name, value) in entries(object, field) {
        let path = path.key(name);
        resources::any_name(errors, path, name);
        if !name.contains('/') && !resources::is_standard_in_quota(name) {
            errors.push(FieldError::invalid(path, name, "must be a standard resource for quota"));
        }
        resources::amount(errors, path, name, value.as_str().unwrap_or_default());
    }
}

const SCOPES: [&str; 7] =
    ["Terminating", "NotTerminating", "BestEffort", "NotBestEffort", "PriorityClass", "CrossNamespacePodAffinity", "VolumeAttributesClass"];

/// Pairs of scopes that no pod is in at once.
const CONFLICTS: [[&str; 2]; 2] = [["BestEffort", "NotBestEffort"], ["Terminating", "NotTerminating"]];

/// Whether a scope says anything about a resource: pods have scopes, and what they compute with.
fn fits(scope: &str, resource: &str) -> bool {
    let bare = resource.strip_prefix("requests.").or_else(|| resource.strip_prefix("limits.")).unwrap_or(resource);
    match scope {
        "BestEffort" => resource == "pods",
        "Terminating" | "NotTerminating" | "NotBestEffort" | "PriorityClass" | "CrossNamespacePodAffinity" => {
            resource == "pods" || matches!(bare, "cpu" | "memory" | "ephemeral-storage")
        }
        "VolumeAttributesClass" => matches!(resource, "persistentvolumeclaims" | "requests.storage"),
        _ => true,
    }
}

fn unfit<'a>(object: &'a Value, scope: &'a str) -> impl Iterator<Item = &'a str> + 'a {
    entries(object, "spec.hard").map(|(name, _)| name).filter(move |name| resources::is_standard_in_quota(name) && !fits(scope, name))
}

fn scopes(errors: &mut Errors, path: Path<'_>, object: &Value) {
    let all: Vec<&str> = texts(object, "spec.scopes").collect();
    for scope in &all {
        if !SCOPES.contains(scope) {
            errors.push(FieldError::invalid(path, &all, "unsupported scope"));
        }
        for _ in unfit(object, scope) {
            errors.push(FieldError::invalid(path, &all, "unsupported scope applied to resource"));
        }
    }
    if CONFLICTS.iter().any(|pair| pair.iter().all(|scope| all.contains(scope))) {
        errors.push(FieldError::invalid(path, &all, "conflicting scopes"));
    }
}

fn selected(errors: &mut Errors, path: Path<'_>, object: &Value) {
    let Some(selector) = at(object, "spec.scopeSelector") else { return };
    let terms = || list(selector, "matchExpressions");
    for term in terms() {
        let (scope, operator) = (text(term, "scopeName"), text(term, "operator"));
        if !SCOPES.contains(&scope) {
            errors.push(FieldError::invalid(path.field("scopeName"), scope, "unsupported scope"));
        }
        for _ in unfit(object, scope) {
            errors.push(FieldError::invalid(path, selector, "unsupported scope applied to resource"));
        }
        let plain = matches!(scope, "BestEffort" | "NotBestEffort" | "Terminating" | "NotTerminating" | "CrossNamespacePodAffinity");
        if plain && operator != "Exists" {
            errors.push(FieldError::invalid(
                path.field("operator"),
                operator,
                "must be 'Exist' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, \
                 ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity",
            ));
        }
        let values: Vec<&str> = texts(term, "values").collect();
        match operator {
            "In" | "NotIn" if values.is_empty() => {
                let words = "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector";
                errors.push(FieldError::required(path.field("values"), words));
            }
            "Exists" | "DoesNotExist" if !values.is_empty() => {
                let words = "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector";
                errors.push(FieldError::invalid(path.field("values"), values, words));
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            _ => errors.push(FieldError::invalid(path.field("operator"), operator, "not a valid selector operator")),
        }
    }
    if CONFLICTS.iter().any(|pair| pair.iter().all(|scope| terms().any(|term| text(term, "scopeName") == *scope))) {
        let shown: Vec<&str> = texts(object, "spec.scopes").collect();
        errors.push(FieldError::invalid(path, shown, "conflicting scopes"));
    }
}
