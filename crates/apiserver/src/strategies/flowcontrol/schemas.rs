//! Flow schemas: which requests belong to which priority level.

use corten_schema::{Value, value};

use crate::status::{ApiError, FieldError};
use crate::strategies::forms::named;
use crate::strategies::validation::{Errors, Path, invalid_all, names};
use crate::strategies::{EDITABLE_METADATA, keep_metadata};
use crate::strategy::{Scope, Strategy};
use crate::view::{at, flag, int, list, text, texts};

const SPEC: Path<'static> = Path::Root("spec");
const VERBS: [&str; 9] = ["create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch"];
const HIGHEST: i64 = 10_000;

/// The strategy of flow schemas.
pub(in crate::strategies) struct Schemas;

fn subject(errors: &mut Errors, path: Path<'_>, subject: &Value) {
    let kind = text(subject, "kind");
    let kinds = [("ServiceAccount", "serviceAccount"), ("User", "user"), ("Group", "group")];
    let Some((_, own)) = kinds.iter().find(|(word, _)| *word == kind) else {
        errors.push(FieldError::not_supported(path.field("kind"), kind, &["Group", "ServiceAccount", "User"]));
        return;
    };
    let at_path = path.field(own);
    match at(subject, own) {
        None => errors.push(FieldError::required(at_path, format!("{own} is required when subject kind is '{kind}'"))),
        Some(of) if kind == "ServiceAccount" => {
            let check = |name: &str| if name == "*" { Vec::new() } else { names::subdomain(name) };
            named(errors, at_path.field("name"), text(of, "name"), check);
            let namespace = text(of, "namespace");
            if namespace.is_empty() {
                errors.push(FieldError::required(at_path.field("namespace"), "must specify namespace for service account"));
            } else {
                invalid_all(errors, at_path.field("namespace"), namespace, names::label(namespace));
            }
        }
        Some(of) => named(errors, at_path.field("name"), text(of, "name"), |_| Vec::new()),
    }
    for (word, field) in kinds.iter().filter(|(word, field)| *word != kind && at(subject, field).is_some()) {
        errors.push(FieldError::forbidden(path.field(field), format!("{field} is forbidden when subject kind is not '{word}'")));
    }
}

/// A list that must not be empty, and in which a star stands alone.
fn listed<'a>(errors: &mut Errors, path: Path<'_>, rule: &'a Value, field: &str, missing: &str, others: &str) -> Option<Vec<&'a str>> {
    let all: Vec<&str> = texts(rule, field).collect();
    if all.is_empty() {
        errors.push(FieldError::required(path.field(field), missing));
    } else if all.contains(&"*") {
        if all.len() > 1 {
            errors.push(FieldError::invalid(path.field(field), all, format!("if '*' is present, must not specify other {others}")));
        }
    } else {
        return Some(all);
    }
    None
}

fn verbs(errors: &mut Errors, path: Path<'_>, rule: &Value) {
    let missing = "verbs must contain at least one value";
    if let Some(verbs) = listed(errors, path, rule, "verbs", missing, "verbs")
        && verbs.iter().any(|verb| !VERBS.contains(verb))
    {
        errors.push(FieldError::not_supported_as_given(path.field("verbs"), verbs, &VERBS));
    }
}

fn resource_rule(errors: &mut Errors, path: Path<'_>, rule: &Value) {
    verbs(errors, path, rule);
    listed(errors, path, rule, "apiGroups", "resource rules must supply at least one api group", "api groups");
    listed(errors, path, rule, "resources", "resource rules must supply at least one resource", "resources");
    if list(rule, "namespaces").len() == 0 && flag(rule, "clusterScope") {
        return;
    }
    let missing = "resource rules that are not cluster scoped must supply at least one namespace";
    let all = path.field("namespaces");
    for (number, namespace) in listed(errors, path, rule, "namespaces", missing, "namespaces").into_iter().flatten().enumerate() {
        for why in names::label(namespace) {
            let words = format!("each member of this list must be '*' or a DNS-1123 label; {why}");
            errors.push(FieldError::invalid(all.index(number), namespace, words));
        }
    }
}

