//! What is to be taken apart when this program is interrupted, since nothing is dropped then.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use tokio::signal::unix::{SignalKind, signal};

type CleanUp = Box<dyn FnOnce() + Send>;

static LEFT: Mutex<(u64, BTreeMap<u64, CleanUp>)> = Mutex::new((0, BTreeMap::new()));

/// Something that is there until this is dropped.
pub struct Here(u64);

impl Here {
    /// `clean_up` takes it apart when this program is interrupted; whoever drops this does so otherwise.
    pub fn new(clean_up: impl FnOnce() + Send + 'static) -> Here {
        let mut left = LEFT.lock().unwrap_or_else(PoisonError::into_inner);
        left.0 += 1;
        let number = left.0;
        left.1.insert(number, Box::new(clean_up));
        Here(number)
    }
}

impl Drop for Here {
    fn drop(&mut self) {
        LEFT.lock().unwrap_or_else(PoisonError::into_inner).1.remove(&self.0);
    }
}

/// From now on SIGINT and SIGTERM take apart what is there, newest first, before they end this program; the second of them ends it at
/// once, should that take too long.
///
/// # Errors
///
/// If signals cannot be waited for.
pub fn clean_up_when_interrupted() -> std::io::Result<()> {
    let waiting = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut interrupt, mut terminate) = {
        let _inside = waiting.enter();
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
    };
    std::thread::Builder::new().name("interrupt".to_owned()).spawn(move || {
        waiting.block_on(async {
            let mut signalled = async || {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
            };
            signalled().await;
            eprintln!("interrupted: cleaning up");
            let cleaned = tokio::task::spawn_blocking(|| {
                let left = std::mem::take(&mut LEFT.lock().unwrap_or_else(PoisonError::into_inner).1);
                left.into_values().rev().for_each(|clean_up| clean_up());
            });
            tokio::select! {
                _ = cleaned => {}
                () = signalled() => eprintln!("interrupted again: not all is cleaned up"),
            }
        });
        std::process::exit(130);
    })?;
    Ok(())
}

#[cfg(test)]
mod tests;
