//! Containers of a pod: the main ones, those that initialize, those that are added to look into it.

use std::collections::HashSet;

use corten_schema::Value;

use super::volumes::Volumes;
use super::{
    Errors, Path, claims, environment, invalid_all, invalid_number, mounts, names, one_of, pod_spec, probes, required, required_name,
    required_one_of, resources, security, values_of,
};
use crate::status::FieldError;
use crate::view::{at, int, list, text};

/// The pod around a container, which it may refer to.
#[derive(Clone, Copy)]
pub struct Surroundings<'a> {
    /// The pod's specification.
    pub spec: &'a Value,
    /// The pod's volumes.
    pub volumes: &'a Volumes<'a>,
    /// The names of the pod's resource claims.
    pub claims: &'a claims::Declared<'a>,
    /// The pod's users are the host's.
    pub host_users: bool,
}

/// `containers`.
pub fn main(errors: &mut Errors, all: Path<'_>, around: &Surroundings<'_>) {
    let containers = || list(around.spec, "containers");
    if containers().len() == 0 {
        errors.push(FieldError::required(all, ""));
    }
    let (mut ports, mut seen) = (HashSet::new(), HashSet::new());
    for (number, container) in containers().enumerate() {
        let path = all.index(number);
        common(errors, path, container, around);
        let name = text(container, "name");
        if !seen.insert(name) {
            errors.push(FieldError::duplicate(path.field("name"), name));
        }
        probes::validate(errors, path, around.spec, container);
        restarts(errors, path, container);
    }
    for (number, container) in containers().enumerate() {
        host_ports(errors, all.index(number), container, &mut ports);
    }
}

/// `initContainers`.
pub fn init(errors: &mut Errors, all: Path<'_>, around: &Surroundings<'_>) {
    let mut seen: HashSet<&str> = list(around.spec, "containers").map(|container| text(container, "name")).collect();
    for (number, container) in list(around.spec, "initContainers").enumerate() {
        let path = all.index(number);
        common(errors, path, container, around);
        let policy = text(container, "restartPolicy");
        let sidecar = policy == "Always";
        if sidecar && list(container, "restartPolicyRules").len() > 0 {
            let words = "restartPolicyRules are not allowed for init containers with restart policy Always";
            errors.push(FieldError::forbidden(path.field("restartPolicyRules"), words));
        } else if at(container, "restartPolicy").is_some() {
            restarts(errors, path, container);
        }
        let name = text(container, "name");
        if !seen.insert(name) && !name.is_empty() {
            errors.push(FieldError::duplicate(path.field("name"), name));
        }
        // They run one after the other, each with ports of its own.
        host_ports(errors, all.index(0), container, &mut HashSet::new());
        if sidecar {
            probes::validate(errors, path, around.spec, container);
            continue;
        }
        let words = "may not be set for init containers without restartPolicy=Always";
        for field in ["lifecycle", "livenessProbe", "readinessProbe", "startupProbe"] {
            if at(container, field).is_some() {
                errors.push(FieldError::forbidden(path.field(field), words));
            }
        }
    }
}

/// Fields that make no sense in a container that nobody has planned for.
const PLANNED: [&str; 8] =
    ["ports", "resources", "resizePolicy", "restartPolicy", "restartPolicyRules", "livenessProbe", "readinessProbe", "startupProbe"];

/// `ephemeralContainers`.
pub fn ephemeral(errors: &mut Errors, all: Path<'_>, around: &Surroundings<'_>) {
    const WORDS: &str = "cannot be set for an Ephemeral Container";
    let planned = list(around.spec, "containers").chain(list(around.spec, "initContainers"));
    let planned: HashSet<&str> = planned.map(|container| text(container, "name")).collect();
    let mut seen = planned.clone();
    for (number, container) in list(around.spec, "ephemeralContainers").enumerate() {
        let path = all.index(number);
        common(errors, path, container, around);
        pod_spec::trimmed(errors, path, container);
        let name = text(container, "name");
        if !seen.insert(name) {
            errors.push(FieldError::duplicate(path.field("name"), name));
        }
        let target = text(container, "targetContainerName");
        if !target.is_empty() && !planned.contains(target) {
            errors.push(FieldError::not_found(path.field("targetContainerName"), target));
        }
        for field in PLANNED.iter().chain(&["lifecycle"]) {
            let given = match at(container, field) {
                Some(Value::Map(map)) => !map.is_empty(),
                Some(Value::List(items)) => !items.is_empty(),
                other => other.is_some(),
            };
            if given {
                errors.push(FieldError::forbidden(path.field(field), WORDS));
            }
        }
        let mounts = path.field("volumeMounts");
        for (number, mount) in list(container, "volumeMounts").enumerate() {
            for field in ["subPath", "subPathExpr"] {
                if !text(mount, field).is_empty() {
                    let path = mounts.index(number);
                    errors.push(FieldError::forbidden(path.field(field), WORDS));
                }
            }
        }
    }
}

