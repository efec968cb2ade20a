//! What exec and port-forward cost: over `kubectl`'s own start-up, and against plain TCP on the same machine.

mod raw;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use corten_testkit::{Cluster, Pod, Spawned, run};

use self::raw::Forward;
use crate::api::{endpoint, load::Endpoint};
use crate::docker::Docker;
use crate::{Figure, median};

/// `8080` answers HTTP, `8081` sends without end.
const SCRIPT: &str = "mkdir /www; echo hello >/www/index.html; httpd -p 8080 -h /www; exec nc -ll -p 8081 -e cat /dev/zero";

const RUNS: usize = 30;
const REQUESTS: u32 = 300;
const COPIED: usize = 512 << 20;

const QUESTION: &[u8] = b"GET / HTTP/1.0\r\n\r\n";

pub(crate) fn measure(corten: &Path, alone: bool) -> Result<Vec<Figure>> {
    let cluster = Cluster::with_busybox(corten);
    cluster.run(&Pod::new("it", SCRIPT));
    cluster.listens("it", 8080);
    cluster.listens("it", 8081);
    let docker = if alone { None } else { Some(Docker::start()?) };
    let raw = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let endpoint = endpoint(&cluster)?;
    let kubectl = |words: &[&str]| cluster.kubectl_command(words);
    // What kubectl does before it asks for a session (settings, discovery from its cache, the pod), and a start of it that does
    // next to nothing; Docker's client in the same way; and a client that costs nothing, for the server's part.
    let mut times: [Vec<f64>; 4] = Default::default();
    let mut times_of_docker: [Vec<f64>; 2] = Default::default();
    for _ in 0..RUNS {
        // By turns, so that what else goes on at the machine is the same for all.
        let turn = [
            time(kubectl(&["exec", "it", "--", "true"]))?,
            time(kubectl(&["get", "pod", "it", "-o", "name"]))?,
            time(kubectl(&["get", "--raw", "/readyz"]))?,
            raw.block_on(raw::exec(&endpoint))?,
        ];
        times.iter_mut().zip(turn).for_each(|(all, one)| all.push(one));
        if let Some(docker) = &docker {
            let turn = [time(docker.command(&["exec", "it", "true"]))?, time(docker.command(&["version"]))?];
            times_of_docker.iter_mut().zip(turn).for_each(|(all, one)| all.push(one));
        }
    }
    let [exec, pod, bare, server] = times.map(median);
    let [exec_docker, bare_docker] = times_of_docker.map(median);
    let beside =
        format!("; docker exec ({exec_docker:.0} ms) less docker version ({bare_docker:.0} ms): {:.0} ms", exec_docker - bare_docker);
    let conditions = format!(
        "kubectl exec -- true ({exec:.0} ms) less kubectl get pod ({pod:.0} ms), median of {RUNS}; less kubectl get --raw /readyz \
         ({bare:.0} ms): {:.0} ms; by a client without a start-up, with two handshakes and the pod: {server:.1} ms{}",
        exec - bare,
        if docker.is_some() { beside.as_str() } else { "" }
    );
    let name = "exec round trip over kubectl's start-up, p50";
    let mut figures = vec![Figure { name, value: exec - pod, unit: "ms", conditions }];
    let count = COPIED.to_string();
    let words = ["head", "-c", &count, "/dev/zero"];
    let ours = output(kubectl(&[&["exec", "it", "--"], words.as_slice()].concat()))?;
    let beside = match &docker {
        Some(docker) => format!("; docker exec: {:.0} MB/s", output(docker.command(&[&["exec", "it"], words.as_slice()].concat()))?),
        None => String::new(),
    };
    let start = Instant::now();
    raw.block_on(raw::output(&endpoint, COPIED))?;
    let server = megabytes(start);
    let conditions = format!("{} MiB through kubectl{beside}; by a client that only reads: {server:.0} MB/s", COPIED >> 20);
    figures.push(Figure { name: "exec stdout", value: ours, unit: "MB/s", conditions });
    drop(docker);
    figures.extend(forwarding(&cluster, &endpoint, &raw)?);
    Ok(figures)
}

