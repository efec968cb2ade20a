//! What following a log waits for: changes of its file, and the end of its container.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use corten_cri::v1;
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::io::Errno;
use tokio::io::unix::AsyncFd;
use tonic::{Code, Request, Status, Streaming};

use crate::runtime::{Runtime, request};

/// Pause before something is looked at again about which nothing is told: the runtime restarts or has no events, inotify is
/// used up.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Changes of a log and of the files beside it (rotation).
pub(super) enum Changes {
    /// From inotify(7).
    Told(AsyncFd<OwnedFd>),
    /// The system has no more inotify instances for its user (128 by default): then, and only then, the file is looked at.
    Looked,
}

impl Changes {
    /// Watches the directory of `path` from now on.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        let directory = path.parent().unwrap_or(Path::new("."));
        let watch = match inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC) {
            Ok(watch) => watch,
            Err(Errno::MFILE) => return Ok(Self::Looked),
            Err(error) => return Err(error.into()),
        };
        match inotify::add_watch(&watch, directory, WatchFlags::MODIFY | WatchFlags::CREATE | WatchFlags::MOVED_TO) {
            Ok(_) => {}
            Err(Errno::NOSPC) => return Ok(Self::Looked),
            Err(error) => return Err(error.into()),
        }
        // SAFETY: an `OwnedFd` names the same open descriptor for as long as it lives, and is never taken out of the `AsyncFd`.
        #[allow(unsafe_code)]
        let watch = unsafe { AsyncFd::register(watch) }?;
        Ok(Self::Told(watch))
    }

    /// Waits for something to change; what changed since the last wait counts.
    pub(super) async fn wait(&self) -> io::Result<()> {
        let Self::Told(watch) = self else {
            tokio::time::sleep(LOOK_AGAIN).await;
            return Ok(());
        };
        // What exactly changed does not matter, so events are only taken away.
        let mut events = [0_u8; 4096];
        loop {
            let mut ready = watch.readable().await?;
            match ready.try_io(|watch| Ok(rustix::io::read(watch.get_ref(), &mut events)?)) {
                Ok(read) => return read.map(drop),
                Err(_would_block) => {}
            }
        }
    }
}

/// Waits until a container has ended or is gone.
pub(crate) async fn ended(runtime: &Runtime, id: &str) {
    loop {
        let events = events(runtime).await;
        // After the events are on, so that the end cannot fall between.
        if !is_alive(runtime, id).await {
            return;
        }
        if let Ok(mut events) = events {
            while let Ok(Some(event)) = events.message().await {
                if event.container_id == id && !is_alive(runtime, id).await {
                    return;
                }
            }
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

async fn events(runtime: &Runtime) -> Result<Streaming<v1::ContainerEventResponse>, Status> {
    let mut client = runtime.clients.runtime.clone();
    Ok(client.get_container_events(Request::new(v1::GetEventsRequest {})).await?.into_inner())
}

/// A runtime that does not answer says nothing about its containers, so they count as alive.
async fn is_alive(runtime: &Runtime, id: &str) -> bool {
    let message = v1::ContainerStatusRequest { container_id: id.to_owned(), verbose: false };
    match runtime.clients.runtime.clone().container_status(request(message)).await {
        Ok(response) => response
            .into_inner()
            .status
            .is_some_and(|status| matches!(status.state(), v1::ContainerState::ContainerCreated | v1::ContainerState::ContainerRunning)),
        Err(status) => status.code() != Code::NotFound,
    }
}
