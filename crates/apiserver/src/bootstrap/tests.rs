//! The bootstrap policy is consistent in itself.

use std::collections::HashSet;

use super::roles::{bindings, roles};

#[test]
fn names_are_unique_and_bindings_lead_somewhere() {
    let mut seen = HashSet::new();
    for role in roles() {
        assert!(seen.insert((role.namespace, role.name)), "{} twice", role.name);
        assert!(role.aggregates.is_some() || !role.rules.is_empty(), "{} grants nothing", role.name);
    }
    let mut names = HashSet::new();
    for binding in bindings() {
        assert!(names.insert((binding.namespace, binding.name)), "{} twice", binding.name);
        let home = if binding.cluster_role { None } else { binding.namespace };
        assert!(seen.contains(&(home, binding.role)), "{} binds {}, which does not exist", binding.name, binding.role);
    }
}

#[test]
fn rules_are_complete() {
    for role in roles() {
        for rule in role.rules.iter().map(super::roles::Rule::policy_rule) {
            assert!(!rule.verbs.is_empty(), "{}: a rule without verbs", role.name);
            let resources = !rule.api_groups.is_empty() && !rule.resources.is_empty();
            assert!(resources == rule.non_resource_urls.is_empty(), "{}: {rule:?}", role.name);
        }
    }
}

#[test]
fn only_a_few_may_do_everything() {
    let all = |role: &super::roles::Role| {
        role.rules.iter().map(super::roles::Rule::policy_rule).any(|rule| {
            let star = |list: &[String]| list.iter().any(|item| item == "*");
            star(&rule.verbs) && star(&rule.resources) && star(&rule.api_groups)
        })
    };
    assert_eq!(roles().filter(all).map(|role| role.name).collect::<Vec<_>>(), ["cluster-admin"]);
}
