//! `ExecSync`.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use corten_cri::v1;
use corten_shim::protocol::{Call, Exec};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio_util::sync::CancellationToken;

use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::files;

/// What is kept of each stream; with both, an answer stays below gRPC's limit.
const KEPT: usize = 4 << 20;

/// How long output is still read after the process has ended: what it left in the background may hold the streams open.
const DRAIN: Duration = Duration::from_secs(1);

impl Engine {
    /// Runs a program in a container, and returns what it wrote and its exit code.
    pub(crate) async fn exec_sync(self: &Arc<Self>, request: v1::ExecSyncRequest) -> Result<v1::ExecSyncResponse> {
        let container = self.container(&request.container_id)?;
        container.running()?;
        if request.cmd.is_empty() {
            return Err(Error::invalid("no command specified"));
        }
        let shim = container.sandbox.shim()?;
        let session = files::new_id();
        let exec = Exec { container: container.id.clone(), session: session.clone(), args: request.cmd, tty: false, stdin: false };
        let mut running = shim.exec(exec).await?;
        let broken = |error: io::Error| Error::Internal(format!("cannot read a process's output: {error}"));
        let mut fds = running.fds.drain(..);
        let (Some(stdout), Some(stderr)) = (fds.next(), fds.next()) else {
            return Err(Error::internal("the shim sent no streams"));
        };
        drop(fds);
        let ended = CancellationToken::new();
        let stdout = tokio::spawn(collect(pipe::Receiver::from_owned_fd(stdout).map_err(broken)?, ended.clone()));
        let stderr = tokio::spawn(collect(pipe::Receiver::from_owned_fd(stderr).map_err(broken)?, ended.clone()));
        let _readers = ended.clone().drop_guard();
        let exit = match u64::try_from(request.timeout) {
            Ok(seconds) if seconds > 0 => tokio::time::timeout(Duration::from_secs(seconds), running.exit).await,
            _ => Ok(running.exit.await),
        };
        let exit_code = match exit {
            Ok(Ok(code)) => code,
            Ok(Err(_)) => return Err(Error::Unavailable("the sandbox's shim is gone".to_owned())),
            Err(_) => {
                // That it has ended in this moment is as good.
                let _ = shim.call(Call::KillExec { session }).await;
                return Err(Error::Deadline(format!(
                    "failed to exec in container: timeout {}s exceeded: context deadline exceeded",
                    request.timeout
                )));
            }
        };
        ended.cancel();
        let kept = |read: Result<Vec<u8>, tokio::task::JoinError>| read.map_err(Error::internal);
        Ok(v1::ExecSyncResponse { stdout: kept(stdout.await)?, stderr: kept(stderr.await)?, exit_code })
    }
}

/// Reads to the end of the stream, or a moment longer than the process lives, and keeps the beginning.
async fn collect(mut stream: pipe::Receiver, ended: CancellationToken) -> Vec<u8> {
    let mut kept = Vec::new();
    let mut buffer = vec![0; 16 << 10];
    let late = async {
        ended.cancelled().await;
        tokio::time::sleep(DRAIN).await;
    };
    tokio::pin!(late);
    loop {
        let count = tokio::select! {
            read = stream.read(&mut buffer) => read.unwrap_or_default(),
            () = &mut late => 0,
        };
        if count == 0 {
            return kept;
        }
        let room = KEPT - kept.len();
        kept.extend_from_slice(buffer.get(..count.min(room)).unwrap_or_default());
    }
}
