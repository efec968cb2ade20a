//! `StopContainer`.

use std::sync::Arc;
use std::time::Duration;

use corten_cri::v1;
use corten_shim::protocol::Call;
use rustix::process::{Pid, Signal};

use super::{Container, Exited, Life};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::events::Kind;
use crate::files;
use crate::record::Start;
use crate::shim::{Shim, ShimError};

/// How long a killed process may take: longer than this it is stuck behind the kernel, and the kubelet tries again.
const KILL: Duration = Duration::from_secs(30);

impl Engine {
    /// Asks a container to end, and kills it when the grace period is over. May be repeated.
    pub(crate) async fn stop_container(self: &Arc<Self>, request: &v1::StopContainerRequest) -> Result<()> {
        let container = match self.container(&request.container_id) {
            Ok(container) => container,
            Err(Error::NotFound { .. }) => return Ok(()),
            Err(error) => return Err(error),
        };
        let grace = Duration::from_secs(u64::try_from(request.timeout).unwrap_or_default());
        self.stop(&container, grace).await
    }

    /// Ends a container.
    pub(crate) async fn stop(self: &Arc<Self>, container: &Arc<Container>, grace: Duration) -> Result<()> {
        if !matches!(container.life(), Life::Running { .. } | Life::Starting { .. }) {
            return Ok(());
        }
        let Ok(shim) = container.sandbox.shim() else {
            self.abandon(container).await;
            return Ok(());
        };
        if !grace.is_zero() {
            send(&shim, container, container.record().stop_signal, false).await?;
            if tokio::time::timeout(grace, container.ended()).await.is_ok() {
                return Ok(());
            }
        }
        send(&shim, container, Signal::KILL.as_raw(), true).await?;
        match tokio::time::timeout(KILL, container.ended()).await {
            Ok(()) => Ok(()),
            Err(_) => Err(Error::Deadline(format!("container {} does not end", container.id))),
        }
    }

    /// Ends a container whose shim is gone: kills what is left of it, and does not know how it ended.
    pub(crate) async fn abandon(self: &Arc<Self>, container: &Arc<Container>) {
        let cgroup = container.record().cgroup.clone();
        for pid in self.layout.processes(&cgroup) {
            if let Some(pid) = Pid::from_raw(pid) {
                let _ = rustix::process::kill_process(pid, Signal::KILL);
            }
        }
        let exit = files::load(&container.paths.exit()).ok().flatten();
        let mut lost = None;
        let changed = container.change(|life| match life {
            Life::Exited(_) | Life::Created => None,
            Life::Running { at, .. } | Life::Starting { at } => Some(Life::Exited(match &exit {
                Some(exit) => Exited::seen(exit, *at),
                None => {
                    let now = files::now();
                    lost = Some(Start::Lost { started_at: *at, at: now });
                    Exited::unseen(*at, now)
                }
            })),
        });
        if let Some(lost) = lost {
            self.run_hooks(container);
            // The next daemon must not think that it ended when that one was started.
            if let Err(error) = files::publish(&container.paths.state(), &lost) {
                tracing::warn!(container = %container.id, %error, "the loss is not recorded");
            }
        }
        if changed {
            self.announce(container, Kind::Stopped);
        }
    }
}

/// Sends a signal. That the container has just ended is what was wanted; a container that is still being started has no
/// process yet, so the signal waits for it.
async fn send(shim: &Shim, container: &Container, signal: i32, all: bool) -> Result<()> {
    let mut life = container.life.subscribe();
    let _ = life.wait_for(|life| !matches!(life, Life::Starting { .. })).await;
    match shim.call(Call::Signal { container: container.id.clone(), signal, all }).await {
        Err(ShimError::Refused(fault)) if !matches!(container.life(), Life::Running { .. }) => {
            tracing::debug!(container = %container.id, fault = %fault.message, "it has ended by itself");
            Ok(())
        }
        // The exit's event is on its way.
        Err(ShimError::Refused(fault)) if fault.code == corten_shim::protocol::FaultCode::State => Ok(()),
        Err(ShimError::Gone) => Ok(()),
        other => Ok(other.map(drop)?),
    }
}

