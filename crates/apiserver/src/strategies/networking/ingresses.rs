//! Ingresses.

use corten_schema::Value;

use crate::reads;
use crate::status::{ApiError, FieldError};
use crate::strategies::forms::{fits, host, local_reference, named};
use crate::strategies::validation::{Errors, Path, invalid_all, invalid_number, names, net};
use crate::strategy::{Scope, Strategy};
use crate::view::{at, int, list, text, texts};

const SPEC: Path<'static> = Path::Root("spec");
const CLASS: &str = "kubernetes.io/ingress.class";

/// The strategy of ingresses.
pub(in crate::strategies) struct Ingresses;

/// What an older version let in, and updates may keep.
#[derive(Clone, Copy, Default)]
struct Kept {
    secrets: bool,
    wildcards: bool,
    services: bool,
}

impl Kept {
    fn of(old: &Value) -> Self {
        let mut services = list(old, "spec.rules").flat_map(|rule| list(rule, "http.paths")).map(|path| text(path, "backend.service.name"));
        let wildcard = |rule: &Value| {
            let mut errors = Errors::new();
            paths(&mut errors, SPEC, rule, Kept::default());
            text(rule, "host").contains('*') && !errors.is_empty()
        };
        Self {
            secrets: list(old, "spec.tls").any(|tls| !secret(text(tls, "secretName"))),
            wildcards: list(old, "spec.rules").any(wildcard),
            services: is_relaxed(text(old, "spec.defaultBackend.service.name")) || services.any(is_relaxed),
        }
    }
}

/// Names that begin with a digit.
fn is_relaxed(name: &str) -> bool {
    fits(&names::label(name)) && !fits(&names::label_1035(name))
}

fn secret(name: &str) -> bool {
    name.is_empty() || fits(&names::subdomain(name))
}

fn errors(ingress: &Value, kept: Kept) -> Errors {
    let mut errors = Errors::new();
    let rules = list(ingress, "spec.rules");
    let default = at(ingress, "spec.defaultBackend");
    if rules.len() == 0 && default.is_none() {
        let none: &[Value] = &[];
        errors.push(FieldError::invalid(SPEC, none, "either `defaultBackend` or `rules` must be specified"));
    }
    if let Some(default) = default {
        backend(&mut errors, SPEC.field("defaultBackend"), default, kept);
    }
    let all = SPEC.field("rules");
    for (number, rule) in rules.enumerate() {
        let path = all.index(number);
        let name = text(rule, "host");
        if !name.is_empty() {
            if net::lenient(name).is_some() {
                errors.push(FieldError::invalid(path.field("host"), name, "must be a DNS name, not an IP address"));
            }
            invalid_all(&mut errors, path.field("host"), name, host(name));
        }
        if !(name.contains('*') && kept.wildcards) {
            paths(&mut errors, path, rule, kept);
        }
    }
    let all = SPEC.field("tls");
    for (number, tls) in list(ingress, "spec.tls").enumerate() {
        let path = all.index(number);
        let hosts = path.field("hosts");
        for (number, name) in texts(tls, "hosts").enumerate() {
            invalid_all(&mut errors, hosts.index(number), name, host(name));
        }
        let name = text(tls, "secretName");
        if !name.is_empty() && !kept.secrets {
            invalid_all(&mut errors, path.field("secretName"), name, names::subdomain(name));
        }
    }
    if let Some(class) = at(ingress, "spec.ingressClassName").and_then(Value::as_str) {
        invalid_all(&mut errors, SPEC.field("ingressClassName"), class, names::subdomain(class));
    }
    errors
}

fn paths(errors: &mut Errors, path: Path<'_>, rule: &Value, kept: Kept) {
    if at(rule, "http").is_none() {
        return;
    }
    let http = path.field("http");
    let all = http.field("paths");
    if list(rule, "http.paths").len() == 0 {
        errors.push(FieldError::required(all, ""));
    }
    for (number, entry) in list(rule, "http.paths").enumerate() {
        let path = all.index(number);
        let Some(kind) = at(entry, "pathType").and_then(Value::as_str) else {
            errors.push(FieldError::required(path.field("pathType"), "pathType must be specified"));
            continue;
        };
        route(errors, path, kind, text(entry, "path"));
        let none = Value::map();
        backend(errors, path.field("backend"), at(entry, "backend").unwrap_or(&none), kept);
    }
}

