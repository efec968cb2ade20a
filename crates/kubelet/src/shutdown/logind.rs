//! What systemd-logind offers to those who need time when the machine goes down.
//!
//! <https://systemd.io/INHIBITOR_LOCKS/>

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::bus::message::{Arg, Kind};
use super::bus::{Bus, BusError};

const MANAGER: (&str, &str, &str) = ("org.freedesktop.login1", "/org/freedesktop/login1", "org.freedesktop.login1.Manager");
const PROPERTIES: (&str, &str, &str) = ("org.freedesktop.login1", "/org/freedesktop/login1", "org.freedesktop.DBus.Properties");
const SYSTEMD: (&str, &str, &str) = ("org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager");
const SIGNAL: &str = "type='signal',interface='org.freedesktop.login1.Manager',member='PrepareForShutdown',path='/org/freedesktop/login1'";
/// Our part of logind's configuration; the reference's name, so that one replaces the other.
const DROP_IN: &str = "99-kubelet.conf";
/// logind reads its configuration anew when it likes: how often, and how long apart, that is looked for.
const LOOKS: u32 = 20;
const PAUSE: Duration = Duration::from_millis(100);
/// How long all that may take: whoever is on the bus may be stuck.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why logind gives no time.
#[derive(Debug, thiserror::Error)]
pub(super) enum LogindError {
    #[error("no answer on the system's message bus for {} s", PATIENCE.as_secs())]
    Silent,
    #[error(transparent)]
    Bus(#[from] BusError),
    #[error("{}: {source}", path.display())]
    DropIn { path: PathBuf, source: io::Error },
    #[error(
        "node shutdown manager was unable to update logind InhibitDelayMaxSec to {wanted:?} (ShutdownGracePeriod), current value of \
         InhibitDelayMaxSec ({given:?}) is less than requested ShutdownGracePeriod"
    )]
    TooShort { wanted: Duration, given: Duration },
}

/// Where logind is, and where its configuration.
#[derive(Clone, Debug)]
pub(super) struct Places {
    pub(super) bus: PathBuf,
    pub(super) drop_ins: PathBuf,
}

/// The connection to logind, and the lock while it is held.
pub(super) struct Logind {
    bus: Bus,
    /// Closing it lets the machine go down.
    lock: Option<OwnedFd>,
    /// Whether it was going down already when the connection was made: then nobody gets a lock.
    pub(super) began: bool,
}

impl Logind {
    /// Connects, sees to it that there is as much time as is needed, and takes the lock.
    pub(super) async fn open(places: &Places, needed: Duration) -> Result<Self, LogindError> {
        tokio::time::timeout(PATIENCE, Self::connect(places, needed)).await.map_err(|_| LogindError::Silent)?
    }

    async fn connect(places: &Places, needed: Duration) -> Result<Self, LogindError> {
        let mut bus = Bus::connect(&places.bus).await?;
        let mut given = delay(&mut bus).await?;
        if given < needed {
            ask_for(&places.drop_ins, needed)?;
            let unit = [Arg::from("systemd-logind.service"), Arg::from("all"), Arg::Int(1)];
            bus.call(SYSTEMD, "KillUnit", &unit).await?;
            for _ in 0..LOOKS {
                given = delay(&mut bus).await?;
                if given >= needed {
                    break;
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
        if given < needed {
            return Err(LogindError::TooShort { wanted: needed, given });
        }
        bus.bus_call("AddMatch", &[SIGNAL.into()]).await?;
        let (body, _) = bus.call(PROPERTIES, "Get", &[MANAGER.2.into(), "PreparingForShutdown".into()]).await?;
        let began = body.first() == Some(&Arg::Bool(true));
        // What logind has said before it answered, the answer knows better.
        bus.forget();
        let mut logind = Self { bus, lock: None, began };
        if !began {
            logind.lock().await?;
        }
        Ok(logind)
    }

    /// Takes the lock.
    pub(super) async fn lock(&mut self) -> Result<(), LogindError> {
        let what = ["shutdown", "kubelet", "Kubelet needs time to handle node shutdown", "delay"].map(Arg::from);
        let inhibit = tokio::time::timeout(PATIENCE, self.bus.call(MANAGER, "Inhibit", &what));
        let (_, fds) = inhibit.await.map_err(|_| LogindError::Silent)??;
        self.lock = Some(fds.into_iter().next().ok_or(BusError::Nothing)?);
        Ok(())
    }

    /// Gives it back: the machine may go down.
    pub(super) fn release(&mut self) {
        self.lock = None;
    }

    /// Waits until logind says that the machine goes down (`true`), or that it does not after all.
    pub(super) async fn shutdown(&mut self) -> Result<bool, LogindError> {
        loop {
            let (message, _) = self.bus.next().await?;
            if message.kind == Kind::Signal
                && message.interface == MANAGER.2
                && message.member == "PrepareForShutdown"
                && let Some(Arg::Bool(begins)) = message.body.first()
            {
                // Whoever is on the bus may send signals; the sender's name is the bus's own word. logind's changes when it
                // starts anew, so it is asked for each time.
                let owner = self.bus.bus_call("GetNameOwner", &[MANAGER.0.into()]).await?;
                if owner.first() == Some(&Arg::Text(message.sender)) {
                    return Ok(*begins);
                }
                tracing::warn!("somebody who is not systemd-logind says that the machine goes down");
            }
        }
    }
}

async fn delay(bus: &mut Bus) -> Result<Duration, LogindError> {
    let (body, _) = bus.call(PROPERTIES, "Get", &[MANAGER.2.into(), "InhibitDelayMaxUSec".into()]).await?;
    match body.first() {
        Some(Arg::Number(microseconds)) => Ok(Duration::from_micros(*microseconds)),
        _ => Err(BusError::Nothing.into()),
    }
}

fn ask_for(directory: &Path, needed: Duration) -> Result<(), LogindError> {
    let path = directory.join(DROP_IN);
    let seconds = needed.as_secs() + u64::from(needed.subsec_nanos() > 0);
    let text = format!("# Written by the kubelet: its pods need that long to end.\n[Login]\nInhibitDelayMaxSec={seconds}\n");
    let written = fs::create_dir_all(directory).and_then(|()| fs::write(&path, text));
    written.map_err(|source| LogindError::DropIn { path, source })
}
