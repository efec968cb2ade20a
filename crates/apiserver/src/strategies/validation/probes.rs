//! Probes and lifecycle hooks.

use corten_schema::Value;

use super::{Errors, Path, invalid_all, invalid_number, names, non_negative, one_of};
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

/// What a handler does; exactly one thing.
fn handler(errors: &mut Errors, path: Path<'_>, value: &Value, kinds: &[&str]) {
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
                if text(action, "path").is_empty() {
                    errors.push(FieldError::required(path.field("path"), ""));
                }
                port(errors, path.field("port"), at(action, "port"));
                one_of(errors, path.field("scheme"), text(action, "scheme"), &["HTTP", "HTTPS"]);
                let headers = path.field("httpHeaders");
                for (number, header) in list(action, "httpHeaders").enumerate() {
                    let name = text(header, "name");
                    if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
                        errors.push(FieldError::invalid(
                            headers.index(number).field("name"),
                            name,
                            "a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', \
                             regex used for validation is '[-A-Za-z0-9]+')",
                        ));
                    }
                }
            }
            "tcpSocket" | "grpc" => port(errors, path.field("port"), at(action, "port")),
            "sleep" => non_negative(errors, path.field("seconds"), int(action, "seconds")),
            _ => {}
        }
    }
    if found == 0 {
        errors.push(FieldError::required(path, "must specify a handler type"));
    }
}

/// A probe; `one_success` for those that a single success satisfies.
pub fn probe(errors: &mut Errors, path: Path<'_>, probe: Option<&Value>, one_success: bool) {
    let Some(probe) = probe else { return };
    handler(errors, path, probe, &["exec", "httpGet", "tcpSocket", "grpc"]);
    for field in ["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"] {
        non_negative(errors, path.field(field), int(probe, field));
    }
    if let Some(seconds) = int(probe, "terminationGracePeriodSeconds")
        && seconds <= 0
    {
        errors.push(FieldError::invalid(path.field("terminationGracePeriodSeconds"), seconds, "must be greater than 0"));
    }
    let successes = int(probe, "successThreshold").unwrap_or(1);
    if one_success && successes != 1 {
        errors.push(FieldError::invalid(path.field("successThreshold"), successes, "must be 1"));
    }
}

/// The hooks of a container.
pub fn lifecycle(errors: &mut Errors, path: Path<'_>, lifecycle: Option<&Value>) {
    for hook in ["postStart", "preStop"] {
        if let Some(value) = lifecycle.and_then(|lifecycle| at(lifecycle, hook)) {
            handler(errors, path.field(hook), value, &["exec", "httpGet", "tcpSocket", "sleep"]);
        }
    }
}
