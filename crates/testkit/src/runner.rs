//! Running programs and keeping what they said.

use std::io::Write;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// How a program ended and what it said.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The command line, for messages.
    pub command: String,
    /// Exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Outcome {
    /// Whether the program ended with 0.
    pub fn succeeded(&self) -> bool {
        self.code == Some(0)
    }

    /// Standard output of a program that must have succeeded.
    pub fn check(self) -> Result<String> {
        if !self.succeeded() {
            bail!("{} ended with {:?}\n{}{}", self.command, self.code, self.stdout, self.stderr);
        }
        Ok(self.stdout)
    }
}

/// Whether all that is promised is tested, as `cargo xtask test --full` does, and not a part that says nearly as much.
pub fn full() -> bool {
    std::env::var_os("CORTEN_TEST_FULL").is_some()
}

/// Runs a program to its end.
pub fn run(command: Command) -> Result<Outcome> {
    run_with_input(command, "")
}

/// Runs a program to its end with `input` as its standard input.
pub fn run_with_input(mut command: Command, input: &str) -> Result<Outcome> {
    let words: Vec<_> =
        [command.get_program()].into_iter().chain(command.get_args()).map(|word| word.to_string_lossy().into_owned()).collect();
    let name = words.join(" ");
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run {name}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that does not want its input may close it.
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output().with_context(|| format!("cannot wait for {name}"))?;
    Ok(Outcome {
        command: name,
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}
