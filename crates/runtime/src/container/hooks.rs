//! `poststop` hooks of containers whose shim did not live to run them.

use std::fs;
use std::io;
use std::process::Stdio;

use corten_shim::protocol::PostStop;

use super::Container;
use crate::engine::Engine;

impl Engine {
    /// Runs the hooks of a container whose end nobody saw, if it has any that nobody runs yet, in a process of their own that nobody
    /// waits for.
    pub(crate) fn run_hooks(&self, container: &Container) {
        if let Err(error) = self.start_hooks(container) {
            tracing::warn!(container = %container.id, %error, "the poststop hooks do not run");
        }
    }

    fn start_hooks(&self, container: &Container) -> io::Result<()> {
        // Opened here: the directory may be removed before the process looks.
        let Some(list) = PostStop::claim(&container.paths.dir)? else { return Ok(()) };
        let log = fs::OpenOptions::new().create(true).append(true).open(container.sandbox.paths.shim_log())?;
        let mut command = tokio::process::Command::from(self.program.command());
        let mut child = command.arg("poststop").stdin(list).stdout(Stdio::null()).stderr(log).spawn()?;
        // What fails is in the log.
        tokio::spawn(async move { child.wait().await });
        Ok(())
    }
}
