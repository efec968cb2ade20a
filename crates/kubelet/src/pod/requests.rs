//! What a pod asks for as a whole, the way the scheduler counts it.
//!
//! <https://kubernetes.io/docs/concepts/workloads/pods/init-containers/#resource-sharing-within-containers>, pod-level
//! resources (KEP 2837) and overhead (KEP 688) included.

use std::collections::BTreeSet;

use corten_client::quantity;
use k8s_openapi::api::core::v1::{Pod, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::plan::is_sidecar;
use super::qos::{Side, all_containers, amount};

/// The amount in the unit that `resource` is counted in: thousandths of a core, else bytes or pieces.
pub(crate) fn read(resource: &str, quantity: &Quantity) -> i64 {
    let value = if resource == "cpu" { quantity::millis(quantity) } else { quantity::units(quantity) };
    value.unwrap_or(0)
}

fn requested(resources: Option<&ResourceRequirements>, resource: &str) -> i64 {
    let given = amount(resources, Side::Request, resource).or_else(|| amount(resources, Side::Limit, resource));
    given.map_or(0, |quantity| read(resource, quantity))
}

/// The request of a pod.
pub(crate) fn request(pod: &Pod, resource: &str) -> i64 {
    let Some(spec) = &pod.spec else { return 0 };
    let overhead = spec.overhead.as_ref().and_then(|o| o.get(resource)).map_or(0, |quantity| read(resource, quantity));
    let whole = spec.resources.as_ref().filter(|_| matches!(resource, "cpu" | "memory") || resource.starts_with("hugepages-"));
    if amount(whole, Side::Request, resource).is_some() {
        return requested(whole, resource).saturating_add(overhead);
    }
    let (mut sidecars, mut initial) = (0_i64, 0_i64);
    for container in spec.init_containers.iter().flatten() {
        let request = requested(container.resources.as_ref(), resource);
        if is_sidecar(container) {
            sidecars = sidecars.saturating_add(request);
            initial = initial.max(sidecars);
        } else {
            initial = initial.max(sidecars.saturating_add(request));
        }
    }
    let main = spec.containers.iter().map(|c| requested(c.resources.as_ref(), resource)).fold(sidecars, i64::saturating_add);
    main.max(initial).saturating_add(overhead)
}

/// Everything that a pod asks for, by name.
pub(crate) fn names(pod: &Pod) -> BTreeSet<&str> {
    let containers = all_containers(pod).filter_map(|c| c.resources.as_ref());
    let whole = pod.spec.iter().filter_map(|s| s.resources.as_ref());
    let lists = containers.chain(whole).flat_map(|r| [r.requests.as_ref(), r.limits.as_ref()]);
    let overhead = pod.spec.iter().map(|s| s.overhead.as_ref());
    lists.chain(overhead).flatten().flat_map(|list| list.keys().map(String::as_str)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(spec: Value) -> Pod {
        serde_json::from_value(json!({"spec": spec})).unwrap()
    }

    fn asking(name: &str, cpu: &str) -> Value {
        json!({"name": name, "resources": {"requests": {"cpu": cpu}}})
    }

    #[test]
    fn init_containers_take_turns_and_sidecars_stay() {
        let mut sidecar = asking("s", "100m");
        sidecar["restartPolicy"] = json!("Always");
        let spec = json!({
            "initContainers": [asking("i", "300m"), sidecar, asking("j", "350m")],
            "containers": [asking("a", "200m"), asking("b", "100m")],
            "overhead": {"cpu": "5m", "memory": "1Mi"},
        });
        assert_eq!(request(&pod(spec.clone()), "cpu"), 455);
        assert_eq!(request(&pod(spec.clone()), "memory"), 1 << 20);
        assert_eq!(names(&pod(spec.clone())), BTreeSet::from(["cpu", "memory"]));
        let mut whole = spec;
        whole["resources"] = json!({"requests": {"cpu": "1"}});
        assert_eq!(request(&pod(whole), "cpu"), 1005);
    }

    #[test]
    fn a_limit_is_a_request_too() {
        let spec = json!({"containers": [{"name": "a", "resources": {"limits": {"example.com/gpu": "2"}}}]});
        assert_eq!(request(&pod(spec), "example.com/gpu"), 2);
    }
}
