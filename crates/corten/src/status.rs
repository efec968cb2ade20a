//! `corten status`: what runs.

use anyhow::Result;
use corten_client::remote;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use serde::Serialize;

use crate::cli::{Output, StatusOptions};
use crate::layout::Layout;
use crate::lock::Lock;
use crate::server::State;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    data_dir: String,
    running: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    server: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<i32>,
    nodes: Vec<NodeRow>,
    pods: Pods,
}

#[derive(Debug, Serialize)]
struct NodeRow {
    name: String,
    ready: bool,
    version: String,
}

#[derive(Debug, Default, Serialize)]
struct Pods {
    total: usize,
    ready: usize,
}

pub(crate) fn run(options: &StatusOptions) -> Result<()> {
    let layout = Layout::new(&options.data.data_dir)?;
    let status = observe(&layout)?;
    match options.output {
        Output::Json => println!("{}", serde_json::to_string_pretty(&status)?),
        Output::Text => print(&status),
    }
    Ok(())
}

fn observe(layout: &Layout) -> Result<Status> {
    let holder = Lock::holder(&layout.lock())?;
    let mut status = Status {
        data_dir: layout.data().display().to_string(),
        running: holder.is_some(),
        server: None,
        pid: holder.map(|pid| pid.as_raw_nonzero().get()),
        nodes: Vec::new(),
        pods: Pods::default(),
    };
    if holder.is_none() {
        return Ok(status);
    }
    // Without a record of this very process it is still starting, or a node of another's cluster.
    let record = State::read(layout)?.filter(|state| i32::try_from(state.pid).ok() == status.pid);
    let Some(state) = record else { return Ok(status) };
    status.server = Some(state.server);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let client = remote(&layout.kubeconfig()).await?;
        for node in Api::<Node>::all(client.clone()).list(&ListParams::default()).await? {
            status.nodes.push(NodeRow {
                name: node.name_any(),
                ready: is_true(
                    node.status
                        .as_ref()
                        .and_then(|status| status.conditions.as_ref())
                        .into_iter()
                        .flatten()
                        .map(|c| (&*c.type_, &*c.status)),
                ),
                version: node
                    .status
                    .as_ref()
                    .and_then(|status| status.node_info.as_ref())
                    .map(|info| info.kubelet_version.clone())
                    .unwrap_or_default(),
            });
        }
        for pod in Api::<Pod>::all(client).list(&ListParams::default()).await? {
            status.pods.total += 1;
            let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
            status.pods.ready += usize::from(is_true(conditions.into_iter().flatten().map(|c| (&*c.type_, &*c.status))));
        }
        Ok(status)
    })
}

fn is_true<'a>(mut conditions: impl Iterator<Item = (&'a str, &'a str)>) -> bool {
    conditions.any(|condition| condition == ("Ready", "True"))
}

fn print(status: &Status) {
    if !status.running {
        println!("not running ({})", status.data_dir);
        return;
    }
    println!("running         process {}, {}", status.pid.unwrap_or_default(), status.data_dir);
    let Some(server) = &status.server else { return };
    println!("Kubernetes API  {server}");
    for node in &status.nodes {
        println!("node            {} {} {}", node.name, if node.ready { "Ready" } else { "NotReady" }, node.version);
    }
    println!("pods            {} of {} ready", status.pods.ready, status.pods.total);
}
