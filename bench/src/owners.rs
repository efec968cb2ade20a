//! What `managedFields` cost: the same writes with and without them, in turn, by HTTPS to an API server in this process; and without
//! them but with as many bytes in an annotation, which are read, stored, encrypted and sent as well. What owners cost beyond that is to
//! find out whose fields are whose.
//!
//! Counted is the processor time of the server and its store, that of the kernel for them included; the clients have a thread of
//! their own, whose time is taken off. So waiting for the disk makes no cost look small, and other programs of the machine change
//! little. Beside it stands how much longer the clients wait.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use corten_apiserver::{ApiServer, Options, Version};
use corten_pki::{Authority, ClientVerification, Identity, Leaf, TokenSigner, client_config, server_config};
use corten_store::embedded::{self, Embedded};
use http::Method;
use http_body_util::BodyExt as _;
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken;

use crate::api::load::{self, Client, Endpoint, run_on_a_thread};
use crate::{Figure, api};

/// Objects that are written at a time: few, so that the machine is in the same mood for those with owners and those without.
const OBJECTS: usize = 160;
/// Clients that write at the same time, and times that each kind of write is measured, with owners and without. The write of a client
/// alone has the disk for itself; those of several become durable together, and use all processors.
const LOADS: [(usize, usize); 2] = [(1, 40), (8, 80)];

const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";
const PODS: &str = "/api/v1/namespaces/default/pods";

const JSON: &str = "application/json";
const MERGE: &str = "application/merge-patch+json";
const STRATEGIC: &str = "application/strategic-merge-patch+json";

/// The writes of a round, in order; one at a time, and by several clients.
const NAMES: [[&str; 2]; KINDS] = [
    ["managedFields: creates of 1 KiB ConfigMaps, one at a time", "managedFields: creates of 1 KiB ConfigMaps, 8 clients"],
    ["managedFields: updates of 1 KiB ConfigMaps, one at a time", "managedFields: updates of 1 KiB ConfigMaps, 8 clients"],
    ["managedFields: creates of Pods, one at a time", "managedFields: creates of Pods, 8 clients"],
    ["managedFields: status patches of Pods, one at a time", "managedFields: status patches of Pods, 8 clients"],
    ["managedFields: merge patches of Pods' labels, one at a time", "managedFields: merge patches of Pods' labels, 8 clients"],
];
const KINDS: usize = 5;

/// What the objects of a round carry.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// Neither owners nor anything in their place.
    Bare,
    /// An annotation as long as the owners would be.
    Weighed,
    /// Owners.
    Owned,
}

/// Whoever begins finds the caches cold, so they take turns.
const TURNS: [[Form; 3]; 3] =
    [[Form::Owned, Form::Bare, Form::Weighed], [Form::Bare, Form::Weighed, Form::Owned], [Form::Weighed, Form::Owned, Form::Bare]];

