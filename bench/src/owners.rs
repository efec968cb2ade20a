//! What `managedFields` cost: the same writes with and without them, in turn, on one API server in this process.
//!
//! Counted is the processor time of the whole process (client, server, store), so that waiting for the disk makes no cost
//! look small, and other programs of the machine change little.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use corten_apiserver::{ApiServer, ApiService, Options, Version};
use corten_pki::{Authority, Identity, TokenSigner};
use corten_store::embedded::{self, Embedded};
use futures::{StreamExt, TryStreamExt};
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::{Figure, api, median};

/// Objects that are written at a time.
const OBJECTS: usize = 500;
/// Times that each kind of write is measured, with owners and without.
const ROUNDS: usize = 15;
/// Writes under way at the same time.
const AT_ONCE: usize = 32;
/// Who writes: a name as programs have it.
const AGENT: &str = "kubelet/v1.35.0 (linux/amd64) kubernetes/abcdef";

const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";
const PODS: &str = "/api/v1/namespaces/default/pods";

const JSON: &str = "application/json";

/// The writes of a round, in order.
const NAMES: [&str; 5] = [
    "managedFields: creates of 1 KiB ConfigMaps",
    "managedFields: updates of 1 KiB ConfigMaps",
    "managedFields: creates of Pods",
    "managedFields: status patches of Pods",
    "managedFields: merge patches of Pods' labels",
];

/// A request's method, path, media type and body.
type Write = (Method, String, &'static str, Bytes);

pub(crate) fn measure() -> Result<Vec<Figure>> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?.block_on(run())
}

async fn run() -> Result<Vec<Figure>> {
    let dir = tempfile::tempdir()?;
    let bench = Bench { server: start(dir.path()).await? };
    let mut rounds: Vec<(Vec<f64>, Vec<f64>)> = Vec::new();
    // The first round warms up.
    for round in 0..=ROUNDS {
        // Whoever begins finds the caches cold, so they take turns.
        let (with, without) = if round % 2 == 0 {
            let with = bench.round(true).await?;
            (with, bench.round(false).await?)
        } else {
            let without = bench.round(false).await?;
            (bench.round(true).await?, without)
        };
        if round > 0 {
            rounds.push((with, without));
        }
    }
    bench.server.close().await;
    let figures = NAMES.into_iter().enumerate().map(|(at, name)| {
        let of = |pick: fn(f64, f64) -> f64| {
            median(rounds.iter().filter_map(|(with, without)| Some(pick(*with.get(at)?, *without.get(at)?))).collect())
        };
        let (with, without) = (of(|with, _| with * 1e6), of(|_, without| without * 1e6));
        let conditions = format!(
            "more processor time, median of {ROUNDS} rounds of {OBJECTS}: {with:.1} µs a write with, {without:.1} µs without, all in all"
        );
        Figure { name, value: of(|with, without| (with / without - 1.0) * 100.0), unit: "%", conditions }
    });
    Ok(figures.collect())
}

struct Bench {
    server: ApiServer,
}

