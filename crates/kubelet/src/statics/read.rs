//! From a manifest to a static pod.

use corten_schema::Strictness;
use corten_schema::{Value, apply_defaults, json, table, yaml};
use k8s_openapi::api::core::v1::{Pod, Toleration};
use sha2::{Digest as _, Sha256};

use super::{HASH, SEEN, SOURCE};
use crate::objects;

/// A manifest that no pod can be made of.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ReadError {
    #[error("{0}")]
    Syntax(String),
    #[error("invalid pod: {0}")]
    Kind(String),
    #[error("invalid pod: {0}")]
    Invalid(String),
    #[error("static pod {pod:?} cannot refer to {what}: the API may not be there when it starts")]
    Refers { pod: String, what: &'static str },
}

/// Where a manifest was found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Origin<'a> {
    /// `file` or `http`.
    pub(super) source: &'static str,
    /// Path or URL.
    pub(super) place: &'a str,
    pub(super) node: &'a str,
}

/// The one pod of a manifest.
pub(super) fn pod(bytes: &[u8], origin: Origin<'_>) -> Result<Pod, ReadError> {
    let tree = yaml::decode_untyped(bytes).map_err(|error| ReadError::Syntax(error.to_string()))?;
    one(&tree, origin)
}

/// The pods of a manifest or of a `PodList`.
pub(super) fn pods(bytes: &[u8], origin: Origin<'_>) -> Result<Vec<Pod>, ReadError> {
    let tree = yaml::decode_untyped(bytes).map_err(|error| ReadError::Syntax(error.to_string()))?;
    if (tree.api_version(), tree.kind()) != ("v1", "PodList") {
        return Ok(vec![one(&tree, origin)?]);
    }
    let items = tree.get("items").and_then(Value::as_list).unwrap_or_default();
    items
        .iter()
        .map(|item| {
            let mut item = item.clone();
            item.insert("apiVersion", "v1");
            item.insert("kind", "Pod");
            one(&item, origin)
        })
        .collect()
}

fn one(tree: &Value, origin: Origin<'_>) -> Result<Pod, ReadError> {
    if (tree.api_version(), tree.kind()) != ("v1", "Pod") {
        return Err(ReadError::Kind(format!("it is of kind {:?} ({})", tree.kind(), tree.api_version())));
    }
    let resource = table().kind("", "v1", "Pod").ok_or_else(|| ReadError::Kind("no such kind".to_owned()))?;
    let decoded = json::canonicalize(&resource.schema, tree, Strictness::Strict).map_err(|error| ReadError::Syntax(error.to_string()))?;
    let mut value = decoded.value;
    apply_defaults(resource, &mut value);
    let pod = serde_json::from_slice(&json::encode(&value)).map_err(|error| ReadError::Syntax(error.to_string()))?;
    complete(pod, origin)
}

/// Gives a pod what makes it this node's: name, uid, node, annotations.
fn complete(mut pod: Pod, origin: Origin<'_>) -> Result<Pod, ReadError> {
    check(&pod)?;
    let meta = &mut pod.metadata;
    let name = meta.name.clone().unwrap_or_default();
    meta.name = Some(format!("{name}-{}", origin.node.to_lowercase()));
    meta.namespace.get_or_insert_with(|| "default".to_owned());
    (meta.resource_version, meta.generate_name) = (None, None);
    (meta.creation_timestamp, meta.deletion_timestamp, meta.owner_references) = (None, None, None);
    pod.status = None;
    if let Some(spec) = &mut pod.spec {
        spec.node_name = Some(origin.node.to_owned());
        // Taints are for the scheduler and for pods that it can place elsewhere.
        let anything = Toleration { operator: Some("Exists".to_owned()), effect: Some("NoExecute".to_owned()), ..Toleration::default() };
        let tolerations = spec.tolerations.get_or_insert_default();
        if !tolerations.contains(&anything) {
            tolerations.push(anything);
        }
    }
    let hash = hash(&pod, origin);
    let meta = &mut pod.metadata;
    let annotations = meta.annotations.get_or_insert_default();
    annotations.insert(HASH.to_owned(), hash.clone());
    annotations.insert(SOURCE.to_owned(), origin.source.to_owned());
    annotations.insert(SEEN.to_owned(), jiff::Timestamp::now().to_string());
    // One that is given stays, whatever the manifest says next.
    meta.uid = Some(meta.uid.take().filter(|uid| !uid.is_empty()).unwrap_or(hash));
    Ok(pod)
}

/// Another content, another node or another place: another pod.
fn hash(pod: &Pod, origin: Origin<'_>) -> String {
    let mut hasher = Sha256::new();
    hasher.update(format!("host:{}\n{}:{}\n", origin.node, origin.source, origin.place));
    hasher.update(serde_json::to_vec(pod).unwrap_or_default());
    hasher.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// What would otherwise only show when the pod is made. The API checks the rest when it gets the mirror.
fn check(pod: &Pod) -> Result<(), ReadError> {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let wrong = |text: String| Err(ReadError::Invalid(text));
    let letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let named = |name: &str, more: &[char]| {
        let inner = name.chars().all(|c| letter(c) || more.contains(&c));
        (1..=253).contains(&name.len()) && inner && name.starts_with(letter) && name.ends_with(letter)
    };
    if !named(name, &['-', '.']) {
        return wrong(format!("metadata.name: {name:?} is not a lowercase RFC 1123 subdomain"));
    }
    if let Some(namespace) = pod.metadata.namespace.as_deref().filter(|namespace| !named(namespace, &['-'])) {
        return wrong(format!("metadata.namespace: {namespace:?} is not a lowercase RFC 1123 label"));
    }
    // It is part of paths and of cgroups' names.
    let plain = |uid: &str| uid.len() <= 253 && uid.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    if let Some(uid) = pod.metadata.uid.as_deref().filter(|uid| !plain(uid)) {
        return wrong(format!("metadata.uid: {uid:?} has more in it than letters, digits and dashes"));
    }
    let Some(spec) = &pod.spec else { return wrong("spec: Required value".to_owned()) };
    if spec.containers.is_empty() {
        return wrong("spec.containers: Required value".to_owned());
    }
    if spec.ephemeral_containers.as_ref().is_some_and(|list| !list.is_empty()) {
        return wrong("spec.ephemeralContainers: Forbidden: may not be set for static pods".to_owned());
    }
    if let Some(volume) = spec.volumes.iter().flatten().find(|volume| !named(&volume.name, &['-'])) {
        return wrong(format!("the name {:?} of a volume is not a lowercase RFC 1123 label", volume.name));
    }
    let mut seen = std::collections::BTreeSet::new();
    for container in crate::pod::qos::all_containers(pod) {
        if !named(&container.name, &['-']) {
            return wrong(format!("the name {:?} of a container is not a lowercase RFC 1123 label", container.name));
        }
        if !seen.insert(container.name.as_str()) {
            return wrong(format!("two containers are called {:?}", container.name));
        }
        if container.image.as_deref().unwrap_or_default().is_empty() {
            return wrong(format!("container {:?} has no image", container.name));
        }
    }
    match objects::referred(pod) {
        Some(what) => Err(ReadError::Refers { pod: name.to_owned(), what }),
        None => Ok(()),
    }
}
