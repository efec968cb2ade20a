//! The demonstration behind `cargo xtask demo`: three nginx pods on a cluster of this machine, with the real `kubectl`.

mod progress;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::Parser;
use corten_testkit::{Outcome, PATIENCE, http_get_within, images, packages, run, run_with_input, tools, wait};
use serde_json::Value;

const DEPLOYMENT: &str = include_str!("deployment.yaml");
const NAME: &str = "nginx-deployment";

#[derive(Parser)]
struct Options {
    /// The `corten` program
    #[arg(long)]
    corten: PathBuf,
    /// Directory of the cluster's state
    #[arg(long)]
    data_dir: PathBuf,
}

fn main() -> Result<()> {
    let options = Options::parse();
    let image = images::nginx_archive(packages::cache()?, "nginx:1.14.2").context("cannot make the nginx image")?;

    println!("\nstarting the cluster");
    let mut up = corten(&options, "up");
    let status = up.status().context("cannot run corten up")?;
    if !status.success() {
        bail!("corten up ended with {status}");
    }
    let mut load = Command::new(&options.corten);
    load.args(["image", "--data-dir"]).arg(&options.data_dir).arg("load").arg(&image);
    print!("{}", run(load)?.check()?);

    let demo = Demo {
        kubectl: tools::kubectl()?,
        kubeconfig: options.data_dir.join("kubeconfig"),
        run: fs::canonicalize(options.data_dir.join("run"))?,
    };
    println!("\ndeploying {NAME}: 3 × nginx:1.14.2");
    let applied = run_with_input(demo.kubectl(&["apply", "-f", "-"]), DEPLOYMENT)?.check()?;
    print!("{applied}");
    progress::wait_until_available(&demo, NAME)?;

    // What is stored of a cluster that was down says "ready" until its node has looked.
    let pages = wait::until("three pods that answer", PATIENCE, || demo.pages());
    println!();
    print!("{}", demo.run(&["get", "pods", "-l", "app=nginx", "-o", "wide"])?.check()?);
    println!();
    for (pod, address, page) in pages {
        let title = page.lines().find(|line| line.contains("<title>")).or(page.lines().next()).unwrap_or_default();
        println!("http://{address}/  {}  ({pod})", title.trim());
    }
    println!("\nThe cluster stays up. Go on with:");
    println!("  {} --kubeconfig {} get all", demo.kubectl.display(), demo.kubeconfig.display());
    println!("and stop it with:");
    println!("  {} down --data-dir {}", options.corten.display(), options.data_dir.display());
    Ok(())
}

fn corten(options: &Options, command: &str) -> Command {
    let mut corten = Command::new(&options.corten);
    corten.arg(command).arg("--data-dir").arg(&options.data_dir);
    corten
}

/// The cluster as its user sees it.
struct Demo {
    kubectl: PathBuf,
    kubeconfig: PathBuf,
    run: PathBuf,
}

impl Demo {
    fn kubectl(&self, arguments: &[&str]) -> Command {
        let mut kubectl = Command::new(&self.kubectl);
        kubectl.arg("--kubeconfig").arg(&self.kubeconfig).args(arguments);
        kubectl
    }

    fn run(&self, arguments: &[&str]) -> Result<Outcome> {
        run(self.kubectl(arguments))
    }

    /// Each pod's name, address and page; an error while there are not three that answer.
    fn pages(&self) -> Result<Vec<(String, SocketAddr, String)>> {
        let text = self.run(&["get", "pods", "-l", "app=nginx", "-o", "json"])?.check()?;
        let list: Value = serde_json::from_str(&text)?;
        let mut pages = Vec::new();
        for pod in list.get("items").and_then(Value::as_array).into_iter().flatten() {
            if pod.pointer("/metadata/deletionTimestamp").is_some() {
                continue;
            }
            let field = |path: &str| pod.pointer(path).and_then(Value::as_str).with_context(|| format!("a pod without {path}"));
            let address = SocketAddr::new(field("/status/podIP")?.parse()?, 80);
            pages.push((field("/metadata/name")?.to_owned(), address, self.http_get(address)?));
        }
        if pages.len() != 3 {
            bail!("{} pods", pages.len());
        }
        Ok(pages)
    }

    fn http_get(&self, address: SocketAddr) -> Result<String> {
        http_get_within(Path::new(&self.run.join("namespaces").join("net")), address)
    }
}
