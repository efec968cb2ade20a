//! How soon a pod runs, is restarted and sees what changed, and what a node full of pods costs while nothing happens.
//!
//! The pods are on a node of its own: one process with nothing but the kubelet and the runtime in it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use corten_testkit::{Cluster, Options};
use http::Method;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::api::load::{self, Client, Endpoint, run_on_a_thread};
use crate::{Figure, idle, median, percentile};

const NODE: &str = "corten-2";
const PODS: &str = "/api/v1/namespaces/bench/pods";
const MAPS: &str = "/api/v1/namespaces/bench/configmaps";
/// Pods that are started one after the other.
const ONE_BY_ONE: usize = 100;
/// Pods that are started together, and then left alone.
const AT_ONCE: usize = 100;
/// Restarts and updates.
const ROUNDS: usize = 20;
/// Clients that post at the same time.
const CLIENTS: usize = 8;
/// The longest that anything may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long idling is watched.
const WINDOW: Duration = Duration::from_secs(20);

pub(crate) fn measure(corten: &Path) -> Result<Vec<Figure>> {
    let arguments = vec!["--nodes=2".to_owned(), "--max-pods=120".to_owned()];
    let cluster = Cluster::up(corten, Options { arguments, ..Options::default() });
    cluster.kubectl(&["create", "namespace", "bench"]);
    let endpoint = crate::api::endpoint(&cluster)?;
    let node = Node::find(&cluster)?;
    run_on_a_thread(async move {
        let mut pods = Pods::follow(&endpoint).await?;
        let mut client = load::connect(&endpoint).await?;
        let mut figures = one_by_one(&mut client, &mut pods).await?;
        figures.push(updates(&mut client, &mut pods, &node).await?);
        figures.push(restarts(&mut client, &mut pods).await?);
        figures.push(at_once(&endpoint, &mut pods).await?);
        figures.extend(idling(&node).await?);
        Ok(figures)
    })
}

/// The node that the pods are on.
struct Node {
    pid: i32,
    kubelet: PathBuf,
}

impl Node {
    fn find(cluster: &Cluster) -> Result<Self> {
        let data = cluster.data().join("nodes").join("2");
        let spec = fs::read_link(data.join("run")).context("the node has no run directory")?.join("spec.json");
        let spec = spec.to_str().context("a run directory that is no text")?.to_owned();
        let found = fs::read_dir("/proc")?.flatten().find_map(|entry| {
            let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
            let words = fs::read_to_string(entry.path().join("cmdline")).ok()?;
            words.split('\0').any(|word| word == spec).then_some(pid)
        });
        Ok(Self { pid: found.context("the node has no process")?, kubelet: data.join("kubelet") })
    }
}

fn pod(name: &str, spec: Value) -> Bytes {
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {
            "nodeSelector": {"kubernetes.io/hostname": NODE},
            "terminationGracePeriodSeconds": 0,
            "containers": [{"name": "main", "image": "corten.local/hello"}],
        },
    });
    if let (Some(into), Value::Object(fields)) = (pod.pointer_mut("/spec").and_then(Value::as_object_mut), spec) {
        into.extend(fields);
    }
    pod.to_string().into()
}

async fn post(client: &mut Client, path: &str, body: Bytes) -> Result<Value> {
    let answer = client.send(Method::POST, path, "application/json", body).await?;
    Ok(serde_json::from_slice(&answer.into_body().collect().await?.to_bytes())?)
}

async fn delete(client: &mut Client, name: &str) -> Result<()> {
    let answer = client.send(Method::DELETE, &format!("{PODS}/{name}"), "application/json", Bytes::new()).await?;
    answer.into_body().collect().await?;
    Ok(())
}

/// What a watch tells of pods, with the time at which it came.
struct Pods {
    events: mpsc::UnboundedReceiver<(Instant, Value)>,
}

