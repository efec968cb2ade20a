//! Custom resource definitions and API services: what is wrong with them as objects. What they do is elsewhere.

use corten_schema::Value;

use super::forms::named;
use super::validation::{Errors, Path, invalid_all, names, one_of};
use super::{EDITABLE_METADATA, keep_metadata};
use crate::status::{ApiError, FieldError};
use crate::strategy::{NameRule, Scope, Strategy};
use crate::view::{at, flag, int, list, text, texts};

const SPEC: Path<'static> = Path::Root("spec");

/// The strategy of custom resource definitions.
pub(super) struct Definitions;

fn names_of(errors: &mut Errors, definition: &Value) {
    let path = SPEC.field("names");
    for (field, lowered) in [("plural", false), ("singular", false), ("kind", true), ("listKind", true)] {
        let name = text(definition, &format!("spec.names.{field}"));
        if name.is_empty() {
            errors.push(FieldError::required(path.field(field), ""));
            continue;
        }
        if lowered {
            for why in names::label_1035(&name.to_lowercase()) {
                let words = format!("may have mixed case, but should otherwise match: {why}");
                errors.push(FieldError::invalid(path.field(field), name, words));
            }
        } else {
            invalid_all(errors, path.field(field), name, names::label_1035(name));
        }
    }
    for field in ["shortNames", "categories"] {
        let path = path.field(field);
        for (number, name) in texts(definition, &format!("spec.names.{field}")).enumerate() {
            invalid_all(errors, path.index(number), name, names::label_1035(name));
        }
    }
    let kind = text(definition, "spec.names.kind");
    if !kind.is_empty() && kind == text(definition, "spec.names.listKind") {
        errors.push(FieldError::invalid(path.field("listKind"), kind, "kind and listKind may not be the same"));
    }
}

fn versions(errors: &mut Errors, definition: &Value) {
    let path = SPEC.field("versions");
    let all = list(definition, "spec.versions");
    if all.len() == 0 {
        errors.push(FieldError::required(path, "must have exactly one version marked as storage version"));
        return;
    }
    let mut seen: Vec<&str> = Vec::new();
    let mut stored = 0;
    for (number, version) in all.enumerate() {
        let path = path.index(number);
        let name = text(version, "name");
        invalid_all(errors, path.field("name"), name, names::label_1035(name));
        if seen.contains(&name) {
            errors.push(FieldError::invalid(path.field("name"), name, "must be unique"));
        }
        seen.push(name);
        stored += usize::from(flag(version, "storage"));
        let schema = path.field("schema");
        if at(version, "schema.openAPIV3Schema").is_none() {
            errors.push(FieldError::required(schema.field("openAPIV3Schema"), "schemas are required"));
        } else {
            let root = schema.field("openAPIV3Schema");
            let kind = text(version, "schema.openAPIV3Schema.type");
            if kind.is_empty() {
                errors.push(FieldError::required(root.field("type"), "must not be empty at the root"));
            } else if kind != "object" {
                errors.push(FieldError::invalid(root.field("type"), kind, "must be object at the root"));
            }
        }
    }
    if stored != 1 {
        let value = at(definition, "spec.versions").unwrap_or(&Value::Null);
        errors.push(FieldError::invalid(path, value, "must have exactly one version marked as storage version"));
    }
}

fn conversion(errors: &mut Errors, definition: &Value) {
    let Some(conversion) = at(definition, "spec.conversion") else { return };
    let path = SPEC.field("conversion");
    match text(conversion, "strategy") {
        "" => errors.push(FieldError::required(path.field("strategy"), "")),
        "None" => {
            if at(conversion, "webhook").is_some() {
                errors.push(FieldError::forbidden(path.field("webhook"), "should not be set when strategy is not set to Webhook"));
            }
        }
        "Webhook" => {
            let hook = path.field("webhook");
            let none = Value::Null;
            let webhook = at(conversion, "webhook").unwrap_or(&none);
            match at(webhook, "clientConfig") {
                None => errors.push(FieldError::required(hook.field("clientConfig"), "required when strategy is set to Webhook")),
                Some(config) => super::registration::client(errors, hook.field("clientConfig"), config),
            }
            let versions: Vec<&str> = texts(webhook, "conversionReviewVersions").collect();
            let path = hook.field("conversionReviewVersions");
            if versions.is_empty() {
                errors.push(FieldError::required(path, ""));
            } else if !versions.iter().any(|version| matches!(*version, "v1" | "v1beta1")) {
                errors.push(FieldError::invalid(path, versions, "must include at least one of v1, v1beta1"));
            }
        }
        other => one_of(errors, path.field("strategy"), other, &["None", "Webhook"]),
    }
}

impl Strategy for Definitions {
    fn allows_unconditional_update(&self) -> bool {
        false
    }