impl Bench {
    /// Seconds of processor time for one write of each kind, with or without owners.
    async fn round(&self, owners: bool) -> Result<Vec<f64>> {
        self.server.record_owners(owners);
        let name = |index: usize| format!("object-{index:05}");
        let mut times = Vec::new();
        let creates = (0..OBJECTS).map(|at| (Method::POST, CONFIG_MAPS.to_owned(), JSON, api::config_map(&name(at)).into()));
        let (time, made) = self.timed(creates.collect()).await?;
        times.push(time);
        // As a program that has read an object sends it back.
        let updates = made.into_iter().map(|object| {
            let mut object: Value = serde_json::from_slice(&object)?;
            let path = format!("{CONFIG_MAPS}/{}", object.pointer("/metadata/name").and_then(Value::as_str).context("a name")?);
            *object.pointer_mut("/data/n").context("its data")? = json!("1");
            Ok((Method::PUT, path, JSON, Bytes::from(object.to_string())))
        });
        times.push(self.timed(updates.collect::<Result<_>>()?).await?.0);
        let creates = (0..OBJECTS).map(|at| (Method::POST, PODS.to_owned(), JSON, api::pod(&name(at)).into()));
        times.push(self.timed(creates.collect()).await?.0);
        let patches = (0..OBJECTS).map(|at| {
            let path = format!("{PODS}/{}/status", name(at));
            (Method::PATCH, path, "application/strategic-merge-patch+json", status(&name(at)).into())
        });
        times.push(self.timed(patches.collect()).await?.0);
        let labelled = Bytes::from_static(br#"{"metadata":{"labels":{"seen":"yes"}}}"#);
        let patches = (0..OBJECTS).map(|at| {
            let path = format!("{PODS}/{}", name(at));
            (Method::PATCH, path, "application/merge-patch+json", labelled.clone())
        });
        times.push(self.timed(patches.collect()).await?.0);
        for path in [CONFIG_MAPS, PODS] {
            let body = Bytes::from_static(br#"{"gracePeriodSeconds":0}"#);
            send(self.server.service(), (Method::DELETE, path.to_owned(), JSON, body)).await?;
        }
        Ok(times)
    }

    /// Makes the writes; the processor time of one, and the answers.
    async fn timed(&self, writes: Vec<Write>) -> Result<(f64, Vec<Bytes>)> {
        let count = f64::from(u32::try_from(writes.len())?);
        let began = processor_time();
        let sent = futures::stream::iter(writes).map(|write| tokio::spawn(send(self.server.service(), write)));
        let answers: Vec<Result<Bytes>> = sent.buffered(AT_ONCE).try_collect().await?;
        let took = processor_time().saturating_sub(began);
        Ok((took.as_secs_f64() / count, answers.into_iter().collect::<Result<_>>()?))
    }
}

fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or_default(), u32::try_from(time.tv_nsec).unwrap_or_default())
}

async fn send(service: ApiService, (method, path, media_type, body): Write) -> Result<Bytes> {
    let request = Request::builder().method(method).uri(&path).header("content-type", media_type).header("user-agent", AGENT);
    let request = request.extension(Identity::admin()).body(Full::new(body))?;
    let answer = service.oneshot(request).await?;
    let code = answer.status();
    let body = answer.into_body().collect().await.map_err(|error| anyhow::anyhow!("{error}"))?.to_bytes();
    ensure!(code.is_success(), "{path}: {code}: {}", String::from_utf8_lossy(&body));
    Ok(body)
}

/// What a kubelet says of a pod that runs.
fn status(pod: &str) -> String {
    const TIME: &str = "2026-01-01T00:00:00Z";
    let condition = |kind: &str| json!({"type": kind, "status": "True", "lastProbeTime": null, "lastTransitionTime": TIME});
    json!({"metadata": {"name": pod}, "status": {
        "phase": "Running", "podIP": "10.42.0.7", "podIPs": [{"ip": "10.42.0.7"}], "hostIP": "192.0.2.7", "startTime": TIME,
        "conditions": [condition("Initialized"), condition("Ready"), condition("ContainersReady")],
        "containerStatuses": [{
            "name": "web", "image": "nginx:1.27", "imageID": "sha256:0", "containerID": "containerd://0", "ready": true, "started": true,
            "restartCount": 0, "lastState": {}, "state": {"running": {"startedAt": TIME}},
        }],
    }})
    .to_string()
}

async fn start(dir: &std::path::Path) -> Result<ApiServer> {
    const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";
    let authority = Authority::open(&dir.join("pki"), "ca", SystemTime::now())?;
    let signer = TokenSigner::open(&dir.join("pki"))?;
    let options = Options {
        store: Arc::new(Embedded::open(embedded::Options::new(dir.join("store")))?),
        service_cidr: "10.43.0.0/16".parse()?,
        secondary_service_cidr: None,
        cluster_domain: "cluster.local".to_owned(),
        advertise: "192.0.2.1:6443".parse()?,
        cluster_ca: authority.certificate().to_owned(),
        token_verifier: Arc::new(signer.verifier(ISSUER)),
        token_signer: Arc::new(signer),
        token_issuer: ISSUER.to_owned(),
        kubelet_tls: corten_pki::client_config(authority.certificate(), None, &[])?,
        version: Version { corten: "0.1.0".to_owned(), commit: String::new(), date: String::new() },
    };
    Ok(ApiServer::start(options).await?)
}
