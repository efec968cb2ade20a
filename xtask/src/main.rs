//! `cargo xtask`: the project's own commands. They install what they need and say so.

mod bench;
#[cfg(feature = "codegen")]
mod cri;
mod demo;
mod schema;
mod setup;
mod sweep;
mod test;

use std::path::Path;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "The project's own commands", disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Build Corten, start a cluster, deploy three nginx pods and show that they answer
    Demo(demo::Options),
    /// Measure what SPECIFICATION.md promises, on a release build
    Bench,
    /// Install what the build needs from Debian
    Setup,
    /// Run every test of the project
    Test(test::Options),
    /// Make the kind table anew from public facts
    Schema,
    /// Make the CRI client and server anew from the definition
    #[cfg(feature = "codegen")]
    Cri,
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Demo(options) => demo::run(&options),
        Command::Bench => bench::run(),
        Command::Setup => setup::build_packages(),
        Command::Test(options) => test::run(&options),
        Command::Schema => schema::run(),
        #[cfg(feature = "codegen")]
        Command::Cri => cri::generate(root()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The workspace's directory.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}
