//! Quality of service: the class of a pod, and what follows from it for the kernel.
//!
//! <https://kubernetes.io/docs/concepts/workloads/pods/pod-qos/>

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, Pod, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use corten_client::quantity;

/// A pod's quality of service class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Qos {
    Guaranteed,
    Burstable,
    BestEffort,
}

impl Qos {
    /// The class of a pod: the one in its status if the API server has set it (it never changes),
    /// else by its resources.
    pub(crate) fn of(pod: &Pod) -> Self {
        match pod.status.as_ref().and_then(|s| s.qos_class.as_deref()) {
            Some("Guaranteed") => Self::Guaranteed,
            Some("Burstable") => Self::Burstable,
            Some("BestEffort") => Self::BestEffort,
            _ => Self::by_resources(pod),
        }
    }

    fn by_resources(pod: &Pod) -> Self {
        let mut any = false;
        let mut guaranteed = true;
        // What is said of the pod as a whole decides (KEP 2837).
        let whole = pod.spec.as_ref().and_then(|spec| spec.resources.as_ref());
        let whole = whole.filter(|r| r.requests.is_some() || r.limits.is_some());
        let each = all_containers(pod).map(|container| container.resources.as_ref());
        let parts: Vec<_> = if whole.is_some() { vec![whole] } else { each.collect() };
        for resources in parts {
            for resource in ["cpu", "memory"] {
                let request = positive(resources, Side::Request, resource);
                let limit = positive(resources, Side::Limit, resource);
                any |= request.is_some() || limit.is_some();
                // The API server defaults a missing request to the limit.
                guaranteed &= limit.is_some() && (request.is_none() || request == limit);
            }
        }
        match (any, guaranteed) {
            (false, _) => Self::BestEffort,
            (true, true) => Self::Guaranteed,
            (true, false) => Self::Burstable,
        }
    }

    /// The name in the API.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Guaranteed => "Guaranteed",
            Self::Burstable => "Burstable",
            Self::BestEffort => "BestEffort",
        }
    }
}

/// Which side of a container's resources.
#[derive(Clone, Copy)]
pub(crate) enum Side {
    Request,
    Limit,
}

/// All containers of a pod that the node must find room for, initialisation first.
pub(crate) fn all_containers(pod: &Pod) -> impl Iterator<Item = &Container> {
    pod.spec.iter().flat_map(|spec| spec.init_containers.iter().flatten().chain(spec.containers.iter()))
}

/// A container's request or limit of a resource.
pub(crate) fn amount<'a>(resources: Option<&'a ResourceRequirements>, side: Side, resource: &str) -> Option<&'a Quantity> {
    let list: Option<&BTreeMap<String, Quantity>> = resources.and_then(|r| match side {
        Side::Request => r.requests.as_ref(),
        Side::Limit => r.limits.as_ref(),
    });
    list?.get(resource)
}

fn positive(resources: Option<&ResourceRequirements>, side: Side, resource: &str) -> Option<i64> {
    amount(resources, side, resource).and_then(quantity::millis).filter(|value| *value > 0)
}

/// The `oom_score_adj` of a container's processes.
///
/// Node-critical pods and guaranteed ones are killed last (-997), best-effort ones first (1000);
/// between them, the larger the share of the node's memory that was asked for, the later.
pub(crate) fn oom_score_adj(pod: &Pod, container: &Container, memory_capacity: u64) -> i64 {
    const NODE_CRITICAL: i32 = 2_000_001_000;
    const GUARANTEED: i64 = -997;
    let priority = pod.spec.as_ref().and_then(|s| s.priority).unwrap_or(0);
    if priority >= NODE_CRITICAL {
        return GUARANTEED;
    }
    match Qos::of(pod) {
        Qos::Guaranteed => GUARANTEED,
        Qos::BestEffort => 1000,
        Qos::Burstable => {
            let request = amount(container.resources.as_ref(), Side::Request, "memory").and_then(quantity::units).unwrap_or(0);
            let capacity = i64::try_from(memory_capacity).unwrap_or(i64::MAX).max(1);
            let share = i128::from(request) * 1000 / i128::from(capacity);
            let adjust = 1000 - i64::try_from(share).unwrap_or(1000);
            // Below every guaranteed pod, above every best-effort one.
            adjust.clamp(1000 + GUARANTEED, 999)
        }
    }
}

#[cfg(test)]
mod tests;
