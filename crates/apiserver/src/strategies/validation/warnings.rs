//! What writers of pods and templates should know: fields that do nothing any more, and risky combinations.

use std::collections::{HashMap, HashSet};

use corten_schema::Value;

use super::annotations::{APP_ARMOR, SECCOMP, SECCOMP_CONTAINER};
use super::windows::LISTS;
use super::{Path, quantity};
use crate::view::{at, entries, entry, int, list, text};

/// Warnings, collected.
pub type Warnings = Vec<String>;

/// The warnings about a pod or template: `root` is none for a pod, `spec.template` for most templates.
pub fn pod(warnings: &mut Warnings, root: Option<Path<'_>>, pod: &Value) {
    let (metadata, specification) = match &root {
        None => (Path::Root("metadata"), Path::Root("spec")),
        Some(root) => (root.field("metadata"), root.field("spec")),
    };
    let annotations = metadata.field("annotations");
    let empty = Value::map();
    let spec = at(pod, "spec").unwrap_or(&empty);
    node_labels(warnings, specification, spec);
    for (key, words) in DEPRECATED {
        if entry(pod, "metadata.annotations", key).is_some() {
            warnings.push(format!("{}: {words}", annotations.key(key)));
        }
    }
    volumes(warnings, specification.field("volumes"), spec);
    lists(warnings, specification, spec);
    amounts(warnings, specification, spec, "overhead", "overhead");
    let annotation = |key: &str| entry(pod, "metadata.annotations", key).is_some();
    let unused = "non-functional in v1.27+; use the \"seccompProfile\" field instead";
    if at(spec, "securityContext.seccompProfile").is_none() && annotation(SECCOMP) {
        warnings.push(format!("{}: {unused}", annotations.key(SECCOMP)));
    }
    for kind in LISTS {
        let containers = specification.field(kind);
        for (number, container) in list(spec, kind).enumerate() {
            let path = containers.index(number);
            let name = text(container, "name");
            let key = format!("{SECCOMP_CONTAINER}{name}");
            if at(container, "securityContext.seccompProfile").is_none() && annotation(&key) {
                warnings.push(format!("{}: {unused}", annotations.key(&key)));
            }
            let key = format!("{APP_ARMOR}{name}");
            let field = [at(spec, "securityContext.appArmorProfile"), at(container, "securityContext.appArmorProfile")];
            // For pods the annotation is taken into the field, which says so itself.
            if root.is_some() && field.iter().all(Option::is_none) && annotation(&key) {
                warnings.push(format!("{}: deprecated since v1.30; use the \"appArmorProfile\" field instead", annotations.key(&key)));
            }
            let resources = path.field("resources");
            amounts(warnings, resources, container, "resources.limits", "limits");
            amounts(warnings, resources, container, "resources.requests", "requests");
            variables(warnings, path.field("env"), container);
        }
    }
    ports(warnings, specification, spec);
    if int(spec, "terminationGracePeriodSeconds").is_some_and(|seconds| seconds < 0) {
        let path = specification.field("terminationGracePeriodSeconds");
        warnings.push(format!("{path}: must be >= 0; negative values are invalid and will be treated as 1"));
    }
    selectors(warnings, specification.field("affinity"), spec);
}

const DEPRECATED: [(&str, &str); 3] = [
    ("scheduler.alpha.kubernetes.io/critical-pod", "non-functional in v1.16+; use the \"priorityClassName\" field instead"),
    ("security.alpha.kubernetes.io/sysctls", "non-functional in v1.11+; use the \"sysctls\" field instead"),
    ("security.alpha.kubernetes.io/unsafe-sysctls", "non-functional in v1.11+; use the \"sysctls\" field instead"),
];

/// What is said about a deprecated label of nodes.
pub fn node_label(key: &str) -> Option<&'static str> {
    Some(match key {
        "beta.kubernetes.io/arch" => "deprecated since v1.14; use \"kubernetes.io/arch\" instead",
        "beta.kubernetes.io/os" => "deprecated since v1.14; use \"kubernetes.io/os\" instead",
        "failure-domain.beta.kubernetes.io/region" => "deprecated since v1.17; use \"topology.kubernetes.io/region\" instead",
        "failure-domain.beta.kubernetes.io/zone" => "deprecated since v1.17; use \"topology.kubernetes.io/zone\" instead",
        "beta.kubernetes.io/instance-type" => "deprecated since v1.17; use \"node.kubernetes.io/instance-type\" instead",
        _ => return None,
    })
}

