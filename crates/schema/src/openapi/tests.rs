use super::*;
use std::collections::BTreeSet;

fn references(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Map(map) => {
            for (key, value) in map {
                match value.as_str() {
                    Some(text) if *key == "$ref" => {
                        found.insert(text.rsplit('/').next().unwrap().to_owned());
                    }
                    _ => references(value, found),
                }
            }
        }
        Value::List(items) => items.iter().for_each(|item| references(item, found)),
        _ => {}
    }
}

#[test]
fn documents_are_complete() {
    for path in paths() {
        let (group, version) = match path.split('/').collect::<Vec<_>>()[..] {
            ["api", version] => ("", version),
            ["apis", group, version] => (group, version),
            _ => panic!("{path}"),
        };
        let document = v3(group, version).unwrap();
        let schemas = document.at(&["components", "schemas"]).unwrap();
        let mut found = BTreeSet::new();
        references(&document, &mut found);
        for name in found {
            assert!(schemas.get(&name).is_some(), "{path}: {name}");
        }
    }
    assert!(v3("apps", "v9").is_none());
    let v2 = v2();
    let mut found = BTreeSet::new();
    references(&v2, &mut found);
    assert!(found.iter().all(|name| v2.at(&["definitions", name]).is_some()));
}

/// What kubectl looks for before it lets the server check fields.
#[test]
fn patches_take_field_validation() {
    for resource in table().resources().iter().filter(|resource| resource.allows(crate::Verb::Patch)) {
        let document = v3(&resource.group, &resource.version).unwrap();
        let kind = value!({"group": (resource.group.clone()), "kind": (resource.kind.clone()), "version": (resource.version.clone())});
        let patches: Vec<&Value> = document
            .at(&["paths"])
            .and_then(Value::as_map)
            .unwrap()
            .values()
            .filter_map(|item| item.get("patch"))
            .filter(|patch| patch.get("x-kubernetes-group-version-kind") == Some(&kind))
            .collect();
        assert!(!patches.is_empty(), "{}", resource.kind);
        for patch in patches {
            let parameters = patch.get("parameters").and_then(Value::as_list).unwrap();
            assert!(parameters.iter().any(|p| p.str_at(&["name"]) == "fieldValidation" && p.str_at(&["in"]) == "query"));
            assert!(patch.at(&["requestBody", "content", "application/strategic-merge-patch+json"]).is_some());
        }
    }
}

#[test]
fn merge_facts() {
    let document = v3("apps", "v1").unwrap();
    let schemas = document.at(&["components", "schemas"]).unwrap();
    let ports = schemas.at(&["io.k8s.api.core.v1.Container", "properties", "ports"]).unwrap();
    assert_eq!(ports.str_at(&["x-kubernetes-patch-merge-key"]), "containerPort");
    assert_eq!(ports.get("x-kubernetes-list-map-keys"), Some(&value!(["containerPort", "protocol"])));
    let deployment = schemas.at(&["io.k8s.api.apps.v1.Deployment", "x-kubernetes-group-version-kind"]).unwrap();
    assert_eq!(deployment, &value!([{"group": "apps", "kind": "Deployment", "version": "v1"}]));
    assert!(document.at(&["paths", "/apis/apps/v1/namespaces/{namespace}/deployments/{name}/scale", "patch"]).is_some());
    let strategy = schemas.at(&["io.k8s.api.apps.v1.DeploymentSpec", "properties", "strategy"]).unwrap();
    assert_eq!(strategy.str_at(&["x-kubernetes-patch-strategy"]), "retainKeys");
}
