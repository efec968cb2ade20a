//! Discovery documents, one by one: `/api`, `/apis`, `/apis/<group>`, `/apis/<group>/<version>`.

use corten_schema::{Resource, Str, model::GroupInfo, model::VersionInfo};
use serde_json::{Value, json};

use crate::server::Server;

/// The document at `path`, if there is one.
pub(super) fn document(path: &str, server: &Server) -> Option<Value> {
    let groups = corten_schema::table().groups();
    let parts: Vec<&str> = path.split('/').skip(1).filter(|part| !part.is_empty()).collect();
    match parts.as_slice() {
        [] => Some(index(groups)),
        ["api"] => Some(json!({
            "kind": "APIVersions",
            "versions": ["v1"],
            "serverAddressByClientCIDRs": [
                {"clientCIDR": "0.0.0.0/0", "serverAddress": server.options.advertise.to_string()}
            ],
        })),
        ["api", version] => resources(find(groups, "", version)?, version),
        ["apis"] => Some(json!({
            "kind": "APIGroupList",
            "apiVersion": "v1",
            "groups": groups.iter().filter(|group| !group.name.is_empty()).map(group).collect::<Vec<_>>(),
        })),
        ["apis", name] if !name.is_empty() => {
            let mut document = group(groups.iter().find(|group| group.name == **name)?);
            let members = document.as_object_mut()?;
            members.insert("kind".to_owned(), "APIGroup".into());
            members.insert("apiVersion".to_owned(), "v1".into());
            Some(document)
        }
        ["apis", name, version] => resources(find(groups, name, version)?, &format!("{name}/{version}")),
        _ => None,
    }
}

fn find<'a>(groups: &'a [GroupInfo], name: &str, version: &str) -> Option<&'a VersionInfo> {
    let group = groups.iter().find(|group| group.name == *name)?;
    group.versions.iter().find(|one| one.version == *version)
}

fn index(groups: &[GroupInfo]) -> Value {
    let mut paths = vec!["/api".to_owned(), "/api/v1".to_owned(), "/apis".to_owned()];
    for group in groups.iter().filter(|group| !group.name.is_empty()) {
        paths.push(format!("/apis/{}", group.name));
        paths.extend(group.versions.iter().map(|version| format!("/apis/{}/{}", group.name, version.version)));
    }
    paths.extend(
        ["/healthz", "/livez", "/metrics", "/openapi/v2", "/openapi/v3", "/openid/v1/jwks", "/readyz", "/version"].map(ToOwned::to_owned),
    );
    paths.sort();
    json!({ "paths": paths })
}

fn group(group: &GroupInfo) -> Value {
    let version =
        |version: &VersionInfo| json!({"groupVersion": format!("{}/{}", group.name, version.version), "version": version.version.as_str()});
    json!({
        "name": group.name.as_str(),
        "versions": group.versions.iter().map(version).collect::<Vec<_>>(),
        "preferredVersion": group.versions.first().map(version),
    })
}

fn resources(version: &VersionInfo, group_version: &str) -> Option<Value> {
    let resources: Vec<Value> = version.resources.iter().flat_map(|row| entries(row)).collect();
    Some(json!({
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": group_version,
        "resources": resources,
    }))
}

/// A row and its subresources as `APIResource`s.
fn entries(row: &Resource) -> Vec<Value> {
    let mut main = json!({
        "name": row.plural.as_str(),
        "singularName": row.singular.as_str(),
        "namespaced": row.namespaced,
        "kind": row.kind.as_str(),
        "verbs": row.verbs.iter().map(|verb| verb.as_str()).collect::<Vec<_>>(),
    });
    for (key, words) in [("shortNames", &row.short_names), ("categories", &row.categories)] {
        if let (false, Some(members)) = (words.is_empty(), main.as_object_mut()) {
            members.insert(key.to_owned(), words.iter().map(Str::as_str).collect());
        }
    }
    let subresources = row.subresources.iter().map(|sub| {
        let mut entry = json!({
            "name": format!("{}/{}", row.plural, sub.name),
            "singularName": "",
            "namespaced": row.namespaced,
            "kind": sub.kind.as_str(),
            "verbs": sub.verbs.iter().map(|verb| verb.as_str()).collect::<Vec<_>>(),
        });
        if let (true, Some(members)) = (sub.group != row.group || sub.version != row.version, entry.as_object_mut()) {
            if !sub.group.is_empty() {
                members.insert("group".to_owned(), sub.group.as_str().into());
            }
            members.insert("version".to_owned(), sub.version.as_str().into());
        }
        entry
    });
    std::iter::once(main).chain(subresources).collect()
}