/// The signal that asks a container to end: CRI's, else the image's (`SIGQUIT`, `QUIT` or a number), else SIGTERM.
pub(super) fn signal(asked: i32, image: &str) -> Result<i32> {
    let name = match v1::Signal::try_from(asked) {
        Ok(v1::Signal::RuntimeDefault) => image.to_uppercase(),
        Ok(signal) => signal.as_str_name().trim_start_matches("SIGNAL_").to_owned(),
        Err(_) => return Err(Error::Invalid(format!("unknown stop signal {asked}"))),
    };
    if name.is_empty() {
        return Ok(Signal::TERM.as_raw());
    }
    number(&name).ok_or_else(|| Error::Invalid(format!("unknown stop signal {name:?}")))
}

/// Real-time signals, as the C library counts them: two are its own.
const REAL_TIME: std::ops::RangeInclusive<i32> = 34..=64;

fn number(name: &str) -> Option<i32> {
    if let Ok(number) = name.parse::<i32>() {
        return (1..=*REAL_TIME.end()).contains(&number).then_some(number);
    }
    let name = name.strip_prefix("SIG").unwrap_or(name);
    let offset = |rest: &str| {
        if rest.is_empty() {
            Some(0)
        } else {
            rest.trim_start_matches("PLUS").trim_start_matches("MINUS").trim_start_matches(['+', '-']).parse().ok()
        }
    };
    if let Some(rest) = name.strip_prefix("RTMIN") {
        return offset(rest).map(|offset: i32| REAL_TIME.start() + offset).filter(|number| REAL_TIME.contains(number));
    }
    if let Some(rest) = name.strip_prefix("RTMAX") {
        return offset(rest).map(|offset: i32| REAL_TIME.end() - offset).filter(|number| REAL_TIME.contains(number));
    }
    NUMBERS.iter().find(|(known, _)| *known == name).map(|(_, signal)| signal.as_raw())
}

/// Names of signals, with their synonyms.
const NUMBERS: &[(&str, Signal)] = &[
    ("ABRT", Signal::ABORT),
    ("ALRM", Signal::ALARM),
    ("BUS", Signal::BUS),
    ("CHLD", Signal::CHILD),
    ("CLD", Signal::CHILD),
    ("CONT", Signal::CONT),
    ("FPE", Signal::FPE),
    ("HUP", Signal::HUP),
    ("ILL", Signal::ILL),
    ("INT", Signal::INT),
    ("IO", Signal::IO),
    ("IOT", Signal::ABORT),
    ("KILL", Signal::KILL),
    ("PIPE", Signal::PIPE),
    ("POLL", Signal::IO),
    ("PROF", Signal::PROF),
    ("PWR", Signal::POWER),
    ("QUIT", Signal::QUIT),
    ("SEGV", Signal::SEGV),
    ("STKFLT", Signal::STKFLT),
    ("STOP", Signal::STOP),
    ("SYS", Signal::SYS),
    ("TERM", Signal::TERM),
    ("TRAP", Signal::TRAP),
    ("TSTP", Signal::TSTP),
    ("TTIN", Signal::TTIN),
    ("TTOU", Signal::TTOU),
    ("URG", Signal::URG),
    ("USR1", Signal::USR1),
    ("USR2", Signal::USR2),
    ("VTALRM", Signal::VTALARM),
    ("WINCH", Signal::WINCH),
    ("XCPU", Signal::XCPU),
    ("XFSZ", Signal::XFSZ),
];

#[cfg(test)]
mod tests {
    use super::signal;

    #[test]
    fn signals_by_name_number_and_default() {
        let of_image = |name| signal(0, name).ok();
        assert_eq!(of_image(""), Some(15));
        assert_eq!(of_image("SIGQUIT"), Some(3));
        assert_eq!(of_image("quit"), Some(3));
        assert_eq!(of_image("9"), Some(9));
        assert_eq!(of_image("SIGRTMIN+3"), Some(37));
        assert_eq!(of_image("SIGNONE"), None);
        assert_eq!(signal(corten_cri::v1::Signal::Sigusr1 as i32, "SIGQUIT").ok(), Some(10));
        assert_eq!(signal(corten_cri::v1::Signal::Sigrtmaxminus1 as i32, "").ok(), Some(63));
    }
}