impl Pods {
    async fn follow(endpoint: &Endpoint) -> Result<Self> {
        let mut client = load::connect(endpoint).await?;
        let mut body = client.send(Method::GET, &format!("{PODS}?watch=true"), "application/json", Bytes::new()).await?.into_body();
        let (told, events) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            // The connection ends with its client.
            let _client = client;
            let mut left: Vec<u8> = Vec::new();
            while let Some(Ok(frame)) = body.frame().await {
                let now = Instant::now();
                if let Some(data) = frame.data_ref() {
                    left.extend_from_slice(data);
                }
                while let Some(end) = left.iter().position(|byte| *byte == b'\n') {
                    let line: Vec<u8> = left.drain(..=end).collect();
                    let Ok(event) = serde_json::from_slice(&line) else { return };
                    if told.send((now, event)).is_err() {
                        return;
                    }
                }
            }
        });
        Ok(Self { events })
    }

    /// The time of the first event that fits.
    async fn when(&mut self, fits: impl Fn(&Value) -> bool) -> Result<(Instant, Value)> {
        let first = async {
            while let Some((at, event)) = self.events.recv().await {
                if fits(&event) {
                    return Ok((at, event));
                }
            }
            anyhow::bail!("the watch has ended")
        };
        tokio::time::timeout(PATIENCE, first).await.context("the event does not come")?
    }

    async fn ready(&mut self, pod: &str) -> Result<(Instant, Value)> {
        self.when(|event| name(event) == pod && is_ready(event)).await
    }

    async fn gone(&mut self, pod: &str) -> Result<()> {
        self.when(|event| name(event) == pod && event["type"] == "DELETED").await.map(drop)
    }
}

fn name(event: &Value) -> &str {
    event.pointer("/object/metadata/name").and_then(Value::as_str).unwrap_or_default()
}

fn is_ready(event: &Value) -> bool {
    let conditions = event.pointer("/object/status/conditions").and_then(Value::as_array);
    conditions.into_iter().flatten().any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}

fn uid(event: &Value) -> Result<String> {
    Ok(event.pointer("/object/metadata/uid").and_then(Value::as_str).context("a pod without a uid")?.to_owned())
}

fn milliseconds(from: Instant, to: Instant) -> f64 {
    to.saturating_duration_since(from).as_secs_f64() * 1e3
}

/// Several figures of one kind: the middle and the worst.
fn spread(names: [&'static str; 2], times: Vec<f64>, conditions: &str) -> [Figure; 2] {
    let figure = |name, value, conditions| Figure { name, value, unit: "ms", conditions };
    [figure(names[0], median(times.clone()), conditions.to_owned()), figure(names[1], percentile(times, 99.0), conditions.to_owned())]
}

async fn one_by_one(client: &mut Client, pods: &mut Pods) -> Result<Vec<Figure>> {
    let mut times = Vec::new();
    for round in 0..ONE_BY_ONE + 3 {
        let name = format!("one-{round}");
        let body = pod(&name, json!({}));
        let begun = Instant::now();
        post(client, PODS, body).await?;
        let (at, _) = pods.ready(&name).await?;
        // The first ones warm caches.
        if round >= 3 {
            times.push(milliseconds(begun, at));
        }
        delete(client, &name).await?;
        pods.gone(&name).await?;
    }
    let conditions = format!("scheduled to another node's process, cached image, service account's token; {ONE_BY_ONE} pods one by one");
    Ok(spread(["POST of a pod to its Ready event, p50", "POST of a pod to its Ready event, p99"], times, &conditions).into())
}

async fn updates(client: &mut Client, pods: &mut Pods, node: &Node) -> Result<Figure> {
    let map = |value: &str| {
        Bytes::from(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "map"}, "data": {"key": value}}).to_string())
    };
    post(client, MAPS, map("0")).await?;
    let mounted = json!({
        "volumes": [{"name": "map", "configMap": {"name": "map"}}],
        "containers": [{"name": "main", "image": "corten.local/hello", "volumeMounts": [{"name": "map", "mountPath": "/map"}]}],
    });
    post(client, PODS, pod("mounted", mounted)).await?;
    let (_, event) = pods.ready("mounted").await?;
    // What the container has at /map, seen from outside.
    let file = node.kubelet.join("pods").join(uid(&event)?).join("volumes/kubernetes.io~configmap/map/key");
    let mut times = Vec::new();
    for round in 1..=ROUNDS {
        let value = round.to_string();
        let begun = Instant::now();
        client.send(Method::PUT, &format!("{MAPS}/map"), "application/json", map(&value)).await?.into_body().collect().await?;
        while fs::read_to_string(&file).unwrap_or_default() != value {
            ensure!(begun.elapsed() < PATIENCE, "{} does not change", file.display());
            // Nothing is told of a file behind a link that is swapped; the pause bounds the error of the figure.
            tokio::time::sleep(Duration::from_micros(200)).await;
        }
        times.push(milliseconds(begun, Instant::now()));
    }
    delete(client, "mounted").await?;
    pods.gone("mounted").await?;
    let conditions = format!("PUT to the file's new content, the slowest of {ROUNDS}; median {:.1} ms", median(times.clone()));
    Ok(Figure { name: "update of a ConfigMap visible in a pod", value: percentile(times, 100.0), unit: "ms", conditions })
}

