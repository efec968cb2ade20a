//! What changes in the runtime, told to the pods concerned.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use corten_cri::v1;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Status};

use super::{Runtime, labels};
use crate::metrics::{Metrics, families};

/// Pause before a broken event stream is opened again: the runtime restarts, and says nothing then.
const RECONNECT: Duration = Duration::from_millis(500);
/// The reference's relist period, for runtimes without events (containerd before 1.7).
const RELIST: Duration = Duration::from_secs(1);

/// Who is to be woken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wake {
    /// The pod with this uid.
    Pod(String),
    /// Every pod: events may have been lost.
    All,
}

/// Calls `wake` for every change until `token` is cancelled.
pub(crate) async fn follow(runtime: Runtime, metrics: Arc<Metrics>, token: CancellationToken, wake: impl Fn(Wake)) {
    token
        .run_until_cancelled(async {
            loop {
                match stream(&runtime, &metrics, &wake).await {
                    Err(status) if status.code() == Code::Unimplemented => {
                        tracing::info!("the runtime has no events: listing once a second");
                        relist(&runtime, &metrics, &wake).await;
                    }
                    Err(status) => tracing::warn!(%status, "container events interrupted"),
                    Ok(()) => tracing::warn!("container events ended"),
                }
                tokio::time::sleep(RECONNECT).await;
            }
        })
        .await;
}

async fn stream(runtime: &Runtime, metrics: &Metrics, wake: &impl Fn(Wake)) -> Result<(), Status> {
    let began = Instant::now();
    let opened = runtime.clients.runtime.clone().get_container_events(Request::new(v1::GetEventsRequest {})).await;
    let failed = |status: &Status| {
        if status.code() != Code::Unimplemented {
            metrics.count(&families::EVENTS_ERRORS, &[]);
        }
    };
    let mut events = opened.inspect_err(failed)?.into_inner();
    metrics.count(&families::EVENTS_SUCCESS, &[]);
    metrics.time(&families::EVENTS_LATENCY, &[], began.elapsed());
    wake(Wake::All);
    while let Some(event) = events.message().await.inspect_err(failed)? {
        let uid = event.pod_sandbox_status.and_then(|s| s.metadata).map(|m| m.uid);
        wake(uid.map_or(Wake::All, Wake::Pod));
    }
    Ok(())
}

/// Compares complete lists, once a second.
async fn relist(runtime: &Runtime, metrics: &Metrics, wake: &impl Fn(Wake)) {
    let mut last: HashMap<String, HashSet<(String, i32)>> = HashMap::new();
    let mut before: Option<Instant> = None;
    loop {
        let began = Instant::now();
        if let Some(before) = before.replace(began) {
            metrics.time(&families::RELIST_INTERVAL, &[], began.duration_since(before));
        }
        let seen = picture(runtime).await;
        metrics.time(&families::RELIST_DURATION, &[], began.elapsed());
        match seen {
            Ok(now) => {
                metrics.set(&families::RELIST_SEEN, &[], crate::metrics::now());
                for uid in last.keys().chain(now.keys().filter(|k| !last.contains_key(*k))) {
                    if last.get(uid) != now.get(uid) {
                        wake(Wake::Pod(uid.clone()));
                    }
                }
                last = now;
            }
            Err(status) => tracing::warn!(%status, "listing containers"),
        }
        tokio::time::sleep(RELIST).await;
    }
}

/// Ids and states by pod uid.
async fn picture(runtime: &Runtime) -> Result<HashMap<String, HashSet<(String, i32)>>, Status> {
    let mut pods: HashMap<String, HashSet<(String, i32)>> = HashMap::new();
    let sandboxes = runtime.list_sandboxes(HashMap::new());
    let containers = runtime.list_containers(HashMap::new());
    let (sandboxes, containers) = futures::try_join!(sandboxes, containers)?;
    let sandboxes = sandboxes.into_iter().map(|s| (s.labels, s.id, s.state));
    let containers = containers.into_iter().map(|c| (c.labels, c.id, c.state));
    for (mut labels, id, state) in sandboxes.chain(containers) {
        if let Some(uid) = labels.remove(labels::POD_UID) {
            pods.entry(uid).or_default().insert((id, state));
        }
    }
    Ok(pods)
}
