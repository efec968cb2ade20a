//! Role-based access control: roles and bindings, indexed by subject.
//!
//! [`Objects`] mirrors the four RBAC kinds of the ledger, parsed; [`Index`] is made from it and answers requests. The
//! index is replaced whole when an object changes, so that a request sees one consistent policy.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde::Deserialize;

use super::Attributes;
use super::rules::PolicyRule;
use crate::authn::UserInfo;

/// API group of the RBAC kinds.
pub const GROUP: &str = "rbac.authorization.k8s.io";

#[derive(Clone, Debug, Default, Deserialize)]
struct Meta {
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

/// A Role or ClusterRole as far as authorization needs it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Role {
    #[serde(default)]
    metadata: Meta,
    #[serde(default)]
    rules: Vec<PolicyRule>,
    #[serde(default)]
    aggregation_rule: Option<AggregationRule>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct AggregationRule {
    #[serde(default)]
    cluster_role_selectors: Vec<Selector>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Selector {
    #[serde(default)]
    match_labels: BTreeMap<String, String>,
    #[serde(default)]
    match_expressions: Vec<Requirement>,
}

#[derive(Clone, Debug, Deserialize)]
struct Requirement {
    key: String,
    operator: String,
    #[serde(default)]
    values: Vec<String>,
}

impl Selector {
    fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        let found = |key: &str, values: &[String]| labels.get(key).is_some_and(|value| values.contains(value));
        self.match_labels.iter().all(|(key, value)| labels.get(key) == Some(value))
            && self.match_expressions.iter().all(|term| match term.operator.as_str() {
                "In" => found(&term.key, &term.values),
                "NotIn" => !found(&term.key, &term.values),
                "Exists" => labels.contains_key(&term.key),
                "DoesNotExist" => !labels.contains_key(&term.key),
                _ => false,
            })
    }
}

/// A RoleBinding or ClusterRoleBinding.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Binding {
    #[serde(default)]
    subjects: Vec<Subject>,
    role_ref: RoleRef,
}

#[derive(Clone, Debug, Deserialize)]
struct Subject {
    kind: String,
    name: String,
    #[serde(default)]
    namespace: String,
}

/// The role of a binding.
#[derive(Clone, Debug, Deserialize)]
pub struct RoleRef {
    /// `Role` or `ClusterRole`.
    pub kind: String,
    /// Its name.
    pub name: String,
}

/// A user (service accounts by their user names) or a group.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Principal {
    User(String),
    Group(String),
}

impl Subject {
    fn principal(&self, binding_namespace: &str) -> Option<Principal> {
        match self.kind.as_str() {
            "User" => Some(Principal::User(self.name.clone())),
            "Group" => Some(Principal::Group(self.name.clone())),
            "ServiceAccount" => {
                let namespace = if self.namespace.is_empty() { binding_namespace } else { &self.namespace };
                Some(Principal::User(format!("system:serviceaccount:{namespace}:{}", self.name)))
            }
            _ => None,
        }
    }
}

type Key = (String, String);

/// The parsed RBAC objects, by namespace (empty at cluster scope) and name.
#[derive(Clone, Debug, Default)]
pub struct Objects {
    roles: HashMap<Key, Arc<Role>>,
    bindings: HashMap<Key, Arc<Binding>>,
}

impl Objects {
    /// Takes in the state of one object: `json` is `None` when it was deleted. `plural` is one of the four RBAC plurals;
    /// anything else, and what cannot be parsed, is left out.
    pub fn set(&mut self, plural: &str, namespace: &str, name: &str, json: Option<&[u8]>) {
        let key = (namespace.to_owned(), name.to_owned());
        match plural {
            "roles" | "clusterroles" => match json.and_then(parse) {
                Some(role) => drop(self.roles.insert(key, role)),
                None => drop(self.roles.remove(&key)),
            },
            "rolebindings" | "clusterrolebindings" => match json.and_then(parse) {
                Some(binding) => drop(self.bindings.insert(key, binding)),
                None => drop(self.bindings.remove(&key)),
            },
            _ => {}
        }
    }

    fn rules_of(&self, role: &Role) -> Arc<[PolicyRule]> {
        let Some(aggregation) = &role.aggregation_rule else { return role.rules.clone().into() };
        let mut rules: Vec<PolicyRule> = role.rules.clone();
        self.aggregate(aggregation, &mut rules, 0);
        rules.into()
    }

