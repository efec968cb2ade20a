//! What rules grant, and to whom.

use serde_json::json;

use super::rbac::{Index, Objects};
use super::rules::PolicyRule;
use super::{Attributes, forbidden};
use crate::authn::UserInfo;

fn rule(json: serde_json::Value) -> PolicyRule {
    serde_json::from_value(json).unwrap()
}

fn user(name: &str, groups: &[&str]) -> UserInfo {
    UserInfo { name: name.to_owned(), groups: groups.iter().map(|group| (*group).to_owned()).collect(), ..UserInfo::default() }
}

#[test]
fn rules_grant_what_they_name() {
    let pods = json!({"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods", "pods/log"]});
    let named = json!({"verbs": ["get"], "apiGroups": [""], "resources": ["secrets"], "resourceNames": ["a"]});
    let scales = json!({"verbs": ["get"], "apiGroups": ["*"], "resources": ["*/scale"]});
    let all = json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]});
    let urls = json!({"verbs": ["get"], "nonResourceURLs": ["/healthz", "/openapi/*"]});
    let cases = [
        (&pods, "get", "", "pods", "", "x", true),
        (&pods, "get", "", "pods", "log", "x", true),
        (&pods, "get", "", "pods", "exec", "x", false),
        (&pods, "create", "", "pods", "", "", false),
        (&pods, "get", "apps", "pods", "", "x", false),
        (&named, "get", "", "secrets", "", "a", true),
        (&named, "get", "", "secrets", "", "b", false),
        (&named, "get", "", "secrets", "", "", false),
        (&scales, "get", "apps", "deployments", "scale", "x", true),
        (&scales, "get", "apps", "deployments", "status", "x", false),
        (&scales, "get", "apps", "deployments", "", "x", false),
        (&all, "deletecollection", "x.io", "things", "status", "", true),
        (&urls, "get", "", "pods", "", "", false),
    ];
    let someone = user("x", &[]);
    for (json, verb, group, resource, subresource, name, expected) in cases {
        let request = Attributes { subresource, name, ..Attributes::resource(&someone, verb, group, resource) };
        assert_eq!(rule(json.clone()).allows(&request), expected, "{json} {request:?}");
    }
    for (path, expected) in [("/healthz", true), ("/healthz/x", false), ("/openapi/v3/apis", true), ("/metrics", false)] {
        assert_eq!(rule(urls.clone()).allows(&Attributes::path(&someone, "get", path)), expected, "{path}");
    }
}

#[test]
fn a_rule_is_covered_when_each_part_of_it_is() {
    let own = [
        rule(json!({"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods", "services"]})),
        rule(json!({"verbs": ["update"], "apiGroups": [""], "resources": ["pods"]})),
        rule(json!({"verbs": ["get"], "apiGroups": [""], "resources": ["secrets"], "resourceNames": ["a"]})),
        rule(json!({"verbs": ["get"], "nonResourceURLs": ["/logs/*"]})),
    ];
    let cases = [
        (json!({"verbs": ["get", "update"], "apiGroups": [""], "resources": ["pods"]}), true),
        (json!({"verbs": ["update"], "apiGroups": [""], "resources": ["pods", "services"]}), false),
        (json!({"verbs": ["*"], "apiGroups": [""], "resources": ["pods"]}), false),
        (json!({"verbs": ["get"], "apiGroups": [""], "resources": ["secrets"], "resourceNames": ["a"]}), true),
        (json!({"verbs": ["get"], "apiGroups": [""], "resources": ["secrets"]}), false),
        (json!({"verbs": ["get"], "nonResourceURLs": ["/logs/x"]}), true),
        (json!({"verbs": ["get"], "nonResourceURLs": ["/metrics"]}), false),
    ];
    for (wanted, expected) in cases {
        assert_eq!(rule(wanted.clone()).covered_by(&own), expected, "{wanted}");
    }
}

fn policy() -> Index {
    let mut objects = Objects::default();
    let mut set = |plural: &str, namespace: &str, name: &str, json: serde_json::Value| {
        objects.set(plural, namespace, name, Some(json.to_string().as_bytes()));
    };
    let role = |verb: &str| json!({"rules": [{"verbs": [verb], "apiGroups": [""], "resources": ["pods"]}]});
    set("clusterroles", "", "reader", role("get"));
    set("roles", "dev", "writer", role("update"));
    let aggregated = json!({
        "metadata": {"labels": {"to-edit": "true"}},
        "rules": [{"verbs": ["list"], "apiGroups": [""], "resources": ["pods"]}],
    });
    set("clusterroles", "", "part", aggregated);
    let by = json!({"aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"to-edit": "true"}}]}});
    set("clusterroles", "", "edit", by);
    let binding = |kind: &str, name: &str, subject: serde_json::Value| json!({"subjects": [subject], "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name}});
    set("clusterrolebindings", "", "all", binding("ClusterRole", "reader", json!({"kind": "Group", "name": "readers"})));
    set("rolebindings", "dev", "dev", binding("Role", "writer", json!({"kind": "User", "name": "ann"})));
    set("rolebindings", "dev", "robots", binding("ClusterRole", "edit", json!({"kind": "ServiceAccount", "name": "robot"})));
    objects.index()
}

#[test]
fn bindings_give_roles_to_subjects_where_they_are() {
    let index = policy();
    let (ann, reader) = (user("ann", &[]), user("bob", &["readers"]));
    let robot = user("system:serviceaccount:dev:robot", &[]);
    let cases = [
        (&reader, "get", "", true),
        (&reader, "get", "dev", true),
        (&reader, "update", "dev", false),
        (&ann, "update", "dev", true),
        (&ann, "update", "prod", false),
        (&ann, "update", "", false),
        (&ann, "get", "dev", false),
        (&robot, "list", "dev", true),
        (&robot, "list", "prod", false),
    ];
    for (user, verb, namespace, expected) in cases {
        let request = Attributes { namespace, ..Attributes::resource(user, verb, "", "pods") };
        assert_eq!(index.allows(&request).is_some(), expected, "{request:?}");
    }
    let reason = index.allows(&Attributes { namespace: "dev", ..Attributes::resource(&ann, "update", "", "pods") });
    assert_eq!(reason.unwrap(), "RBAC: allowed by RoleBinding \"dev/dev\" of Role \"writer\" to ann");
}

#[test]
fn refusals_use_the_words_that_clients_know() {
    let user = user("x", &[]);
    let list = Attributes { namespace: "default", ..Attributes::resource(&user, "list", "", "pods") };
    assert_eq!(
        forbidden(&list, "").message,
        "pods is forbidden: User \"x\" cannot list resource \"pods\" in API group \"\" in the namespace \"default\""
    );
    let scale = Attributes { subresource: "scale", name: "web", ..Attributes::resource(&user, "get", "apps", "deployments") };
    assert_eq!(
        forbidden(&scale, "").message,
        "deployments.apps \"web\" is forbidden: User \"x\" cannot get resource \"deployments/scale\" in API group \"apps\" at the \
         cluster scope"
    );
    assert_eq!(forbidden(&Attributes::path(&user, "get", "/"), "").message, "forbidden: User \"x\" cannot get path \"/\"");
}