fn route(errors: &mut Errors, path: Path<'_>, kind: &str, route: &str) {
    let exact = matches!(kind, "Exact" | "Prefix");
    if !exact && kind != "ImplementationSpecific" {
        let known = ["Exact", "ImplementationSpecific", "Prefix"];
        errors.push(FieldError::not_supported(path.field("pathType"), kind, &known));
        return;
    }
    let path = path.field("path");
    if !route.starts_with('/') && (exact || !route.is_empty()) {
        errors.push(FieldError::invalid(path, route, "must be an absolute path"));
    }
    if exact {
        for piece in ["//", "/./", "/../", "%2f", "%2F"].into_iter().filter(|piece| route.contains(piece)) {
            errors.push(FieldError::invalid(path, route, format!("must not contain '{piece}'")));
        }
        for end in ["/..", "/."].into_iter().filter(|end| route.ends_with(end)) {
            errors.push(FieldError::invalid(path, route, format!("cannot end with '{end}'")));
        }
    }
}

fn backend(errors: &mut Errors, path: Path<'_>, backend: &Value, kept: Kept) {
    match (at(backend, "resource"), at(backend, "service")) {
        (Some(_), Some(_)) => errors.push(FieldError::invalid(path, "", "cannot set both resource and service backends")),
        (Some(resource), None) => local_reference(errors, path.field("resource"), resource),
        (None, Some(service)) => {
            let service_path = path.field("service");
            let check = if kept.services { names::label } else { names::label_1035 };
            named(errors, service_path.field("name"), text(service, "name"), check);
            let port = service_path.field("port");
            match (text(service, "port.name"), int(service, "port.number").unwrap_or_default()) {
                ("", 0) => errors.push(FieldError::required(path, "port name or number is required")),
                ("", number) => invalid_number(errors, port.field("number"), number, names::port_number(number)),
                (name, 0) => invalid_all(errors, port.field("name"), name, names::port_name(name)),
                _ => errors.push(FieldError::invalid(path, "", "cannot set both port name & port number")),
            }
        }
        (None, None) => errors.push(FieldError::invalid(path, "", "resource or service backend is required")),
    }
}

/// The class of ingresses that name none: the newest of those marked as default.
fn default_class(scope: Scope<'_>) -> Option<String> {
    const MARK: &str = "ingressclass.kubernetes.io/is-default-class";
    let classes = reads::list(&scope.server.ledger.snapshot(), "networking.k8s.io", "ingressclasses", "");
    let marked = classes.iter().filter(|class| class.annotation(MARK) == Some("true"));
    let newest = marked.max_by(|a, b| a.creation_timestamp().cmp(b.creation_timestamp()).then_with(|| b.name().cmp(a.name())));
    newest.map(|class| class.name().to_owned())
}

impl Strategy for Ingresses {
    fn prepare_create(&self, scope: Scope<'_>, ingress: &mut Value) -> Result<(), ApiError> {
        if at(ingress, "spec.ingressClassName").is_none()
            && ingress.annotation(CLASS).is_none()
            && let Some(class) = default_class(scope)
        {
            ingress.set_at(&["spec", "ingressClassName"], class);
        }
        Ok(())
    }

    fn validate(&self, _: Scope<'_>, ingress: &Value) -> Vec<FieldError> {
        let mut errors = errors(ingress, Kept::default());
        if let (Some(annotation), Some(class)) = (ingress.annotation(CLASS), at(ingress, "spec.ingressClassName").and_then(Value::as_str))
            && annotation != class
        {
            let words = "must match `ingressClassName` when both are specified";
            errors.push(FieldError::invalid(format!("annotations.{CLASS}"), annotation, words));
        }
        errors
    }

    fn validate_update(&self, _: Scope<'_>, ingress: &Value, old: &Value) -> Vec<FieldError> {
        errors(ingress, Kept::of(old))
    }

    fn validate_status(&self, _: Scope<'_>, ingress: &Value, _: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        let status = Path::Root("status");
        let balancer = status.field("loadBalancer");
        let points = balancer.field("ingress");
        for (number, point) in list(ingress, "status.loadBalancer.ingress").enumerate() {
            net::point(&mut errors, points.index(number), point);
        }
        errors
    }

    fn warnings(&self, _: Scope<'_>, ingress: &Value, old: Option<&Value>) -> Vec<String> {
        let mut warnings = Vec::new();
        if old.is_none() && ingress.annotation(CLASS).is_some() {
            warnings.push(format!("annotation {CLASS:?} is deprecated, please use 'spec.ingressClassName' instead"));
        }
        warnings
    }
}