    /// Adds the rules of the ClusterRoles that the selectors match; these may aggregate others in turn (`admin` takes
    /// in `edit`, which takes in `view`). The depth bound ends cycles.
    fn aggregate(&self, aggregation: &AggregationRule, rules: &mut Vec<PolicyRule>, depth: usize) {
        const DEEPEST: usize = 8;
        let matching = self.roles.iter().filter(|((namespace, _), role)| {
            namespace.is_empty() && aggregation.cluster_role_selectors.iter().any(|selector| selector.matches(&role.metadata.labels))
        });
        for (_, role) in matching {
            for rule in &role.rules {
                if !rules.contains(rule) {
                    rules.push(rule.clone());
                }
            }
            if let (Some(inner), true) = (&role.aggregation_rule, depth < DEEPEST) {
                self.aggregate(inner, rules, depth + 1);
            }
        }
    }

    /// The index that answers requests.
    pub fn index(&self) -> Index {
        let mut index = Index::default();
        for ((namespace, name), role) in &self.roles {
            index.roles.insert((namespace.clone(), name.clone()), self.rules_of(role));
        }
        for ((namespace, name), binding) in &self.bindings {
            let granted = Arc::new(Grant { binding: name.clone(), role: binding.role_ref.clone() });
            for principal in binding.subjects.iter().filter_map(|subject| subject.principal(namespace)) {
                index.grants.entry(namespace.clone()).or_default().entry(principal).or_default().push(Arc::clone(&granted));
            }
        }
        index
    }
}

fn parse<T: for<'de> Deserialize<'de>>(json: &[u8]) -> Option<Arc<T>> {
    match serde_json::from_slice(json) {
        Ok(object) => Some(Arc::new(object)),
        Err(error) => {
            tracing::warn!(%error, "an RBAC object cannot be read and grants nothing");
            None
        }
    }
}

/// That a binding gives a role.
#[derive(Debug)]
struct Grant {
    binding: String,
    role: RoleRef,
}

/// Who has which rules.
#[derive(Debug, Default)]
pub struct Index {
    roles: HashMap<Key, Arc<[PolicyRule]>>,
    grants: HashMap<String, HashMap<Principal, Vec<Arc<Grant>>>>,
}

impl Index {
    /// Rules of a role: a Role of `namespace`, or a ClusterRole.
    pub fn role(&self, namespace: &str, role: &RoleRef) -> Option<Arc<[PolicyRule]>> {
        let namespace = if role.kind == "ClusterRole" { "" } else { namespace };
        self.roles.get(&(namespace.to_owned(), role.name.clone())).cloned()
    }

    /// Calls `visit` with each role that a user has through bindings of one namespace (empty: cluster bindings), until
    /// it returns true; says whether it did.
    fn visit(&self, user: &UserInfo, namespace: &str, visit: &mut dyn FnMut(&Grant, &[PolicyRule]) -> bool) -> bool {
        let Some(by_principal) = self.grants.get(namespace) else { return false };
        let groups = user.groups.iter().map(|group| Principal::Group(group.clone()));
        std::iter::once(Principal::User(user.name.clone())).chain(groups).any(|principal| {
            by_principal
                .get(&principal)
                .into_iter()
                .flatten()
                .any(|grant| self.role(namespace, &grant.role).is_some_and(|rules| visit(grant, &rules)))
        })
    }

    /// Why the request is allowed, or `None`.
    pub fn allows(&self, request: &Attributes<'_>) -> Option<String> {
        let mut reason = None;
        let mut check = |scope: &str, kind: &str| {
            self.visit(request.user, scope, &mut |grant, rules| {
                let found = rules.iter().any(|rule| rule.allows(request));
                if found {
                    let of = if scope.is_empty() { String::new() } else { format!("/{scope}") };
                    reason = Some(format!(
                        "RBAC: allowed by {kind} \"{}{of}\" of {} \"{}\" to {}",
                        grant.binding, grant.role.kind, grant.role.name, request.user.name
                    ));
                }
                found
            })
        };
        let _found = check("", "ClusterRoleBinding") || (!request.namespace.is_empty() && check(request.namespace, "RoleBinding"));
        reason
    }

    /// All rules that a user has in a namespace (cluster-wide ones included).
    pub fn rules_for(&self, user: &UserInfo, namespace: &str) -> Vec<PolicyRule> {
        let mut all = Vec::new();
        for scope in ["", namespace] {
            self.visit(user, scope, &mut |_, rules| {
                for rule in rules {
                    if !all.contains(rule) {
                        all.push(rule.clone());
                    }
                }
                false
            });
            if namespace.is_empty() {
                break;
            }
        }
        all
    }
}
