//! From `[scheme:]name[:port]` to an address.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use corten_schema::Value;

use super::transport::{Destination, unverified};
use crate::ledger::Ledger;
use crate::reads;
use crate::server::Server;
use crate::status::ApiError;
use crate::subresources::connect::Backend;
use crate::view::{at, int, list, text, texts};

/// What the name in the URL says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Target<'a> {
    /// As it was given.
    pub(super) id: &'a str,
    tls: bool,
    pub(super) name: &'a str,
    port: &'a str,
}

impl<'a> Target<'a> {
    /// Takes a name apart; `kind` is what errors call it.
    pub(super) fn parse(id: &'a str, kind: &str) -> Result<Self, ApiError> {
        let invalid = || ApiError::bad_request(format!("invalid {kind} request {id:?}"));
        let parts: Vec<&str> = id.split(':').collect();
        let (scheme, name, port) = match parts.as_slice() {
            [name] => ("", *name, ""),
            [name, port] => ("", *name, *port),
            [scheme, name, port] => (*scheme, *name, *port),
            _ => return Err(invalid()),
        };
        let tls = match scheme {
            "" | "http" => false,
            "https" => true,
            _ => return Err(invalid()),
        };
        if name.is_empty() { Err(invalid()) } else { Ok(Self { id, tls, name, port }) }
    }

    fn at(&self, host: &str, port: u16) -> Result<Destination, ApiError> {
        let tls = if self.tls { Some(unverified().map_err(ApiError::internal)?) } else { None };
        Ok(Destination { host: host.to_owned(), port, tls })
    }

    fn default_port(&self) -> u16 {
        if self.tls { 443 } else { 80 }
    }

    /// The pod itself: at the port named, or its first.
    pub(super) fn pod(&self, pod: &Value) -> Result<Destination, ApiError> {
        let address = match text(pod, "status.podIP") {
            "" => list(pod, "status.podIPs").next().map_or("", |first| text(first, "ip")),
            address => address,
        };
        check_address(address)?;
        let ports = || list(pod, "spec.containers").flat_map(|container| list(container, "ports"));
        let number = |port: &Value| int(port, "containerPort").and_then(|number| u16::try_from(number).ok());
        let port = match self.port {
            "" => ports().find_map(number).unwrap_or_else(|| self.default_port()),
            port => match port.parse() {
                Ok(number) => number,
                Err(_) => ports()
                    .find(|candidate| text(candidate, "name") == port)
                    .and_then(number)
                    .ok_or_else(|| unreachable(format_args!("dial tcp: lookup tcp/{port}: unknown port")))?,
            },
        };
        self.at(address, port)
    }

    /// A ready endpoint of the Service, at the port of that name or number. A port without a name is named by nothing.
    ///
    /// Endpoints must be pods of the Service's namespace and have the address that the pod has: who may write EndpointSlices
    /// does not get to see what listens elsewhere.
    pub(super) fn service(&self, ledger: &Ledger, service: &Value) -> Result<Destination, ApiError> {
        let port_name = match self.port.parse::<i64>() {
            Err(_) => self.port,
            Ok(number) => match list(service, "spec.ports").find(|port| int(port, "port") == Some(number)) {
                Some(port) => text(port, "name"),
                None => return Err(ApiError::unavailable(format!("no service port {number} found for service {:?}", self.name))),
            },
        };
        let family = texts(service, "spec.ipFamilies").next().unwrap_or("IPv4");
        let slices = slices(ledger, service);
        let mut found: Vec<(&str, u16, &Value)> = Vec::new();
        for slice in slices.iter().filter(|slice| text(slice, "addressType") == family) {
            let port = list(slice, "ports").find(|port| text(port, "name") == port_name).and_then(|port| int(port, "port"));
            let Some(port) = port.and_then(|port| u16::try_from(port).ok()) else { continue };
            let ready = |endpoint: &&Value| at(endpoint, "conditions.ready").and_then(Value::as_bool).unwrap_or(true);
            let endpoints = list(slice, "endpoints").filter(ready);
            found.extend(endpoints.filter_map(|endpoint| Some((texts(endpoint, "addresses").next()?, port, endpoint))));
        }
        let turn = turn(found.len());
        let (late, early) = found.split_at(turn);
        for (address, port, endpoint) in early.iter().chain(late) {
            if check_address(address).is_ok() && is_pod(ledger, service.namespace(), endpoint, address) {
                return self.at(address, *port);
            }
        }
        let called = if slices.is_empty() { self.name } else { self.id };
        Err(ApiError::unavailable(format!("no endpoints available for service {called:?}")))
    }

    /// The node's kubelet, or another port of the node.
    pub(super) fn node(&self, server: &Server) -> Result<Destination, ApiError> {
        let kubelet = Backend::kubelet(server, self.name)?;
        let port = match self.port {
            "" => kubelet.port,
            port => port.parse().map_err(|_| unreachable(format_args!("dial tcp: lookup tcp/{port}: unknown port")))?,
        };
        if port == kubelet.port {
            return Ok(Destination { host: kubelet.host, port, tls: kubelet.tls });
        }
        check_address(&kubelet.host)?;
        self.at(&kubelet.host, port)
    }
}

/// 503, in the reference's words for whatever goes wrong on the way to a backend.
pub(super) fn unreachable(why: impl std::fmt::Display) -> ApiError {
    ApiError::unavailable(format!("error trying to reach service: {why}"))
}

