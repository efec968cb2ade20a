//! The wire between nodes that are namespaces of one machine: a bridge in a namespace of its own, one port a node.

use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::path::Path;

use ipnet::Ipv4Net;
use rtnetlink::LinkBridge;

use crate::links;
use crate::netns::{self, NetnsError};

const BRIDGE: &str = "fabric";
const UPLINK: &str = "eth0";

/// Connects a node's namespace to the cluster's fabric with `address` on its `eth0`. Makes the fabric when it is the first; may be repeated.
pub async fn connect(fabric: &Path, node: &Path, address: Ipv4Addr, network: Ipv4Net) -> Result<(), NetnsError> {
    netns::create(fabric)?;
    netns::create(node)?;
    let port = port_name(address);
    let namespace = netns::open(node)?;
    netns::within(fabric, move |handle| async move {
        if links::index(&handle, BRIDGE).await?.is_none() {
            handle.link().add(LinkBridge::new(BRIDGE).up().build()).execute().await?;
        }
        if links::index(&handle, &port).await?.is_none() {
            // Ethernet's own size: the fabric is a veth, nothing is wrapped.
            links::add_veth(&handle, &port, UPLINK, namespace.as_fd(), None, 1500).await?;
        }
        let bridge = links::existing(&handle, BRIDGE).await?;
        let port = links::existing(&handle, &port).await?;
        handle.link().set(rtnetlink::LinkUnspec::new_with_index(port).controller(bridge).up().build()).execute().await
    })
    .await?;
    netns::within(node, move |handle| async move {
        let uplink = links::existing(&handle, UPLINK).await?;
        links::add_address(&handle, uplink, address, network.prefix_len()).await?;
        links::set_up(&handle, UPLINK).await
    })
    .await
}

fn port_name(address: Ipv4Addr) -> String {
    let [.., c, d] = address.octets();
    format!("node{c}-{d}")
}
