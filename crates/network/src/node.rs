//! What a node needs before its first pod, and its routes to the pods of its peers.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::net::Ipv4Addr;

use ipnet::{IpNet, Ipv4Net};
use rtnetlink::Handle;

use crate::links;

/// Why a node's own network could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// A netlink socket could not be opened.
    #[error("cannot open netlink: {0}")]
    Open(io::Error),
    /// Netlink refused a request.
    #[error("cannot {action} {what}: {source}")]
    Netlink {
        /// What was being done.
        action: &'static str,
        /// The range or link.
        what: String,
        /// The kernel's answer.
        source: rtnetlink::Error,
    },
    /// Forwarding could not be switched on.
    #[error("cannot enable IPv4 forwarding ({path}): {source}")]
    Forwarding {
        /// The sysctl's file.
        path: &'static str,
        /// The system's answer.
        source: io::Error,
    },
}

/// The routes that a node owns in its network namespace.
pub struct NodeNetwork {
    handle: Handle,
    peers: HashSet<(Ipv4Net, Ipv4Addr)>,
}

impl NodeNetwork {
    /// Must be called inside a tokio runtime whose threads are in the node's network namespace.
    pub fn open() -> Result<Self, NodeError> {
        let (connection, handle, _) = rtnetlink::new_connection().map_err(NodeError::Open)?;
        tokio::spawn(connection);
        Ok(Self { handle, peers: HashSet::new() })
    }

    /// Makes the ranges unreachable until something better is known: a packet for a pod or Service
    /// that no rule claims must not leave the machine by its default route.
    pub async fn guard(&self, ranges: &[IpNet]) -> Result<(), NodeError> {
        for range in ranges {
            links::route_nowhere(&self.handle, *range).await.map_err(|source| NodeError::Netlink {
                action: "make unreachable",
                what: range.to_string(),
                source,
            })?;
        }
        Ok(())
    }

    /// Takes the guards away, when nothing of the node is left that could send to the ranges.
    pub async fn unguard(&self, ranges: &[IpNet]) -> Result<(), NodeError> {
        for range in ranges {
            links::delete_nowhere(&self.handle, *range).await.map_err(|source| NodeError::Netlink {
                action: "remove the guard of",
                what: range.to_string(),
                source,
            })?;
        }
        Ok(())
    }

    /// Lets the node forward between its pods and the rest.
    pub fn enable_forwarding(&self) -> Result<(), NodeError> {
        const PATH: &str = "/proc/sys/net/ipv4/ip_forward";
        let on = |text: &str| text.trim() == "1";
        // Read first: where it is on already (a read-only /proc/sys, a shared machine) there is nothing to write.
        if fs::read_to_string(PATH).is_ok_and(|text| on(&text)) {
            return Ok(());
        }
        fs::write(PATH, "1").map_err(|source| NodeError::Forwarding { path: PATH, source })
    }

    /// Routes each peer's pod range to that peer, and forgets peers that are gone. One that cannot be reached does not
    /// keep the others from it: what failed is tried again at the next call, and reported.
    pub async fn set_peers(&mut self, peers: &HashSet<(Ipv4Net, Ipv4Addr)>) -> Vec<NodeError> {
        let mut failed = Vec::new();
        for gone in self.peers.difference(peers).copied().collect::<Vec<_>>() {
            let (range, _) = gone;
            // A range that moved to another node is replaced below.
            let removed =
                if peers.iter().any(|(kept, _)| *kept == range) { Ok(()) } else { links::delete_route(&self.handle, range).await };
            match removed {
                Ok(()) => drop(self.peers.remove(&gone)),
                Err(source) => failed.push(NodeError::Netlink { action: "remove the route to", what: range.to_string(), source }),
            }
        }
        for new in peers.difference(&self.peers).copied().collect::<Vec<_>>() {
            let (range, address) = new;
            match links::route_via(&self.handle, range, address, None).await {
                Ok(()) => drop(self.peers.insert(new)),
                Err(source) => {
                    failed.push(NodeError::Netlink { action: "add the route to", what: format!("{range} via {address}"), source })
                }
            }
        }
        failed
    }
}

/// The address that a node in the machine's own network namespace is known by: that of the link with the default
/// route, else the first global one. `None` when the machine has only its loopback.
pub async fn primary_address() -> Result<Option<Ipv4Addr>, NodeError> {
    use futures::TryStreamExt;
    use netlink_packet_route::AddressFamily;
    use netlink_packet_route::address::{AddressAttribute, AddressScope};
    use netlink_packet_route::route::RouteAttribute;

    let (connection, handle, _) = rtnetlink::new_connection().map_err(NodeError::Open)?;
    tokio::spawn(connection);
    let failed = |what: &str| {
        let what = what.to_owned();
        move |source| NodeError::Netlink { action: "list", what, source }
    };
    let routes: Vec<_> = handle
        .route()
        .get(rtnetlink::RouteMessageBuilder::<Ipv4Addr>::new().build())
        .execute()
        .try_collect()
        .await
        .map_err(failed("routes"))?;
    let default_link = routes.iter().filter(|route| route.header.destination_prefix_length == 0).find_map(|route| {
        route.attributes.iter().find_map(|attribute| match attribute {
            RouteAttribute::Oif(index) => Some(*index),
            _ => None,
        })
    });
    let addresses: Vec<_> = handle.address().get().execute().try_collect().await.map_err(failed("addresses"))?;
    let global: Vec<(u32, Ipv4Addr)> = addresses
        .iter()
        .filter(|message| message.header.family == AddressFamily::Inet && message.header.scope == AddressScope::Universe)
        .filter_map(|message| {
            message.attributes.iter().find_map(|attribute| match attribute {
                AddressAttribute::Address(std::net::IpAddr::V4(address)) => Some((message.header.index, *address)),
                _ => None,
            })
        })
        .filter(|(_, address)| !address.is_loopback())
        .collect();
    Ok(global.iter().find(|(link, _)| Some(*link) == default_link).or(global.first()).map(|(_, address)| *address))
}