/// A request's method, path, media type and body.
type Write = (Method, String, &'static str, Bytes);

/// What a write takes, in seconds.
#[derive(Clone, Copy)]
struct Cost {
    /// Of processor time of the server.
    processor: f64,
    /// Of the time that the clients waited, by all writes.
    wait: f64,
}

/// What a kind of write takes in a round.
#[derive(Clone, Copy)]
struct Costs {
    bare: Cost,
    weighed: Cost,
    owned: Cost,
}

/// What each kind of write takes in a round.
type Round = Vec<Costs>;

pub(crate) fn measure() -> Result<Vec<Figure>> {
    let dir = tempfile::tempdir()?;
    let serving = Serving::start(dir.path())?;
    let mut figures = Vec::new();
    for (load, (clients, rounds)) in LOADS.into_iter().enumerate() {
        let (server, endpoint) = (serving.server.clone(), serving.endpoint.clone());
        let rounds = run_on_a_thread(async move {
            let mut bench =
                Bench { server, clients: load::connect_all(&endpoint, clients).await?, sizes: [Size::default(); KINDS], addresses: 0 };
            bench.rounds(rounds).await
        })?;
        let of_load = NAMES.iter().enumerate().filter_map(|(kind, names)| Some(figure(names.get(load)?, kind, &rounds)));
        figures.extend(of_load);
    }
    serving.end();
    Ok(figures)
}

/// What owners cost a kind of write.
fn figure(name: &'static str, kind: usize, rounds: &[Round]) -> Figure {
    let costs: Vec<Costs> = rounds.iter().filter_map(|round| round.get(kind).copied()).collect();
    let mean = |of: fn(&Costs) -> f64| middle(costs.iter().map(of).collect());
    // Of the same round, since the machine is another one a minute later.
    let more = |of: fn(&Costs) -> f64| (mean(of) - 1.0) * 100.0;
    let conditions = format!(
        "more processor time, mean of the middle half of {} rounds of {OBJECTS}: {:.1} µs a write with, {:.1} µs without, {:.1} µs with as many \
         bytes in an annotation, than which it is {:.1} % more; {:.1} % longer to wait",
        rounds.len(),
        mean(|costs| costs.owned.processor) * 1e6,
        mean(|costs| costs.bare.processor) * 1e6,
        mean(|costs| costs.weighed.processor) * 1e6,
        more(|costs| costs.owned.processor / costs.weighed.processor),
        more(|costs| costs.owned.wait / costs.bare.wait)
    );
    Figure { name, value: more(|costs| costs.owned.processor / costs.bare.processor), unit: "%", conditions }
}

/// The mean of the middle half: neither moved by what else the machine did, nor by one round that happened to be in the middle.
fn middle(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let quarter = values.len() / 4;
    let half = values.get(quarter..values.len() - quarter).unwrap_or_default();
    half.iter().sum::<f64>() / half.len() as f64
}

struct Bench {
    server: ApiServer,
    clients: Vec<Client>,
    /// What each kind of write leaves where there are owners.
    sizes: [Size; KINDS],
    /// How many addresses Pods have had: each has its own, as it is in its owners, too.
    addresses: u32,
}

/// Of an object, in bytes.
#[derive(Clone, Copy, Default)]
struct Size {
    whole: usize,
    /// Of an annotation that takes as much room as the owners.
    annotation: usize,
}

impl Bench {
    async fn rounds(&mut self, count: usize) -> Result<Vec<Round>> {
        let mut rounds = Vec::with_capacity(count);
        // The first round warms up, and tells how long owners are.
        for round in 0..=count {
            let mut costs = [const { Vec::new() }; 3];
            for form in TURNS.get(round % TURNS.len()).into_iter().flatten() {
                *costs.get_mut(*form as usize).context("a form")? = self.round(*form).await?;
            }
            let [bare, weighed, owned] = costs;
            let each = bare.into_iter().zip(weighed).zip(owned).map(|((bare, weighed), owned)| Costs { bare, weighed, owned });
            if round > 0 {
                rounds.push(each.collect());
            }
        }
        Ok(rounds)
    }

    /// What one write of each kind takes.
    async fn round(&mut self, form: Form) -> Result<Vec<Cost>> {
        self.server.record_owners(form == Form::Owned);
        let name = |index: usize| format!("object-{index:05}");
        let annotations = self.sizes.map(|size| if form == Form::Weighed { size.annotation } else { 0 });
        let [of_config_maps, of_updates, of_pods, of_statuses, of_labels] = annotations;
        let create =
            |path: &str, object: &[u8], annotation| anyhow::Ok((Method::POST, path.to_owned(), JSON, weighed(object, annotation)?));

        let creates = (0..OBJECTS).map(|at| create(CONFIG_MAPS, &api::config_map(&name(at)), of_config_maps));
        let config_maps = self.timed(creates.collect::<Result<_>>()?).await?;
        // As a program that has read an object sends it back.
        let updates = config_maps.1.iter().map(|object| {
            let mut object: Value = serde_json::from_slice(object)?;
            let path = format!("{CONFIG_MAPS}/{}", object.pointer("/metadata/name").and_then(Value::as_str).context("a name")?);
            *object.pointer_mut("/data/n").context("its data")? = json!("1");
            Ok((Method::PUT, path, JSON, weighed(object.to_string().as_bytes(), of_updates)?))
        });
        let updates = self.timed(updates.collect::<Result<_>>()?).await?;

        let creates = (0..OBJECTS).map(|at| create(PODS, &api::pod(&name(at)), of_pods));
        let pods = self.timed(creates.collect::<Result<_>>()?).await?;
        let path = |at: usize, part: &str| format!("{PODS}/{}{part}", name(at));
        let mut patches = Vec::with_capacity(OBJECTS);
        for at in 0..OBJECTS {
            self.addresses += 1;
            patches.push((Method::PATCH, path(at, "/status"), STRATEGIC, status(&name(at), self.addresses).into()));
        }
        let statuses = self.patched(of_statuses, patches).await?;
        let labelled = Bytes::from_static(br#"{"metadata":{"labels":{"seen":"yes"}}}"#);
        let patches = (0..OBJECTS).map(|at| (Method::PATCH, path(at, ""), MERGE, labelled.clone()));
        let labels = self.patched(of_labels, patches.collect()).await?;

        for path in [CONFIG_MAPS, PODS] {
            let body = Bytes::from_static(br#"{"gracePeriodSeconds":0}"#);
            self.timed(vec![(Method::DELETE, path.to_owned(), JSON, body)]).await?;
        }
        let mut costs = Vec::with_capacity(KINDS);
        for ((cost, made), known) in [config_maps, updates, pods, statuses, labels].into_iter().zip(&mut self.sizes) {
            costs.push(cost);
            let size = Size::of(made.first().context("an object")?)?;
            match form {
                Form::Owned => *known = size,
                Form::Weighed => {
                    ensure!(known.whole.abs_diff(size.whole) < 32, "{} bytes are to weigh as much as {}", size.whole, known.whole)
                }
                Form::Bare => {}
            }
        }
        Ok(costs)
    }

    /// Makes patches of all Pods, which carry an annotation of this length.
    async fn patched(&mut self, annotation: usize, patches: Vec<Write>) -> Result<(Cost, Vec<Bytes>)> {
        if annotation > 0 {
            let body = weighed(b"{}", annotation)?;
            let paths = patches.iter().map(|(_, path, ..)| path.trim_end_matches("/status").to_owned());
            self.timed(paths.map(|path| (Method::PATCH, path, MERGE, body.clone())).collect()).await?;
        }
        self.timed(patches).await
    }

    /// Makes the writes; what one takes, and the answers.
    async fn timed(&mut self, writes: Vec<Write>) -> Result<(Cost, Vec<Bytes>)> {
        let (count, clients) = (writes.len(), self.clients.len());
        let mut shares: Vec<Vec<Write>> = (0..clients).map(|_| Vec::new()).collect();
        for (at, write) in writes.into_iter().enumerate() {
            shares.get_mut(at % clients).context("a client")?.push(write);
        }
        let (began, asked) = (server_time(), Instant::now());
        let tasks = self.clients.drain(..).zip(shares).map(|(mut client, writes)| {
            tokio::spawn(async move {
                let mut answers = Vec::with_capacity(writes.len());
                for (method, path, media_type, body) in writes {
                    let answer = client.send(method, &path, media_type, body).await?;
                    answers.push(answer.into_body().collect().await?.to_bytes());
                }
                anyhow::Ok((client, answers))
            })
        });
        let (mut clients, mut answers) = (Vec::new(), Vec::new());
        for task in tasks.collect::<Vec<_>>() {
            let (client, of_client) = task.await??;
            clients.push(client);
            answers.extend(of_client);
        }
        let (took, waited) = (server_time().saturating_sub(began), asked.elapsed());
        self.clients = clients;
        ensure!(answers.len() == count, "{} of {count} writes were answered", answers.len());
        let each = |time: Duration| time.as_secs_f64() / count as f64;
        Ok((Cost { processor: each(took), wait: each(waited) }, answers))
    }
}

/// The processor time of this process without that of this thread, which is the clients'.
fn server_time() -> Duration {
    let of = |clock| {
        let time = clock_gettime(clock);
        Duration::new(u64::try_from(time.tv_sec).unwrap_or_default(), u32::try_from(time.tv_nsec).unwrap_or_default())
    };
    of(ClockId::ProcessCPUTime).saturating_sub(of(ClockId::ThreadCPUTime))
}

/// An object or a patch with an annotation of this length, if it is to have one. As in the text of owners, names come again and again.
fn weighed(object: &[u8], annotation: usize) -> Result<Bytes> {
    if annotation == 0 {
        return Ok(Bytes::copy_from_slice(object));
    }
    let mut object: Value = serde_json::from_slice(object)?;
    let words = ["f:metadata", "f:spec", "f:containers", "f:terminationMessagePath", "f:status", "f:lastTransitionTime"];
    let text: String = (0..)
        .flat_map(|count| words.map(|word| format!("{{'{word}':{{}}}}{count},")))
        .flat_map(String::into_bytes)
        .take(annotation)
        .map(char::from)
        .collect();
    object["metadata"]["annotations"] = json!({"weight": text});
    Ok(object.to_string().into())
}

impl Size {
    fn of(json: &[u8]) -> Result<Self> {
        let object: Value = serde_json::from_slice(json)?;
        let owners = object.pointer("/metadata/managedFields").map(|owners| format!("\"managedFields\":{owners}").len());
        Ok(Self { whole: json.len(), annotation: owners.unwrap_or_default().saturating_sub("\"annotations\":{\"weight\":\"\"}".len()) })
    }
}

/// What a kubelet says of a pod that runs and has an address that no other has had.
fn status(pod: &str, number: u32) -> String {
    let address = Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 42, 0, 1)) + number);
    const TIME: &str = "2026-01-01T00:00:00Z";
    let condition = |kind: &str| json!({"type": kind, "status": "True", "lastProbeTime": null, "lastTransitionTime": TIME});
    json!({"metadata": {"name": pod}, "status": {
        "phase": "Running", "podIP": address, "podIPs": [{"ip": address}], "hostIP": "192.0.2.7", "startTime": TIME,
        "conditions": [condition("Initialized"), condition("Ready"), condition("ContainersReady")],
        "containerStatuses": [{
            "name": "web", "image": "nginx:1.27", "imageID": "sha256:0", "containerID": "containerd://0", "ready": true, "started": true,
            "restartCount": 0, "lastState": {}, "state": {"running": {"startedAt": TIME}},
        }],
    }})
    .to_string()
}