fn node_labels(warnings: &mut Warnings, path: Path<'_>, spec: &Value) {
    for (key, _) in entries(spec, "nodeSelector") {
        if let Some(words) = node_label(key) {
            warnings.push(format!("{}: {words}", path.field("nodeSelector").key(key)));
        }
    }
    let affinity = path.field("affinity");
    let node = affinity.field("nodeAffinity");
    let required = node.field("requiredDuringSchedulingIgnoredDuringExecution");
    let terms = required.field("nodeSelectorTerms");
    for (number, term) in list(spec, "affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms").enumerate() {
        node_term(warnings, terms.index(number), term);
    }
    let preferred = node.field("preferredDuringSchedulingIgnoredDuringExecution");
    for (number, item) in list(spec, "affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution").enumerate() {
        let item_path = preferred.index(number);
        node_term(warnings, item_path.field("preference"), at(item, "preference").unwrap_or(&Value::Null));
    }
    let spread = path.field("topologySpreadConstraints");
    for (number, constraint) in list(spec, "topologySpreadConstraints").enumerate() {
        let key = text(constraint, "topologyKey");
        if let Some(words) = node_label(key) {
            warnings.push(format!("{}: {key} is {words}", spread.index(number).field("topologyKey")));
        }
        if at(constraint, "labelSelector").is_none() {
            let path = spread.index(number);
            warnings.push(format!("{}: a null labelSelector results in matching no pod", path.field("labelSelector")));
        }
    }
}

/// The deprecated labels in a term of a node selector.
pub fn node_term(warnings: &mut Warnings, path: Path<'_>, term: &Value) {
    let expressions = path.field("matchExpressions");
    for (number, expression) in list(term, "matchExpressions").enumerate() {
        let key = text(expression, "key");
        if let Some(words) = node_label(key) {
            warnings.push(format!("{}: {key} is {words}", expressions.index(number).field("key")));
        }
    }
}

const GONE: [(&str, &str, &str); 9] = [
    ("photonPersistentDisk", "photonPersistentDisk", "deprecated in v1.11, non-functional in v1.16+"),
    ("gitRepo", "gitRepo", "deprecated in v1.11, and disabled by default in v1.33+"),
    ("scaleIO", "scaleIO", "deprecated in v1.16, non-functional in v1.22+"),
    ("flocker", "flocker", "deprecated in v1.22, non-functional in v1.25+"),
    ("storageos", "storageOS", "deprecated in v1.22, non-functional in v1.25+"),
    ("quobyte", "quobyte", "deprecated in v1.22, non-functional in v1.25+"),
    ("glusterfs", "glusterfs", "deprecated in v1.25, non-functional in v1.26+"),
    ("cephfs", "cephfs", "deprecated in v1.28, non-functional in v1.31+"),
    ("rbd", "rbd", "deprecated in v1.28, non-functional in v1.31+"),
];

fn volumes(warnings: &mut Warnings, all: Path<'_>, spec: &Value) {
    let sources = || list(spec, "volumes").flat_map(|volume| list(volume, "projected.sources"));
    let tokens: Vec<&str> =
        sources().filter(|part| at(part, "serviceAccountToken").is_some()).map(|part| text(part, "serviceAccountToken.path")).collect();
    for (number, volume) in list(spec, "volumes").enumerate() {
        let path = all.index(number);
        for (field, shown, words) in GONE {
            if at(volume, field).is_some() {
                warnings.push(format!("{}: {words}", path.field(shown)));
            }
        }
        let ephemeral = path.field("ephemeral");
        let template = ephemeral.field("volumeClaimTemplate");
        if let Some(claim) = at(volume, "ephemeral.volumeClaimTemplate.spec") {
            self::claim(warnings, template.field("spec"), claim);
        }
        let projected = path.field("projected");
        let parts = projected.field("sources");
        for part in list(volume, "projected.sources") {
            for (field, shown) in [("configMap", "configMap"), ("secret", "secrets"), ("downwardAPI", "downwardAPI")] {
                let path = parts.field(shown);
                for (number, item) in at(part, field).map(|source| list(source, "items")).into_iter().flatten().enumerate() {
                    let file = text(item, "path");
                    if tokens.contains(&file) {
                        warnings.push(format!("{}: has duplicated path with ServiceAccountToken {file:?}", path.index(number)));
                    }
                }
            }
        }
    }
}

/// The warnings about the specification of a claim.
pub fn claim(warnings: &mut Warnings, path: Path<'_>, spec: &Value) {
    let storage = |kind: &str| entry(spec, kind, "storage").and_then(quantity::parse).is_some_and(|amount| !quantity::is_whole(amount));
    let resources = path.field("resources");
    for (kind, field) in [("resources.requests", "requests"), ("resources.limits", "limits")] {
        if storage(kind) {
            let shown = entry(spec, kind, "storage").unwrap_or_default();
            let path = resources.field(field);
            warnings.push(format!("{}: fractional byte value {shown:?} is invalid, must be an integer", path.key("storage")));
        }
    }
}

