//! Variables that describe Services.
//!
//! <https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables>

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Pod, Service};

/// The variables for a pod: those of the `kubernetes` Service always, those of the pod's
/// namespace unless it does not want them.
pub(crate) fn variables<'a>(pod: &Pod, services: impl Iterator<Item = &'a Service>) -> BTreeMap<String, String> {
    let links = pod.spec.as_ref().is_none_or(|s| s.enable_service_links != Some(false));
    let own = pod.metadata.namespace.as_deref();
    let mut variables = BTreeMap::new();
    let mut master = None;
    for service in services {
        let name = service.metadata.name.as_deref().unwrap_or_default();
        let namespace = service.metadata.namespace.as_deref();
        if namespace == Some("default") && name == "kubernetes" {
            master = Some(service);
        } else if links && namespace == own {
            describe(service, &mut variables);
        }
    }
    // A service of the same name in the pod's own namespace goes before the cluster's.
    if let Some(master) = master {
        let mut described = BTreeMap::new();
        describe(master, &mut described);
        for (name, value) in described {
            variables.entry(name).or_insert(value);
        }
    }
    variables
}

fn describe(service: &Service, into: &mut BTreeMap<String, String>) {
    let Some(spec) = &service.spec else { return };
    let Some(ip) = spec.cluster_ip.as_deref().filter(|ip| !ip.is_empty() && *ip != "None") else {
        return;
    };
    let host = if ip.contains(':') { format!("[{ip}]") } else { ip.to_owned() };
    let prefix = variable_name(service.metadata.name.as_deref().unwrap_or_default());
    let mut set = |suffix: &str, value: String| {
        into.insert(format!("{prefix}_{suffix}"), value);
    };
    set("SERVICE_HOST", ip.to_owned());
    for (index, port) in spec.ports.iter().flatten().enumerate() {
        let number = port.port;
        if index == 0 {
            set("SERVICE_PORT", number.to_string());
        }
        if let Some(name) = port.name.as_deref().filter(|n| !n.is_empty()) {
            set(&format!("SERVICE_PORT_{}", variable_name(name)), number.to_string());
        }
        let protocol = port.protocol.as_deref().unwrap_or("TCP");
        let lower = protocol.to_lowercase();
        let url = format!("{lower}://{host}:{number}");
        if index == 0 {
            set("PORT", url.clone());
        }
        let link = format!("PORT_{number}_{}", protocol.to_uppercase());
        set(&link, url);
        set(&format!("{link}_PROTO"), lower);
        set(&format!("{link}_PORT"), number.to_string());
        set(&format!("{link}_ADDR"), ip.to_owned());
    }
}

fn variable_name(name: &str) -> String {
    name.replace('-', "_").to_uppercase()
}
