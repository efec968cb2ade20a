//! Probes and lifecycle hooks.

use corten_schema::Value;

use super::{Errors, Path, invalid_all, invalid_number, names, non_negative, one_of, required, values_of, windows};
use crate::status::FieldError;
use crate::view::{at, int, list, text};

/// A port given by number or by name.
fn port(errors: &mut Errors, path: Path<'_>, value: Option<&Value>) {
    match value {
        Some(Value::Int(number)) => invalid_number(errors, path, *number, names::port_number(*number)),
        Some(Value::String(name)) => invalid_all(errors, path, name, names::port_name(name)),
        _ => invalid_number(errors, path, 0, names::port_number(0)),
    }
}

const IN_PROBES: &[&str] = &["exec", "httpGet", "tcpSocket", "grpc"];
const IN_HOOKS: &[&str] = &["exec", "httpGet", "tcpSocket", "sleep"];

/// What a handler does; exactly one thing.
fn handler(errors: &mut Errors, path: Path<'_>, value: &Value, kinds: &[&str], grace: Option<i64>) {
    let mut found = 0;
    for kind in kinds {
        let Some(action) = at(value, kind) else { continue };
        found += 1;
        let path = path.field(kind);
        if found > 1 {
            errors.push(FieldError::forbidden(path, "may not specify more than 1 handler type"));
            continue;
        }
        match *kind {
            "exec" if list(action, "command").len() == 0 => errors.push(FieldError::required(path.field("command"), "")),
            "httpGet" => {
                required(errors, path, action, &["path"]);
                port(errors, path.field("port"), at(action, "port"));
                one_of(errors, path.field("scheme"), text(action, "scheme"), values_of("core.v1.HTTPGetAction", "scheme"));
                for header in list(action, "httpHeaders") {
                    let name = text(header, "name");
                    invalid_all(errors, path.field("httpHeaders"), name, names::http_header(name));
                }
            }
            "tcpSocket" | "grpc" => port(errors, path.field("port"), at(action, "port")),
            "sleep" => {
                let seconds = int(action, "seconds").unwrap_or_default();
                if let Some(grace) = grace.filter(|grace| seconds < 0 || seconds > *grace) {
                    let words = format!("must be non-negative and less than terminationGracePeriodSeconds ({grace})");
                    errors.push(FieldError::invalid(path, seconds, words));
                }
            }
            _ => {}
        }
    }
    if found == 0 {
        errors.push(FieldError::required(path, "must specify a handler type"));
    }
}

/// The probes and hooks of a container that may have them.
pub fn validate(errors: &mut Errors, path: Path<'_>, spec: &Value, container: &Value) {
    let grace = int(spec, "terminationGracePeriodSeconds");
    if let Some(hooks) = at(container, "lifecycle") {
        let path = path.field("lifecycle");
        for hook in ["postStart", "preStop"] {
            if let Some(value) = at(hooks, hook) {
                handler(errors, path.field(hook), value, IN_HOOKS, grace);
            }
        }
        if at(hooks, "stopSignal").is_some() {
            windows::stop_signal(errors, path.field("stopSignal"), spec, text(hooks, "stopSignal"));
        }
    }
    for kind in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(value) = at(container, kind) {
            probe(errors, path.field(kind), value, kind == "readinessProbe");
        }
    }
}

/// Readiness comes and goes: it may need several successes, but it ends nothing.
fn probe(errors: &mut Errors, path: Path<'_>, probe: &Value, readiness: bool) {
    handler(errors, path, probe, IN_PROBES, None);
    for field in ["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"] {
        non_negative(errors, path.field(field), int(probe, field));
    }
    if let Some(seconds) = int(probe, "terminationGracePeriodSeconds") {
        let path = path.field("terminationGracePeriodSeconds");
        if seconds <= 0 {
            errors.push(FieldError::invalid(path, seconds, "must be greater than 0"));
        }
        if readiness {
            errors.push(FieldError::invalid(path, seconds, "must not be set for readinessProbes"));
        }
    }
    let successes = int(probe, "successThreshold").unwrap_or(1);
    if !readiness && successes != 1 {
        errors.push(FieldError::invalid(path.field("successThreshold"), successes, "must be 1"));
    }
}
