//! Taints and tolerations
//! (<https://kubernetes.io/docs/concepts/scheduling-eviction/taint-and-toleration/>).

use k8s_openapi::api::core::v1::{Taint, Toleration};

use crate::cluster::{Cluster, NodeInfo};
use crate::framework::{Check, Filter, Rejection, Score, normalize};
use crate::pod::PodInfo;

/// Rejects nodes with a taint that the pod does not tolerate; counts the soft ones against a node.
pub(super) struct Taints;

impl Filter for Taints {
    fn name(&self) -> &'static str {
        "TaintToleration"
    }

    fn prepare<'a>(&self, pod: &'a PodInfo, _cluster: &'a Cluster) -> Option<Check<'a>> {
        Some(Box::new(|node| {
            let hard = |taint: &&Taint| matches!(taint.effect.as_str(), "NoSchedule" | "NoExecute");
            if node.taints().filter(hard).all(|taint| tolerated(pod, taint)) {
                Ok(())
            } else {
                Err(Rejection::unresolvable("node(s) had untolerated taint(s)"))
            }
        }))
    }
}

impl Score for Taints {
    fn weight(&self) -> i64 {
        3
    }

    fn score(&self, pod: &PodInfo, _cluster: &Cluster, nodes: &[&NodeInfo]) -> Option<Vec<i64>> {
        let soft = |taint: &&Taint| taint.effect == "PreferNoSchedule";
        let intolerable = |node: &&NodeInfo| {
            let count = node.taints().filter(soft).filter(|taint| !tolerated(pod, taint)).count();
            i64::try_from(count).unwrap_or(i64::MAX)
        };
        let mut scores: Vec<i64> = nodes.iter().map(intolerable).collect();
        normalize(&mut scores, true);
        Some(scores)
    }
}

/// Whether a pod tolerates the taint of a cordoned node.
pub(super) fn tolerates_cordon(pod: &PodInfo) -> bool {
    let taint = Taint { key: "node.kubernetes.io/unschedulable".to_owned(), effect: "NoSchedule".to_owned(), ..Taint::default() };
    tolerated(pod, &taint)
}

pub(super) fn tolerated(pod: &PodInfo, taint: &Taint) -> bool {
    pod.tolerations().any(|toleration| tolerates(toleration, taint))
}

fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let value = |text: &Option<String>| text.clone().unwrap_or_default();
    given(&toleration.effect).is_none_or(|effect| effect == taint.effect)
        && given(&toleration.key).is_none_or(|key| key == taint.key)
        && match given(&toleration.operator).as_deref() {
            None | Some("Equal") => value(&toleration.value) == value(&taint.value),
            Some("Exists") => true,
            Some(_) => false,
        }
}
