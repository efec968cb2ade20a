//! After a restart: adopt what runs, finish or undo what was half made, forget what is gone.
//!
//! The daemon can have died at any instruction, and the machine too. So nothing is believed but: a record in a directory says
//! what was wanted; `ready.json` that a sandbox was whole; a shim that answers that it still is; an exit file how a
//! container ended. Everything else that has our names on it is removed.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use corten_shim::protocol::{Exit, Known};

use crate::container::{Container, Exited, Life};
use crate::engine::Engine;
use crate::error::{Error, Result, blocking};
use crate::files;
use crate::mounts;
use crate::namespaces;
use crate::record::{ContainerRecord, Made, SandboxRecord, Start};
use crate::sandbox::Sandbox;
use crate::shim::ShimError;

/// Brings the engine and the kernel to agree. Must come before anything is served.
pub(crate) async fn run(engine: &Arc<Engine>) -> Result<()> {
    // All at once, so that one whose shim does not answer holds back no other.
    let found = files::names_in(&engine.paths.sandboxes()).into_iter().map(|id| async move {
        match sandbox(engine, &id).await {
            Ok(State::Clear) => None,
            Ok(State::Silent) => Some(id),
            Err(error) => {
                tracing::error!(sandbox = %id, %error, "a sandbox could not be recovered");
                None
            }
        }
    });
    let silent = futures::future::join_all(found).await.into_iter().flatten().collect();
    for id in files::names_in(&engine.paths.containers()) {
        if let Err(error) = orphan(engine, &id).await {
            tracing::error!(container = %id, %error, "what is left of a container could not be removed");
        }
    }
    sweep(engine, silent).await
}

/// What is known of a sandbox after its recovery.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Whether it runs.
    Clear,
    /// Its shim is there and does not answer. It is not ready, but what it has may still run, so nothing of it is touched:
    /// to stop it fails until the shim answers or is gone, and the next daemon asks it again.
    Silent,
}

/// A record, if it is whole. After a crash of the machine it can be torn, which is as good as none.
fn record<T: serde::de::DeserializeOwned>(path: &Path) -> Option<T> {
    files::load(path).unwrap_or_else(|error| {
        tracing::warn!(%error, "ignoring a torn record");
        None
    })
}

async fn sandbox(engine: &Arc<Engine>, id: &str) -> Result<State> {
    let paths = engine.paths.sandbox(id);
    let Some(wanted) = record::<SandboxRecord>(&paths.record()) else {
        let dir = paths.dir.clone();
        mounts::detach(&paths.shm())?;
        blocking(move || files::remove_tree(&dir)).await?;
        return Ok(State::Clear);
    };
    let Some(made) = record::<Made>(&paths.ready()) else {
        // Nobody was ever told of it.
        engine.discard(&wanted).await?;
        return Ok(State::Clear);
    };
    engine.with_tables(|tables| tables.names.reserve("sandbox", &wanted.name, id))?;
    let stopped = paths.stopped().exists() || wanted.boot_id != engine.boot_id;
    let sandbox = engine.insert_dead(Sandbox::new(wanted, paths, made.addresses));
    // The connection may bring news at once, so the sandbox is in the table before it.
    let mut known: HashMap<String, Known> = HashMap::new();
    let mut state = State::Clear;
    if !stopped {
        let asked = async {
            let shim = engine.connect(id).await?;
            let list = shim.list().await?;
            Ok::<_, ShimError>((shim, list))
        };
        match asked.await {
            Ok((shim, list)) => {
                known.extend(list.into_iter().map(|container| (container.container.clone(), container)));
                sandbox.set_ready(shim.clone());
                // It may have died before the sandbox was in its charge.
                if shim.is_closed() {
                    engine.shim_lost(id);
                }
            }
            Err(error) => {
                tracing::warn!(sandbox = %id, %error, "the sandbox is not ready any more");
                if matches!(error, ShimError::Silent) {
                    state = State::Silent;
                }
            }
        }
    }
    for container in files::names_in(&engine.paths.containers()) {
        let Some(record) = record::<ContainerRecord>(&engine.paths.container(&container).record()) else { continue };
        if record.sandbox == id {
            adopt(engine, &sandbox, record, known.get(&container), state).await?;
        }
    }
    catch_up(engine, &sandbox).await;
    Ok(state)
}

/// Learns what a shim told after it had listed its containers and before they were in the table: that found nobody.
async fn catch_up(engine: &Arc<Engine>, sandbox: &Sandbox) {
    let Ok(shim) = sandbox.shim() else { return };
    // If it is lost meanwhile, that is told like any other loss.
    for known in shim.list().await.unwrap_or_default() {
        let Ok(container) = engine.container(&known.container) else { continue };
        match (known.exit, known.pid) {
            (Some(exit), _) => engine.container_exited(&container, &exit),
            (None, Some(pid)) => engine.container_started(&container, pid),
            (None, None) => {}
        }
    }
}

