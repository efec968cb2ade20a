//! OpenAPI documents of the built-in kinds.

use crate::Value;

/// Paths of the v3 documents as they follow `/openapi/v3/`: `api/v1`, `apis/apps/v1`, …
pub fn paths() -> Vec<String> {
    crate::table().groups().iter().flat_map(|group| group.versions.iter().map(move |v| path(&group.name, &v.version))).collect()
}

fn path(group: &str, version: &str) -> String {
    if group.is_empty() { format!("api/{version}") } else { format!("apis/{group}/{version}") }
}

/// The OpenAPI v3 document of a group version; `None` if it is not served.
pub fn v3(group: &str, version: &str) -> Option<Value> {
    let _ = (group, version);
    None
}

/// The OpenAPI v2 document of everything.
pub fn v2() -> Value {
    Value::map()
}
