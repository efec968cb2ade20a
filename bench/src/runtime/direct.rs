//! The built-in runtime by itself: one shim, told what to run, as the daemon tells it.

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use corten_shim::protocol::{Answer, Body, Call, Event, Message, Outcome, Request, Run, Serve};

/// A connection to a shim of its own, which ends with it.
pub(super) struct Direct {
    stream: UnixStream,
    next: u64,
}

impl Direct {
    /// Starts a shim whose program and socket lie in `dir`.
    pub(super) fn start(dir: &Path) -> Result<Direct> {
        let (program, socket) = (dir.join("shim"), dir.join("shim.sock"));
        std::fs::write(&program, corten_embedded::SHIM)?;
        std::fs::set_permissions(&program, PermissionsExt::from_mode(0o700))?;
        let listener = UnixListener::bind(&socket)?;
        listener.set_nonblocking(true)?;
        let settings = serde_json::to_string(&Serve { sandbox: "bench".to_owned(), pause: false, userns: None, cgroups: Vec::new() })?;
        let mut command = Command::new(&program);
        command.arg0("corten-shim").arg("serve").arg(&socket).arg(settings);
        // It leaves the shim behind as nobody's child, and ends.
        let status = command.stdin(OwnedFd::from(listener)).stdout(Stdio::null()).status().context("cannot run the shim")?;
        ensure!(status.success(), "the shim does not start: {status}");
        Ok(Direct { stream: UnixStream::connect(&socket)?, next: 0 })
    }

    fn send(&mut self, call: Call) -> Result<()> {
        self.next += 1;
        let body = serde_json::to_vec(&Request { id: self.next, call })?;
        let length = u32::try_from(body.len())?.to_le_bytes();
        Ok(self.stream.write_all(&[length.as_slice(), &body].concat())?)
    }

    fn receive(&mut self) -> Result<Message> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length).context("the shim is gone")?;
        let mut body = vec![0; u32::from_le_bytes(length) as usize];
        self.stream.read_exact(&mut body)?;
        Ok(serde_json::from_slice(&body)?)
    }

    /// Runs the container in each bundle, all side by side, until all have ended, and lets go of them.
    pub(super) fn run(&mut self, bundles: &[(String, std::path::PathBuf)]) -> Result<()> {
        for (id, dir) in bundles {
            let (container, dir) = (id.clone(), dir.clone());
            let run = Run { container, dir, log: None, tty: false, stdin: false, oom: None, procs: None, handler: None };
            self.send(Call::Run(run))?;
        }
        let mut ended = 0;
        while ended < bundles.len() {
            match self.receive()?.body {
                Body::Event(Event::Exited { container, exit }) => {
                    ensure!(exit.code == 0, "{container} ended with {}", exit.code);
                    self.send(Call::Forget { container })?;
                    ended += 1;
                }
                Body::Reply(reply) => match reply.outcome {
                    Outcome::Ok(Answer::Started { .. } | Answer::Done) => {}
                    other => bail!("the shim answers {other:?}"),
                },
                Body::Event(_) => {}
            }
        }
        Ok(())
    }
}

impl Drop for Direct {
    fn drop(&mut self) {
        // It ends, and closes the connection.
        let _ = self.send(Call::Shutdown);
        let _ = self.stream.read_to_end(&mut Vec::new());
    }
}
