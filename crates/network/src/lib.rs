//! The network of a node and of its pods, made by netlink alone.
//!
//! Pods are **routed**, not bridged: each pod has a point-to-point veth whose node side carries one
//! host route to the pod's address. Traffic between two pods of a node therefore passes the node's
//! forwarding path, where netfilter (Services, policy) sees it without any machine-wide sysctl.
//!
//! - [`netns`]: network namespaces pinned as files, and work done inside them;
//! - [`PodNetwork`]: address and link of every pod sandbox on this node;
//! - [`node`]: what a node needs before its first pod (guard routes, forwarding, routes to its peers);
//! - [`Network`]: either that, or what CNI plugins make of the pods' network;
//! - [`cni`]: the pod network for other container runtimes, as a CNI plugin;
//! - [`fabric`]: the wire between the nodes of a cluster whose nodes are namespaces of one machine.

pub mod cni;
pub mod fabric;
mod ipam;
mod links;
pub mod netns;
mod network;
pub mod node;
mod plugins;
mod pods;

pub use network::Network;
pub use plugins::{Directories, PluginError, Plugins, Pod};
pub use pods::{Attachment, NetworkError, Options, PodNetwork};

#[cfg(test)]
mod tests;
