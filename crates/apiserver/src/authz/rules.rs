//! RBAC rules: what a rule grants, and whether it grants a request.

use serde::{Deserialize, Serialize};

use super::Attributes;

/// One rule of a Role or ClusterRole (`rbac.authorization.k8s.io/v1` PolicyRule).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PolicyRule {
    /// Verbs; `*` is all of them.
    pub verbs: Vec<String>,
    /// API groups; the core group is the empty string, `*` is all of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub api_groups: Vec<String>,
    /// Resources, with `/` before a subresource; `*` and `*/scale` are wildcards.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<String>,
    /// Names that the rule is limited to; empty means any name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub resource_names: Vec<String>,
    /// URL paths outside the resource API; a final `*` matches any rest.
    #[serde(rename = "nonResourceURLs", skip_serializing_if = "Vec::is_empty")]
    pub non_resource_urls: Vec<String>,
}

fn any_or(list: &[String], wanted: &str) -> bool {
    list.iter().any(|item| item == "*" || item == wanted)
}

/// Whether the pattern of a rule covers a resource and its subresource.
fn resource_matches(pattern: &str, resource: &str, subresource: &str) -> bool {
    if pattern == "*" {
        return true;
    }
    match pattern.split_once('/') {
        None => subresource.is_empty() && pattern == resource,
        Some(("*", wanted)) => !subresource.is_empty() && wanted == subresource,
        Some((of, wanted)) => of == resource && wanted == subresource,
    }
}

fn url_matches(pattern: &str, path: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => path.starts_with(prefix),
        None => pattern == path,
    }
}

impl PolicyRule {
    /// Whether this rule grants the request.
    pub fn allows(&self, request: &Attributes<'_>) -> bool {
        if !any_or(&self.verbs, request.verb) {
            return false;
        }
        if !request.resource_request {
            return self.non_resource_urls.iter().any(|url| url_matches(url, request.path));
        }
        any_or(&self.api_groups, request.group)
            && self.resources.iter().any(|pattern| resource_matches(pattern, request.resource, request.subresource))
            && (self.resource_names.is_empty() || (!request.name.is_empty() && self.resource_names.iter().any(|name| name == request.name)))
    }

    /// Whether everything that `wanted` grants is granted by the rules of `owner` (the check against privilege escalation).
    ///
    /// Each single combination of verb, group, resource and name is looked for in one rule, which is how the reference
    /// breaks rules down.
    pub fn covered_by(&self, owner: &[PolicyRule]) -> bool {
        let urls = self.verbs.iter().all(|verb| {
            self.non_resource_urls.iter().all(|url| {
                owner.iter().any(|rule| any_or(&rule.verbs, verb) && rule.non_resource_urls.iter().any(|pattern| url_matches(pattern, url)))
            })
        });
        urls && self.verbs.iter().all(|verb| {
            self.api_groups.iter().all(|group| {
                self.resources.iter().all(|resource| {
                    let names: Vec<Option<&String>> = match self.resource_names.as_slice() {
                        [] => vec![None],
                        names => names.iter().map(Some).collect(),
                    };
                    names.into_iter().all(|name| owner.iter().any(|rule| rule.covers_one(verb, group, resource, name)))
                })
            })
        })
    }

    fn covers_one(&self, verb: &str, group: &str, resource: &str, name: Option<&String>) -> bool {
        let (of, sub) = resource.split_once('/').unwrap_or((resource, ""));
        any_or(&self.verbs, verb)
            && any_or(&self.api_groups, group)
            && self.resources.iter().any(|pattern| pattern == resource || resource_matches(pattern, of, sub))
            && (self.resource_names.is_empty() || name.is_some_and(|name| self.resource_names.contains(name)))
    }
}
