//! `pods/proxy`, `services/proxy`, `nodes/proxy`: any HTTP request to what they name, `[scheme:]name[:port]`.

use std::net::IpAddr;

use corten_schema::Value;

use super::connect::Backend;
use super::exchange::Exchange;
use crate::body::{self, Response};
use crate::ledger::Ledger;
use crate::reads;
use crate::request::Call;
use crate::status::ApiError;
use crate::view::{at, entry, int, list, text, texts};

/// Handles `proxy` with any method and path.
pub(super) async fn serve(mut call: Call) -> Result<Response, ApiError> {
    let request = std::mem::replace(&mut call.request, http::Request::new(body::full("")));
    let exchange = Exchange::new(call)?;
    let info = &exchange.context.info;
    let target = Target::parse(&info.name)?;
    let plural = exchange.kind.storage.plural.clone();
    let namespace = if exchange.kind.served.namespaced { exchange.namespace() } else { "" };
    let object = exchange.server.read(&exchange.kind, namespace, target.name)?;
    let backend = match &*plural {
        "nodes" => Backend::kubelet(&exchange.server, target.name)?,
        "pods" => pod_backend(&object, &target)?,
        _ => service_backend(&exchange.server.ledger, &object, &target)?,
    };
    let path = if info.rest.is_empty() { "/" } else { info.rest.as_str() };
    let path = match request.uri().query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    backend.forward(request, &path).await
}

/// What the name in the URL says.
struct Target<'a> {
    name: &'a str,
    port: &'a str,
}

impl<'a> Target<'a> {
    fn parse(text: &'a str) -> Result<Self, ApiError> {
        let parts: Vec<&str> = text.split(':').collect();
        let (scheme, name, port) = match parts.as_slice() {
            [name] => ("", *name, ""),
            [name, port] => ("", *name, *port),
            [scheme, name, port] => (*scheme, *name, *port),
            _ => return Err(ApiError::bad_request(format!("invalid request {text:?}"))),
        };
        match scheme {
            "" | "http" => Ok(Self { name, port }),
            _ => Err(ApiError::bad_request(format!("the proxy does not support the scheme {scheme:?}"))),
        }
    }
}

/// Refuses addresses that are the server's own or its link's: who writes a status or an EndpointSlice does not get to see what
/// listens there. Names are refused as well, since they may stand for anything.
pub(super) fn check_address(host: &str) -> Result<(), ApiError> {
    let fine = host.parse::<IpAddr>().is_ok_and(|address| match address.to_canonical() {
        IpAddr::V4(v4) => !(v4.is_loopback() || v4.is_unspecified() || v4.is_link_local() || v4.is_multicast() || v4.is_broadcast()),
        IpAddr::V6(v6) => !(v6.is_loopback() || v6.is_unspecified() || v6.is_unicast_link_local() || v6.is_multicast()),
    });
    if fine { Ok(()) } else { Err(ApiError::bad_request("address not allowed")) }
}

/// A pod or endpoint, without TLS.
fn plain(host: &str, port: i64) -> Result<Backend, ApiError> {
    check_address(host)?;
    let port = u16::try_from(port).map_err(|error| ApiError::bad_request(error.to_string()))?;
    Ok(Backend { host: host.to_owned(), port, tls: None })
}

/// The pod itself: at the port named, or its first.
fn pod_backend(pod: &Value, target: &Target<'_>) -> Result<Backend, ApiError> {
    let address = text(pod, "status.podIP");
    let ports = || list(pod, "spec.containers").flat_map(|container| list(container, "ports"));
    let port = match target.port {
        "" => ports().find_map(|port| int(port, "containerPort")).unwrap_or(80),
        port => match port.parse() {
            Ok(number) => number,
            Err(_) => ports()
                .find(|candidate| text(candidate, "name") == port)
                .and_then(|candidate| int(candidate, "containerPort"))
                .ok_or_else(|| ApiError::bad_request(format!("no port named {port:?}")))?,
        },
    };
    plain(address, port)
}

/// A ready endpoint of the Service, at the port named, or its only one.
fn service_backend(ledger: &Ledger, service: &Value, target: &Target<'_>) -> Result<Backend, ApiError> {
    let chosen = list(service, "spec.ports").find(|port| {
        target.port.is_empty()
            || text(port, "name") == target.port
            || int(port, "port").is_some_and(|number| number.to_string() == target.port)
    });
    let Some(chosen) = chosen else {
        let words = format!("no service port {:?} found for service {:?}", target.port, service.name());
        return Err(ApiError::unavailable(words));
    };
    let slices = reads::list(&ledger.snapshot(), "discovery.k8s.io", "endpointslices", service.namespace());
    let own = slices.iter().filter(|slice| entry(slice, "metadata.labels", "kubernetes.io/service-name") == Some(service.name()));
    for slice in own {
        let port = list(slice, "ports").find(|port| text(port, "name") == text(chosen, "name"));
        let Some(port) = port.and_then(|port| int(port, "port")) else { continue };
        let ready = list(slice, "endpoints").find(|endpoint| at(endpoint, "conditions.ready").and_then(Value::as_bool).unwrap_or(true));
        if let Some(address) = ready.and_then(|endpoint| texts(endpoint, "addresses").next()) {
            return plain(address, port);
        }
    }
    Err(ApiError::unavailable(format!("no endpoints available for service {:?}", service.name())))
}
