//! Roles and bindings. Nobody grants what they do not have themselves, unless they may `escalate` or `bind`.

use corten_schema::{Value, value};

use super::forms::named;
use super::validation::{Errors, Path, invalid_all, labels, names, one_of};
use crate::authz::rbac::{GROUP, RoleRef};
use crate::authz::{Attributes, rules::PolicyRule};
use crate::status::{ApiError, FieldError, GroupResource};
use crate::strategy::{NameRule, Scope, Strategy};
use crate::view::{at, list, text};

/// The strategy of Roles and ClusterRoles.
pub(super) struct Roles;

fn rules_of(object: &Value) -> Vec<PolicyRule> {
    list(object, "rules").filter_map(|rule| serde_json::to_value(rule).ok()).filter_map(|rule| serde_json::from_value(rule).ok()).collect()
}

/// The rules that the user lacks, as a 403.
fn escalation(scope: Scope<'_>, object: &Value, wanted: &[PolicyRule]) -> Result<(), ApiError> {
    let user = &scope.context.user;
    let own = scope.server.authorizer.rules_for(user, object.namespace());
    let missing: Vec<String> = wanted.iter().filter(|rule| !rule.covered_by(&own)).map(print).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let groups = user.groups.iter().map(|group| format!("{group:?}")).collect::<Vec<_>>().join(" ");
    let words = format!(
        "user {:?} (groups=[{groups}]) is attempting to grant RBAC permissions not currently held:\n{}",
        user.name,
        missing.join("\n")
    );
    let of = GroupResource::new(GROUP, &scope.resource.plural);
    Err(ApiError::forbidden(&of, object.name(), words))
}

fn print(rule: &PolicyRule) -> String {
    let parts: Vec<String> = [
        ("APIGroups", &rule.api_groups),
        ("Resources", &rule.resources),
        ("ResourceNames", &rule.resource_names),
        ("NonResourceURLs", &rule.non_resource_urls),
        ("Verbs", &rule.verbs),
    ]
    .iter()
    .filter(|(_, items)| !items.is_empty())
    .map(|(name, items)| format!("{name}:{items:?}"))
    .collect();
    format!("{{{}}}", parts.join(", "))
}

/// Whether the user has a verb (`escalate`, `bind`) on a role.
fn may(scope: Scope<'_>, verb: &str, resource: &str, namespace: &str, name: &str) -> bool {
    let user = &scope.context.user;
    let attributes = Attributes { namespace, name, ..Attributes::resource(user, verb, GROUP, resource) };
    scope.server.authorizer.authorize(&attributes).allowed()
}

fn check_role(scope: Scope<'_>, object: &Value) -> Result<(), ApiError> {
    if may(scope, "escalate", &scope.resource.plural, object.namespace(), object.name()) {
        return Ok(());
    }
    escalation(scope, object, &rules_of(object))
}

impl Strategy for Roles {
    fn name_rule(&self) -> NameRule {
        NameRule::PathSegment
    }

    fn creates_on_update(&self) -> bool {
        true
    }

    fn prepare_create(&self, scope: Scope<'_>, object: &mut Value) -> Result<(), ApiError> {
        check_role(scope, object)
    }

    fn prepare_update(&self, scope: Scope<'_>, object: &mut Value, old: &Value) -> Result<(), ApiError> {
        let same = at(object, "rules") == at(old, "rules") && at(object, "aggregationRule") == at(old, "aggregationRule");
        if same { Ok(()) } else { check_role(scope, object) }
    }

    fn validate(&self, _: Scope<'_>, object: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        let rules = Path::Root("rules");
        if let Some(aggregation) = at(object, "aggregationRule") {
            let path = Path::Root("aggregationRule");
            let selectors = path.field("clusterRoleSelectors");
            if list(aggregation, "clusterRoleSelectors").len() == 0 {
                let words = "at least one clusterRoleSelector required if aggregationRule is non-nil";
                errors.push(FieldError::required(selectors, words));
            }
            for (number, selector) in list(aggregation, "clusterRoleSelectors").enumerate() {
                labels::selector(&mut errors, selectors.index(number), selector);
            }
        }
        let namespaced = object.kind() == "Role";
        for (number, rule) in list(object, "rules").enumerate() {
            let path = rules.index(number);
            let empty = |field: &str| list(rule, field).len() == 0;
            if empty("verbs") {
                errors.push(FieldError::required(path.field("verbs"), "verbs must contain at least one value"));
            }
            if !empty("nonResourceURLs") {
                let path = path.field("nonResourceURLs");
                let urls = at(rule, "nonResourceURLs").unwrap_or(&Value::Null);
                if namespaced {
                    errors.push(FieldError::invalid(path, urls, "namespaced rules cannot apply to non-resource URLs"));
                }
                if !empty("apiGroups") || !empty("resources") || !empty("resourceNames") {
                    let words = "rules cannot apply to both regular resources and non-resource URLs";
                    errors.push(FieldError::invalid(path, urls, words));
                }
                continue;
            }
            if empty("apiGroups") {
                errors.push(FieldError::required(path.field("apiGroups"), "resource rules must supply at least one api group"));
            }
            if empty("resources") {
                errors.push(FieldError::required(path.field("resources"), "resource rules must supply at least one resource"));
            }
        }
        errors
    }
}

