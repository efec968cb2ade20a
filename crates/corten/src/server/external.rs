//! A node on a container runtime that is not ours: containerd or CRI-O at a socket.
//!
//! Such a runtime attaches pods to the network by CNI, so the node tells it how: `<data-dir>/cni/net.d` has the network's
//! configuration as soon as the node has its range of pod addresses, `<data-dir>/cni/bin` the plugin, which is Corten.

use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use anyhow::{Context, Result};
use corten_client::informer::{Informer, Selection};
use k8s_openapi::api::core::v1::Node;
use kube::{Api, Client};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::node::MTU;
use crate::layout::Layout;

/// The network's plugin.
const PLUGIN: &str = "corten-cni";

/// The names of the program as a plugin, by which it knows that it is called as one.
pub(crate) const PLUGINS: [&str; 2] = [PLUGIN, corten_network::cni::LOOPBACK];

/// The unix socket of a CRI runtime.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RuntimeEndpoint(PathBuf);

impl RuntimeEndpoint {
    pub(crate) fn socket(&self) -> &Path {
        &self.0
    }
}

/// Why an endpoint is none.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not the URL of a unix socket; write unix:///run/containerd/containerd.sock")]
pub(crate) struct NotASocket(String);

impl FromStr for RuntimeEndpoint {
    type Err = NotASocket;

    fn from_str(text: &str) -> Result<Self, NotASocket> {
        match text.strip_prefix("unix://").unwrap_or(text) {
            path if path.starts_with('/') => Ok(Self(PathBuf::from(path))),
            _ => Err(NotASocket(text.to_owned())),
        }
    }
}

/// Keeps the network's configuration in step with the node's range of pod addresses.
pub(crate) async fn keep_network_configured(client: Client, node: String, address: IpAddr, layout: Layout, token: CancellationToken) {
    let selection = Selection::fields(format!("metadata.name={node}"));
    let nodes = Informer::<Node>::start(Api::all(client), selection, token.clone());
    let changed = Arc::new(Notify::new());
    let notify = changed.clone();
    nodes.on_event(move |_| notify.notify_one());
    let mut written = String::new();
    loop {
        let range = nodes.store().list().iter().find_map(|node| node.spec.as_ref()?.pod_cidr.clone());
        if let Some(range) = range.filter(|range| *range != written) {
            match write_configuration(&layout, &range, address) {
                Ok(()) => written = range,
                Err(error) => tracing::error!("cannot configure the pod network of the container runtime: {error:#}"),
            }
        }
        tokio::select! {
            () = changed.notified() => {}
            () = token.cancelled() => return,
        }
    }
}

fn write_configuration(layout: &Layout, range: &str, address: IpAddr) -> Result<()> {
    let (programs, networks) = (layout.cni().join("bin"), layout.cni().join("net.d"));
    for directory in [&programs, &networks] {
        fs::create_dir_all(directory).with_context(|| format!("cannot create {}", directory.display()))?;
    }
    let program = std::env::current_exe().context("cannot tell which program this is")?;
    for name in PLUGINS {
        let plugin = programs.join(name);
        if fs::read_link(&plugin).ok().as_ref() != Some(&program) {
            let fresh = programs.join(format!(".{name}"));
            let _ = fs::remove_file(&fresh);
            symlink(&program, &fresh).with_context(|| format!("cannot link {}", fresh.display()))?;
            fs::rename(&fresh, &plugin).with_context(|| format!("cannot move {} to {}", fresh.display(), plugin.display()))?;
        }
    }
    let network = json!({
        "cniVersion": "1.0.0",
        "name": "corten",
        "plugins": [{"type": PLUGIN, "dir": layout.network(), "podCIDR": range, "nodeAddress": address, "mtu": MTU}],
    });
    let path = networks.join("10-corten.conflist");
    corten_pki::write_private(&path, network.to_string().as_bytes()).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_a_unix_socket() {
        let socket = Path::new("/run/containerd/containerd.sock");
        for text in ["unix:///run/containerd/containerd.sock", "/run/containerd/containerd.sock"] {
            assert_eq!(text.parse::<RuntimeEndpoint>().unwrap().socket(), socket, "{text}");
        }
        for text in ["", "tcp://127.0.0.1:1", "unix://run/x.sock", "containerd.sock"] {
            assert_eq!(text.parse::<RuntimeEndpoint>(), Err(NotASocket(text.to_owned())));
        }
    }
}
