//! The background process of one `up` node.

use std::fs;
use std::net::TcpListener;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::namespaces;
use crate::cli::{AgentOptions, ServerOptions, loopback};
use crate::layout::Layout;
use crate::server::phases::Phases;
use crate::{agent, server};

/// What the process is to run.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Spec {
    /// The control plane and its node.
    Server {
        /// As `corten server` takes them.
        options: ServerOptions,
        /// Port on the machine's loopback that leads to the API, if it is free.
        forward: u16,
    },
    /// A further node.
    Agent {
        /// As `corten agent` takes them.
        options: AgentOptions,
    },
}

/// Enters the node's namespaces, then is an ordinary server or agent in them.
pub(crate) fn run(spec: &Path) -> Result<()> {
    let text = fs::read(spec).with_context(|| format!("cannot read {}", spec.display()))?;
    let spec: Spec = serde_json::from_slice(&text).with_context(|| format!("{} is not a node's specification", spec.display()))?;
    // No terminal's signals, and no job control of the shell that ran `up`, reach the node.
    rustix::process::setsid().context("cannot start a session")?;
    let phases = Phases::report_json();
    match spec {
        Spec::Server { options, forward } => {
            // A socket belongs to the network namespace it was made in, whoever uses it later: this one stays the machine's.
            let layout = Layout::new(&options.cluster.data.data_dir)?;
            let listener = forward_listener(&layout, forward)?;
            namespaces::enter(&layout)?;
            server::start(&options, Some(listener), phases)
        }
        Spec::Agent { options } => {
            namespaces::enter(&Layout::new(&options.data.data_dir)?)?;
            agent::start(&options, phases)
        }
    }
}

/// Listens on the loopback port that the cluster's API had before, else on the wanted one, else on any free one.
fn forward_listener(layout: &Layout, wanted: u16) -> Result<TcpListener> {
    let remembered = layout.data().join("port");
    let before = fs::read_to_string(&remembered).ok().and_then(|text| text.trim().parse().ok());
    let listener = before.into_iter().chain([wanted]).find_map(|port| TcpListener::bind(loopback(port)).ok());
    let listener = match listener {
        Some(listener) => listener,
        None => TcpListener::bind(loopback(0)).context("no free port on 127.0.0.1")?,
    };
    fs::write(&remembered, listener.local_addr()?.port().to_string()).with_context(|| format!("cannot write {}", remembered.display()))?;
    Ok(listener)
}
