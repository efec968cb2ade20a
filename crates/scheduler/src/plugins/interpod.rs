//! Affinity between pods
//! (<https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/#inter-pod-affinity-and-anti-affinity>).

use std::collections::{HashMap, HashSet};

use corten_client::selector;
use k8s_openapi::api::core::v1::PodAffinityTerm;

use crate::cluster::{Cluster, NodeInfo};
use crate::framework::{Check, Filter, MAX_SCORE, Reach, Rejection, Score};
use crate::pod::PodInfo;

/// Rejects nodes whose domain lacks the pods that the pod wants near, or has those that it, or that they, want far; and weighs
/// the same wishes when they are only preferences.
pub(super) struct InterPodAffinity;

/// Domains as (label, value).
type Domains<'a> = HashSet<(&'a str, &'a str)>;

/// Whether `term` of `owner` means `other`.
fn means(term: &PodAffinityTerm, owner: &PodInfo, other: &PodInfo, cluster: &Cluster) -> bool {
    let Some(wanted) = &term.label_selector else { return false };
    let namespace = other.namespace();
    let listed = term.namespaces.as_deref().unwrap_or_default();
    let in_scope = if listed.is_empty() && term.namespace_selector.is_none() {
        namespace == owner.namespace()
    } else {
        listed.iter().any(|listed| listed == namespace)
            || term.namespace_selector.as_ref().is_some_and(|selector| selector::matches(selector, cluster.namespace_labels(namespace)))
    };
    in_scope && selector::matches(wanted, other.pod.metadata.labels.as_ref())
}

fn domain<'a>(node: &'a NodeInfo, term: &'a PodAffinityTerm) -> Option<(&'a str, &'a str)> {
    Some((&term.topology_key, node.label(&term.topology_key)?))
}

/// The domains where somebody is whom one of `terms` means.
fn domains_of<'a>(terms: &[&'a PodAffinityTerm], pod: &PodInfo, cluster: &'a Cluster, all_terms: bool) -> Domains<'a> {
    let mut domains = Domains::new();
    if terms.is_empty() {
        return domains;
    }
    for node in cluster.nodes() {
        for other in node.pods() {
            let meant = |term: &&&PodAffinityTerm| means(term, pod, other, cluster);
            if all_terms {
                // Somebody counts for affinity only if all terms mean him.
                if terms.iter().all(|term| meant(&term)) {
                    domains.extend(terms.iter().filter_map(|term| domain(node, term)));
                }
            } else {
                domains.extend(terms.iter().filter(meant).filter_map(|term| domain(node, term)));
            }
        }
    }
    domains
}

/// The domains of those who do not want the pod near.
fn unwelcome<'a>(pod: &PodInfo, cluster: &'a Cluster) -> Domains<'a> {
    let mut domains = Domains::new();
    for node in cluster.nodes() {
        for other in node.pods() {
            let terms = other.required_anti_affinity().filter(|term| means(term, other, pod, cluster));
            domains.extend(terms.filter_map(|term| domain(node, term)));
        }
    }
    domains
}

impl Filter for InterPodAffinity {
    fn name(&self) -> &'static str {
        "InterPodAffinity"
    }

    fn reach(&self) -> Reach {
        Reach::Cluster
    }

    fn prepare<'a>(&self, pod: &'a PodInfo, cluster: &'a Cluster) -> Option<Check<'a>> {
        let near: Vec<&PodAffinityTerm> = pod.required_affinity().collect();
        let far: Vec<&PodAffinityTerm> = pod.required_anti_affinity().collect();
        let unwelcome = unwelcome(pod, cluster);
        if near.is_empty() && far.is_empty() && unwelcome.is_empty() {
            return None;
        }
        let wanted = domains_of(&near, pod, cluster, true);
        let avoided = domains_of(&far, pod, cluster, false);
        // The first of a group that wants to be together has nobody to go to.
        let first = wanted.is_empty() && near.iter().all(|term| means(term, pod, pod, cluster));
        Some(Box::new(move |node| {
            for term in &near {
                let there = domain(node, term);
                if !there.is_some_and(|there| first || wanted.contains(&there)) {
                    return Err(Rejection::unresolvable("node(s) didn't match pod affinity rules"));
                }
            }
            if far.iter().filter_map(|term| domain(node, term)).any(|there| avoided.contains(&there)) {
                return Err(Rejection::resolvable("node(s) didn't match pod anti-affinity rules"));
            }
            if unwelcome.iter().any(|(key, value)| node.label(key) == Some(value)) {
                return Err(Rejection::resolvable("node(s) didn't satisfy existing pods anti-affinity rules"));
            }
            Ok(())
        }))
    }
}

impl Score for InterPodAffinity {
    fn weight(&self) -> i64 {
        2
    }

    fn score(&self, pod: &PodInfo, cluster: &Cluster, nodes: &[&NodeInfo]) -> Option<Vec<i64>> {
        let mut weights: HashMap<(&str, &str), i64> = HashMap::new();
        for node in cluster.nodes() {
            for other in node.pods() {
                let mut weigh = |owner: &PodInfo, meant: &PodInfo, term, weight: i64| {
                    if let Some(there) = domain(node, term).filter(|_| means(term, owner, meant, cluster)) {
                        *weights.entry(there).or_default() += weight;
                    }
                };
                for (owner, meant) in [(pod, &**other), (&**other, pod)] {
                    for term in owner.preferred_affinity() {
                        weigh(owner, meant, &term.pod_affinity_term, i64::from(term.weight));
                    }
                    for term in owner.preferred_anti_affinity() {
                        weigh(owner, meant, &term.pod_affinity_term, -i64::from(term.weight));
                    }
                }
                // Who must have such pods near would like one more.
                for term in other.required_affinity() {
                    weigh(other, pod, term, 1);
                }
            }
        }
        if weights.is_empty() {
            return None;
        }
        let sum = |node: &&NodeInfo| -> i64 {
            weights.iter().filter(|((key, value), _)| node.label(key) == Some(*value)).map(|(_, weight)| weight).sum()
        };
        let sums: Vec<i64> = nodes.iter().map(sum).collect();
        let (min, max) = (sums.iter().copied().min()?, sums.iter().copied().max()?);
        let score = |sum: i64| if max > min { MAX_SCORE * (sum - min) / (max - min) } else { 0 };
        Some(sums.into_iter().map(score).collect())
    }
}
