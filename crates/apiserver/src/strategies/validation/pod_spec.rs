//! The specification of a pod, in Pods and in the templates of everything that makes them.

use std::collections::HashSet;

use corten_schema::Value;

use super::containers::{self, Role, Surroundings};
use super::{Errors, Path, invalid_all, invalid_number, labels, names, non_negative, one_of, required_one_of, volumes};
use crate::status::FieldError;
use crate::view::{at, entries, flag, int, list, text};

/// A PodTemplateSpec at `path`.
pub fn template(errors: &mut Errors, path: Path<'_>, template: &Value) {
    let metadata = path.field("metadata");
    labels::labels(errors, metadata.field("labels"), at(template, "metadata.labels"));
    labels::annotations(errors, metadata.field("annotations"), at(template, "metadata.annotations"));
    let empty = Value::map();
    let spec = at(template, "spec").unwrap_or(&empty);
    validate(errors, path.field("spec"), spec);
    if list(spec, "ephemeralContainers").len() > 0 {
        let path = path.field("spec");
        errors.push(FieldError::forbidden(path.field("ephemeralContainers"), "ephemeral containers not allowed in pod template"));
    }
}

/// A PodSpec at `path`.
pub fn validate(errors: &mut Errors, path: Path<'_>, spec: &Value) {
    let around = Surroundings { volumes: volumes::validate(errors, path.field("volumes"), spec), host_network: flag(spec, "hostNetwork") };
    let mut used = HashSet::new();
    if list(spec, "containers").len() == 0 {
        errors.push(FieldError::required(path.field("containers"), ""));
    }
    for (field, role) in [("containers", Role::Main), ("initContainers", Role::Init), ("ephemeralContainers", Role::Ephemeral)] {
        containers::validate(errors, path.field(field), list(spec, field), role, &around, &mut used);
    }
    targets(errors, path.field("ephemeralContainers"), spec);
    policies(errors, path, spec);
    identity(errors, path, spec);
    placement(errors, path, spec);
    network(errors, path, spec);
}

/// An ephemeral container may look into another container's processes, if there is one of that name.
fn targets(errors: &mut Errors, path: Path<'_>, spec: &Value) {
    for (number, container) in list(spec, "ephemeralContainers").enumerate() {
        let target = text(container, "targetContainerName");
        let mut others = list(spec, "containers").chain(list(spec, "initContainers"));
        if !target.is_empty() && !others.any(|one| text(one, "name") == target) {
            let path = path.index(number);
            errors.push(FieldError::not_found(path.field("targetContainerName"), target));
        }
    }
}

fn policies(errors: &mut Errors, path: Path<'_>, spec: &Value) {
    required_one_of(errors, path.field("restartPolicy"), text(spec, "restartPolicy"), &["Always", "OnFailure", "Never"]);
    let policy = text(spec, "dnsPolicy");
    required_one_of(errors, path.field("dnsPolicy"), policy, &["ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"]);
    if policy == "None" && list(spec, "dnsConfig.nameservers").len() == 0 {
        let path = path.field("dnsConfig");
        errors.push(FieldError::required(path.field("nameservers"), "must provide at least one DNS nameserver when `dnsPolicy` is None"));
    }
    non_negative(errors, path.field("terminationGracePeriodSeconds"), int(spec, "terminationGracePeriodSeconds"));
    if let Some(seconds) = int(spec, "activeDeadlineSeconds") {
        let findings = names::in_range(seconds, 1, i64::from(i32::MAX));
        invalid_number(errors, path.field("activeDeadlineSeconds"), seconds, findings);
    }
}

