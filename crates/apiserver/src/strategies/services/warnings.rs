//! What the writer of a Service should know.

use corten_schema::Value;

use super::{is_external_name, is_headless};
use crate::strategies::validation::net;
use crate::view::{list, text, texts};

/// The warnings about a Service.
pub(super) fn of(service: &Value) -> Vec<String> {
    let mut warnings = Vec::new();
    if service.annotation("service.kubernetes.io/topology-aware-hints").is_some() {
        let words = "is deprecated, please use service.kubernetes.io/topology-mode instead";
        warnings.push(format!("annotation service.kubernetes.io/topology-aware-hints {words}"));
    }
    if is_headless(service) {
        if !text(service, "spec.loadBalancerIP").is_empty() {
            warnings.push("spec.loadBalancerIP is ignored for headless services".to_owned());
        }
        if list(service, "spec.externalIPs").len() > 0 {
            warnings.push("spec.externalIPs is ignored for headless services".to_owned());
        }
        if text(service, "spec.sessionAffinity") != "None" {
            warnings.push("spec.SessionAffinity is ignored for headless services".to_owned());
        }
    } else {
        for (number, address) in texts(service, "spec.clusterIPs").enumerate() {
            warnings.extend(net::odd_address(&format!("spec.clusterIPs[{number}]"), address));
        }
    }
    for (number, address) in texts(service, "spec.externalIPs").enumerate() {
        warnings.extend(net::odd_address(&format!("spec.externalIPs[{number}]"), address));
    }
    let balancer = text(service, "spec.loadBalancerIP");
    if !balancer.is_empty() {
        warnings.extend(net::odd_address("spec.loadBalancerIP", balancer));
    }
    for (number, range) in texts(service, "spec.loadBalancerSourceRanges").enumerate() {
        warnings.extend(net::odd_range(&format!("spec.loadBalancerSourceRanges[{number}]"), range));
    }
    let external = is_external_name(service);
    if external && list(service, "spec.externalIPs").len() > 0 {
        warnings.push("spec.externalIPs is ignored when spec.type is \"ExternalName\"".to_owned());
    }
    if !external && !text(service, "spec.externalName").is_empty() {
        warnings.push("spec.externalName is ignored when spec.type is not \"ExternalName\"".to_owned());
    }
    if text(service, "spec.trafficDistribution") == "PreferClose" {
        warnings.push("spec.trafficDistribution: \"PreferClose\" is deprecated; use \"PreferSameZone\"".to_owned());
    }
    warnings
}
