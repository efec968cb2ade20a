//! One check of a container: a command, an HTTP request, a connection, a health call.

use std::net::SocketAddr;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, ExecAction, HTTPGetAction, Probe};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use tokio::net::TcpStream;

use super::{grpc, http};
use crate::context::Context;

/// Most bytes of a check's output in an event.
const OUTPUT: usize = 10 << 10;

/// Who is checked.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// The pod's address.
    pub(crate) address: String,
    pub(crate) container: Container,
    /// The container's id in the runtime.
    pub(crate) id: String,
}

/// Checks once. The error is what the event says after "probe failed: ".
pub(crate) async fn check(context: &Context, target: &Target, probe: &Probe, timeout: Duration) -> Result<(), String> {
    if let Some(action) = &probe.exec {
        return exec(context, target, action, timeout).await;
    }
    if let Some(action) = &probe.http_get {
        return http_get(target, action, timeout).await;
    }
    if let Some(action) = &probe.tcp_socket {
        let host = action.host.as_deref().filter(|h| !h.is_empty());
        let port = port(&target.container, &action.port)?;
        return tcp(host.unwrap_or(&target.address), port, timeout).await;
    }
    if let Some(action) = &probe.grpc {
        let port = u16::try_from(action.port).map_err(|e| e.to_string())?;
        let service = action.service.as_deref().unwrap_or_default();
        return grpc::check(&target.address, port, service, timeout).await;
    }
    Err("missing probe handler".to_owned())
}

async fn exec(context: &Context, target: &Target, action: &ExecAction, timeout: Duration) -> Result<(), String> {
    let command = action.command.clone().unwrap_or_default();
    let answer = context.runtime.exec_sync(&target.id, &command, timeout).await;
    match answer {
        Ok(answer) if answer.exit_code == 0 => Ok(()),
        Ok(answer) => {
            let mut output = answer.stdout;
            output.extend(answer.stderr);
            output.truncate(OUTPUT);
            Err(String::from_utf8_lossy(&output).into_owned())
        }
        Err(status) if status.code() == tonic::Code::DeadlineExceeded => {
            Err(format!("command timed out: \"{}\" timed out after {}s", command.join(" "), timeout.as_secs()))
        }
        Err(status) => Err(status.message().to_owned()),
    }
}

/// The request that an action describes; `agent` is who asks.
pub(crate) fn request(target: &Target, action: &HTTPGetAction, agent: &'static str) -> Result<http::Get, String> {
    Ok(http::Get {
        https: action.scheme.as_deref() == Some("HTTPS"),
        host: action.host.clone().filter(|h| !h.is_empty()).unwrap_or_else(|| target.address.clone()),
        port: port(&target.container, &action.port)?,
        path: action.path.clone().unwrap_or_default(),
        headers: action.http_headers.iter().flatten().map(|h| (h.name.clone(), h.value.clone())).collect(),
        agent,
    })
}

/// An HTTP check: anything from 200 to 399 is good.
async fn http_get(target: &Target, action: &HTTPGetAction, timeout: Duration) -> Result<(), String> {
    let request = request(target, action, "kube-probe")?;
    let url = request.url();
    match tokio::time::timeout(timeout, http::get(&request)).await {
        Ok(Ok(status)) if (200..400).contains(&status) => Ok(()),
        Ok(Ok(status)) => Err(format!("HTTP probe failed with statuscode: {status}")),
        Ok(Err(error)) => Err(format!("Get \"{url}\": {error}")),
        Err(_) => Err(format!("Get \"{url}\": context deadline exceeded (Client.Timeout exceeded while awaiting headers)")),
    }
}

async fn tcp(host: &str, port: u16, timeout: Duration) -> Result<(), String> {
    match tokio::time::timeout(timeout, connect(host, port)).await {
        Ok(connected) => connected.map(drop),
        Err(_) => Err(format!("dial tcp {}: i/o timeout", join(host, port))),
    }
}

/// Connects, with the reference's words for failures.
pub(super) async fn connect(host: &str, port: u16) -> Result<TcpStream, String> {
    let address = join(host, port);
    let connected = match address.parse::<SocketAddr>() {
        Ok(address) => TcpStream::connect(address).await,
        Err(_) => TcpStream::connect(&address).await,
    };
    connected.map_err(|error| {
        let reason = match error.kind() {
            std::io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
            _ => error.to_string().to_lowercase(),
        };
        format!("dial tcp {address}: connect: {reason}")
    })
}

/// Host and port as in a URL.
pub(super) fn join(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// A port by number, or by the name that the container gives to one of its ports.
fn port(container: &Container, port: &IntOrString) -> Result<u16, String> {
    let number = match port {
        IntOrString::Int(number) => Some(*number),
        IntOrString::String(name) => container
            .ports
            .iter()
            .flatten()
            .find(|p| p.name.as_deref() == Some(name))
            .map(|p| p.container_port)
            .or_else(|| name.parse().ok()),
    };
    let named = |port: &IntOrString| match port {
        IntOrString::Int(number) => number.to_string(),
        IntOrString::String(name) => name.clone(),
    };
    number.and_then(|n| u16::try_from(n).ok()).filter(|n| *n > 0).ok_or_else(|| format!("invalid port number: {}", named(port)))
}

#[cfg(test)]
mod tests;