fn url_rule(errors: &mut Errors, path: Path<'_>, rule: &Value) {
    verbs(errors, path, rule);
    let missing = "nonResourceURLs must contain at least one value";
    let all = path.field("nonResourceURLs");
    for (number, url) in listed(errors, path, rule, "nonResourceURLs", missing, "non-resource URLs").into_iter().flatten().enumerate() {
        let stars = url.matches('*').count();
        let why = match url {
            "" => "must not be empty",
            "/" => continue,
            _ if !url.starts_with('/') => "must start with slash",
            _ if url.contains(' ') => "must not contain white-space",
            _ if url.contains("//") => "must not contain double slash",
            _ if stars > 1 || (stars == 1 && !url.ends_with("/*")) => "wildcard can only do suffix matching",
            _ => continue,
        };
        errors.push(FieldError::invalid(all.index(number), url, why));
    }
}

/// What the schemas that every server has must say.
fn mandatory(name: &str) -> Option<Value> {
    let everything = |groups: &[&str]| {
        let subjects: Vec<Value> = groups.iter().map(|group| value!({"kind": "Group", "group": {"name": (*group)}})).collect();
        value!([{
            "subjects": (subjects),
            "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "clusterScope": true, "namespaces": ["*"]}],
            "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
        }])
    };
    match name {
        "exempt" => Some(value!({
            "priorityLevelConfiguration": {"name": "exempt"}, "matchingPrecedence": 1, "rules": (everything(&["system:masters"])),
        })),
        "catch-all" => Some(value!({
            "priorityLevelConfiguration": {"name": "catch-all"}, "matchingPrecedence": 10000, "distinguisherMethod": {"type": "ByUser"},
            "rules": (everything(&["system:unauthenticated", "system:authenticated"])),
        })),
        _ => None,
    }
}

impl Strategy for Schemas {
    fn validate(&self, _: Scope<'_>, schema: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        let path = SPEC.field("matchingPrecedence");
        let precedence = int(schema, "spec.matchingPrecedence").unwrap_or_default();
        if precedence <= 0 {
            errors.push(FieldError::invalid(path, precedence, "must be a positive value"));
        }
        if precedence > HIGHEST {
            errors.push(FieldError::invalid(path, precedence, format!("must not be greater than {HIGHEST}")));
        }
        if precedence == 1 && schema.name() != "exempt" {
            errors.push(FieldError::invalid(path, precedence, "only the schema named 'exempt' may have matchingPrecedence 1"));
        }
        if let Some(method) = at(schema, "spec.distinguisherMethod") {
            let path = SPEC.field("distinguisherMethod");
            let word = text(method, "type");
            if !["ByNamespace", "ByUser"].contains(&word) {
                let shown = value!({"Type": (word)});
                errors.push(FieldError::not_supported_as_given(path.field("type"), shown, &["ByNamespace", "ByUser"]));
            }
        }
        let level = text(schema, "spec.priorityLevelConfiguration.name");
        let path = SPEC.field("priorityLevelConfiguration");
        if level.is_empty() {
            errors.push(FieldError::required(path.field("name"), "must reference a priority level"));
        } else {
            invalid_all(&mut errors, path.field("name"), level, names::subdomain(level));
        }
        let rules = SPEC.field("rules");
        for (number, rule) in list(schema, "spec.rules").enumerate() {
            let path = rules.index(number);
            let subjects = path.field("subjects");
            if list(rule, "subjects").len() == 0 {
                errors.push(FieldError::required(subjects, "subjects must contain at least one value"));
            }
            for (number, item) in list(rule, "subjects").enumerate() {
                subject(&mut errors, subjects.index(number), item);
            }
            if list(rule, "resourceRules").len() + list(rule, "nonResourceRules").len() == 0 {
                errors.push(FieldError::required(path, "at least one of resourceRules and nonResourceRules has to be non-empty"));
            }
            let resources = path.field("resourceRules");
            for (number, item) in list(rule, "resourceRules").enumerate() {
                resource_rule(&mut errors, resources.index(number), item);
            }
            let urls = path.field("nonResourceRules");
            for (number, item) in list(rule, "nonResourceRules").enumerate() {
                url_rule(&mut errors, urls.index(number), item);
            }
        }
        super::fixed(&mut errors, schema, mandatory(schema.name()));
        errors
    }

    fn prepare_status(&self, _: Scope<'_>, schema: &mut Value, old: &Value) -> Result<(), ApiError> {
        keep_metadata(schema, old, EDITABLE_METADATA);
        Ok(())
    }

    fn validate_status(&self, _: Scope<'_>, schema: &Value, _: &Value) -> Vec<FieldError> {
        super::conditions(schema)
    }
}
