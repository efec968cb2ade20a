//! OpenAPI documents of the built-in kinds.
//!
//! Names, types and merge facts, without prose. `kubectl` reads them to see whether a server checks
//! fields (`fieldValidation`), to merge, and to explain.

mod operations;
mod schemas;

#[cfg(test)]
mod tests;

use crate::model::{VersionInfo, table};
use crate::{Map, Resource, Value, value};
use operations::{Flavor, resource_paths};
use schemas::Definitions;

/// Paths of the v3 documents as they follow `/openapi/v3/`: `api/v1`, `apis/apps/v1`, …
pub fn paths() -> Vec<String> {
    table().groups().iter().flat_map(|group| group.versions.iter().map(move |v| path(&group.name, &v.version))).collect()
}

/// The OpenAPI v3 document of a group version; `None` if it is not served.
///
/// Making one takes milliseconds: keep it.
pub fn v3(group: &str, version: &str) -> Option<Value> {
    let info = table().groups().iter().find(|info| info.name == *group)?;
    let info = info.versions.iter().find(|info| info.version == *version)?;
    let mut definitions = Definitions::new(table().types(), Flavor::V3);
    let paths = version_paths(group, info, Flavor::V3, &mut definitions);
    Some(value!({
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": "v1.35.0"},
        "paths": (Value::Map(paths)),
        "components": {"schemas": (definitions.finish())}
    }))
}

/// The OpenAPI v2 document of everything.
pub fn v2() -> Value {
    let mut definitions = Definitions::new(table().types(), Flavor::V2);
    let mut paths = Map::new();
    for group in table().groups() {
        for version in &group.versions {
            for (path, item) in version_paths(&group.name, version, Flavor::V2, &mut definitions) {
                paths.insert(path, item);
            }
        }
    }
    value!({
        "swagger": "2.0",
        "info": {"title": "Kubernetes", "version": "v1.35.0"},
        "paths": (Value::Map(paths)),
        "definitions": (definitions.finish())
    })
}

fn path(group: &str, version: &str) -> String {
    if group.is_empty() { format!("api/{version}") } else { format!("apis/{group}/{version}") }
}

fn version_paths(group: &str, info: &VersionInfo, flavor: Flavor, definitions: &mut Definitions) -> Map {
    let root = format!("/{}", path(group, &info.version));
    let mut entries = Vec::new();
    for resource in &info.resources {
        entries.extend(resource_paths(&root, resource, flavor, definitions));
    }
    entries.into_iter().collect()
}

/// The OpenAPI name of a resource's list type.
fn list_type(resource: &Resource) -> String {
    format!("{}List", resource.schema.describe().name)
}