    fn prepare_status(&self, _: Scope<'_>, definition: &mut Value, old: &Value) -> Result<(), ApiError> {
        keep_metadata(definition, old, EDITABLE_METADATA);
        Ok(())
    }

    fn validate(&self, _: Scope<'_>, definition: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        let (plural, group) = (text(definition, "spec.names.plural"), text(definition, "spec.group"));
        let wanted = format!("{plural}.{group}");
        if definition.name() != wanted {
            let words = "must be spec.names.plural+\".\"+spec.group";
            errors.push(FieldError::invalid("metadata.name", definition.name(), words));
        }
        let path = SPEC.field("group");
        if group.is_empty() {
            errors.push(FieldError::required(path, ""));
        } else {
            invalid_all(&mut errors, path, group, names::subdomain(group));
            if !group.contains('.') {
                errors.push(FieldError::invalid(path, group, "should be a domain with at least one dot"));
            }
        }
        let scope = text(definition, "spec.scope");
        match scope {
            "" => errors.push(FieldError::required(SPEC.field("scope"), "")),
            other => one_of(&mut errors, SPEC.field("scope"), other, &["Cluster", "Namespaced"]),
        }
        names_of(&mut errors, definition);
        versions(&mut errors, definition);
        conversion(&mut errors, definition);
        if flag(definition, "spec.preserveUnknownFields") {
            let words = "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead";
            errors.push(FieldError::invalid(SPEC.field("preserveUnknownFields"), true, words));
        }
        errors
    }

    /// What objects are stored under stays as it is.
    fn validate_update(&self, scope: Scope<'_>, definition: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = self.validate(scope, definition);
        let established = crate::view::condition_true(old, "Established");
        let fixed: &[&str] = if established {
            &["spec.group", "spec.names.plural", "spec.scope", "spec.names.kind"]
        } else {
            &["spec.group", "spec.names.plural"]
        };
        for path in fixed {
            super::validation::immutable(&mut errors, Path::Root(path), at(definition, path), at(old, path));
        }
        errors
    }
}

/// The strategy of API services.
pub(super) struct Services;

impl Strategy for Services {
    fn allows_unconditional_update(&self) -> bool {
        false
    }

    fn name_rule(&self) -> NameRule {
        NameRule::PathSegment
    }

    fn prepare_status(&self, _: Scope<'_>, service: &mut Value, old: &Value) -> Result<(), ApiError> {
        keep_metadata(service, old, EDITABLE_METADATA);
        Ok(())
    }

    fn validate(&self, _: Scope<'_>, service: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        let (group, version) = (text(service, "spec.group"), text(service, "spec.version"));
        let wanted = format!("{version}.{group}");
        if service.name() != wanted {
            let words = format!("must be `spec.version+\".\"+spec.group`: {wanted:?}");
            errors.push(FieldError::invalid("metadata.name", service.name(), words));
        }
        if group.is_empty() {
            if version != "v1" {
                errors.push(FieldError::required(SPEC.field("group"), "only v1 may have an empty group and it better be legacy kube"));
            }
        } else {
            invalid_all(&mut errors, SPEC.field("group"), group, names::subdomain(group));
        }
        invalid_all(&mut errors, SPEC.field("version"), version, names::label_1035(version));
        for (field, most) in [("groupPriorityMinimum", 20_000), ("versionPriority", 1000)] {
            let number = int(service, &format!("spec.{field}")).unwrap_or_default();
            if !(1..=most).contains(&number) {
                errors.push(FieldError::invalid(SPEC.field(field), number, format!("must be positive and less than {most}")));
            }
        }
        let insecure = flag(service, "spec.insecureSkipTLSVerify");
        let bundle = !text(service, "spec.caBundle").is_empty();
        let path = SPEC.field("service");
        match at(service, "spec.service") {
            None => {
                if bundle {
                    let words = "local APIServices may not have a caBundle";
                    errors.push(FieldError::invalid(
                        SPEC.field("caBundle"),
                        format!("{} bytes", text(service, "spec.caBundle").len()),
                        words,
                    ));
                }
                if insecure {
                    let words = "local APIServices may not have insecureSkipTLSVerify";
                    errors.push(FieldError::invalid(SPEC.field("insecureSkipTLSVerify"), true, words));
                }
            }
            Some(reference) => {
                named(&mut errors, path.field("namespace"), text(reference, "namespace"), |_| Vec::new());
                named(&mut errors, path.field("name"), text(reference, "name"), |_| Vec::new());
                if let Some(port) = int(reference, "port") {
                    for why in names::port_number(port) {
                        errors.push(FieldError::invalid(path.field("port"), port, format!("port is not valid: {why}")));
                    }
                }
                if insecure && bundle {
                    let words = "may not be true if caBundle is present";
                    errors.push(FieldError::invalid(SPEC.field("insecureSkipTLSVerify"), true, words));
                }
            }
        }
        errors
    }
}
