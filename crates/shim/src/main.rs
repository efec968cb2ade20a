//! The per-pod shim.
//!
//! One process per pod sandbox, with one thread and one event loop. It is the parent (by being a subreaper) of every process
//! of the pod's containers, owns their stdio, writes their logs and exit records, and serves the runtime over a unix socket
//! ([`corten_shim::protocol`]). It outlives the daemon and needs nothing of it: the program itself runs from a sealed
//! memory file. Everything that changes a process for good happens in children: copies of it for what starts a container or one more
//! process in it, and the program executed once more for what leaves the holder of a PID namespace behind (`pause`) and for what runs
//! hooks (`poststop`). The runtime executes it too, for the namespaces of a pod with users of its own (`namespaces`).
//!
//! What goes wrong is written to standard error, which is the file `shim.log` of the sandbox.

mod calls;
mod cgroup;
mod children;
mod clock;
mod container;
mod direct;
mod exec;
mod handler;
mod hooks;
mod launch;
mod layout;
mod limits;
mod log;
mod namespaces;
mod oom;
mod output;
mod pause;
mod poll;
mod reap;
mod server;
mod signals;
mod stage;
mod tree;
mod wire;

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, bail};
use corten_shim::protocol::Serve;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    match args.next().as_deref() {
        Some("serve") => {
            let socket = args.next().context("serve needs a socket")?;
            let serve: Serve = serde_json::from_str(&args.next().context("serve needs its settings")?)?;
            server::main(Path::new(&socket), &serve)
        }
        Some("pause") => pause::main(args.next().as_deref().map(Path::new)),
        Some("poststop") => hooks::main(),
        Some("namespaces") => namespaces::main(args),
        other => bail!("unknown mode {other:?}; this program is started by the node's runtime"),
    }
}
