//! The container runtime beside its peers: Debian's containerd by CRI, runc and crun by their command lines. One run, one image.

mod bare;
mod cri;
mod direct;
mod node;

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};

use crate::{Figure, median};
use node::{Kind, Node};
pub(crate) use node::{MODE, daemon};

/// What is measured how often.
const ONE_BY_ONE: usize = 30;
const AT_ONCE: usize = 50;
const SANDBOXES: usize = 20;
const PODS: usize = 100;

/// Everything by CRI.
pub(crate) fn measure(corten: &Path, alone: bool) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for kind in [Kind::Corten, Kind::Containerd].into_iter().take(if alone { 1 } else { 2 }) {
        let threads = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let node = Node::start(kind, corten)?;
        figures.extend(threads.block_on(by_cri(kind, &node)).with_context(|| format!("{}:\n{}", kind.name(), node.log()))?);
    }
    Ok(figures)
}

/// The same containers without a daemon.
pub(crate) fn without_daemons(alone: bool) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for program in [None, Some("crun"), Some("runc")].into_iter().take(if alone { 1 } else { 3 }) {
        let mut bare = bare::Bare::prepare(program)?;
        let mut times = Vec::new();
        for round in 0..ONE_BY_ONE {
            let begun = Instant::now();
            bare.cycle(&format!("one-{round}"), 1)?;
            times.push(milliseconds(begun));
        }
        let begun = Instant::now();
        bare.cycle("all", AT_ONCE)?;
        let name = program.unwrap_or("corten, the shim alone");
        figures.push(figure("container of true, one by one", median(times), name, "create, start, exit, delete; median"));
        figures.push(figure("50 containers of true at once", milliseconds(begun), name, "create, start, exit, delete"));
    }
    Ok(figures)
}

async fn by_cri(kind: Kind, node: &Node) -> Result<Vec<Figure>> {
    let name = kind.name();
    let cri = node.connect().await?;
    let idle = node.memory();
    let mut figures = Vec::new();

    let (mut sandboxes, mut pods, mut ids) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..SANDBOXES {
        let begun = Instant::now();
        let (config, sandbox) = cri::sandbox(&cri, node, &format!("s{round}")).await?;
        sandboxes.push(milliseconds(begun));
        cri::start(&cri, &config, &sandbox, "c", &["sleep", "100000"]).await?;
        pods.push(milliseconds(begun));
        ids.push(sandbox);
    }
    figures.push(figure("pod sandbox with network", median(sandboxes), name, "by CRI; median"));
    figures.push(figure("pod start", median(pods), name, "sandbox with network and one container, cached image; median"));

    let (config, sandbox) = cri::sandbox(&cri, node, "bare").await?;
    let mut times = Vec::new();
    for round in 0..ONE_BY_ONE {
        let begun = Instant::now();
        cri::cycle(&cri, &config, &sandbox, &format!("one-{round}")).await?;
        times.push(milliseconds(begun));
    }
    figures.push(figure("container of true, one by one", median(times), name, "create, start, exit, delete by CRI; median"));
    let begun = Instant::now();
    let all = (0..AT_ONCE).map(|round| {
        let (cri, config, sandbox) = (cri.clone(), config.clone(), sandbox.clone());
        tokio::spawn(async move { cri::cycle(&cri, &config, &sandbox, &format!("all-{round}")).await })
    });
    for one in all.collect::<Vec<_>>() {
        one.await??;
    }
    figures.push(figure("50 containers of true at once", milliseconds(begun), name, "create, start, exit, delete by CRI"));
    cri::remove(&cri, &sandbox).await?;

    for round in SANDBOXES..PODS {
        let (config, sandbox) = cri::sandbox(&cri, node, &format!("s{round}")).await?;
        cri::start(&cri, &config, &sandbox, "c", &["sleep", "100000"]).await?;
        ids.push(sandbox);
    }
    let memory = node.memory();
    #[allow(clippy::cast_precision_loss, reason = "a hundred")]
    let each = (memory - idle) / PODS as f64;
    let conditions = format!("{name}, PSS with {PODS} pods");
    figures.push(Figure { name: "memory of a pod beyond its process", value: each, unit: "MB", conditions: conditions.clone() });
    figures.push(Figure { name: "memory of runtime and shims", value: memory, unit: "MB", conditions });
    let used = node.idle_cpu().await;
    figures.push(Figure { name: "idle CPU", value: used, unit: "% core", conditions: format!("{name}, {PODS} pods, over ten seconds") });
    for id in ids {
        cri::remove(&cri, &id).await?;
    }
    Ok(figures)
}

fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1000.0
}

fn figure(name: &'static str, value: f64, program: &str, conditions: &str) -> Figure {
    Figure { name, value, unit: "ms", conditions: format!("{program}; {conditions}") }
}
