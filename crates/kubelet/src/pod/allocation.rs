//! What the node has promised to a pod's containers, which lags behind what the pod asks for while it is resized.
//!
//! <https://kubernetes.io/docs/tasks/configure-pod-container/resize-container-resources/>

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use corten_client::quantity;
use corten_cri::v1::LinuxContainerResources;
use k8s_openapi::api::core::v1::{Container, Pod, ResourceRequirements};
use serde::{Deserialize, Serialize};

use super::qos::Side;
use super::resources::{self, CPU_PERIOD};
use crate::admit::{self, NodeFacts};

/// Name of the file in the pod's directory that outlives the kubelet.
const FILE: &str = "allocation.json";

/// Resources by container, initialisation included.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Allocation {
    containers: BTreeMap<String, Option<ResourceRequirements>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    whole: Option<ResourceRequirements>,
}

/// Why a resize does not happen now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pending {
    /// `Deferred` or `Infeasible`.
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}

impl Allocation {
    /// What a pod asks for.
    pub(crate) fn of(pod: &Pod) -> Self {
        let containers = super::qos::all_containers(pod).map(|c| (c.name.clone(), c.resources.clone())).collect();
        Self { containers, whole: pod.spec.as_ref().and_then(|s| s.resources.clone()) }
    }

    /// The pod with these resources in place of those that it asks for.
    pub(crate) fn applied(&self, pod: &Arc<Pod>) -> Arc<Pod> {
        if *self == Self::of(pod) {
            return Arc::clone(pod);
        }
        let mut changed = Pod::clone(pod);
        if let Some(spec) = &mut changed.spec {
            spec.resources.clone_from(&self.whole);
            for container in spec.init_containers.iter_mut().flatten().chain(&mut spec.containers) {
                if let Some(resources) = self.containers.get(&container.name) {
                    container.resources.clone_from(resources);
                }
            }
        }
        Arc::new(changed)
    }

    /// What was written before.
    pub(crate) fn load(directory: &Path) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(directory.join(FILE)).ok()?).ok()
    }

    /// Writes it, whole or not at all.
    pub(crate) fn save(&self, directory: &Path) -> std::io::Result<()> {
        std::fs::create_dir_all(directory)?;
        let staged = directory.join(format!("{FILE}.new"));
        std::fs::write(&staged, serde_json::to_vec(self)?)?;
        std::fs::rename(staged, directory.join(FILE))
    }
}

/// Whether a pod may have what it asks for beside the others.
pub(crate) fn decide(pod: &Pod, others: &[Arc<Pod>], node: &NodeFacts) -> Result<(), Pending> {
    if crate::statics::is_static(pod) {
        return Err(Pending { reason: "Infeasible", message: "In-place resize of static-pods is not supported".to_owned() });
    }
    for resource in ["cpu", "memory"] {
        let (requested, capacity) = (super::requests::request(pod, resource), node.allocatable.get(resource).copied().unwrap_or(i64::MAX));
        if requested > capacity {
            let message = format!("Node didn't have enough capacity: {resource}, requested: {requested}, capacity: {capacity}");
            return Err(Pending { reason: "Infeasible", message });
        }
    }
    admit::enough(pod, others, node).map_err(|rejection| Pending { reason: "Deferred", message: rejection.message })
}

/// How a running container differs from what it should have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Difference {
    None,
    /// It can be changed as it runs.
    Live,
    /// Its owner wants it restarted for this.
    Restart,
}

/// Compares. A runtime that does not tell has nothing to compare.
pub(crate) fn difference(container: &Container, wanted: &LinuxContainerResources, actual: Option<&LinuxContainerResources>) -> Difference {
    let Some(actual) = actual.filter(|actual| actual.cpu_shares > 0) else {
        return Difference::None;
    };
    let limit = |value: i64| value.max(0);
    let cpu = (limit(wanted.cpu_quota), wanted.cpu_shares) != (limit(actual.cpu_quota), actual.cpu_shares);
    let memory = limit(wanted.memory_limit_in_bytes) != limit(actual.memory_limit_in_bytes);
    let restarts = |resource: &str| {
        let policies = container.resize_policy.iter().flatten();
        policies.into_iter().any(|p| p.resource_name == resource && p.restart_policy == "RestartContainer")
    };
    match (cpu, memory) {
        (false, false) => Difference::None,
        _ if (cpu && restarts("cpu")) || (memory && restarts("memory")) => Difference::Restart,
        _ => Difference::Live,
    }
}

