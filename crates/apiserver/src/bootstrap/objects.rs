//! Namespaces, priority classes, and the Service by which pods find the API.

use corten_schema::{Value, value};

use super::Scribe;
use crate::status::ApiError;
use crate::strategies::{SYSTEM_CLASSES, services::ranges};
use crate::view::{at, list};

/// The namespaces of the system.
pub(super) fn namespaces() -> impl Iterator<Item = Value> {
    ["default", "kube-system", "kube-public", "kube-node-lease"]
        .into_iter()
        .map(|name| value!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": (name)}}))
}

/// The priority classes of the system.
pub(super) fn priority_classes() -> impl Iterator<Item = Value> {
    SYSTEM_CLASSES.into_iter().map(|(name, number, description)| {
        value!({
            "apiVersion": "scheduling.k8s.io/v1",
            "kind": "PriorityClass",
            "metadata": {"name": (name)},
            "value": (number),
            "description": (description),
        })
    })
}

const NAME: &str = "kubernetes";
const PORT: i64 = 443;

/// The Service `default/kubernetes` with its endpoints, and the range its address is from.
pub(super) async fn own_service(scribe: &Scribe<'_>) -> Result<(), ApiError> {
    let options = &scribe.server.options;
    let range = options.service_cidr;
    let address = ranges::nth(range, 1).to_string();
    let advertised = options.advertise.ip().to_string();
    let family = if options.advertise.is_ipv4() { "IPv4" } else { "IPv6" };
    let target = i64::from(options.advertise.port());

    let cidrs: Vec<String> = options.service_ranges().map(|range| range.trunc().to_string()).collect();
    let cidr = value!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "ServiceCIDR",
        "metadata": {"name": "kubernetes"},
        "spec": {"cidrs": (cidrs)},
    });
    scribe.ensure("networking.k8s.io", "v1", "servicecidrs", cidr).await?;

    let service = value!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": (NAME),
            "namespace": "default",
            "labels": {"component": "apiserver", "provider": "kubernetes"},
        },
        "spec": {
            "clusterIP": (address.as_str()),
            "type": "ClusterIP",
            "sessionAffinity": "None",
            "ports": [{"name": "https", "port": (PORT), "protocol": "TCP", "targetPort": (target)}],
        },
    });
    scribe
        .reconcile("", "v1", "services", service, |current, wanted| {
            if list(current, "spec.ports").all(|port| crate::view::int(port, "targetPort") != Some(target)) {
                current.set_at(&["spec", "ports"], at(wanted, "spec.ports").cloned());
            }
        })
        .await?;

    let endpoints = value!({
        "apiVersion": "v1",
        "kind": "Endpoints",
        "metadata": {
            "name": (NAME),
            "namespace": "default",
            "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"},
        },
        "subsets": [{
            "addresses": [{"ip": (advertised.as_str())}],
            "ports": [{"name": "https", "port": (target), "protocol": "TCP"}],
        }],
    });
    let replace = |field: &'static str| {
        move |current: &mut Value, wanted: &Value| {
            if current.get(field) != wanted.get(field) {
                current.insert(field, wanted.get(field).cloned());
            }
        }
    };
    scribe.reconcile("", "v1", "endpoints", endpoints, replace("subsets")).await?;

    let slice = value!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": (NAME),
            "namespace": "default",
            "labels": {"kubernetes.io/service-name": "kubernetes"},
        },
        "addressType": (family),
        "endpoints": [{"addresses": [(advertised.as_str())], "conditions": {"ready": true}}],
        "ports": [{"name": "https", "port": (target), "protocol": "TCP"}],
    });
    let follow = |current: &mut Value, wanted: &Value| {
        replace("endpoints")(current, wanted);
        replace("ports")(current, wanted);
    };
    scribe.reconcile("discovery.k8s.io", "v1", "endpointslices", slice, follow).await
}
