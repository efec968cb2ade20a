//! The specification of a pod, in Pods and in the templates of everything that makes them.

use std::collections::HashSet;

use corten_schema::Value;

use super::{
    Errors, Path, annotations, claims, containers, invalid_all, invalid_number, labels, names, network, optional_name, placement,
    pod_level, resources, security, volumes, windows,
};
use crate::status::FieldError;
use crate::view::{at, flag, int, list, text};

/// What a specification belongs to.
#[derive(Clone, Copy, Default)]
pub struct Subject<'a> {
    /// The pod's name; none for a template.
    pub pod_name: Option<&'a str>,
    /// It mirrors a pod that a kubelet has from a file.
    pub mirror: bool,
}

impl<'a> Subject<'a> {
    /// A pod.
    pub fn pod(pod: &'a Value) -> Self {
        Self { pod_name: Some(pod.name()), mirror: pod.annotation(annotations::MIRROR).is_some() }
    }

    /// Whether it is a pod and not a template.
    pub fn is_pod(&self) -> bool {
        self.pod_name.is_some()
    }
}

/// A Pod: its annotations and its specification.
pub fn pod(errors: &mut Errors, pod: &Value) {
    let empty = Value::map();
    let spec = at(pod, "spec").unwrap_or(&empty);
    let metadata = Path::Root("metadata");
    annotations::validate(errors, metadata.field("annotations"), at(pod, "metadata.annotations"), spec);
    let path = Path::Root("spec");
    validate(errors, path, spec, &Subject::pod(pod));
    if text(spec, "serviceAccountName").is_empty() {
        tokens(errors, path.field("volumes"), spec);
    }
    for field in ["containers", "initContainers"] {
        let containers = path.field(field);
        for (number, container) in list(spec, field).enumerate() {
            trimmed(errors, containers.index(number), container);
        }
    }
}

/// Tokens need an account to be for.
fn tokens(errors: &mut Errors, all: Path<'_>, spec: &Value) {
    for (number, volume) in list(spec, "volumes").enumerate() {
        for (source, part) in list(volume, "projected.sources").enumerate() {
            if at(part, "serviceAccountToken").is_some() {
                let volume = all.index(number);
                let projected = volume.field("projected");
                let sources = projected.field("sources");
                let part = sources.index(source);
                let words = "must not be specified when serviceAccountName is not set";
                errors.push(FieldError::forbidden(part.field("serviceAccountToken"), words));
            }
        }
    }
}

/// An image without space around it. Templates may have it: some tools put placeholders there.
pub fn trimmed(errors: &mut Errors, path: Path<'_>, container: &Value) {
    let image = text(container, "image");
    if image.trim() != image {
        errors.push(FieldError::invalid(path.field("image"), image, "must not have leading or trailing whitespace"));
    }
}

/// A PodTemplateSpec at `path`. (Labels and annotations are reported without `metadata`, as the reference does.)
pub fn template(errors: &mut Errors, path: Path<'_>, template: &Value) {
    let empty = Value::map();
    let spec = at(template, "spec").unwrap_or(&empty);
    template_metadata(errors, path, template);
    let inner = path.field("spec");
    validate(errors, inner, spec, &Subject::default());
    annotations::agree(errors, inner, at(template, "metadata.annotations"), spec);
    if list(spec, "ephemeralContainers").len() > 0 {
        errors.push(FieldError::forbidden(inner.field("ephemeralContainers"), "ephemeral containers not allowed in pod template"));
    }
}

/// The metadata of a PodTemplateSpec.
pub fn template_metadata(errors: &mut Errors, path: Path<'_>, template: &Value) {
    let empty = Value::map();
    labels::labels(errors, path.field("labels"), at(template, "metadata.labels"));
    let found = at(template, "metadata.annotations");
    labels::annotations(errors, path.field("annotations"), found);
    annotations::validate(errors, path.field("annotations"), found, at(template, "spec").unwrap_or(&empty));
}

const RESTARTS: [&str; 3] = ["Always", "OnFailure", "Never"];