/// Refuses addresses that are the server's own or its link's: who writes a status or an EndpointSlice does not get to see what
/// listens there. Names are refused as well, since they may stand for anything.
pub(in crate::subresources) fn check_address(host: &str) -> Result<(), ApiError> {
    let fine = host.parse::<IpAddr>().is_ok_and(|address| match address.to_canonical() {
        IpAddr::V4(v4) => !(v4.is_loopback() || v4.is_unspecified() || v4.is_link_local() || v4.is_multicast() || v4.is_broadcast()),
        IpAddr::V6(v6) => !(v6.is_loopback() || v6.is_unspecified() || v6.is_unicast_link_local() || v6.is_multicast()),
    });
    if fine { Ok(()) } else { Err(ApiError::bad_request("address not allowed")) }
}

/// The EndpointSlices of a Service.
fn slices(ledger: &Ledger, service: &Value) -> Vec<Value> {
    let prefix = reads::prefix("discovery.k8s.io", "endpointslices", service.namespace());
    let own = service.name();
    let of_service = |entry: &Arc<crate::ledger::Entry>| entry.index().label("kubernetes.io/service-name") == Some(own);
    ledger.snapshot().list(&prefix).filter(|entry| of_service(entry)).filter_map(|entry| reads::object(entry)).collect()
}

/// Whether an endpoint is the pod that it says it is.
fn is_pod(ledger: &Ledger, namespace: &str, endpoint: &Value, address: &str) -> bool {
    let named = text(endpoint, "targetRef.kind") == "Pod" && text(endpoint, "targetRef.namespace") == namespace;
    let pod = named.then(|| reads::get(ledger, "", "pods", namespace, text(endpoint, "targetRef.name"))).flatten();
    pod.is_some_and(|pod| text(&pod, "status.podIP") == address || list(&pod, "status.podIPs").any(|ip| text(ip, "ip") == address))
}

/// Takes turns, so that every endpoint gets its share.
fn turn(count: usize) -> usize {
    static TURN: AtomicUsize = AtomicUsize::new(0);
    TURN.fetch_add(1, Ordering::Relaxed).checked_rem(count).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use corten_schema::value;

    use super::*;

    #[test]
    fn names_are_taken_apart() {
        let of = |tls, name, port| Some((tls, name, port));
        for (id, expected) in [
            ("web", of(false, "web", "")),
            ("web:80", of(false, "web", "80")),
            ("web:http", of(false, "web", "http")),
            ("http:web:80", of(false, "web", "80")),
            ("https:web:", of(true, "web", "")),
            (":web:80", of(false, "web", "80")),
            ("ftp:web:80", None),
            (":80", None),
            ("", None),
            ("a:b:c:d", None),
        ] {
            let parsed = Target::parse(id, "pod");
            assert_eq!(parsed.as_ref().ok().map(|target| (target.tls, target.name, target.port)), expected, "{id}");
            if let Err(error) = parsed {
                assert_eq!(error.message, format!("invalid pod request {id:?}"));
            }
        }
    }

    #[test]
    fn ports_of_pods_have_names() {
        let pod = value!({
            "status": {"podIP": "10.42.0.7"},
            "spec": {"containers": [
                {"name": "a"},
                {"name": "b", "ports": [{"containerPort": 8080, "name": "web"}, {"containerPort": 9090, "name": "metrics"}]},
            ]},
        });
        let to = |id: &'static str| Target::parse(id, "pod").unwrap().pod(&pod).map(|to| (to.authority(), to.tls.is_some()));
        assert_eq!(to("p").unwrap(), ("10.42.0.7:8080".to_owned(), false));
        assert_eq!(to("https:p:metrics").unwrap(), ("10.42.0.7:9090".to_owned(), true));
        assert_eq!(to("p:81").unwrap(), ("10.42.0.7:81".to_owned(), false));
        let unknown = to("p:nothing").unwrap_err();
        assert_eq!(unknown.message, "error trying to reach service: dial tcp: lookup tcp/nothing: unknown port");
        assert_eq!(unknown.code, 503);
        let bare = value!({"status": {"podIPs": [{"ip": "fd00::7"}]}, "spec": {"containers": [{"name": "a"}]}});
        let to = |id: &'static str| Target::parse(id, "pod").unwrap().pod(&bare).unwrap().authority();
        assert_eq!((to("p"), to("https:p:")), ("[fd00::7]:80".to_owned(), "[fd00::7]:443".to_owned()));
        let none = value!({"status": {}, "spec": {"containers": []}});
        assert_eq!(Target::parse("p", "pod").unwrap().pod(&none).unwrap_err().message, "address not allowed");
    }

    #[test]
    fn the_proxy_reaches_only_addresses_of_others() {
        for address in ["10.42.0.7", "192.168.1.1", "203.0.113.1", "fd00::7", "::ffff:10.42.0.7"] {
            assert!(check_address(address).is_ok(), "{address}");
        }
        let own = ["", "localhost", "127.0.0.1", "127.8.8.8", "0.0.0.0", "::1", "::", "::ffff:127.0.0.1"];
        let link = ["169.254.169.254", "224.0.0.1", "255.255.255.255", "fe80::1", "ff02::1"];
        for address in own.into_iter().chain(link) {
            assert_eq!(check_address(address).unwrap_err().message, "address not allowed", "{address}");
        }
    }
}
