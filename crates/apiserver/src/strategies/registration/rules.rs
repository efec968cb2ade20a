//! Which requests a webhook or policy is asked about.

use std::collections::HashSet;

use corten_schema::Value;

use crate::cel::{Environment, Type};
use crate::status::FieldError;
use crate::strategies::expressions::compiled;
use crate::strategies::validation::{Errors, Path, invalid_all, labels, names, one_of, values_of};
use crate::view::{at, list, text, texts};

const MOST_CONDITIONS: usize = 64;

/// A list in which a star stands alone.
fn starred(errors: &mut Errors, path: Path<'_>, all: &[&str], others: &str) {
    if all.len() > 1 && all.contains(&"*") {
        errors.push(FieldError::invalid(path, all, format!("if '*' is present, must not specify other {others}")));
    }
}

/// A rule: operations on resources.
pub(super) fn rule(errors: &mut Errors, path: Path<'_>, rule: &Value) {
    let path_of = path.field("operations");
    let operations: Vec<&str> = texts(rule, "operations").collect();
    if operations.is_empty() {
        errors.push(FieldError::required(path_of, ""));
    }
    starred(errors, path_of, &operations, "operations");
    for (number, operation) in operations.iter().enumerate() {
        one_of(errors, path_of.index(number), operation, values_of("admissionregistration.v1.RuleWithOperations", "operations"));
    }
    let path_of = path.field("apiGroups");
    let groups: Vec<&str> = texts(rule, "apiGroups").collect();
    if groups.is_empty() {
        errors.push(FieldError::required(path_of, ""));
    }
    starred(errors, path_of, &groups, "API groups");
    let path_of = path.field("apiVersions");
    let versions: Vec<&str> = texts(rule, "apiVersions").collect();
    if versions.is_empty() {
        errors.push(FieldError::required(path_of, ""));
    }
    starred(errors, path_of, &versions, "API versions");
    for (number, _) in versions.iter().enumerate().filter(|(_, version)| version.is_empty()) {
        errors.push(FieldError::required(path_of.index(number), ""));
    }
    resources(errors, path.field("resources"), rule);
    if let Some(scope) = at(rule, "scope").and_then(Value::as_str) {
        one_of(errors, path.field("scope"), scope, values_of("admissionregistration.v1.Rule", "scope"));
    }
}

/// `pods`, `pods/log`, `*`, `pods/*`, `*/scale`, `*/*`.
fn resources(errors: &mut Errors, path: Path<'_>, rule: &Value) {
    let all: Vec<&str> = texts(rule, "resources").collect();
    if all.is_empty() {
        errors.push(FieldError::required(path, ""));
    }
    // Only what comes before a name counts.
    let (mut wild, mut wild_subs): (Vec<&str>, Vec<&str>) = (Vec::new(), Vec::new());
    for (number, name) in all.iter().enumerate() {
        let path = path.index(number);
        if name.is_empty() {
            errors.push(FieldError::required(path, ""));
        }
        let Some((resource, sub)) = name.split_once('/') else { continue };
        if wild.contains(&resource) {
            errors.push(FieldError::invalid(path, name, format!("if '{resource}/*' is present, must not specify {name}")));
        }
        if wild_subs.contains(&sub) {
            errors.push(FieldError::invalid(path, name, format!("if '*/{sub}' is present, must not specify {name}")));
        }
        if sub == "*" {
            wild.push(resource);
        }
        if resource == "*" {
            wild_subs.push(sub);
        }
    }
    if all.len() > 1 && all.contains(&"*/*") {
        errors.push(FieldError::invalid(path, &all, "if '*/*' is present, must not specify other resources"));
    }
    if all.contains(&"*") && all.iter().any(|name| !name.contains('/') && *name != "*") {
        let words = "if '*' is present, must not specify other resources without subresources";
        errors.push(FieldError::invalid(path, &all, words));
    }
}

/// Expressions that narrow down what is asked about.
pub(super) fn conditions(errors: &mut Errors, path: Path<'_>, of: &Value, environment: &Environment) {
    let all = list(of, "matchConditions");
    if all.len() > MOST_CONDITIONS {
        errors.push(FieldError::too_many(path, all.len(), MOST_CONDITIONS));
    }
    let mut seen: HashSet<&str> = HashSet::new();
    for (number, condition) in all.enumerate() {
        let path = path.index(number);
        match text(condition, "expression").trim() {
            "" => errors.push(FieldError::required(path.field("expression"), "")),
            expression => drop(compiled(errors, path.field("expression"), expression, environment, &[Type::Bool])),
        }
        let name = text(condition, "name");
        if name.is_empty() {
            errors.push(FieldError::required(path.field("name"), ""));
        } else {
            invalid_all(errors, path.field("name"), name, names::qualified_name(name));
            if !seen.insert(name) {
                errors.push(FieldError::duplicate(path.field("name"), name));
            }
        }
    }
}

/// Selectors of namespaces and objects.
pub(super) fn selectors(errors: &mut Errors, path: Path<'_>, of: &Value) {
    for field in ["namespaceSelector", "objectSelector"] {
        if let Some(selector) = at(of, field) {
            labels::selector(errors, path.field(field), selector);
        }
    }
}
