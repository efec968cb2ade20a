//! Configurations of webhooks, validating and mutating.

use std::collections::HashSet;

use corten_schema::Value;

use super::rules;
use crate::cel;
use crate::status::FieldError;
use crate::strategies::validation::{Errors, Path, invalid_all, names, one_of, values_of};
use crate::strategy::{Scope, Strategy};
use crate::view::{at, int, list, text, texts};

const VERSIONS: [&str; 2] = ["v1", "v1beta1"];
const SIDE_EFFECTS: [&str; 2] = ["None", "NoneOnDryRun"];

/// The strategy of both kinds of configurations.
pub(in crate::strategies) struct Webhooks;

fn webhook(errors: &mut Errors, path: Path<'_>, hook: &Value) {
    let name = text(hook, "name");
    if name.is_empty() {
        errors.push(FieldError::required(path.field("name"), ""));
    } else {
        let found = names::subdomain(name);
        let few = found.is_empty() && name.split('.').count() < 3;
        invalid_all(errors, path.field("name"), name, found);
        if few {
            let words = "should be a domain with at least three segments separated by dots";
            errors.push(FieldError::invalid(path.field("name"), name, words));
        }
    }
    let all = path.field("rules");
    for (number, rule) in list(hook, "rules").enumerate() {
        rules::rule(errors, all.index(number), rule);
    }
    one_of(
        errors,
        path.field("failurePolicy"),
        text(hook, "failurePolicy"),
        values_of("admissionregistration.v1.ValidatingWebhook", "failurePolicy"),
    );
    one_of(
        errors,
        path.field("matchPolicy"),
        text(hook, "matchPolicy"),
        values_of("admissionregistration.v1.ValidatingWebhook", "matchPolicy"),
    );
    match text(hook, "sideEffects") {
        "" => errors.push(FieldError::required(path.field("sideEffects"), "must specify one of None, NoneOnDryRun")),
        word => one_of(errors, path.field("sideEffects"), word, &SIDE_EFFECTS),
    }
    if let Some(seconds) = int(hook, "timeoutSeconds")
        && !(1..=30).contains(&seconds)
    {
        errors.push(FieldError::invalid(path.field("timeoutSeconds"), seconds, "the timeout value must be between 1 and 30 seconds"));
    }
    rules::selectors(errors, path, hook);
    client(errors, path.field("clientConfig"), at(hook, "clientConfig").unwrap_or(&Value::Null));
    if let Some(policy) = at(hook, "reinvocationPolicy").and_then(Value::as_str) {
        one_of(
            errors,
            path.field("reinvocationPolicy"),
            policy,
            values_of("admissionregistration.v1.MutatingWebhook", "reinvocationPolicy"),
        );
    }
    rules::conditions(errors, path.field("matchConditions"), hook, &cel::admission(false, false));
    review_versions(errors, path.field("admissionReviewVersions"), hook);
}

fn review_versions(errors: &mut Errors, path: Path<'_>, hook: &Value) {
    let versions: Vec<&str> = texts(hook, "admissionReviewVersions").collect();
    if versions.is_empty() {
        errors.push(FieldError::required(path, "must specify one of v1, v1beta1"));
        return;
    }
    let mut seen: HashSet<&str> = HashSet::new();
    for (number, version) in versions.iter().enumerate() {
        if !seen.insert(version) {
            errors.push(FieldError::invalid(path.index(number), version, "duplicate version"));
            continue;
        }
        invalid_all(errors, path.index(number), version, names::label_1035(version));
    }
    if !versions.iter().any(|version| VERSIONS.contains(version)) {
        errors.push(FieldError::invalid(path, versions, "must include at least one of v1, v1beta1"));
    }
}

/// Where a webhook is: at a URL, or behind a Service.
pub(in crate::strategies) fn client(errors: &mut Errors, path: Path<'_>, config: &Value) {
    match (at(config, "url").and_then(Value::as_str), at(config, "service")) {
        (Some(_), Some(_)) | (None, None) => errors.push(FieldError::required(path, "exactly one of url or service is required")),
        (Some(address), None) => url(errors, path.field("url"), address),
        (None, Some(of)) => service(errors, path.field("service"), of),
    }
}

fn url(errors: &mut Errors, path: Path<'_>, address: &str) {
    const FORM: &str = "desired format: https://host[:port]/path";
    let (scheme, rest) = address.split_once("://").unwrap_or(("", address));
    let (rest, fragment) = rest.split_once('#').map_or((rest, ""), |(rest, fragment)| (rest, fragment));
    let (rest, query) = rest.split_once('?').map_or((rest, ""), |(rest, query)| (rest, query));
    let authority = if scheme.is_empty() { "" } else { rest.split('/').next().unwrap_or_default() };
    let (user, host) = authority.rsplit_once('@').map_or(("", authority), |(user, host)| (user, host));
    if scheme != "https" {
        errors.push(FieldError::invalid(path, scheme, format!("'https' is the only allowed URL scheme; {FORM}")));
    }
    if host.is_empty() {
        errors.push(FieldError::invalid(path, host, format!("host must be specified; {FORM}")));
    }
    for (part, words) in [
        (user, "user information is not permitted in the URL"),
        (fragment, "fragments are not permitted in the URL"),
        (query, "query parameters are not permitted in the URL"),
    ] {
        if !part.is_empty() {
            errors.push(FieldError::invalid(path, part, words));
        }
    }
}

fn service(errors: &mut Errors, path: Path<'_>, service: &Value) {
    if text(service, "name").is_empty() {
        errors.push(FieldError::required(path.field("name"), "service name is required"));
    }
    if text(service, "namespace").is_empty() {
        errors.push(FieldError::required(path.field("namespace"), "service namespace is required"));
    }
    let port = int(service, "port").unwrap_or(443);
    for why in names::port_number(port) {
        errors.push(FieldError::invalid(path.field("port"), port, format!("port is not valid: {why}")));
    }
    let Some(route) = at(service, "path").and_then(Value::as_str).filter(|route| !matches!(*route, "" | "/")) else { return };
    let path = path.field("path");
    let Some(rest) = route.strip_prefix('/') else {
        errors.push(FieldError::invalid(path, route, "must start with a '/'"));
        return;
    };
    let parts: Vec<&str> = rest.strip_suffix('/').unwrap_or(rest).split('/').collect();
    for (number, part) in parts.into_iter().enumerate() {
        if part.is_empty() {
            errors.push(FieldError::invalid(path, route, format!("segment[{number}] may not be empty")));
            return;
        }
        for why in names::subdomain(part) {
            errors.push(FieldError::invalid(path, route, format!("segment[{number}]: {why}")));
        }
    }
}

impl Strategy for Webhooks {
    fn allows_unconditional_update(&self) -> bool {
        false
    }

    fn validate(&self, _: Scope<'_>, configuration: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        let all = Path::Root("webhooks");
        let mut seen: HashSet<&str> = HashSet::new();
        for (number, hook) in list(configuration, "webhooks").enumerate() {
            let path = all.index(number);
            webhook(&mut errors, path, hook);
            let name = text(hook, "name");
            if !seen.insert(name) && !name.is_empty() {
                errors.push(FieldError::duplicate(path.field("name"), name));
            }
        }
        errors
    }
}
