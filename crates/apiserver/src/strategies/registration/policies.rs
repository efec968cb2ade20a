//! Validating admission policies and their bindings. Expressions are checked where they are evaluated.

use corten_schema::Value;

use super::rules;
use crate::status::{ApiError, FieldError};
use crate::strategies::forms::{distinct, identifier, named};
use crate::strategies::validation::{Errors, Path, invalid_all, labels, names, one_of, required_one_of};
use crate::strategies::{EDITABLE_METADATA, keep_metadata};
use crate::strategy::{Scope, Strategy};
use crate::view::{at, list, text, texts};

const SPEC: Path<'static> = Path::Root("spec");
const REASONS: [&str; 4] = ["Forbidden", "Invalid", "RequestEntityTooLarge", "Unauthorized"];
const MOST_ANNOTATIONS: usize = 20;
const LONGEST_KEY: usize = 253;

/// The strategy of policies.
pub(in crate::strategies) struct Policies;

fn constraints(errors: &mut Errors, path: Path<'_>, of: &Value, required: bool) {
    rules::selectors(errors, path, of);
    for field in ["namespaceSelector", "objectSelector"] {
        if required && at(of, field).is_none() {
            errors.push(FieldError::required(path.field(field), ""));
        }
    }
    for field in ["resourceRules", "excludeResourceRules"] {
        let all = path.field(field);
        if required && field == "resourceRules" && list(of, field).len() == 0 {
            errors.push(FieldError::required(all, ""));
        }
        for (number, rule) in list(of, field).enumerate() {
            let path = all.index(number);
            rules::rule(errors, path, rule);
            let mut seen: Vec<&str> = Vec::new();
            let names_path = path.field("resourceNames");
            for (number, name) in texts(rule, "resourceNames").enumerate() {
                invalid_all(errors, names_path.index(number), name, names::path_segment(name));
                if seen.contains(&name) {
                    errors.push(FieldError::duplicate(names_path.index(number), name));
                }
                seen.push(name);
            }
        }
    }
    let policy = text(of, "matchPolicy");
    if required || !policy.is_empty() {
        required_one_of(errors, path.field("matchPolicy"), policy, &["Equivalent", "Exact"]);
    }
}

fn param_kind(errors: &mut Errors, path: Path<'_>, kind: &Value) {
    let version = text(kind, "apiVersion");
    if version.is_empty() {
        errors.push(FieldError::required(path.field("apiVersion"), ""));
    } else {
        let (group, version) = version.rsplit_once('/').unwrap_or(("", version));
        if !group.is_empty() {
            let found = names::subdomain(group);
            invalid_all(errors, path.field("apiVersion"), group, found);
        }
        invalid_all(errors, path.field("apiVersion"), version, names::label_1035(version));
    }
    let word = text(kind, "kind");
    if word.is_empty() {
        errors.push(FieldError::required(path.field("kind"), ""));
    } else {
        for why in names::label_1035(&word.to_lowercase()) {
            errors.push(FieldError::invalid(path.field("kind"), word, format!("may have mixed case, but should otherwise match: {why}")));
        }
    }
}

fn variables(errors: &mut Errors, spec: &Value) {
    let all = SPEC.field("variables");
    let mut seen: Vec<&str> = Vec::new();
    for (number, variable) in list(spec, "variables").enumerate() {
        let path = all.index(number);
        let name = text(variable, "name");
        if name.trim().is_empty() {
            errors.push(FieldError::required(path.field("name"), "name is not specified"));
        } else {
            for _ in identifier(name) {
                errors.push(FieldError::invalid(path.field("name"), name, "name is not a valid CEL identifier"));
            }
            if seen.contains(&name) {
                errors.push(FieldError::duplicate(path.field("name"), name));
            }
            seen.push(name);
        }
        if text(variable, "expression").trim().is_empty() {
            errors.push(FieldError::required(path.field("expression"), "expression is not specified"));
        }
    }
}

fn validations(errors: &mut Errors, spec: &Value) {
    let all = SPEC.field("validations");
    for (number, validation) in list(spec, "validations").enumerate() {
        let path = all.index(number);
        let expression = text(validation, "expression").trim();
        if expression.is_empty() {
            errors.push(FieldError::required(path.field("expression"), "expression is not specified"));
        }
        let message = text(validation, "message");
        if !message.is_empty() && message.trim().is_empty() {
            errors.push(FieldError::invalid(path.field("message"), message, "message must be non-empty if specified"));
        } else if message.contains(['\n', '\r']) {
            errors.push(FieldError::invalid(path.field("message"), message, "message must not contain line breaks"));
        } else if expression.contains(['\n', '\r']) && message.trim().is_empty() {
            let words = "message must be specified if expression contains line breaks";
            errors.push(FieldError::required(path.field("message"), words));
        }
        if let Some(reason) = at(validation, "reason").and_then(Value::as_str) {
            one_of(errors, path.field("reason"), reason, &REASONS);
        }
    }
}