/// The strategy of RoleBindings and ClusterRoleBindings.
pub(super) struct Bindings;

/// Users and groups belong to the RBAC group, service accounts to the core group.
fn complete(binding: &mut Value) {
    for subject in binding.get_mut("subjects").and_then(Value::as_list_mut).into_iter().flatten() {
        if text(subject, "apiGroup").is_empty() && matches!(text(subject, "kind"), "User" | "Group") {
            subject.insert("apiGroup", GROUP);
        }
    }
    if let Some(role) = binding.get_mut("roleRef")
        && text(role, "apiGroup").is_empty()
    {
        role.insert("apiGroup", GROUP);
    }
}

fn check_binding(scope: Scope<'_>, object: &Value) -> Result<(), ApiError> {
    let role = RoleRef { kind: text(object, "roleRef.kind").to_owned(), name: text(object, "roleRef.name").to_owned() };
    let (resource, namespace) = if role.kind == "ClusterRole" { ("clusterroles", "") } else { ("roles", object.namespace()) };
    if may(scope, "bind", resource, namespace, &role.name) {
        return Ok(());
    }
    match scope.server.authorizer.role(namespace, &role) {
        Some(rules) => escalation(scope, object, &rules),
        None => Err(ApiError::not_found(&GroupResource::new(GROUP, resource), &role.name)),
    }
}

impl Strategy for Bindings {
    fn name_rule(&self) -> NameRule {
        NameRule::PathSegment
    }

    fn creates_on_update(&self) -> bool {
        true
    }

    fn prepare_create(&self, scope: Scope<'_>, object: &mut Value) -> Result<(), ApiError> {
        complete(object);
        check_binding(scope, object)
    }

    fn prepare_update(&self, scope: Scope<'_>, object: &mut Value, old: &Value) -> Result<(), ApiError> {
        complete(object);
        let same = at(object, "roleRef") == at(old, "roleRef") && at(object, "subjects") == at(old, "subjects");
        if same { Ok(()) } else { check_binding(scope, object) }
    }

    fn validate(&self, _: Scope<'_>, object: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        let cluster = object.kind() == "ClusterRoleBinding";
        let role = Path::Root("roleRef");
        one_of(&mut errors, role.field("apiGroup"), text(object, "roleRef.apiGroup"), &[GROUP]);
        let kinds: &[&str] = if cluster { &["ClusterRole"] } else { &["Role", "ClusterRole"] };
        let kind = text(object, "roleRef.kind");
        if !kinds.contains(&kind) {
            errors.push(FieldError::not_supported_as_given(role.field("kind"), kind, kinds));
        }
        named(&mut errors, role.field("name"), text(object, "roleRef.name"), names::path_segment);
        let subjects = Path::Root("subjects");
        for (number, subject) in list(object, "subjects").enumerate() {
            let path = subjects.index(number);
            let name = text(subject, "name");
            if name.is_empty() {
                errors.push(FieldError::required(path.field("name"), ""));
            } else if text(subject, "kind") == "ServiceAccount" {
                invalid_all(&mut errors, path.field("name"), name, names::subdomain(name));
            }
            let group = text(subject, "apiGroup");
            match text(subject, "kind") {
                "ServiceAccount" => {
                    if !group.is_empty() {
                        errors.push(FieldError::not_supported(path.field("apiGroup"), group, &[""]));
                    }
                    if cluster && text(subject, "namespace").is_empty() {
                        errors.push(FieldError::required(path.field("namespace"), ""));
                    }
                }
                kind @ ("User" | "Group") => {
                    if name.is_empty() {
                        let words = format!("{} name cannot be empty", kind.to_lowercase());
                        errors.push(FieldError::invalid(path.field("name"), name, words));
                    }
                    one_of(&mut errors, path.field("apiGroup"), group, &[GROUP]);
                }
                other => errors.push(FieldError::not_supported_as_given(path.field("kind"), other, &["ServiceAccount", "User", "Group"])),
            }
        }
        errors
    }

    fn validate_update(&self, scope: Scope<'_>, object: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = self.validate(scope, object);
        if at(object, "roleRef") != at(old, "roleRef") {
            let part = |field: &str| text(object, field).to_owned();
            let shown = value!({
                "APIGroup": (part("roleRef.apiGroup")),
                "Kind": (part("roleRef.kind")),
                "Name": (part("roleRef.name")),
            });
            errors.push(FieldError::invalid("roleRef", shown, "cannot change roleRef"));
        }
        errors
    }
}