fn identity(errors: &mut Errors, path: Path<'_>, spec: &Value) {
    for field in ["serviceAccountName", "nodeName", "priorityClassName", "runtimeClassName"] {
        let value = text(spec, field);
        if !value.is_empty() {
            invalid_all(errors, path.field(field), value, names::subdomain(value));
        }
    }
    for field in ["hostname", "subdomain"] {
        let value = text(spec, field);
        if !value.is_empty() {
            invalid_all(errors, path.field(field), value, names::label(value));
        }
    }
    let secrets = path.field("imagePullSecrets");
    for (number, secret) in list(spec, "imagePullSecrets").enumerate() {
        if text(secret, "name").is_empty() {
            let path = secrets.index(number);
            errors.push(FieldError::required(path.field("name"), ""));
        }
    }
    let security = path.field("securityContext");
    for field in ["runAsUser", "runAsGroup", "fsGroup"] {
        if let Some(id) = int(spec, &format!("securityContext.{field}")) {
            invalid_number(errors, security.field(field), id, names::in_range(id, 0, i64::from(u32::MAX)));
        }
    }
}

fn network(errors: &mut Errors, path: Path<'_>, spec: &Value) {
    let aliases = path.field("hostAliases");
    for (number, alias) in list(spec, "hostAliases").enumerate() {
        let path = aliases.index(number);
        invalid_all(errors, path.field("ip"), text(alias, "ip"), names::ip(text(alias, "ip")));
    }
    let config = path.field("dnsConfig");
    let servers = config.field("nameservers");
    for (number, server) in list(spec, "dnsConfig.nameservers").filter_map(Value::as_str).enumerate() {
        invalid_all(errors, servers.index(number), server, names::ip(server));
    }
    if flag(spec, "shareProcessNamespace") && flag(spec, "hostPID") {
        errors.push(FieldError::invalid(
            path.field("shareProcessNamespace"),
            true,
            "ShareProcessNamespace and HostPID cannot both be enabled",
        ));
    }
}

fn placement(errors: &mut Errors, path: Path<'_>, spec: &Value) {
    let node_selector = path.field("nodeSelector");
    labels::labels(errors, node_selector, at(spec, "nodeSelector"));
    let all = path.field("tolerations");
    for (number, toleration) in list(spec, "tolerations").enumerate() {
        self::toleration(errors, all.index(number), toleration);
    }
    let all = path.field("topologySpreadConstraints");
    for (number, constraint) in list(spec, "topologySpreadConstraints").enumerate() {
        let path = all.index(number);
        let skew = int(constraint, "maxSkew").unwrap_or_default();
        if skew <= 0 {
            errors.push(FieldError::invalid(path.field("maxSkew"), skew, "must be greater than zero"));
        }
        if text(constraint, "topologyKey").is_empty() {
            errors.push(FieldError::required(path.field("topologyKey"), "can not be empty"));
        }
        let words = text(constraint, "whenUnsatisfiable");
        one_of(errors, path.field("whenUnsatisfiable"), words, &["DoNotSchedule", "ScheduleAnyway"]);
        if let Some(selector) = at(constraint, "labelSelector") {
            labels::selector(errors, path.field("labelSelector"), selector);
        }
    }
    let affinity = path.field("affinity");
    if let Some(value) = at(spec, "affinity") {
        self::affinity(errors, affinity, value);
    }
    if list(spec, "schedulingGates").len() > 0 && !text(spec, "nodeName").is_empty() {
        errors.push(FieldError::forbidden(path.field("nodeName"), "cannot be set until all schedulingGates have been cleared"));
    }
}

fn toleration(errors: &mut Errors, path: Path<'_>, toleration: &Value) {
    let (key, operator) = (text(toleration, "key"), text(toleration, "operator"));
    let (effect, value) = (text(toleration, "effect"), text(toleration, "value"));
    if !key.is_empty() {
        invalid_all(errors, path.field("key"), key, names::qualified_name(key));
    } else if operator != "Exists" {
        errors.push(FieldError::invalid(
            path.field("operator"),
            operator,
            "operator must be Exists when `key` is empty, which means \"match all values and all keys\"",
        ));
    }
    if int(toleration, "tolerationSeconds").is_some() && effect != "NoExecute" {
        errors.push(FieldError::invalid(path.field("effect"), effect, "effect must be 'NoExecute' when `tolerationSeconds` is set"));
    }
    match operator {
        "Equal" | "" => invalid_all(errors, path.field("operator"), value, names::label_value(value)),
        "Exists" if !value.is_empty() => {
            errors.push(FieldError::invalid(path.field("operator"), value, "value must be empty when `operator` is 'Exists'"))
        }
        "Exists" => {}
        _ => errors.push(FieldError::not_supported(path.field("operator"), operator, &["Equal", "Exists"])),
    }
    if !effect.is_empty() {
        one_of(errors, path.field("effect"), effect, &["NoSchedule", "PreferNoSchedule", "NoExecute"]);
    }
}

