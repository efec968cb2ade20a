//! `corten up`: a background cluster whose nodes are namespaces of this machine.

pub(crate) mod namespaces;
pub(crate) mod node;

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::Ipv4Addr;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use ipnet::Ipv4Net;

use crate::cli::{AgentOptions, ServerOptions, UpOptions};
use crate::kubeconfig;
use crate::layout::Layout;
use crate::lock::{Lock, Turn};
use crate::server::phases::Report;
use crate::server::{self, State};
use node::Spec;

/// The network between the nodes: documentation-free private space that neither the pod nor the Service default uses.
const NODE_NETWORK: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(10, 41, 0, 0), 24);

pub(crate) fn run(options: &UpOptions) -> Result<()> {
    server::require_root("up")?;
    options.cluster.check(Some(NODE_NETWORK), options.nodes)?;
    let layout = Layout::create(&options.cluster.data.data_dir)?;
    let _turn = Turn::wait(layout.data())?;

    match Lock::holder(&layout.lock())? {
        None => start_server(&layout, options)?,
        Some(_) if !namespaces::exist(&layout) => {
            bail!("{} is in use by `corten server`; choose another with --data-dir", layout.data().display())
        }
        Some(_) => {}
    }
    for number in 2..=options.nodes {
        let further = Layout::create(&layout.further_node(number))?;
        if Lock::holder(&further.lock())?.is_none() {
            start_agent(&layout, &further, number, options)?;
        }
    }

    let state =
        State::read(&layout)?.context("the cluster runs, but left no record of its address: it is still starting or already stopping")?;
    println!("Kubernetes API  {}", state.server);
    println!("kubeconfig      {}", layout.kubeconfig().display());
    if !options.no_kubeconfig {
        let cluster = server::identities::admin_kubeconfig(&layout, layout.name(), &state.server)?;
        if let Some(path) = kubeconfig::add_to_users(&cluster)? {
            println!("context         {} in {}", cluster.name, path.display());
        }
    }
    Ok(())
}

fn start_server(layout: &Layout, options: &UpOptions) -> Result<()> {
    let address = node_address(1)?;
    let mut cluster = options.cluster.clone();
    cluster.data.data_dir = layout.data().to_owned();
    let name = cluster.node.node_name.get_or_insert_with(|| "corten".to_owned()).clone();
    cluster.node.node_ip = Some(address);
    namespaces::create(layout, &layout.namespace("fabric"), &name, address, NODE_NETWORK)?;
    let server = ServerOptions { cluster, runtime: options.runtime.clone(), bind_address: Ipv4Addr::UNSPECIFIED.into() };
    launch(layout, &Spec::Server { options: server, forward: options.cluster.api_port })
}

fn start_agent(cluster: &Layout, layout: &Layout, number: u8, options: &UpOptions) -> Result<()> {
    let address = node_address(number)?;
    let base = options.cluster.node.node_name.clone().unwrap_or_else(|| "corten".to_owned());
    let name = format!("{base}-{number}");
    let mut node = options.cluster.node.clone();
    node.node_name = Some(name.clone());
    node.node_ip = Some(address);
    namespaces::create(layout, &cluster.namespace("fabric"), &name, address, NODE_NETWORK)?;
    let agent = AgentOptions {
        data: crate::cli::DataDir { data_dir: layout.data().to_owned() },
        server: format!("https://{}:{}", node_address(1)?, options.cluster.api_port),
        token: None,
        token_file: Some(cluster.join_token()),
        pod_cidr: options.cluster.pod_cidr,
        service_cidr: options.cluster.service_cidr,
        cluster_domain: options.cluster.cluster_domain.clone(),
        node,
        runtime: options.runtime.clone(),
    };
    launch(layout, &Spec::Agent { options: agent })
}

fn node_address(number: u8) -> Result<Ipv4Addr> {
    NODE_NETWORK.hosts().nth(usize::from(number) - 1).context("too many nodes")
}

/// Starts the node's process in the background and follows what it reports until it is ready.
fn launch(layout: &Layout, spec: &Spec) -> Result<()> {
    let path = layout.run().join("spec.json");
    corten_pki::write_private(&path, &serde_json::to_vec(spec)?).with_context(|| format!("cannot write {}", path.display()))?;
    let log_path = layout.log();
    if let Some(directory) = log_path.parent() {
        fs::create_dir_all(directory)?;
    }
    let log =
        fs::OpenOptions::new().create(true).append(true).open(&log_path).with_context(|| format!("cannot open {}", log_path.display()))?;
    let log_start = log.metadata()?.len();
    let mut child = Command::new("/proc/self/exe")
        .args(["node", "--spec"])
        .arg(&path)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .context("cannot start the node's process")?;
    let output = child.stdout.take().context("the node's process has no output")?;
    for line in BufReader::new(output).lines() {
        let report: Report =
            serde_json::from_str(&line?).context("the node's process reports in an unknown form; is another version running?")?;
        println!("{report}");
        if matches!(report, Report::Ready { .. }) {
            return Ok(());
        }
    }
    let status = child.wait()?;
    let log = fs::read(&log_path).unwrap_or_default();
    let said = String::from_utf8_lossy(log.get(usize::try_from(log_start)?..).unwrap_or_default()).into_owned();
    let last: Vec<&str> = said.lines().rev().take(12).collect();
    let last: String = last.into_iter().rev().map(|line| format!("\n  {line}")).collect();
    bail!("the node's process ended before it was ready ({status}); the end of {}:{last}", log_path.display())
}
