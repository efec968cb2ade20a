//! A range of pod addresses for every node.

use std::{collections::HashSet, sync::Arc};

use corten_client::{
    ObjectKey,
    controller::{self, Outcome, ReconcileResult},
    events::{EventType, Recorder},
    informer::Informer,
    is_deleting,
    queue::WorkQueue,
};
use ipnet::IpNet;
use k8s_openapi::api::core::v1::Node;
use kube::{
    Api, Client, Resource as _,
    api::{Patch, PatchParams},
};
use serde_json::json;

use crate::context::Context;

const NAME: &str = "node-controller";

struct Controller {
    client: Client,
    recorder: Recorder,
    nodes: Informer<Node>,
    cluster: IpNet,
    /// Given out but perhaps not seen yet. There is one worker, so nobody else gives any out.
    given: parking_lot::Mutex<Vec<(ObjectKey, IpNet)>>,
}

pub(crate) async fn run(context: Context) {
    let nodes = context.informers.get::<Node>();
    let controller = Arc::new(Controller {
        client: context.clients.writer(NAME),
        recorder: context.recorder(NAME),
        nodes: nodes.clone(),
        cluster: context.options.cluster_cidr,
        given: parking_lot::Mutex::default(),
    });
    let queue = WorkQueue::new("cidrallocator_node");
    let noting = queue.clone();
    let waiting = nodes.store().clone();
    nodes.on_event(move |delta| {
        noting.add(delta.key());
        if delta.is_deleted() {
            // Its range is free again: for those who got none.
            for node in waiting.list().iter().filter(|node| ranges(node).is_empty()) {
                noting.add(ObjectKey::of(node.as_ref()));
            }
        }
    });
    nodes.has_synced().await;
    controller::run(NAME, &queue, 1, &context.token, move |key| {
        let controller = Arc::clone(&controller);
        async move { controller.reconcile(&key).await }
    })
    .await;
}

impl Controller {
    async fn reconcile(&self, key: &ObjectKey) -> ReconcileResult {
        let node = self.nodes.store().get(key);
        let Some(node) = node.filter(|node| !is_deleting(node.as_ref())) else {
            self.given.lock().retain(|(name, _)| name != key);
            return Ok(Outcome::Done);
        };
        if !ranges(&node).is_empty() {
            self.given.lock().retain(|(name, _)| name != key);
            return Ok(Outcome::Done);
        }
        let nodes = self.nodes.store().list();
        let range = {
            let mut given = self.given.lock();
            let used = nodes.iter().flat_map(|node| ranges(node));
            let used = used.chain(given.iter().map(|(_, range)| *range)).collect();
            let own = given.iter().find(|(name, _)| name == key);
            let range = match own {
                Some((_, range)) => Some(*range),
                None => first_free(self.cluster, node_prefix(self.cluster), &used),
            };
            if let Some(range) = range
                && own.is_none()
            {
                given.push((key.clone(), range));
            }
            range
        };
        let Some(range) = range else {
            let message = format!("Node {key} status is now: CIDRNotAvailable");
            let mut about = node.object_ref(&());
            about.uid.clone_from(&node.metadata.name);
            self.recorder.event_for(about, EventType::Normal, "CIDRNotAvailable", message);
            return Ok(Outcome::Done);
        };
        let patch = json!({
            "metadata": {"uid": node.metadata.uid},
            "spec": {"podCIDR": range.to_string(), "podCIDRs": [range.to_string()]},
        });
        let api: Api<Node> = Api::all(self.client.clone());
        let params = PatchParams::default();
        match api.patch(&key.name, &params, &Patch::Strategic(patch)).await {
            Err(error) if corten_client::is_not_found(&error) => {}
            result => {
                result?;
            }
        }
        Ok(Outcome::Done)
    }
}

/// The ranges a node has.
fn ranges(node: &Node) -> Vec<IpNet> {
    let Some(spec) = &node.spec else {
        return Vec::new();
    };
    let all = spec.pod_cidrs.iter().flatten().chain(&spec.pod_cidr);
    all.filter_map(|range| range.parse().ok()).collect()
}

/// A node's share: 256 addresses, in IPv6 a network of the usual size.
fn node_prefix(cluster: IpNet) -> u8 {
    match cluster {
        IpNet::V4(_) => 24,
        IpNet::V6(_) => 64,
    }
}

/// The lowest range of the given prefix that overlaps with none in use.
fn first_free(cluster: IpNet, prefix: u8, used: &HashSet<IpNet>) -> Option<IpNet> {
    let mut candidates = cluster.subnets(prefix.max(cluster.prefix_len())).ok()?;
    candidates.find(|candidate| !used.iter().any(|used| used.contains(candidate) || candidate.contains(used)))
}

#[cfg(test)]
mod tests {
    use super::first_free;
    use std::collections::HashSet;

    #[test]
    fn ranges_are_given_out_from_below_and_reused() {
        let cluster = "10.42.0.0/16".parse().unwrap();
        let used = |ranges: &[&str]| -> HashSet<_> { ranges.iter().map(|range| range.parse().unwrap()).collect() };
        let cases = [
            (used(&[]), Some("10.42.0.0/24")),
            (used(&["10.42.0.0/24"]), Some("10.42.1.0/24")),
            (used(&["10.42.1.0/24"]), Some("10.42.0.0/24")),
            (used(&["10.42.0.0/23"]), Some("10.42.2.0/24")),
            (used(&["10.42.0.64/26"]), Some("10.42.1.0/24")),
            (used(&["10.0.0.0/8"]), None),
        ];
        for (used, expected) in cases {
            let range = first_free(cluster, 24, &used).map(|range| range.to_string());
            assert_eq!(range.as_deref(), expected, "{used:?}");
        }
    }
}
