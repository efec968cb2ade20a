//! The API server under load: writes, reads, lists, watches, and what it costs in memory.
//!
//! The load comes from this process, which shares the machine with the server. Beside each figure stands what the same load
//! does against a server that only sends bytes back ([`null`]): the load generator's own ceiling.

pub(crate) mod load;
mod null;
mod watch;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use base64::{Engine, prelude::BASE64_STANDARD};
use corten_pki::Credential;
use corten_testkit::{Cluster, Options};
use serde_json::json;

use self::load::{Endpoint, Job, run_on_a_thread};
use crate::{Figure, idle, median};

/// Clients that work at the same time, each with a connection of its own.
const CLIENTS: usize = 64;
/// Objects that are created, and listed.
const OBJECTS: usize = 10_000;
/// How long gets are counted.
const GETS: Duration = Duration::from_secs(5);
/// Times that a list is measured.
const LISTS: usize = 11;
/// Objects of a page.
const PAGE: usize = 500;

pub(crate) fn measure(corten: &Path) -> Result<Vec<Figure>> {
    let cluster = Cluster::up(corten, Options::default());
    let pid = cluster.server_pid()?;
    let endpoint = endpoint(&cluster)?;
    let null = null::start()?;
    let mut figures = Vec::new();
    for namespace in ["warm", "maps", "pods", "watched"] {
        cluster.kubectl(&["create", "namespace", namespace]);
    }
    let idle_memory = idle::resident(pid)?;
    creates(&endpoint, &null.endpoint, &mut figures)?;
    gets(&endpoint, &null.endpoint, &mut figures)?;
    lists(&endpoint, &null.endpoint, &mut figures)?;
    figures.extend(watch::measure(&endpoint, &null.endpoint)?);
    let conditions = format!("{} objects more than at idle, control plane and node; {idle_memory:.0} MB before", 3 * OBJECTS);
    figures.push(Figure { name: "API: memory after all of it (RSS)", value: idle::resident(pid)?, unit: "MB", conditions });
    Ok(figures)
}

/// Where the cluster's API is, and the administrator's certificate.
pub(crate) fn endpoint(cluster: &Cluster) -> Result<Endpoint> {
    let view = cluster.json(&["config", "view", "--raw", "--minify"]);
    let pem = |pointer: &str| -> Result<String> {
        let text = view.pointer(pointer).and_then(|value| value.as_str()).with_context(|| format!("the kubeconfig has no {pointer}"))?;
        Ok(String::from_utf8(BASE64_STANDARD.decode(text)?)?)
    };
    let server = view.pointer("/clusters/0/cluster/server").and_then(|value| value.as_str()).context("the kubeconfig names no server")?;
    let credential = Credential { certificate: pem("/users/0/user/client-certificate-data")?, key: pem("/users/0/user/client-key-data")? };
    let tls = corten_pki::client_config(&pem("/clusters/0/cluster/certificate-authority-data")?, Some(&credential), &["http/1.1"])?;
    Ok(Endpoint { address: server.trim_start_matches("https://").parse()?, tls })
}

/// Makes an object of a name.
type Make = fn(&str) -> Vec<u8>;

/// A ConfigMap of about one kibibyte.
pub(crate) fn config_map(name: &str) -> Vec<u8> {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": {"app": "bench"}},
        "data": {"n": "0", "text": "x".repeat(850)},
    })
    .to_string()
    .into_bytes()
}

/// A Pod as controllers make them. No scheduler takes it: what is measured is the API.
pub(crate) fn pod(name: &str) -> Vec<u8> {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": "bench", "pod-template-hash": "5d4f8c7b9"}},
        "spec": {
            "schedulerName": "nobody",
            "containers": [{
                "name": "web", "image": "nginx:1.27", "ports": [{"containerPort": 80, "name": "http"}],
                "env": [{"name": "MODE", "value": "production"}, {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
                "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"memory": "128Mi"}},
                "livenessProbe": {"httpGet": {"path": "/healthz", "port": "http"}, "periodSeconds": 10},
                "readinessProbe": {"httpGet": {"path": "/ready", "port": 80}},
                "volumeMounts": [{"name": "settings", "mountPath": "/etc/settings"}],
            }],
            "volumes": [{"name": "settings", "configMap": {"name": "settings"}}],
            "tolerations": [{"key": "dedicated", "operator": "Equal", "value": "web", "effect": "NoSchedule"}],
        },
    })
    .to_string()
    .into_bytes()
}

