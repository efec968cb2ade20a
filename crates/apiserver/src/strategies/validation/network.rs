//! How a pod is named and what it resolves: DNS, host aliases, host names, the host's network.

use corten_schema::Value;

use super::pod_spec::Subject;
use super::{Errors, Path, invalid_all, names, optional_name};
use crate::status::FieldError;
use crate::view::{at, flag, int, list, text, texts};

const POLICIES: [&str; 4] = ["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"];

/// `dnsPolicy`.
pub fn dns_policy(errors: &mut Errors, path: Path<'_>, spec: &Value) {
    match text(spec, "dnsPolicy") {
        "" => errors.push(FieldError::required(path, "")),
        policy if !POLICIES.contains(&policy) => errors.push(FieldError::not_supported_as_given(path, policy, &POLICIES)),
        _ => {}
    }
}

/// `dnsConfig`, within what resolvers accept.
pub fn dns(errors: &mut Errors, path: Path<'_>, spec: &Value) {
    const SERVERS: usize = 3;
    const SEARCHES: usize = 32;
    const CHARACTERS: usize = 2048;
    let config = at(spec, "dnsConfig");
    if text(spec, "dnsPolicy") == "None" {
        if config.is_none() {
            errors.push(FieldError::required(path, "must provide `dnsConfig` when `dnsPolicy` is None"));
        } else if list(spec, "dnsConfig.nameservers").len() == 0 {
            let words = "must provide at least one DNS nameserver when `dnsPolicy` is None";
            errors.push(FieldError::required(path.field("nameservers"), words));
            return;
        }
    }
    let Some(config) = config else { return };
    let servers = path.field("nameservers");
    let shown = |field: &str| at(config, field).cloned().unwrap_or_default();
    if list(config, "nameservers").len() > SERVERS {
        let words = format!("must not have more than {SERVERS} nameservers");
        errors.push(FieldError::invalid(servers, shown("nameservers"), words));
    }
    for (number, server) in texts(config, "nameservers").enumerate() {
        invalid_all(errors, servers.index(number), server, names::ip(server));
    }
    let searches = path.field("searches");
    if list(config, "searches").len() > SEARCHES {
        let words = format!("must not have more than {SEARCHES} search paths");
        errors.push(FieldError::invalid(searches, shown("searches"), words));
    }
    let length: usize = texts(config, "searches").map(|search| search.len() + 1).sum();
    if length.saturating_sub(1) > CHARACTERS {
        let words = format!("must not have more than {CHARACTERS} characters (including spaces) in the search list");
        errors.push(FieldError::invalid(searches, shown("searches"), words));
    }
    for (number, search) in texts(config, "searches").enumerate().filter(|(_, search)| *search != ".") {
        let search = search.strip_suffix('.').unwrap_or(search);
        invalid_all(errors, searches.index(number), search, names::search_domain(search));
    }
    let options = path.field("options");
    for (number, option) in list(config, "options").enumerate() {
        if text(option, "name").is_empty() {
            errors.push(FieldError::required(options.index(number), "must not be empty"));
        }
    }
}

/// `hostAliases`.
pub fn aliases(errors: &mut Errors, all: Path<'_>, spec: &Value) {
    for (number, alias) in list(spec, "hostAliases").enumerate() {
        let path = all.index(number);
        invalid_all(errors, path.field("ip"), text(alias, "ip"), names::ip(text(alias, "ip")));
        let hosts = path.field("hostnames");
        for (number, host) in texts(alias, "hostnames").enumerate() {
            invalid_all(errors, hosts.index(number), host, names::subdomain(host));
        }
    }
}

/// `hostname`, `subdomain`, and the name that replaces both.
pub fn host_names(errors: &mut Errors, path: Path<'_>, spec: &Value) {
    for field in ["hostname", "subdomain"] {
        optional_name(errors, path.field(field), text(spec, field), names::label);
    }
    if at(spec, "hostnameOverride").is_none() {
        return;
    }
    let name = text(spec, "hostnameOverride");
    let path = path.field("hostnameOverride");
    for (set, field) in [(flag(spec, "setHostnameAsFQDN"), "setHostnameAsFQDN"), (flag(spec, "hostNetwork"), "hostNetwork")] {
        if set {
            errors.push(FieldError::forbidden(path, format!("may not be specified when {field} is true")));
        }
    }
    if name.len() > 64 {
        errors.push(FieldError::too_long(path, 64));
    }
    invalid_all(errors, path, name, names::subdomain(name));
}

/// In the host's network a port of a container is the host's port. Templates may leave that to the pod.
pub fn host_ports(errors: &mut Errors, all: Path<'_>, spec: &Value, subject: &Subject<'_>) {
    if !flag(spec, "hostNetwork") {
        return;
    }
    for (number, container) in list(spec, "containers").enumerate() {
        let path = all.index(number);
        let ports = path.field("ports");
        for (number, port) in list(container, "ports").enumerate() {
            let (host, own) = (int(port, "hostPort").unwrap_or_default(), int(port, "containerPort").unwrap_or_default());
            if host != own && (host != 0 || subject.is_pod()) {
                let path = ports.index(number);
                errors.push(FieldError::invalid(path.field("hostPort"), host, "must match `containerPort` when `hostNetwork` is true"));
            }
        }
    }
}