/// Milliseconds that a command takes.
fn time(command: Command) -> Result<f64> {
    let start = Instant::now();
    run(command)?.check()?;
    Ok(1000.0 * start.elapsed().as_secs_f64())
}

/// Megabytes a second that a command writes.
fn output(mut command: Command) -> Result<f64> {
    let start = Instant::now();
    let mut child = command.stdout(Stdio::piped()).spawn()?;
    let count = std::io::copy(child.stdout.as_mut().context("no output")?, &mut std::io::sink())?;
    anyhow::ensure!(child.wait()?.success() && count == u64::try_from(COPIED)?, "exec gave {count} bytes");
    Ok(megabytes(start))
}

fn megabytes(since: Instant) -> f64 {
    #[allow(clippy::cast_precision_loss, reason = "the figure has three digits")]
    let bytes = COPIED as f64;
    bytes / 1e6 / since.elapsed().as_secs_f64()
}

fn forwarding(cluster: &Cluster, endpoint: &Endpoint, raw: &tokio::runtime::Runtime) -> Result<Vec<Figure>> {
    let mut forwarding = Spawned::start(cluster.kubectl_command(&["port-forward", "--address=127.0.0.1", "pod/it", ":8080", ":8081"]));
    let mut next = |to: &str| -> Result<SocketAddr> {
        let line = forwarding.line_with(to);
        let port = line.split(['>', ' ']).find_map(|word| word.strip_prefix("127.0.0.1:")).context("no port")?;
        Ok(SocketAddr::from(([127, 0, 0, 1], port.parse()?)))
    };
    let (web, zeros) = (next("-> 8080")?, next("-> 8081")?);
    let pod = cluster.json(&["get", "pod", "it"]);
    let address: std::net::IpAddr = pod["status"]["podIP"].as_str().context("no address")?.parse()?;
    let namespace = cluster.run_dir().join("namespaces").join("net");
    let (plain_rate, plain_speed) = corten_network::netns::run(&namespace, move || -> Result<(f64, f64)> {
        Ok((requests(SocketAddr::from((address, 8080)))?, download(SocketAddr::from((address, 8081)))?))
    })??;
    let (rate, speed) = (requests(web)?, download(zeros)?);
    forwarding.kill();
    let (server_rate, server_speed) = raw.block_on(async {
        let forward = Forward::open(endpoint).await?;
        let start = Instant::now();
        for _ in 0..REQUESTS {
            anyhow::ensure!(forward.ask(8080, QUESTION, u64::MAX).await? > 0, "no answer");
        }
        let rate = f64::from(REQUESTS) / start.elapsed().as_secs_f64();
        let start = Instant::now();
        forward.ask(8081, b"", u64::try_from(COPIED)?).await?;
        anyhow::Ok((rate, megabytes(start)))
    })?;
    let conditions = |plain: f64, server: f64, what: &str| {
        format!("through kubectl; by a client that only reads: {server:.0} {what}; plain TCP to the pod: {plain:.0} {what}")
    };
    let (speeds, rates) = (conditions(plain_speed, server_speed, "MB/s"), conditions(plain_rate, server_rate, "/s"));
    Ok(vec![
        Figure { name: "port-forward", value: speed, unit: "MB/s", conditions: speeds },
        Figure { name: "port-forward, a connection a request", value: rate, unit: "/s", conditions: rates },
    ])
}

/// Requests a second, one after the other, each over its own connection.
fn requests(address: SocketAddr) -> Result<f64> {
    let start = Instant::now();
    for _ in 0..REQUESTS {
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        stream.write_all(QUESTION)?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        anyhow::ensure!(answer.ends_with(b"hello\n"), "answered {}", String::from_utf8_lossy(&answer));
    }
    Ok(f64::from(REQUESTS) / start.elapsed().as_secs_f64())
}

/// Megabytes a second.
fn download(address: SocketAddr) -> Result<f64> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    let (mut buffer, mut left) = (vec![0; 256 << 10], COPIED);
    let start = Instant::now();
    while left > 0 {
        let count = stream.read(&mut buffer)?;
        anyhow::ensure!(count > 0, "{address} ended early");
        left = left.saturating_sub(count);
    }
    Ok(megabytes(start))
}