/// What a running container has, in the words of the API: the allocation, except where the runtime says otherwise.
pub(crate) fn actual(allocated: Option<&ResourceRequirements>, found: Option<&LinuxContainerResources>) -> ResourceRequirements {
    let mut actual = ResourceRequirements { claims: None, ..allocated.cloned().unwrap_or_default() };
    let Some(found) = found.filter(|found| found.cpu_shares > 0) else { return actual };
    let millis = |side| super::qos::amount(allocated, side, "cpu").and_then(quantity::millis).unwrap_or(0);
    if let Some(limits) = &mut actual.limits {
        if found.cpu_quota > 0 && resources::cpu_quota(millis(Side::Limit)) != found.cpu_quota {
            let period = if found.cpu_period > 0 { found.cpu_period } else { CPU_PERIOD };
            limits.insert("cpu".to_owned(), quantity::from_millis(found.cpu_quota.saturating_mul(1000) / period));
        }
        let bytes = limits.get("memory").and_then(quantity::units).unwrap_or(0);
        if found.memory_limit_in_bytes > 0 && bytes != found.memory_limit_in_bytes {
            limits.insert("memory".to_owned(), quantity::from_bytes(found.memory_limit_in_bytes));
        }
    }
    if let Some(requests) = &mut actual.requests
        && requests.contains_key("cpu")
        && resources::cpu_shares(millis(Side::Request)) != found.cpu_shares
    {
        let millis = found.cpu_shares.saturating_mul(1000).saturating_add(512) / 1024;
        requests.insert("cpu".to_owned(), quantity::from_millis(millis));
    }
    actual
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(resources: Value) -> Arc<Pod> {
        let policy = json!([{"resourceName": "memory", "restartPolicy": "RestartContainer"}]);
        let spec = json!({"containers": [{"name": "c", "resources": resources, "resizePolicy": policy}]});
        Arc::new(serde_json::from_value(json!({"metadata": {"name": "p", "uid": "p"}, "spec": spec})).unwrap())
    }

    fn asking(cpu: &str, memory: &str) -> Arc<Pod> {
        pod(json!({"requests": {"cpu": cpu, "memory": memory}, "limits": {"cpu": cpu, "memory": memory}}))
    }

    #[test]
    fn a_promise_outlives_the_kubelet_and_a_change_of_mind() {
        let (small, large) = (asking("100m", "64Mi"), asking("200m", "64Mi"));
        let promised = Allocation::of(&small);
        assert_eq!(promised.applied(&large), small);
        assert!(Arc::ptr_eq(&promised.applied(&small), &small));
        let dir = tempfile::tempdir().unwrap();
        let directory = dir.path().join("pod");
        assert_eq!(Allocation::load(&directory), None);
        promised.save(&directory).unwrap();
        assert_eq!(Allocation::load(&directory), Some(promised));
    }

    #[test]
    fn what_can_never_be_is_infeasible_and_what_cannot_be_now_is_deferred() {
        let node = NodeFacts { allocatable: [("cpu".to_owned(), 2000), ("memory".to_owned(), 1 << 30)].into(), ..NodeFacts::default() };
        let others = [asking("1500m", "64Mi")];
        assert_eq!(decide(&asking("500m", "64Mi"), &others, &node), Ok(()));
        let deferred = decide(&asking("501m", "64Mi"), &others, &node).unwrap_err();
        let words = "Node didn't have enough resource: cpu, requested: 501, used: 1500, capacity: 2000";
        assert_eq!((deferred.reason, deferred.message.as_str()), ("Deferred", words));
        let infeasible = decide(&asking("3", "64Mi"), &others, &node).unwrap_err();
        assert_eq!(
            (infeasible.reason, infeasible.message.as_str()),
            ("Infeasible", "Node didn't have enough capacity: cpu, requested: 3000, capacity: 2000")
        );
    }

    #[test]
    fn the_owner_says_what_needs_a_restart() {
        let wanted = |pod: &Pod| resources::for_container(pod, &pod.spec.as_ref().unwrap().containers[0], 1 << 30);
        let (one, more_cpu, more_memory) = (asking("100m", "64Mi"), asking("200m", "64Mi"), asking("100m", "65Mi"));
        let container = &one.spec.as_ref().unwrap().containers[0];
        let has = wanted(&one);
        assert_eq!(difference(container, &wanted(&one), Some(&has)), Difference::None);
        assert_eq!(difference(container, &wanted(&more_cpu), Some(&has)), Difference::Live);
        assert_eq!(difference(container, &wanted(&more_memory), Some(&has)), Difference::Restart);
        assert_eq!(difference(container, &wanted(&more_memory), None), Difference::None);
    }

    #[test]
    fn the_status_tells_what_the_kernel_has() {
        let (one, more) = (asking("100m", "64Mi"), asking("250m", "65Mi"));
        let of = |pod: &Arc<Pod>| pod.spec.as_ref().unwrap().containers[0].clone();
        let has = resources::for_container(&one, &of(&one), 1 << 30);
        // The promise is more already, the kernel has not heard of it.
        assert_eq!(Some(actual(of(&more).resources.as_ref(), Some(&has)).limits), of(&one).resources.map(|r| r.limits));
        let requests = actual(of(&more).resources.as_ref(), Some(&has)).requests.unwrap();
        assert_eq!((requests["cpu"].0.as_str(), requests["memory"].0.as_str()), ("100m", "65Mi"));
        assert_eq!(Some(actual(of(&one).resources.as_ref(), Some(&has))), of(&one).resources);
    }
}
