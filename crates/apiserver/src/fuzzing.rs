//! What must hold for every text in a request's query; run by the project's fuzz targets.

use std::sync::OnceLock;

use crate::engine::{self, FieldSelector, Kinds, LabelSelector};

/// Label and field selectors: any text is parsed or refused with a Status.
///
/// # Panics
///
/// When a refusal has no message, or a selector does not hold what it selects.
pub fn selectors(data: &[u8]) {
    static KINDS: OnceLock<Kinds> = OnceLock::new();
    let text = String::from_utf8_lossy(data);
    match LabelSelector::parse(&text) {
        Ok(selector) => {
            // Neither may panic, whatever the labels are.
            selector.matches(|_| None);
            selector.matches(|key| Some(if key.len() > 3 { "5" } else { "a" }));
            assert!(!selector.is_empty() || text.trim().is_empty(), "{text:?} selects everything");
        }
        Err(error) => assert!(error.code == http::StatusCode::BAD_REQUEST && !error.message.is_empty(), "{error:?}"),
    }
    let kinds = KINDS.get_or_init(|| Kinds::new(corten_schema::table()));
    for (group, version, plural) in [("", "v1", "pods"), ("", "v1", "configmaps"), ("events.k8s.io", "v1", "events")] {
        let Some(kind) = kinds.find(group, version, plural) else { continue };
        match FieldSelector::parse(&text, kind) {
            Ok(selector) => {
                let namespace = selector.namespace(kind, "");
                if let Some(key) = selector.key(kind, namespace) {
                    assert!(key.starts_with(&kind.prefix(namespace)), "{key}");
                }
            }
            Err(error) => assert!(error.code == http::StatusCode::BAD_REQUEST && !error.message.is_empty(), "{error:?}"),
        }
    }
}

/// Continue tokens: any text is a token or refused, and a token is what its own text says.
///
/// # Panics
///
/// When a token changes on its way through its text.
pub fn continue_token(data: &[u8]) {
    engine::fuzz_token(data);
}

/// Pods: any object of that kind is completed and checked, and a pod that does not change has no change to refuse.
///
/// # Panics
///
/// When completing it twice is not completing it once, or the unchanged pod is refused.
pub fn pod(data: &[u8]) {
    let Some(resource) = corten_schema::table().kind_of("v1", "Pod") else { return };
    let Ok(decoded) = corten_schema::json::decode(&resource.schema, data, corten_schema::json::Strictness::Ignore) else { return };
    let mut pod = decoded.value;
    corten_schema::apply_defaults(resource, &mut pod);
    let once = pod.clone();
    corten_schema::apply_defaults(resource, &mut pod);
    assert_eq!(pod, once, "defaults twice");
    crate::strategies::check_pod(&mut pod);
}
