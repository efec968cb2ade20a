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
use super::{Node, forward, logs, reports, run, session};

/// Answers any request: who asks, may they, what do they want.
pub(super) async fn answer(node: &Arc<Node>, identity: Option<&Identity>, request: Request<Incoming>) -> Answer {
    let identity = match identity {
        Some(identity) => Some(identity.clone()),
        None => node.tokens.identity(request.headers()).await,
    };
    let Some(identity) = identity else {
        return text(StatusCode::UNAUTHORIZED, "Unauthorized");
    };
    let allowed = node.access.check(&identity, request.method(), request.uri().path()).await;
    let answered = match allowed {
        Ok(()) => route(node, request).await,
        Err(refusal) => Err(refusal),
    };
    answered.unwrap_or_else(Answer::from)
}

async fn route(node: &Arc<Node>, request: Request<Incoming>) -> Result<Answer, Refusal> {
    let uri = request.uri().clone();
    let query = Query::parse(uri.query().unwrap_or_default());
    let url = match Route::of(request.method(), uri.path())? {
        Route::Health => return Ok(text(StatusCode::OK, "ok")),
        Route::Pods => return pods(node),
        Route::Logs(path) => return logs::serve(node, path, &query).await,
        Route::Report(report) => return reports::serve(node, report).await,
        Route::Checkpoint(path) => return reports::checkpoint(node, path).await,
        Route::Run(path) => return run::serve(node, path, &query).await,
        Route::Exec(path) => session::exec(node, path, &query).await?,
        Route::Attach(path) => session::attach(node, path, &query).await?,
        Route::PortForward(path) => session::port_forward(node, path, &query).await?,
    };
    Ok(forward::forward(request, &url, &node.ending).await?)
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
