//! Images that a node has already.

use crate::cluster::{Cluster, NodeInfo};
use crate::framework::{MAX_SCORE, Score};
use crate::pod::PodInfo;

/// Sizes of images that matter, for each container: smaller ones are pulled in no time, larger ones count as this large.
const SMALLEST: i64 = 23 << 20;
const LARGEST: i64 = 1000 << 20;

/// Prefers nodes that have the pod's images, the more so the larger and the more widespread they are.
pub(super) struct Images;

impl Score for Images {
    fn weight(&self) -> i64 {
        1
    }

    fn score(&self, pod: &PodInfo, cluster: &Cluster, nodes: &[&NodeInfo]) -> Option<Vec<i64>> {
        let spec = pod.spec()?;
        let containers = spec.containers.iter().chain(spec.init_containers.iter().flatten());
        let images: Vec<String> = containers.filter_map(|container| container.image.as_deref()).map(full_name).collect();
        let total = i64::try_from(cluster.nodes().count()).unwrap_or(i64::MAX).max(1);
        let spread: Vec<i64> = images
            .iter()
            .map(|image| cluster.nodes().filter(|node| node.images.contains_key(image)).count())
            .map(|count| i64::try_from(count).unwrap_or(i64::MAX))
            .collect();
        let count = i64::try_from(images.len()).unwrap_or(i64::MAX).max(1);
        let score = |node: &&NodeInfo| {
            let sizes =
                images.iter().zip(&spread).filter_map(|(image, spread)| Some(node.images.get(image)?.saturating_mul(*spread) / total));
            let sum: i64 = sizes.sum();
            let sum = sum.clamp(SMALLEST, LARGEST * count);
            MAX_SCORE * (sum - SMALLEST) / (LARGEST * count - SMALLEST)
        };
        Some(nodes.iter().map(score).collect())
    }
}

/// The name with its tag, as nodes report it.
fn full_name(image: &str) -> String {
    let last = image.rsplit('/').next().unwrap_or(image);
    if last.contains([':', '@']) { image.to_owned() } else { format!("{image}:latest") }
}
