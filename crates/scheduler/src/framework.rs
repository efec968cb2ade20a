//! What plugins are, and what a decision is made of.
//!
//! For each pod a plugin prepares itself once, looking at the whole cluster if it must, and then judges
//! node after node. A plugin that has nothing to say about a pod is left out.

use crate::cluster::{Cluster, NodeInfo};
use crate::pod::PodInfo;

/// Why a node does not fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rejection {
    /// The reasons, in the words of the reference.
    pub(crate) reasons: Vec<String>,
    /// Whether removing pods from the node could help.
    pub(crate) resolvable: bool,
}

impl Rejection {
    /// A node that would fit if other pods left it.
    pub(crate) fn resolvable(reason: impl Into<String>) -> Rejection {
        Rejection { reasons: vec![reason.into()], resolvable: true }
    }

    /// A node that does not fit whatever pods it has.
    pub(crate) fn unresolvable(reason: impl Into<String>) -> Rejection {
        Rejection { reasons: vec![reason.into()], resolvable: false }
    }
}

/// The judgement of one plugin about one node.
pub(crate) type Check<'a> = Box<dyn Fn(&NodeInfo) -> Result<(), Rejection> + 'a>;

/// What changes can turn a plugin's rejection around.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// A change of the node and of the pods on it.
    Node,
    /// A change of any node or pod.
    Cluster,
}

/// Says which nodes are possible.
pub(crate) trait Filter: Sync {
    fn name(&self) -> &'static str;

    fn reach(&self) -> Reach {
        Reach::Node
    }

    fn prepare<'a>(&self, pod: &'a PodInfo, cluster: &'a Cluster) -> Option<Check<'a>>;
}

/// The best score.
pub(crate) const MAX_SCORE: i64 = 100;

/// Says which of the possible nodes are better.
pub(crate) trait Score: Sync {
    /// How much the plugin counts against the others.
    fn weight(&self) -> i64;

    /// A score of 0 to [`MAX_SCORE`] for each of the nodes, in their order.
    fn score(&self, pod: &PodInfo, cluster: &Cluster, nodes: &[&NodeInfo]) -> Option<Vec<i64>>;
}

/// Stretches scores so that the largest becomes [`MAX_SCORE`]; or the other way round for what counts against a node.
pub(crate) fn normalize(scores: &mut [i64], reverse: bool) {
    let max = scores.iter().copied().max().unwrap_or(0);
    for score in scores {
        *score = match (max, reverse) {
            (..=0, true) => MAX_SCORE,
            (..=0, false) => 0,
            (_, true) => MAX_SCORE - *score * MAX_SCORE / max,
            (_, false) => *score * MAX_SCORE / max,
        };
    }
}