/// What all containers have in common.
fn common(errors: &mut Errors, path: Path<'_>, container: &Value, around: &Surroundings<'_>) {
    required_name(errors, path.field("name"), text(container, "name"), names::label);
    required(errors, path, container, &["image"]);
    match text(container, "terminationMessagePolicy") {
        "" => required(errors, path, container, &["terminationMessagePolicy"]),
        "File" | "FallbackToLogsOnError" => {}
        policy => errors.push(FieldError::not_supported_as_given(
            path.field("terminationMessagePolicy"),
            policy,
            &["File", "FallbackToLogsOnError"],
        )),
    }
    ports(errors, path.field("ports"), container);
    environment::validate(errors, path, around.spec, container);
    mounts::validate(errors, path, container, around.volumes);
    required_one_of(
        errors,
        path.field("imagePullPolicy"),
        text(container, "imagePullPolicy"),
        values_of("core.v1.Container", "imagePullPolicy"),
    );
    if let Some(amounts) = at(container, "resources") {
        resources::requirements(errors, path.field("resources"), amounts, resources::container_name, around.claims);
    }
    resources::resize_policy(errors, path.field("resizePolicy"), container, text(around.spec, "restartPolicy"));
    security::container(errors, path.field("securityContext"), container, around.host_users);
}

fn ports(errors: &mut Errors, all: Path<'_>, container: &Value) {
    let mut seen = HashSet::new();
    for (number, port) in list(container, "ports").enumerate() {
        let path = all.index(number);
        let name = text(port, "name");
        if !name.is_empty() {
            let findings = names::port_name(name);
            if !seen.insert(name) && findings.is_empty() {
                errors.push(FieldError::duplicate(path.field("name"), name));
            }
            invalid_all(errors, path.field("name"), name, findings);
        }
        match int(port, "containerPort").unwrap_or_default() {
            0 => errors.push(FieldError::required(path.field("containerPort"), "")),
            own => invalid_number(errors, path.field("containerPort"), own, names::port_number(own)),
        }
        match int(port, "hostPort").unwrap_or_default() {
            0 => {}
            host => invalid_number(errors, path.field("hostPort"), host, names::port_number(host)),
        }
        required_one_of(errors, path.field("protocol"), text(port, "protocol"), values_of("core.v1.ContainerPort", "protocol"));
    }
}

/// A port of the host can be taken once.
fn host_ports(errors: &mut Errors, path: Path<'_>, container: &Value, taken: &mut HashSet<String>) {
    let all = path.field("ports");
    for (number, port) in list(container, "ports").enumerate() {
        let host = int(port, "hostPort").unwrap_or_default();
        if host == 0 {
            continue;
        }
        let key = format!("{}/{}/{host}", text(port, "protocol"), text(port, "hostIP"));
        if taken.contains(&key) {
            let path = all.index(number);
            errors.push(FieldError::duplicate(path.field("hostPort"), key));
        } else {
            taken.insert(key);
        }
    }
}

/// A restart policy of the container's own, and the rules that refine it (KEP-5307).
fn restarts(errors: &mut Errors, path: Path<'_>, container: &Value) {
    const RULES: usize = 20;
    const VALUES: usize = 255;
    let count = list(container, "restartPolicyRules").len();
    let policy = text(container, "restartPolicy");
    if at(container, "restartPolicy").is_some() {
        one_of(errors, path.field("restartPolicy"), policy, &["Always", "Never", "OnFailure"]);
    } else if count > 0 {
        let words = "must specify restartPolicy when restart rules are used";
        errors.push(FieldError::required(path.field("restartPolicy"), words));
    }
    let all = path.field("restartPolicyRules");
    if count > RULES {
        errors.push(FieldError::too_long(all, RULES));
    }
    for (number, rule) in list(container, "restartPolicyRules").enumerate() {
        let path = all.index(number);
        one_of(errors, path.field("action"), text(rule, "action"), &["Restart"]);
        let path = path.field("exitCodes");
        let Some(codes) = at(rule, "exitCodes") else {
            errors.push(FieldError::required(path, "must be specified"));
            continue;
        };
        one_of(errors, path.field("operator"), text(codes, "operator"), &["In", "NotIn"]);
        if list(codes, "values").len() > VALUES {
            errors.push(FieldError::too_long(path.field("values"), VALUES));
        }
    }
}