fn affinity(errors: &mut Errors, path: Path<'_>, affinity: &Value) {
    let node = path.field("nodeAffinity");
    let required = node.field("requiredDuringSchedulingIgnoredDuringExecution");
    if let Some(selector) = at(affinity, "nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution")
        && list(selector, "nodeSelectorTerms").len() == 0
    {
        errors.push(FieldError::required(required.field("nodeSelectorTerms"), "must have at least one node selector term"));
    }
    let weight = |errors: &mut Errors, path: Path<'_>, term: &Value| {
        let weight = int(term, "weight").unwrap_or_default();
        if !(1..=100).contains(&weight) {
            errors.push(FieldError::invalid(path.field("weight"), weight, "must be in the range 1-100"));
        }
    };
    let preferred = node.field("preferredDuringSchedulingIgnoredDuringExecution");
    for (number, term) in list(affinity, "nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution").enumerate() {
        weight(errors, preferred.index(number), term);
    }
    for kind in ["podAffinity", "podAntiAffinity"] {
        let path = path.field(kind);
        for (list_name, weighted) in
            [("requiredDuringSchedulingIgnoredDuringExecution", false), ("preferredDuringSchedulingIgnoredDuringExecution", true)]
        {
            let path = path.field(list_name);
            for (number, item) in list(affinity, &format!("{kind}.{list_name}")).enumerate() {
                let path = path.index(number);
                if weighted {
                    weight(errors, path, item);
                    let inner = path.field("podAffinityTerm");
                    if let Some(term) = at(item, "podAffinityTerm") {
                        affinity_term(errors, inner, term);
                    }
                } else {
                    affinity_term(errors, path, item);
                }
            }
        }
    }
}

fn affinity_term(errors: &mut Errors, path: Path<'_>, term: &Value) {
    let key = text(term, "topologyKey");
    if key.is_empty() {
        errors.push(FieldError::required(path.field("topologyKey"), "can not be empty"));
    } else {
        invalid_all(errors, path.field("topologyKey"), key, names::qualified_name(key));
    }
    for field in ["labelSelector", "namespaceSelector"] {
        if let Some(selector) = at(term, field) {
            labels::selector(errors, path.field(field), selector);
        }
    }
}

/// The quality of service class, from requests and limits of cpu and memory (and of the pod as a whole, if it has them).
pub fn quality_class(spec: &Value) -> &'static str {
    let pod_level = at(spec, "resources")
        .filter(|resources| entries(resources, "requests").next().is_some() || entries(resources, "limits").next().is_some());
    let all: Vec<Option<&Value>> = match pod_level {
        Some(resources) => vec![Some(resources)],
        None => ["containers", "initContainers"]
            .iter()
            .flat_map(|field| list(spec, field))
            .map(|container| at(container, "resources"))
            .collect(),
    };
    let amount = |resources: Option<&Value>, kind: &str, name: &str| {
        let text = crate::view::entry(resources?, kind, name)?;
        super::quantity::parse(text).filter(|amount| *amount != 0)
    };
    let mut any = false;
    let mut guaranteed = true;
    for resources in all {
        for name in ["cpu", "memory"] {
            let (request, limit) = (amount(resources, "requests", name), amount(resources, "limits", name));
            any |= request.is_some() || limit.is_some();
            guaranteed &= limit.is_some() && (request.is_none() || request == limit);
        }
    }
    match (any, guaranteed) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}
