//! `corten cni`: the pod network for other container runtimes. The protocol is in `corten_network::cni`.

use std::io::Read;
use std::process::ExitCode;

use corten_network::cni::{Invocation, run as call};

/// A network's configuration is a few hundred bytes; with the results of other plugins still far less than this.
const LIMIT: u64 = 1 << 20;

pub(crate) fn run() -> ExitCode {
    let invocation = Invocation::from_variables(|name| std::env::var_os(name));
    let mut input = Vec::new();
    let runtime = std::io::stdin()
        .take(LIMIT)
        .read_to_end(&mut input)
        .and_then(|_| tokio::runtime::Builder::new_current_thread().enable_all().build());
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: cannot read the network's configuration: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(call(&invocation, &input)) {
        Ok(None) => ExitCode::SUCCESS,
        Ok(Some(answer)) => {
            println!("{answer}");
            ExitCode::SUCCESS
        }
        Err(failure) => {
            println!("{}", failure.to_json());
            ExitCode::FAILURE
        }
    }
}
