//! From a request to its answer.

use std::sync::Arc;

use corten_pki::Identity;
use http::{Request, StatusCode};
use hyper::body::Incoming;
use k8s_openapi::api::core::v1::Pod;
use serde::Serialize;

use super::answer::{Answer, Refusal, json, text};
use super::query::Query;
use super::route::Route;
use super::underway::Underway;
use super::{Node, forward, logs, reports, run, session};

/// Paths that are counted under their own names; those of the world outside are not.
const COUNTED: [&str; 17] = [
    "attach",
    "checkpoint",
    "configz",
    "containerLogs",
    "exec",
    "healthz",
    "logs",
    "metrics",
    "metrics/cadvisor",
    "metrics/probes",
    "metrics/resource",
    "pods",
    "portForward",
    "run",
    "runningpods",
    "stats",
    "other",
];
const METHODS: [&str; 5] = ["DELETE", "GET", "PATCH", "POST", "PUT"];

/// Answers any request, and counts it.
pub(super) async fn counted(node: &Arc<Node>, identity: Option<&Identity>, request: Request<Incoming>) -> Answer {
    let method = METHODS.into_iter().find(|known| request.method() == *known).unwrap_or("other");
    let mut parts = request.uri().path().trim_start_matches('/').splitn(3, '/');
    let (first, second) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let path = if first == "metrics" && !second.is_empty() { format!("{first}/{second}") } else { first.to_owned() };
    let path = COUNTED.into_iter().find(|known| path == *known).unwrap_or("other");
    let long = if matches!(path, "exec" | "attach" | "portForward") { "true" } else { "false" };
    let labels = [method, path, "readwrite", long];
    let underway = Underway::begin(&node.metrics, labels);
    let answer = answer(node, identity, request, &underway).await;
    underway.until_sent(answer)
}

/// Answers any request: who asks, may they, what do they want.
async fn answer(node: &Arc<Node>, identity: Option<&Identity>, request: Request<Incoming>, underway: &Arc<Underway>) -> Answer {
    let identity = match identity {
        Some(identity) => Some(identity.clone()),
        None => node.tokens.identity(request.headers()).await,
    };
    let Some(identity) = identity else {
        return text(StatusCode::UNAUTHORIZED, "Unauthorized");
    };
    let allowed = node.access.check(&identity, request.method(), request.uri().path()).await;
    let answered = match allowed {
        Ok(()) => route(node, request, underway).await,
        Err(refusal) => Err(refusal),
    };
    answered.unwrap_or_else(Answer::from)
}

async fn route(node: &Arc<Node>, request: Request<Incoming>, underway: &Arc<Underway>) -> Result<Answer, Refusal> {
    let uri = request.uri().clone();
    let query = Query::parse(uri.query().unwrap_or_default());
    let route = Route::of(request.method(), uri.path())?;
    if !node.debugging && route.is_debugging() {
        return Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "Debug endpoints are disabled.\n"));
    }
    let url = match route {
        Route::Health => return Ok(text(StatusCode::OK, "ok")),
        Route::Pods => return pods(node),
        Route::Logs(path) => return logs::serve(node, path, &query).await,
        Route::NodeLogs(path) => return node.node_logs.serve(path, request.headers(), &query).await,
        Route::Report(report) => return reports::serve(node, report).await,
        Route::Checkpoint(path) => return reports::checkpoint(node, path, &query).await,
        Route::Run(path) => return run::serve(node, path, &query).await,
        Route::Exec(path) => session::exec(node, path, &query).await?,
        Route::Attach(path) => session::attach(node, path, &query).await?,
        Route::PortForward(path) => session::port_forward(node, path, &query).await?,
    };
    Ok(forward::forward(request, &url, &node.ending, Arc::clone(underway)).await?)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PodList<'a> {
    kind: &'a str,
    api_version: &'a str,
    metadata: serde_json::Map<String, serde_json::Value>,
    items: Vec<&'a Pod>,
}

fn pods(node: &Node) -> Result<Answer, Refusal> {
    let pods = node.pods.list();
    let list =
        PodList { kind: "PodList", api_version: "v1", metadata: serde_json::Map::new(), items: pods.iter().map(AsRef::as_ref).collect() };
    serde_json::to_vec(&list).map(json).map_err(|error| Refusal::internal(error.to_string()))
}
