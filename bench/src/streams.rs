//! What exec and port-forward cost: over `kubectl`'s own start-up, and against plain TCP on the same machine.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use corten_testkit::{Cluster, Options, PATIENCE, Spawned, wait};

use crate::{Figure, median};

/// `8080` answers HTTP, `8081` sends without end.
const POD: &str = "
apiVersion: v1
kind: Pod
metadata: {name: it}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: main
    image: busybox:1.36
    command: [sh, -c, 'mkdir /www; echo hello >/www/index.html; httpd -p 8080 -h /www; exec nc -ll -p 8081 -e cat /dev/zero']
";

const RUNS: usize = 30;
const REQUESTS: u32 = 300;
const COPIED: usize = 512 << 20;

pub(crate) fn measure(corten: &Path) -> Result<Vec<Figure>> {
    let cluster = Cluster::up(corten, Options { busybox: true, ..Options::default() });
    cluster.apply(POD);
    cluster.kubectl(&["wait", "--for=condition=Ready", "pod/it", "--timeout=90s"]);
    wait::until("the ports are open", PATIENCE, || {
        let open = cluster.kubectl(&["exec", "it", "--", "netstat", "-ltn"]);
        if open.contains(":8080 ") && open.contains(":8081 ") { Ok(()) } else { Err(open) }
    });
    // Both are a start of kubectl, a connection with TLS and one request; the difference is the session.
    let bare = times(&cluster, &["get", "--raw", "/readyz"])?;
    let exec = times(&cluster, &["exec", "it", "--", "true"])?;
    let mut figures = vec![Figure {
        name: "exec round trip over kubectl's start-up, p50",
        value: 1000.0 * (exec - bare),
        unit: "ms",
        conditions: format!("kubectl exec -- true less kubectl get --raw /readyz ({:.0} ms), median of {RUNS}", 1000.0 * bare),
    }];
    figures.push(exec_output(&cluster)?);
    figures.extend(forwarding(&cluster)?);
    Ok(figures)
}

fn times(cluster: &Cluster, words: &[&str]) -> Result<f64> {
    let mut all = Vec::new();
    for _ in 0..RUNS {
        let start = Instant::now();
        cluster.kubectl_outcome(words).check()?;
        all.push(start.elapsed().as_secs_f64());
    }
    Ok(median(all))
}

fn exec_output(cluster: &Cluster) -> Result<Figure> {
    let bytes = COPIED.to_string();
    let mut command = cluster.kubectl_command(&["exec", "it", "--", "head", "-c", &bytes, "/dev/zero"]);
    let start = Instant::now();
    let mut child = command.stdout(Stdio::piped()).spawn()?;
    let count = std::io::copy(child.stdout.as_mut().context("no output")?, &mut std::io::sink())?;
    anyhow::ensure!(child.wait()?.success() && count == u64::try_from(COPIED)?, "exec gave {count} bytes");
    Ok(Figure { name: "exec stdout", value: megabytes(start), unit: "MB/s", conditions: "512 MiB through kubectl".to_owned() })
}

fn megabytes(since: Instant) -> f64 {
    #[allow(clippy::cast_precision_loss, reason = "the figure has three digits")]
    let bytes = COPIED as f64;
    bytes / 1e6 / since.elapsed().as_secs_f64()
}

fn forwarding(cluster: &Cluster) -> Result<Vec<Figure>> {
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
    let conditions = |plain: f64, what: &str| format!("through kubectl; plain TCP to the pod: {plain:.0} {what}");
    Ok(vec![
        Figure { name: "port-forward", value: speed, unit: "MB/s", conditions: conditions(plain_speed, "MB/s") },
        Figure { name: "port-forward, a connection a request", value: rate, unit: "/s", conditions: conditions(plain_rate, "/s") },
    ])
}

/// Requests a second, one after the other, each over its own connection.
fn requests(address: SocketAddr) -> Result<f64> {
    let start = Instant::now();
    for _ in 0..REQUESTS {
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
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