fn lists(warnings: &mut Warnings, path: Path<'_>, spec: &Value) {
    for (field, name) in [("hostAliases", "ip"), ("imagePullSecrets", "name")] {
        let all = path.field(field);
        let mut seen = HashSet::new();
        for (number, item) in list(spec, field).enumerate() {
            let value = text(item, name);
            let item_path = all.index(number);
            if !seen.insert(value) {
                warnings.push(format!("{}: duplicate {name} {value:?}", item_path.field(name)));
            }
            if field == "imagePullSecrets" && value.is_empty() {
                warnings.push(format!("{}: invalid empty name {value:?}", item_path.field(name)));
            }
        }
    }
}

/// Bytes come whole.
fn amounts(warnings: &mut Warnings, path: Path<'_>, object: &Value, field: &str, shown: &str) {
    for name in ["memory", "ephemeral-storage"] {
        let Some(amount) = entry(object, field, name) else { continue };
        if quantity::parse(amount).is_some_and(|amount| !quantity::is_whole(amount)) {
            let path = path.field(shown);
            warnings.push(format!("{}: fractional byte value {amount:?} is invalid, must be an integer", path.key(name)));
        }
    }
}

fn variables(warnings: &mut Warnings, all: Path<'_>, container: &Value) {
    let mut seen = HashSet::new();
    for (number, variable) in list(container, "env").enumerate() {
        let name = text(variable, "name");
        let reference = format!("$({name})");
        let value = text(variable, "value");
        // A variable may build on its former self: `PATH=$(PATH):/opt`.
        let builds = at(variable, "valueFrom").is_none() && value != reference && value.contains(&reference);
        if !seen.insert(name) && !builds {
            let path = all.index(number);
            warnings.push(format!("{path}: hides previous definition of {name:?}, which may be dropped when using apply"));
        }
    }
}

/// Where a port is defined, and the address and port of the host that it takes.
type Taken<'a> = (String, &'a str, i64);

fn ports(warnings: &mut Warnings, path: Path<'_>, spec: &Value) {
    let mut seen: HashMap<(i64, &str), Vec<Taken<'_>>> = HashMap::new();
    for kind in LISTS {
        let containers = path.field(kind);
        for (number, container) in list(spec, kind).enumerate() {
            let container_path = containers.index(number);
            let all = container_path.field("ports");
            for (number, port) in list(container, "ports").enumerate() {
                let here = all.index(number).to_string();
                let (address, host) = (text(port, "hostIP"), int(port, "hostPort").unwrap_or_default());
                if !address.is_empty() && host == 0 {
                    warnings.push(format!("{here}: hostIP set without hostPort: {address}"));
                }
                let key = (int(port, "containerPort").unwrap_or_default(), text(port, "protocol"));
                let others = seen.entry(key).or_default();
                for (there, other_address, other_host) in others.iter() {
                    let what = if address == *other_address && host == *other_host {
                        "duplicate"
                    } else if host == 0 || *other_host == 0 {
                        "overlapping"
                    } else if host == *other_host && address.is_empty() != other_address.is_empty() {
                        "dangerously ambiguous"
                    } else {
                        continue;
                    };
                    warnings.push(format!("{here}: {what} port definition with {there}"));
                }
                others.push((here, address, host));
            }
        }
    }
}

fn selectors(warnings: &mut Warnings, path: Path<'_>, spec: &Value) {
    for kind in ["podAffinity", "podAntiAffinity"] {
        let Some(rules) = at(spec, "affinity").and_then(|affinity| at(affinity, kind)) else { continue };
        let path = path.field(kind);
        let required = path.field("requiredDuringSchedulingIgnoredDuringExecution");
        for (number, term) in list(rules, "requiredDuringSchedulingIgnoredDuringExecution").enumerate() {
            null_selector(warnings, required.index(number), term);
        }
        let preferred = path.field("preferredDuringSchedulingIgnoredDuringExecution");
        for (number, item) in list(rules, "preferredDuringSchedulingIgnoredDuringExecution").enumerate() {
            let item_path = preferred.index(number);
            null_selector(warnings, item_path.field("podAffinityTerm"), at(item, "podAffinityTerm").unwrap_or(&Value::Null));
        }
    }
}

fn null_selector(warnings: &mut Warnings, path: Path<'_>, term: &Value) {
    if at(term, "labelSelector").is_none() {
        warnings.push(format!("{}: a null labelSelector results in matching no pod", path.field("labelSelector")));
    }
}