fn annotations(errors: &mut Errors, name: &str, spec: &Value) {
    let all = SPEC.field("auditAnnotations");
    let count = list(spec, "auditAnnotations").len();
    if count > MOST_ANNOTATIONS {
        errors.push(FieldError::too_many(all, count, MOST_ANNOTATIONS));
    }
    let mut seen: Vec<&str> = Vec::new();
    for (number, annotation) in list(spec, "auditAnnotations").enumerate() {
        let path = all.index(number);
        let key = text(annotation, "key");
        if key.trim().is_empty() {
            errors.push(FieldError::required(path.field("key"), ""));
        } else {
            let whole = format!("{name}/{key}");
            if key.len() > LONGEST_KEY {
                errors.push(FieldError::too_long(path.field("key"), LONGEST_KEY));
            }
            invalid_all(errors, path.field("key"), key, names::qualified_name(&whole));
        }
        if text(annotation, "valueExpression").trim().is_empty() {
            errors.push(FieldError::required(path.field("valueExpression"), ""));
        }
        if seen.contains(&key) {
            errors.push(FieldError::duplicate(path.field("key"), key));
        }
        seen.push(key);
    }
}

impl Strategy for Policies {
    fn allows_unconditional_update(&self) -> bool {
        false
    }

    fn validate(&self, _: Scope<'_>, policy: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        let spec = at(policy, "spec").unwrap_or(&Value::Null);
        required_one_of(&mut errors, SPEC.field("failurePolicy"), text(spec, "failurePolicy"), &["Fail", "Ignore"]);
        if let Some(kind) = at(spec, "paramKind") {
            param_kind(&mut errors, SPEC.field("paramKind"), kind);
        }
        match at(spec, "matchConstraints") {
            None => errors.push(FieldError::required(SPEC.field("matchConstraints"), "")),
            Some(of) => constraints(&mut errors, SPEC.field("matchConstraints"), of, true),
        }
        rules::conditions(&mut errors, SPEC.field("matchConditions"), spec);
        variables(&mut errors, spec);
        if list(spec, "validations").len() == 0 && list(spec, "auditAnnotations").len() == 0 {
            let words = "validations or auditAnnotations must be provided";
            errors.push(FieldError::required(SPEC.field("validations"), words));
            errors.push(FieldError::required(SPEC.field("auditAnnotations"), words));
        }
        validations(&mut errors, spec);
        annotations(&mut errors, policy.name(), spec);
        errors
    }

    fn prepare_status(&self, _: Scope<'_>, policy: &mut Value, old: &Value) -> Result<(), ApiError> {
        keep_metadata(policy, old, EDITABLE_METADATA);
        Ok(())
    }
}

/// The strategy of bindings.
pub(in crate::strategies) struct Bindings;

impl Strategy for Bindings {
    fn allows_unconditional_update(&self) -> bool {
        false
    }

    fn validate(&self, _: Scope<'_>, binding: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        named(&mut errors, SPEC.field("policyName"), text(binding, "spec.policyName"), names::subdomain);
        if let Some(reference) = at(binding, "spec.paramRef") {
            let path = SPEC.field("paramRef");
            let name = text(reference, "name");
            match (name.is_empty(), at(reference, "selector")) {
                (true, None) => errors.push(FieldError::required(path, "one of name or selector must be specified")),
                (false, Some(_)) => errors.push(FieldError::forbidden(path.field("name"), "name and selector are mutually exclusive")),
                (true, Some(selector)) => labels::selector(&mut errors, path.field("selector"), selector),
                (false, None) => invalid_all(&mut errors, path.field("name"), name, names::path_segment(name)),
            }
            let action = text(reference, "parameterNotFoundAction");
            required_one_of(&mut errors, path.field("parameterNotFoundAction"), action, &["Allow", "Deny"]);
        }
        if let Some(of) = at(binding, "spec.matchResources") {
            constraints(&mut errors, SPEC.field("matchResources"), of, false);
        }
        let actions: Vec<&str> = texts(binding, "spec.validationActions").collect();
        let path = SPEC.field("validationActions");
        if actions.is_empty() {
            errors.push(FieldError::required(path, ""));
        }
        for (number, action) in actions.iter().enumerate() {
            one_of(&mut errors, path.index(number), action, &["Audit", "Deny", "Warn"]);
        }
        distinct(&mut errors, path, actions.iter().copied());
        if actions.contains(&"Deny") && actions.contains(&"Warn") {
            let words = "must not contain both Deny and Warn (repeating the same validation failure information in the API response and \
                         headers serves no purpose)";
            errors.push(FieldError::invalid(path, actions, words));
        }
        errors
    }
}