fn creates(endpoint: &Endpoint, null: &Endpoint, figures: &mut Vec<Figure>) -> Result<()> {
    let kinds: [(&'static str, &str, Make); 3] = [
        ("warm-up", "/api/v1/namespaces/warm/configmaps", config_map),
        ("API: creates of 1 KiB ConfigMaps", "/api/v1/namespaces/maps/configmaps", config_map),
        ("API: creates of Pods", "/api/v1/namespaces/pods/pods", pod),
    ];
    for (name, path, make) in kinds {
        let job =
            move |index: usize| Job { method: http::Method::POST, path: path.to_owned(), body: make(&format!("object-{index:05}")).into() };
        let rate = create_all(endpoint, job)?;
        if name == "warm-up" {
            continue;
        }
        let ceiling = create_all(null, job)?;
        let conditions = format!("{OBJECTS} objects, {CLIENTS} clients over TLS; load generator's ceiling {ceiling:.0}/s");
        figures.push(Figure { name, value: rate, unit: "/s", conditions });
    }
    Ok(())
}

/// Objects created a second.
fn create_all(endpoint: &Endpoint, job: impl Fn(usize) -> Job + Send + 'static) -> Result<f64> {
    let endpoint = endpoint.clone();
    run_on_a_thread(async move {
        // Made before the clock starts.
        let jobs: Vec<Job> = (0..OBJECTS).map(job).collect();
        let clients = load::connect_all(&endpoint, CLIENTS).await?;
        let took = load::all(clients, jobs).await?;
        Ok(rate(OBJECTS, took))
    })
}

fn gets(endpoint: &Endpoint, null: &Endpoint, figures: &mut Vec<Figure>) -> Result<()> {
    let count = |endpoint: &Endpoint| {
        let endpoint = endpoint.clone();
        run_on_a_thread(async move {
            let clients = load::connect_all(&endpoint, CLIENTS).await?;
            let path = |index: usize| format!("/api/v1/namespaces/maps/configmaps/object-{:05}", index.wrapping_mul(7919) % OBJECTS);
            let done = load::for_a_while(clients, GETS, path).await?;
            Ok(rate(done, GETS))
        })
    };
    let (value, ceiling) = (count(endpoint)?, count(null)?);
    let conditions = format!("one ConfigMap each, {CLIENTS} clients over TLS; load generator's ceiling {ceiling:.0}/s");
    figures.push(Figure { name: "API: gets", value, unit: "/s", conditions });
    Ok(())
}

fn lists(endpoint: &Endpoint, null: &Endpoint, figures: &mut Vec<Figure>) -> Result<()> {
    let all = "/api/v1/namespaces/maps/configmaps";
    let forms = [
        ("API: list of 10,000 objects, consistent", all.to_owned()),
        ("API: list of 10,000 objects, any version (resourceVersion=0)", format!("{all}?resourceVersion=0")),
        ("API: page of 500", format!("{all}?limit={PAGE}")),
    ];
    for (name, path) in forms {
        let page = path.contains("limit");
        let (took, size) = list_times(endpoint, path, page.then(|| all.to_owned()))?;
        let (ceiling, _) = list_times(null, format!("/null/{size}"), None)?;
        let conditions = format!(
            "median, {:.1} MB, one client over TLS; load generator's ceiling {:.1} ms",
            f64::from(u32::try_from(size)?) / 1e6,
            ceiling * 1e3
        );
        figures.push(Figure { name, value: took * 1e3, unit: "ms", conditions });
    }
    Ok(())
}

/// Seconds for one answer, the median; and its size. With `pages` the whole list is read page by page, from that path.
fn list_times(endpoint: &Endpoint, path: String, pages: Option<String>) -> Result<(f64, usize)> {
    let endpoint = endpoint.clone();
    run_on_a_thread(async move {
        let mut client = load::connect(&endpoint).await?;
        let (mut times, mut size) = (Vec::new(), 0);
        let mut path = path;
        for _ in 0..if pages.is_some() { OBJECTS / PAGE } else { LISTS } {
            let began = Instant::now();
            let body = client.get(&path).await?;
            times.push(began.elapsed().as_secs_f64());
            size = body.len();
            if let Some(base) = &pages {
                // The metadata comes first.
                let head = String::from_utf8_lossy(body.get(..2048.min(body.len())).unwrap_or_default()).into_owned();
                let Some(token) = head.split("\"continue\":\"").nth(1).and_then(|rest| rest.split('"').next()) else { break };
                path = format!("{base}?limit={PAGE}&continue={token}");
            }
        }
        ensure!(size > 0, "an empty answer");
        Ok((median(times), size))
    })
}

/// So many in that time, a second.
fn rate(count: usize, took: Duration) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX)) / took.as_secs_f64()
}