/// A PodSpec at `path`.
pub fn validate(errors: &mut Errors, path: Path<'_>, spec: &Value, subject: &Subject<'_>) {
    if int(spec, "terminationGracePeriodSeconds").is_none() {
        errors.push(FieldError::required(path.field("terminationGracePeriodSeconds"), ""));
    }
    let volumes = volumes::validate(errors, path.field("volumes"), spec, subject);
    let claims = claims::declared(errors, path.field("resourceClaims"), spec, subject.mirror);
    let around = containers::Surroundings {
        spec,
        volumes: &volumes,
        claims: &claims,
        host_users: at(spec, "hostUsers").and_then(Value::as_bool).unwrap_or(true),
    };
    containers::main(errors, path.field("containers"), &around);
    containers::init(errors, path.field("initContainers"), &around);
    containers::ephemeral(errors, path.field("ephemeralContainers"), &around);
    pod_level::validate(errors, path.field("resources"), spec, &claims);
    network::host_ports(errors, path.field("containers"), spec, subject);
    in_order(errors, path.field("restartPolicy"), text(spec, "restartPolicy"), &RESTARTS);
    network::dns_policy(errors, path.field("dnsPolicy"), spec);
    labels::labels(errors, path.field("nodeSelector"), at(spec, "nodeSelector"));
    security::pod(errors, path.field("securityContext"), spec);
    placement::affinity(errors, path.field("affinity"), spec);
    network::dns(errors, path.field("dnsConfig"), spec);
    gates(errors, path, spec);
    placement::spreading(errors, path.field("topologySpreadConstraints"), spec);
    windows::host_process(errors, path, spec);
    own_users(errors, path, spec, &around);
    identity(errors, path, spec);
    network::host_names(errors, path, spec);
    placement::tolerations(errors, path.field("tolerations"), list(spec, "tolerations"));
    network::aliases(errors, path.field("hostAliases"), spec);
    resources::overhead(errors, path.field("overhead"), spec);
    windows::system(errors, path, spec);
}

fn in_order(errors: &mut Errors, path: Path<'_>, value: &str, supported: &[&str]) {
    if value.is_empty() {
        errors.push(FieldError::required(path, ""));
    } else if !supported.contains(&value) {
        errors.push(FieldError::not_supported_as_given(path, value, supported));
    }
}

fn identity(errors: &mut Errors, path: Path<'_>, spec: &Value) {
    for field in ["serviceAccountName", "nodeName", "priorityClassName"] {
        optional_name(errors, path.field(field), text(spec, field), names::subdomain);
    }
    if at(spec, "runtimeClassName").is_some() {
        let name = text(spec, "runtimeClassName");
        invalid_all(errors, path.field("runtimeClassName"), name, names::subdomain(name));
    }
    if at(spec, "preemptionPolicy").is_some() {
        let policy = text(spec, "preemptionPolicy");
        in_order(errors, path.field("preemptionPolicy"), policy, &["PreemptLowerPriority", "Never"]);
    }
    if let Some(seconds) = int(spec, "activeDeadlineSeconds") {
        let findings = names::in_range(seconds, 1, i64::from(i32::MAX));
        invalid_number(errors, path.field("activeDeadlineSeconds"), seconds, findings);
    }
}

fn gates(errors: &mut Errors, path: Path<'_>, spec: &Value) {
    let all = path.field("readinessGates");
    for (number, gate) in list(spec, "readinessGates").enumerate() {
        let (path, kind) = (all.index(number), text(gate, "conditionType"));
        invalid_all(errors, path.field("conditionType"), kind, names::qualified_name(kind));
    }
    let all = path.field("schedulingGates");
    let mut seen = HashSet::new();
    for (number, gate) in list(spec, "schedulingGates").enumerate() {
        let (path, name) = (all.index(number), text(gate, "name"));
        invalid_all(errors, path, name, names::qualified_name(name));
        if !seen.insert(name) {
            errors.push(FieldError::duplicate(path, name));
        }
    }
}

/// A pod with users of its own cannot share the host's namespaces.
fn own_users(errors: &mut Errors, path: Path<'_>, spec: &Value, around: &containers::Surroundings<'_>) {
    if around.host_users {
        return;
    }
    let words = "when `hostUsers` is false";
    // The names are the reference's.
    for (field, shown) in [("hostNetwork", "hostNetwork"), ("hostPID", "HostPID"), ("hostIPC", "HostIPC")] {
        if flag(spec, field) {
            errors.push(FieldError::forbidden(path.field(shown), words));
        }
    }
    for kind in windows::LISTS {
        let containers = path.field(kind);
        for (number, container) in list(spec, kind).enumerate() {
            if list(container, "volumeDevices").len() > 0 {
                let path = containers.index(number);
                errors.push(FieldError::forbidden(path.field("volumeDevices"), words));
            }
        }
    }
}
