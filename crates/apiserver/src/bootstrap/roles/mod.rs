//! The roles and bindings that exist from the first start, as data.
//!
//! The names and rights are those of the reference's bootstrap policy, for the parts of the platform that exist here;
//! each of them may be extended by an administrator, and what is missing is put back at the next start (see
//! [`super::rbac`]).

mod controllers;
mod node;
mod system;
mod users;

use crate::authz::rules::PolicyRule;

/// One rule, its lists as words between spaces; `core` stands for the core group.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rule {
    verbs: &'static str,
    groups: &'static str,
    resources: &'static str,
    names: &'static str,
    urls: &'static str,
}

/// A rule on resources.
const fn on(verbs: &'static str, groups: &'static str, resources: &'static str) -> Rule {
    Rule { verbs, groups, resources, names: "", urls: "" }
}

/// A rule on resources of some names.
const fn named(verbs: &'static str, groups: &'static str, resources: &'static str, names: &'static str) -> Rule {
    Rule { verbs, groups, resources, names, urls: "" }
}

/// A rule on paths outside the resource API.
const fn urls(verbs: &'static str, urls: &'static str) -> Rule {
    Rule { verbs, groups: "", resources: "", names: "", urls }
}

const READ: &str = "get list watch";
const WRITE: &str = "create update patch delete deletecollection";
const ALL: &str = "*";
/// What a component needs to report events.
const EVENTS: Rule = on("create patch update", "core events.k8s.io", "events");

impl Rule {
    /// The rule as the API writes it.
    pub(crate) fn policy_rule(&self) -> PolicyRule {
        let words = |list: &str| list.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        PolicyRule {
            verbs: words(self.verbs),
            api_groups: words(self.groups).into_iter().map(|group| if group == "core" { String::new() } else { group }).collect(),
            resources: words(self.resources),
            resource_names: words(self.names),
            non_resource_urls: words(self.urls),
        }
    }
}

/// A ClusterRole, or with a namespace a Role.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Role {
    pub(crate) name: &'static str,
    /// `None` makes a ClusterRole.
    pub(crate) namespace: Option<&'static str>,
    pub(crate) rules: &'static [Rule],
    /// The role whose rules take this one's in (`admin`, `edit`, `view`).
    pub(crate) aggregate_to: Option<&'static str>,
    /// The rules come from the roles that aggregate to this name.
    pub(crate) aggregates: Option<&'static str>,
}

impl Role {
    const fn cluster(name: &'static str, rules: &'static [Rule]) -> Role {
        Role { name, namespace: None, rules, aggregate_to: None, aggregates: None }
    }

    const fn namespaced(namespace: &'static str, name: &'static str, rules: &'static [Rule]) -> Role {
        Role { name, namespace: Some(namespace), rules, aggregate_to: None, aggregates: None }
    }
}

/// Whom a binding is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    User(&'static str),
    Group(&'static str),
    /// A service account of kube-system.
    ServiceAccount(&'static str),
}

/// A binding of the role of the same name, unless `role` says another one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Binding {
    pub(crate) name: &'static str,
    pub(crate) namespace: Option<&'static str>,
    pub(crate) role: &'static str,
    /// In a namespace: the role is a ClusterRole, not a Role.
    pub(crate) cluster_role: bool,
    pub(crate) subjects: &'static [Subject],
}

impl Binding {
    const fn cluster(name: &'static str, subjects: &'static [Subject]) -> Binding {
        Binding { name, namespace: None, role: name, cluster_role: true, subjects }
    }

    const fn cluster_role(name: &'static str, role: &'static str, subjects: &'static [Subject]) -> Binding {
        Binding { name, namespace: None, role, cluster_role: true, subjects }
    }

    const fn namespaced(namespace: &'static str, name: &'static str, role: &'static str, subjects: &'static [Subject]) -> Binding {
        Binding { name, namespace: Some(namespace), role, cluster_role: false, subjects }
    }
}

/// Every role of the bootstrap policy.
pub(crate) fn roles() -> impl Iterator<Item = Role> {
    users::ROLES.iter().chain(system::ROLES).chain(node::ROLES).copied().chain(controllers::roles())
}

/// Every binding of the bootstrap policy.
pub(crate) fn bindings() -> impl Iterator<Item = Binding> {
    system::BINDINGS.iter().chain(node::BINDINGS).copied().chain(controllers::bindings())
}

pub(crate) use node::ROLES as NODE_ROLES;
