//! From measurements to conditions, clean-ups and evictions.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;

use super::limits;
use super::observe::Measured;
use super::rank::rank;
use super::threshold::{Signal, Threshold, Thresholds};
use crate::admit::is_critical;
use crate::inbox::Eviction;
use corten_client::quantity;

/// What is remembered from one decision to the next.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    /// Since when thresholds are met, by signal and whether they are soft.
    since: HashMap<(Signal, bool), Timestamp>,
    /// When conditions were last true.
    last: BTreeMap<&'static str, Timestamp>,
}

/// What to do.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Decision {
    /// The conditions that hold.
    pub(crate) conditions: Vec<&'static str>,
    /// What to try first: dead containers and unused images, which nobody misses.
    pub(crate) collect: Option<Signal>,
    /// Pods to evict whatever else happens, by uid: they broke a limit.
    pub(crate) broken: Vec<(String, Eviction)>,
    /// The pod to evict next, if the clean-up does not suffice.
    pub(crate) next: Option<(String, Eviction)>,
}

/// Decides. `pods` are those that have a place on the node and still run.
pub(crate) fn decide(
    thresholds: &Thresholds,
    memory: &mut Memory,
    measured: &Measured,
    pods: &[Arc<Pod>],
    isolation: bool,
    now: Timestamp,
) -> Decision {
    let mut met: Vec<&Threshold> = Vec::new();
    for threshold in &thresholds.list {
        let Some(supply) = measured.node.get(&threshold.signal) else { continue };
        let key = (threshold.signal, threshold.grace.is_some());
        let mut line = threshold.below.of(supply.capacity);
        // Once met, it stays so until the minimum is reclaimed.
        if memory.since.contains_key(&key) {
            line = line.saturating_add(threshold.reclaim.map_or(0, |r| r.of(supply.capacity)));
        }
        if supply.available < line {
            memory.since.entry(key).or_insert(now);
            met.push(threshold);
        } else {
            memory.since.remove(&key);
        }
    }
    for threshold in &met {
        memory.last.insert(threshold.signal.condition(), now);
    }
    let transition = SignedDuration::try_from(thresholds.transition).unwrap_or(SignedDuration::MAX);
    let current: Vec<&str> = met.iter().map(|t| t.signal.condition()).collect();
    memory.last.retain(|condition, last| current.contains(condition) || now.duration_since(*last) < transition);
    let mut decision = Decision { conditions: memory.last.keys().copied().collect(), ..Decision::default() };
    if isolation {
        decision.broken = pods
            .iter()
            .filter_map(|pod| {
                let uid = crate::pod::uid(pod);
                Some((uid.to_owned(), limits::broken(pod, measured.pods.get(uid)?)?))
            })
            .collect();
    }
    // Soft thresholds count after their grace period only.
    met.retain(|threshold| {
        let since = memory.since.get(&(threshold.signal, threshold.grace.is_some())).copied().unwrap_or(now);
        let grace = threshold.grace.map_or(SignedDuration::ZERO, |g| SignedDuration::try_from(g).unwrap_or(SignedDuration::MAX));
        now.duration_since(since) >= grace
    });
    // Memory first: the kernel kills for want of it; a hard threshold before a soft one.
    met.sort_by_key(|threshold| (threshold.signal, threshold.grace.is_some()));
    let Some(threshold) = met.first() else { return decision };
    decision.collect = matches!(threshold.signal.condition(), "DiskPressure").then_some(threshold.signal);
    if decision.broken.is_empty() {
        decision.next = victim(threshold, thresholds, measured, pods);
    }
    decision
}

fn victim(threshold: &Threshold, thresholds: &Thresholds, measured: &Measured, pods: &[Arc<Pod>]) -> Option<(String, Eviction)> {
    let candidates: Vec<Arc<Pod>> = pods.iter().filter(|pod| !is_critical(pod)).cloned().collect();
    let pod = rank(threshold.signal, &candidates, &measured.pods).into_iter().next()?;
    let uid = crate::pod::uid(&pod).to_owned();
    let supply = measured.node.get(&threshold.signal)?;
    let resource = threshold.signal.resource();
    let (line, available) = (threshold.below.of(supply.capacity), supply.available);
    let amount =
        |value: i64| if matches!(resource, "memory" | "ephemeral-storage") { quantity::from_bytes(value).0 } else { value.to_string() };
    let mut message =
        format!("The node was low on resource: {resource}. Threshold quantity: {}, available: {}. ", amount(line), amount(available));
    if let Some(used) = measured.pods.get(&uid) {
        let of = match resource {
            "memory" => Some(used.memory),
            "ephemeral-storage" => Some(used.disk),
            _ => None,
        };
        if let Some(of) = of {
            let requested = amount(crate::pod::requests::request(&pod, resource));
            message.push_str(&format!(
                "Pod {} was using {}, request is {requested}, has larger consumption of {resource}. ",
                crate::pod::name(&pod),
                amount(of)
            ));
        }
    }
    let own = crate::pod::stop::grace_period(&pod);
    let grace = match threshold.grace {
        // The reference gives the runtime one second even then.
        None => 1,
        Some(_) if thresholds.longest_grace > 0 => thresholds.longest_grace.min(own),
        Some(_) => own,
    };
    let eviction = Eviction {
        reason: "Evicted".to_owned(),
        message: message.clone(),
        grace: Some(grace),
        disruption: Some(message.clone()),
        event: Some(("Evicted", message)),
        signal: Some(threshold.signal.as_str()),
    };
    Some((uid, eviction))
}