/// Takes over a container. `known` is what the sandbox's shim says of it.
async fn adopt(engine: &Arc<Engine>, sandbox: &Arc<Sandbox>, record_: ContainerRecord, known: Option<&Known>, state: State) -> Result<()> {
    let paths = engine.paths.container(&record_.id);
    if !paths.spec().exists() {
        // It was never whole, and nobody was told of it.
        return engine.clear_container(&record_.id, &record_.cgroup).await;
    }
    let start = record::<Start>(&paths.state());
    let exit = record::<Exit>(&paths.exit()).or_else(|| known.and_then(|known| known.exit.clone()));
    let noticed = matches!(start, Some(Start::Lost { .. }));
    let life = life(start, exit, known, sandbox.is_ready(), record_.boot_id == engine.boot_id);
    let lost = match &life {
        Life::Exited(exited) if exited.reason == Exited::UNKNOWN && !noticed && state != State::Silent => {
            Some(Start::Lost { started_at: exited.started_at, at: exited.finished_at })
        }
        _ => None,
    };
    let reserved = engine.with_tables(|tables| tables.names.reserve("container", &record_.name, &record_.id));
    if let Err(error) = reserved {
        tracing::warn!(container = %record_.id, %error, "two containers have one name");
    }
    let container = Arc::new(Container::new(record_, sandbox.clone(), paths, life));
    engine.with_tables(|tables| tables.containers.insert(container.id.clone(), container.clone()));
    if !sandbox.is_ready() && state != State::Silent {
        engine.abandon(&container).await;
    }
    if let Some(lost) = lost {
        engine.run_hooks(&container);
        // The next daemon must not think that it ended when that one was started.
        files::publish(&container.paths.state(), &lost)?;
    }
    Ok(())
}

/// Where a container is in its life, by what was recorded and what its shim says.
fn life(start: Option<Start>, exit: Option<Exit>, known: Option<&Known>, ready: bool, this_boot: bool) -> Life {
    let started_at = match &start {
        Some(Start::Done { at, .. }) => Some(*at),
        _ => None,
    };
    if let Some(Start::Failed { message, at }) = start {
        return Life::Exited(Exited::not_started(message, at));
    }
    if let Some(Start::Lost { started_at, at }) = start {
        return Life::Exited(Exited::unseen(started_at, at));
    }
    if let Some(exit) = exit {
        let finished_at = exit.finished_at;
        return Life::Exited(Exited::seen(&exit, started_at.unwrap_or(finished_at)));
    }
    match (known, started_at) {
        (Some(Known { pid: Some(pid), .. }), at) => Life::Running { pid: *pid, at: at.unwrap_or_else(files::now) },
        // Its start was asked for by the daemon before, and goes on; the shim will tell.
        (Some(_), None) => Life::Created,
        (None, None) if ready && this_boot => Life::Created,
        (_, at) => Life::Exited(Exited::unseen(at.unwrap_or_default(), files::now())),
    }
}

/// A container's directory without a container: of a sandbox that is gone, or never whole.
async fn orphan(engine: &Arc<Engine>, id: &str) -> Result<()> {
    match engine.container(id) {
        Ok(_) => Ok(()),
        Err(Error::NotFound { .. }) => {
            let record = record::<ContainerRecord>(&engine.paths.container(id).record());
            engine.clear_container(id, &record.map(|record| record.cgroup).unwrap_or_default()).await
        }
        Err(error) => Err(error),
    }
}

/// Removes what has our names on it and belongs to nothing: pinned namespaces, sockets, addresses, image pins.
/// What belongs to the sandboxes in `silent` stays.
async fn sweep(engine: &Arc<Engine>, silent: HashSet<String>) -> Result<()> {
    let mut live = silent;
    live.extend(engine.sandboxes().iter().filter(|sandbox| sandbox.is_ready()).map(|sandbox| sandbox.record.id.clone()));
    for name in files::names_in(&engine.paths.network_namespaces()) {
        if !live.contains(&name) {
            corten_network::netns::remove(&engine.paths.network_namespaces().join(&name))?;
        }
    }
    for name in files::names_in(&engine.paths.namespaces()) {
        if !name.split('.').next().is_some_and(|id| live.contains(id)) {
            namespaces::unpin(&engine.paths.namespaces().join(&name))?;
        }
    }
    for sandbox in engine.sandboxes().iter().filter(|sandbox| !live.contains(&sandbox.record.id)) {
        mounts::detach(&sandbox.paths.shm())?;
    }
    engine.network.retain(&live).await?;
    // Plugins that look whether all is as it was may take their time over it, and only tell: nobody waits for them.
    let network = engine.network.clone();
    tokio::spawn(async move {
        if let Err(error) = network.check_all(&live).await {
            tracing::warn!(%error, "the networks of the pods were not checked");
        }
    });
    for owner in engine.images.pins().await? {
        // A container's volumes are pinned by its id and their place.
        let container = owner.split('.').next().unwrap_or(&owner);
        if matches!(engine.container(container), Err(Error::NotFound { .. })) {
            engine.images.unpin(&owner).await?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
