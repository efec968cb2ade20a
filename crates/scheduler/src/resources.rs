//! Amounts of resources: what pods ask for and nodes have.

use std::collections::BTreeMap;

use corten_client::quantity;
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// The resource that counts pods.
pub(crate) const PODS: &str = "pods";
pub(crate) const CPU: &str = "cpu";
pub(crate) const MEMORY: &str = "memory";

/// For scores, a container that asks for nothing counts as this much, in millicores and bytes: otherwise all such pods
/// would go to one node.
const ASSUMED_CPU: i64 = 100;
const ASSUMED_MEMORY: i64 = 200 << 20;

type List = BTreeMap<String, Quantity>;

/// Amounts by resource name: `cpu` in thousandths, everything else in units.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Resources {
    amounts: BTreeMap<String, i64>,
}

impl Resources {
    /// The amounts of a resource list. What is no quantity counts as nothing; validation refuses it anyway.
    pub(crate) fn of(list: Option<&List>) -> Resources {
        let amounts = list.into_iter().flatten().map(|(name, amount)| {
            let amount = if name == CPU { quantity::millis(amount) } else { quantity::units(amount) };
            (name.clone(), amount.unwrap_or(0))
        });
        Resources { amounts: amounts.collect() }
    }

    pub(crate) fn get(&self, name: &str) -> i64 {
        self.amounts.get(name).copied().unwrap_or(0)
    }

    pub(crate) fn set(&mut self, name: &str, amount: i64) {
        self.amounts.insert(name.to_owned(), amount);
    }

    /// The resources and amounts, by name.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, i64)> {
        self.amounts.iter().map(|(name, amount)| (name.as_str(), *amount))
    }

    pub(crate) fn add(&mut self, other: &Resources) {
        for (name, amount) in &other.amounts {
            let mine = self.amounts.entry(name.clone()).or_default();
            *mine = mine.saturating_add(*amount);
        }
    }

    pub(crate) fn subtract(&mut self, other: &Resources) {
        for (name, amount) in &other.amounts {
            let mine = self.amounts.entry(name.clone()).or_default();
            *mine = mine.saturating_sub(*amount);
        }
    }

    /// Of each resource the larger amount.
    fn raise(&mut self, other: &Resources) {
        for (name, amount) in &other.amounts {
            let mine = self.amounts.entry(name.clone()).or_default();
            *mine = (*mine).max(*amount);
        }
    }
}

/// What a pod asks for.
pub(crate) fn requests(pod: &Pod) -> Resources {
    pod.spec.as_ref().map(|spec| of_spec(spec, of_container)).unwrap_or_default()
}

/// What a pod counts as in scores: its requests, with assumptions for containers that ask for no CPU or memory.
pub(crate) fn assumed_requests(pod: &Pod) -> Resources {
    let assumed = |container: &Container| {
        let mut requests = of_container(container);
        for (name, amount) in [(CPU, ASSUMED_CPU), (MEMORY, ASSUMED_MEMORY)] {
            requests.amounts.entry(name.to_owned()).or_insert(amount);
        }
        requests
    };
    pod.spec.as_ref().map(|spec| of_spec(spec, assumed)).unwrap_or_default()
}

fn of_container(container: &Container) -> Resources {
    Resources::of(container.resources.as_ref().and_then(|resources| resources.requests.as_ref()))
}

/// Containers run together; init containers run one after the other before them, but those that restart
/// always (sidecars) stay and run beside everything that is started after them (KEP-753). Requests of the
/// pod as a whole replace the sum (KEP-2837); the overhead of its runtime class comes on top.
fn of_spec(spec: &PodSpec, of_container: impl Fn(&Container) -> Resources) -> Resources {
    let mut running = Resources::default();
    for container in &spec.containers {
        running.add(&of_container(container));
    }
    let mut sidecars = Resources::default();
    let mut peak = Resources::default();
    for container in spec.init_containers.iter().flatten() {
        let requests = of_container(container);
        let mut during = sidecars.clone();
        during.add(&requests);
        peak.raise(&during);
        if container.restart_policy.as_deref() == Some("Always") {
            sidecars.add(&requests);
        }
    }
    running.add(&sidecars);
    running.raise(&peak);
    let whole = Resources::of(spec.resources.as_ref().and_then(|resources| resources.requests.as_ref()));
    running.amounts.extend(whole.amounts);
    running.add(&Resources::of(spec.overhead.as_ref()));
    running
}

#[cfg(test)]
mod tests;