async fn restarts(client: &mut Client, pods: &mut Pods) -> Result<Figure> {
    let mut times = Vec::new();
    for round in 0..ROUNDS {
        let name = format!("killed-{round}");
        post(client, PODS, pod(&name, json!({}))).await?;
        let (_, event) = pods.ready(&name).await?;
        let process = process_of(&uid(&event)?)?;
        let begun = Instant::now();
        rustix::process::kill_process(process, rustix::process::Signal::KILL)?;
        let again = |event: &Value| {
            let status = event.pointer("/object/status/containerStatuses/0");
            status.is_some_and(|s| s["restartCount"] == 1 && s["state"].get("running").is_some()) && is_ready(event)
        };
        let (at, _) = pods.when(|event| crate::kubelet::name(event) == name && again(event)).await?;
        times.push(milliseconds(begun, at));
        delete(client, &name).await?;
        pods.gone(&name).await?;
    }
    let conditions = format!(
        "SIGKILL to the event that says it runs and is ready again, median of {ROUNDS}; slowest {:.1} ms",
        percentile(times.clone(), 100.0)
    );
    Ok(Figure { name: "first restart of a killed container", value: median(times), unit: "ms", conditions })
}

/// The process of a pod's only container.
fn process_of(uid: &str) -> Result<rustix::process::Pid> {
    let mut directories = vec![PathBuf::from("/sys/fs/cgroup")];
    let wanted = format!("pod{uid}");
    while let Some(directory) = directories.pop() {
        let inside = directory.components().any(|part| part.as_os_str() == wanted.as_str());
        if inside {
            let listed = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
            if let Some(pid) = listed.lines().find_map(|line| rustix::process::Pid::from_raw(line.parse().ok()?)) {
                return Ok(pid);
            }
        }
        let entries = fs::read_dir(&directory).into_iter().flatten().flatten();
        directories.extend(entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path()));
    }
    anyhow::bail!("no process of pod {uid}")
}

async fn at_once(endpoint: &Endpoint, pods: &mut Pods) -> Result<Figure> {
    let clients = load::connect_all(endpoint, CLIENTS).await?;
    let names: BTreeSet<String> = (0..AT_ONCE).map(|number| format!("many-{number}")).collect();
    let jobs = names.iter().map(|name| load::Job { method: Method::POST, path: PODS.to_owned(), body: pod(name, json!({})) }).collect();
    let begun = Instant::now();
    let posting = tokio::spawn(load::all(clients, jobs));
    let mut ready: BTreeMap<String, Instant> = BTreeMap::new();
    while ready.len() < AT_ONCE {
        let (at, event) = pods.when(|event| names.contains(name(event)) && is_ready(event)).await?;
        ready.entry(name(&event).to_owned()).or_insert(at);
    }
    posting.await??;
    let last = ready.values().max().copied().unwrap_or(begun);
    let conditions = format!("{AT_ONCE} pods by {CLIENTS} clients to one node, until the last one is Ready");
    Ok(Figure { name: "100 pods at once", value: milliseconds(begun, last), unit: "ms", conditions })
}

async fn idling(node: &Node) -> Result<Vec<Figure>> {
    // What the start left to do is done after a window; the next one is idle.
    tokio::time::sleep(WINDOW).await;
    let before = idle::cpu_ticks(node.pid)?;
    tokio::time::sleep(WINDOW).await;
    let used = (idle::cpu_ticks(node.pid)? - before) / 100.0;
    let conditions = format!("one process, {AT_ONCE} pods; shims apart");
    Ok(vec![
        Figure {
            name: "idle memory, kubelet and runtime (RSS)",
            value: idle::resident(node.pid)?,
            unit: "MB",
            conditions: conditions.clone(),
        },
        Figure { name: "idle CPU, kubelet and runtime", value: 100.0 * used / WINDOW.as_secs_f64(), unit: "% core", conditions },
    ])
}