/// An API server that listens.
struct Serving {
    runtime: Runtime,
    server: ApiServer,
    endpoint: Endpoint,
    shutdown: CancellationToken,
}

impl Serving {
    fn start(dir: &std::path::Path) -> Result<Self> {
        const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let now = SystemTime::now();
        let authority = Authority::open(&dir.join("pki"), "ca", now)?;
        let signer = TokenSigner::open(&dir.join("pki"))?;
        let listener = runtime.block_on(TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))))?;
        let address = listener.local_addr()?;
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
            kubelet_tls: client_config(authority.certificate(), None, &[])?,
            version: Version { corten: "0.1.0".to_owned(), commit: String::new(), date: String::new() },
        };
        let server = runtime.block_on(ApiServer::start(options))?;
        let serving = authority.issue(&Leaf::server("api", ["localhost"], [address.ip()]), now)?;
        let admin = authority.issue(&Leaf::client(Identity::admin()), now)?;
        let clients = ClientVerification::Optional(authority.certificate().to_owned());
        let shutdown = CancellationToken::new();
        let (serve, tls, token) = (server.clone(), server_config(&serving, &clients, &["h2", "http/1.1"])?, shutdown.clone());
        runtime.spawn(async move { serve.serve(listener, tls, token).await });
        let endpoint = Endpoint { address, tls: client_config(authority.certificate(), Some(&admin), &["http/1.1"])? };
        Ok(Self { runtime, server, endpoint, shutdown })
    }

    fn end(self) {
        self.shutdown.cancel();
        self.runtime.block_on(self.server.close());
    }
}
