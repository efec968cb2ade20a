//! Limits on local storage: of a volume, of a container, of a pod. Who breaks one goes, whatever the node has left.

use k8s_openapi::api::core::v1::Pod;

use super::observe::PodUse;
use crate::inbox::Eviction;
use crate::pod::qos::{Side, amount};
use crate::pod::requests;
use corten_client::quantity;

/// The limit that a pod has broken, as the eviction that follows.
pub(super) fn broken(pod: &Pod, used: &PodUse) -> Option<Eviction> {
    let spec = pod.spec.as_ref()?;
    for volume in spec.volumes.iter().flatten() {
        let Some(limit) = volume.empty_dir.as_ref().and_then(|e| e.size_limit.as_ref()) else { continue };
        let Some(bytes) = quantity::units(limit).filter(|bytes| *bytes > 0) else { continue };
        if used.volumes.get(&volume.name).is_some_and(|u| *u > bytes) {
            return Some(evicted(
                "emptydirfs.limit",
                format!("Usage of EmptyDir volume \"{}\" exceeds the limit \"{}\". ", volume.name, limit.0),
            ));
        }
    }
    let resource = "ephemeral-storage";
    let whole = pod_limit(pod);
    if let Some(limit) = whole.filter(|limit| used.disk > *limit) {
        let limit = quantity::from_bytes(limit).0;
        return Some(evicted(
            "ephemeralpodfs.limit",
            format!("Pod ephemeral local storage usage exceeds the total limit of containers {limit}. "),
        ));
    }
    for container in &spec.containers {
        let Some(limit) = amount(container.resources.as_ref(), Side::Limit, resource) else { continue };
        let bytes = requests::read(resource, limit);
        if bytes > 0 && used.containers.get(&container.name).is_some_and(|u| *u > bytes) {
            let name = &container.name;
            return Some(evicted(
                "ephemeralcontainerfs.limit",
                format!("Container {name} exceeded its local ephemeral storage limit \"{}\". ", limit.0),
            ));
        }
    }
    None
}

/// The sum of limits, if every container has one.
fn pod_limit(pod: &Pod) -> Option<i64> {
    let spec = pod.spec.as_ref()?;
    spec.containers
        .iter()
        .map(|c| amount(c.resources.as_ref(), Side::Limit, "ephemeral-storage").and_then(quantity::units).filter(|l| *l > 0))
        .sum()
}

fn evicted(signal: &'static str, message: String) -> Eviction {
    Eviction {
        reason: "Evicted".to_owned(),
        message: message.clone(),
        grace: Some(1),
        disruption: None,
        event: Some(("Evicted", message)),
        signal: Some(signal),
    }
}
