//! `corten`: the command line, and the wiring of the components into processes. Nothing else lives here.

mod agent;
mod cli;
mod cni;
mod down;
mod image;
mod kubeconfig;
mod layout;
mod lock;
mod memory;
mod ranges;
mod server;
mod status;
mod up;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    // A CNI plugin is known by its program's name and gets no arguments.
    if std::env::args_os()
        .next()
        .is_some_and(|name| server::external::PLUGINS.iter().any(|plugin| std::path::Path::new(&name).ends_with(plugin)))
    {
        return cni::run();
    }
    let arguments = cli::Cli::parse();
    let result = match arguments.command {
        cli::Command::Up(options) => up::run(&options),
        cli::Command::Down(options) => down::run(&options),
        cli::Command::Status(options) => status::run(&options),
        cli::Command::Server(options) => server::run(&options),
        cli::Command::Agent(options) => agent::run(&options),
        cli::Command::Image(options) => image::run(&options),
        cli::Command::Cni => return cni::run(),
        cli::Command::Node { spec } => up::node::run(&spec),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Log lines go to standard error; what they hold is chosen by `CORTEN_LOG` in the syntax of `RUST_LOG`.
fn start_logging() {
    use std::io::IsTerminal;
    use tracing_subscriber::EnvFilter;

    let filter = EnvFilter::try_from_env("CORTEN_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    // A second start in one process (never in production) keeps the first.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .try_init();
}
