//! The default roles and bindings as objects, and their repair at each start.

use corten_schema::{Value, json, value};

use super::Scribe;
use super::roles::{self, Binding, Role, Subject};
use crate::authz::rbac::GROUP;
use crate::authz::rules::PolicyRule;
use crate::status::ApiError;
use crate::view::{at, entry, list};

const VERSION: &str = "v1";
/// With the value `false`, an administrator keeps an object from being repaired.
const AUTOUPDATE: &str = "rbac.authorization.kubernetes.io/autoupdate";

fn repairable(object: &Value) -> bool {
    entry(object, "metadata.annotations", AUTOUPDATE) == Some("true")
}

fn object(kind: &str, namespace: Option<&str>, name: &str) -> Value {
    let mut object = value!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": (kind),
        "metadata": {
            "name": (name),
            "annotations": {"rbac.authorization.kubernetes.io/autoupdate": "true"},
            "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"},
        },
    });
    if let Some(namespace) = namespace {
        object.metadata_mut().insert("namespace", namespace);
    }
    object
}

fn aggregation_label(role: &str) -> String {
    format!("rbac.authorization.k8s.io/aggregate-to-{role}")
}

/// The rules of a role with those of the roles that it takes in.
fn all_rules(role: &Role) -> Vec<PolicyRule> {
    let mut rules: Vec<PolicyRule> = role.rules.iter().map(roles::Rule::policy_rule).collect();
    if let Some(name) = role.aggregates {
        for part in roles::roles().filter(|part| part.aggregate_to == Some(name)) {
            rules.extend(all_rules(&part));
        }
    }
    rules
}

fn rules_value(rules: &[PolicyRule]) -> Result<Value, ApiError> {
    let text = serde_json::to_vec(rules).map_err(ApiError::internal)?;
    json::decode_untyped(&text).map_err(ApiError::internal)
}

fn role_object(role: &Role) -> Result<Value, ApiError> {
    let kind = if role.namespace.is_some() { "Role" } else { "ClusterRole" };
    let mut object = object(kind, role.namespace, role.name);
    if let Some(target) = role.aggregate_to {
        object.set_at(&["metadata", "labels", &aggregation_label(target)], "true");
    }
    if let Some(name) = role.aggregates {
        let mut selector = Value::map();
        selector.set_at(&["matchLabels", &aggregation_label(name)], "true");
        object.set_at(&["aggregationRule", "clusterRoleSelectors"], vec![selector]);
    }
    object.insert("rules", rules_value(&all_rules(role))?);
    Ok(object)
}

/// Items of the list at `field` that are wanted and missing are added.
fn add_missing(current: &mut Value, wanted: &Value, field: &str) {
    let missing: Vec<Value> = list(wanted, field).filter(|item| !list(current, field).any(|present| present == *item)).cloned().collect();
    if !missing.is_empty() {
        current.make_map().get_or_insert_with(field, || Value::List(Vec::new())).make_list().extend(missing);
    }
}

/// Creates a role, or gives it back the rules and labels that it lacks.
pub(super) async fn role(scribe: &Scribe<'_>, role: Role) -> Result<(), ApiError> {
    let wanted = role_object(&role)?;
    let plural = if role.namespace.is_some() { "roles" } else { "clusterroles" };
    scribe
        .reconcile(GROUP, VERSION, plural, wanted, |current, wanted| {
            if !repairable(current) {
                return;
            }
            for (key, label) in wanted.labels().into_iter().flatten() {
                if current.label(key).is_none() {
                    current.set_at(&["metadata", "labels", key], label.clone());
                }
            }
            add_missing(current, wanted, "rules");
        })
        .await
}

fn subject(subject: &Subject) -> Value {
    match subject {
        Subject::User(name) => value!({"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": (*name)}),
        Subject::Group(name) => value!({"kind": "Group", "apiGroup": "rbac.authorization.k8s.io", "name": (*name)}),
        Subject::ServiceAccount(name) => {
            value!({"kind": "ServiceAccount", "name": (*name), "namespace": "kube-system"})
        }
    }
}

/// Creates a binding, or gives it back the subjects that it lacks.
pub(super) async fn binding(scribe: &Scribe<'_>, binding: Binding) -> Result<(), ApiError> {
    let (kind, plural) = match binding.namespace {
        Some(_) => ("RoleBinding", "rolebindings"),
        None => ("ClusterRoleBinding", "clusterrolebindings"),
    };
    let mut wanted = object(kind, binding.namespace, binding.name);
    let role_kind = if binding.cluster_role { "ClusterRole" } else { "Role" };
    let role = value!({
        "apiGroup": "rbac.authorization.k8s.io",
        "kind": (role_kind),
        "name": (binding.role),
    });
    wanted.insert("roleRef", role);
    if !binding.subjects.is_empty() {
        let subjects: Vec<Value> = binding.subjects.iter().map(subject).collect();
        wanted.insert("subjects", subjects);
    }
    scribe
        .reconcile(GROUP, VERSION, plural, wanted, |current, wanted| {
            if repairable(current) && at(current, "roleRef") == at(wanted, "roleRef") {
                add_missing(current, wanted, "subjects");
            }
        })
        .await
}
