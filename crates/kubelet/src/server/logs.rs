//! `/containerLogs`: what a container wrote.

use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::mpsc::channel;

use super::answer::{Answer, Refusal, streamed};
use super::query::Query;
use super::route::ContainerPath;
use super::{Node, choose, log_options};
use crate::logs::follow::ended;
use crate::logs::read::Log;

/// Chunks that may wait for a slow reader.
const WAITING: usize = 4;

/// Streams a log.
pub(super) async fn serve(node: &Arc<Node>, path: ContainerPath<'_>, query: &Query) -> Result<Answer, Refusal> {
    let request = log_options::parse(query, Timestamp::now())?;
    let pod = node.pods.find(path.pod.namespace, path.pod.name);
    let pod = pod.ok_or_else(|| Refusal::not_found(format!("pod {:?} does not exist", path.pod.name)))?;
    if !choose::is_defined(&pod, path.container) {
        let words = format!("container {:?} not found in pod {:?}", path.container, path.pod.name);
        return Err(Refusal::not_found(words));
    }
    let view = node.runtime.view(crate::pod::uid(&pod)).await?;
    let container = choose::with_log(&pod, &view, path.container, request.previous);
    let container = container.map_err(|no_log| Refusal::bad_request(no_log.to_string()))?;
    let (id, file) = (container.id.clone(), PathBuf::from(&container.log_path));
    let log = Log::open(&file, request.options).await;
    let log = log.map_err(|error| Refusal::internal(format!("failed to open log file {:?}: {error}", container.log_path)))?;
    let (sink, source) = channel(WAITING);
    let node = Arc::clone(node);
    tokio::spawn(async move {
        let end = async {
            tokio::select! {
                () = ended(&node.runtime, &id) => {}
                () = node.ending.cancelled() => {}
            }
        };
        if let Err(error) = log.send(&file, end, &sink).await {
            tracing::warn!(%error, path = %file.display(), "reading a container's log");
        }
    });
    Ok(streamed("text/plain; charset=utf-8", source))
}
