//! Validating admission policies and their bindings.

use std::collections::{BTreeSet, HashSet};

use corten_schema::Value;

use super::rules;
use crate::cel::{self, Environment, Type};
use crate::status::{ApiError, FieldError};
use crate::strategies::expressions::compiled;
use crate::strategies::forms::{distinct, identifier, named};
use crate::strategies::validation::{Errors, Path, invalid_all, labels, names, one_of, required_one_of, values_of};
use crate::strategies::{EDITABLE_METADATA, keep_metadata};
use crate::strategy::{Scope, Strategy};
use crate::view::{at, list, text, texts};

const SPEC: Path<'static> = Path::Root("spec");
const REASONS: [&str; 4] = ["Forbidden", "Invalid", "RequestEntityTooLarge", "Unauthorized"];
const MOST_ANNOTATIONS: usize = 20;
const LONGEST_VALUE: usize = 5 * 1024;

/// The strategy of policies.
pub(in crate::strategies) struct Policies;

fn constraints(errors: &mut Errors, path: Path<'_>, of: &Value) {
    required_one_of(
        errors,
        path.field("matchPolicy"),
        text(of, "matchPolicy"),
        values_of("admissionregistration.v1.MatchResources", "matchPolicy"),
    );
    for field in ["namespaceSelector", "objectSelector"] {
        match at(of, field) {
            None => errors.push(FieldError::required(path.field(field), "")),
            Some(selector) => labels::selector(errors, path.field(field), selector),
        }
    }
    for field in ["resourceRules", "excludeResourceRules"] {
        let all = path.field(field);
        for (number, rule) in list(of, field).enumerate() {
            let path = all.index(number);
            let mut seen: HashSet<&str> = HashSet::new();
            let names_path = path.field("resourceNames");
            for (number, name) in texts(rule, "resourceNames").enumerate() {
                invalid_all(errors, names_path.index(number), name, names::path_segment(name));
                if !seen.insert(name) {
                    errors.push(FieldError::duplicate(names_path.index(number), name));
                }
            }
            rules::rule(errors, path, rule);
        }
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

/// The type that has the variables as its fields.
const VARIABLES: &str = "kubernetes.variables";

/// Variables, each of which sees those before it.
fn variables(errors: &mut Errors, spec: &Value, environment: &mut Environment) {
    let all = SPEC.field("variables");
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    for (number, variable) in list(spec, "variables").enumerate() {
        let path = all.index(number);
        let name = text(variable, "name");
        if name.trim().is_empty() {
            errors.push(FieldError::required(path.field("name"), "name is not specified"));
        } else {
            for _ in identifier(name) {
                errors.push(FieldError::invalid(path.field("name"), name, "name is not a valid CEL identifier"));
            }
            if !seen.insert(name) {
                errors.push(FieldError::duplicate(path.field("name"), name));
            }
        }
        let expression = text(variable, "expression");
        let kind = if expression.trim().is_empty() {
            errors.push(FieldError::required(path.field("expression"), "expression is not specified"));
            None
        } else {
            compiled(errors, path.field("expression"), expression, environment, &[])
        };
        // A variable that is all those before it: comparing one with another would go through all that they are.
        let kind = kind.filter(|kind| !kind.holds(VARIABLES)).unwrap_or(Type::Dyn);
        environment.declare_field("variables", name, kind);
    }
}

fn validations(errors: &mut Errors, spec: &Value, environment: &Environment) {
    let all = SPEC.field("validations");
    // Messages do not ask for permissions.
    let plain = environment.without(&["authorizer", "authorizer.requestResource"]);
    for (number, validation) in list(spec, "validations").enumerate() {
        let path = all.index(number);
        let expression = text(validation, "expression").trim();
        if expression.is_empty() {
            errors.push(FieldError::required(path.field("expression"), "expression is not specified"));
        } else {
            compiled(errors, path.field("expression"), text(validation, "expression"), environment, &[Type::Bool]);
        }
        let words = text(validation, "messageExpression");
        if !words.is_empty() && words.trim().is_empty() {
            errors.push(FieldError::invalid(path.field("messageExpression"), words, "must be non-empty if specified"));
        } else if !words.is_empty() {
            compiled(errors, path.field("messageExpression"), words, &plain, &[Type::String]);
        }
        let message = text(validation, "message");
        if !message.is_empty() && message.trim().is_empty() {
            errors.push(FieldError::invalid(path.field("message"), message, "message must be non-empty if specified"));
        } else if message.contains(['\n', '\r']) {
            errors.push(FieldError::invalid(path.field("message"), message, "message must not contain line breaks"));
        }
        if let Some(reason) = at(validation, "reason").and_then(Value::as_str) {
            one_of(errors, path.field("reason"), reason, &REASONS);
        }
    }
}

fn annotations(errors: &mut Errors, name: &str, spec: &Value, environment: &Environment) {
    let all = SPEC.field("auditAnnotations");
    let count = list(spec, "auditAnnotations").len();
    if count > MOST_ANNOTATIONS {
        let shown = at(spec, "auditAnnotations");
        errors.push(FieldError::invalid(all, shown, format!("must not have more than {MOST_ANNOTATIONS} auditAnnotations")));
    }
    let mut seen: HashSet<&str> = HashSet::new();
    for (number, annotation) in list(spec, "auditAnnotations").enumerate() {
        let path = all.index(number);
        let key = text(annotation, "key");
        let whole = format!("{name}/{key}");
        invalid_all(errors, path.field("key"), &whole, names::qualified_name(&whole));
        match text(annotation, "valueExpression") {
            words if words.trim().is_empty() => {
                errors.push(FieldError::required(path.field("valueExpression"), "valueExpression is not specified"));
            }
            words if words.trim().len() > LONGEST_VALUE => {
                let words = format!("must not exceed {LONGEST_VALUE} bytes in length");
                errors.push(FieldError::required(path.field("valueExpression"), words));
            }
            words => drop(compiled(errors, path.field("valueExpression"), words, environment, &[Type::String, Type::Null])),
        }
        if !seen.insert(key) {
            errors.push(FieldError::duplicate(path.field("key"), key));
        }
    }
}

impl Strategy for Policies {
    fn allows_unconditional_update(&self) -> bool {
        false
    }

    fn validate(&self, _: Scope<'_>, policy: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        let spec = at(policy, "spec").unwrap_or(&Value::Null);
        required_one_of(
            &mut errors,
            SPEC.field("failurePolicy"),
            text(spec, "failurePolicy"),
            values_of("admissionregistration.v1.ValidatingAdmissionPolicySpec", "failurePolicy"),
        );
        if let Some(kind) = at(spec, "paramKind") {
            param_kind(&mut errors, SPEC.field("paramKind"), kind);
        }
        match at(spec, "matchConstraints") {
            None => errors.push(FieldError::required(SPEC.field("matchConstraints"), "")),
            Some(of) => {
                let path = SPEC.field("matchConstraints");
                constraints(&mut errors, path, of);
                if list(of, "resourceRules").len() == 0 {
                    errors.push(FieldError::required(path.field("resourceRules"), ""));
                }
            }
        }
        let mut environment = cel::admission(at(spec, "paramKind").is_some(), true);
        rules::conditions(&mut errors, SPEC.field("matchConditions"), spec, &environment);
        environment.declare("variables", Type::object(VARIABLES, []));
        variables(&mut errors, spec, &mut environment);
        if list(spec, "validations").len() == 0 && list(spec, "auditAnnotations").len() == 0 {
            let words = "validations or auditAnnotations must contain at least one item";
            errors.push(FieldError::required(SPEC.field("validations"), words));
            errors.push(FieldError::required(SPEC.field("auditAnnotations"), words));
        }
        validations(&mut errors, spec, &environment);
        annotations(&mut errors, policy.name(), spec, &environment);
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
            let selector = at(reference, "selector");
            let both = "name and selector are mutually exclusive";
            if !name.is_empty() {
                invalid_all(&mut errors, path.field("name"), name, names::path_segment(name));
                if selector.is_some() {
                    errors.push(FieldError::forbidden(path.field("name"), both));
                }
            }
            if let Some(selector) = selector {
                labels::selector(&mut errors, path.field("selector"), selector);
                if !name.is_empty() {
                    errors.push(FieldError::forbidden(path.field("selector"), both));
                }
            } else if name.is_empty() {
                errors.push(FieldError::required(path, "one of name or selector must be specified"));
            }
            let action = text(reference, "parameterNotFoundAction");
            required_one_of(&mut errors, path.field("parameterNotFoundAction"), action, &["Allow", "Deny"]);
        }
        if let Some(of) = at(binding, "spec.matchResources") {
            constraints(&mut errors, SPEC.field("matchResources"), of);
        }
        let actions: Vec<&str> = texts(binding, "spec.validationActions").collect();
        let path = SPEC.field("validationActions");
        if actions.is_empty() {
            errors.push(FieldError::required(path, "at least one validation action is required"));
        }
        for (number, action) in actions.iter().enumerate() {
            one_of(
                &mut errors,
                path.index(number),
                action,
                values_of("admissionregistration.v1.ValidatingAdmissionPolicyBindingSpec", "validationActions"),
            );
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
