//! Nodes.

use std::collections::HashSet;

use corten_schema::Value;

use super::validation::{Errors, Path, invalid_all, names, placement, positive, required_name, resources};
use crate::status::{ApiError, FieldError};
use crate::strategy::{Scope, SelectableField, Strategy};
use crate::view::{at, entries, int, list, text, texts};

/// The strategy of nodes.
pub(super) struct Nodes;

const SPEC: Path<'static> = Path::Root("spec");

/// `podCIDR` is the first of `podCIDRs`; writers may give either.
fn complete(node: &mut Value) {
    let first = text(node, "spec.podCIDR").to_owned();
    match list(node, "spec.podCIDRs").next().and_then(Value::as_str).map(str::to_owned) {
        None if !first.is_empty() => node.set_at(&["spec", "podCIDRs"], vec![first]),
        Some(ranges) if first.is_empty() => node.set_at(&["spec", "podCIDR"], ranges),
        _ => {}
    }
}

impl Strategy for Nodes {
    /// A kubelet registers its node with what it knows already.
    fn keeps_status_on_create(&self) -> bool {
        true
    }

    fn selectable_fields(&self) -> &'static [SelectableField] {
        const FIELDS: &[SelectableField] =
            &[SelectableField { label: "spec.unschedulable", path: &["spec", "unschedulable"], absent: "false" }];
        FIELDS
    }

    fn prepare_create(&self, _: Scope<'_>, node: &mut Value) -> Result<(), ApiError> {
        complete(node);
        Ok(())
    }

    fn prepare_update(&self, _: Scope<'_>, node: &mut Value, _: &Value) -> Result<(), ApiError> {
        complete(node);
        Ok(())
    }

    fn validate(&self, _: Scope<'_>, node: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        placed(&mut errors, node);
        reported(&mut errors, node);
        swap(&mut errors, node);
        errors
    }

    fn validate_update(&self, _: Scope<'_>, node: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = changed(node, old);
        swap(&mut errors, node);
        errors
    }

    fn validate_status(&self, _: Scope<'_>, node: &Value, old: &Value) -> Vec<FieldError> {
        changed(node, old)
    }

    fn warnings(&self, _: Scope<'_>, node: &Value, old: Option<&Value>) -> Vec<String> {
        let mut found = Vec::new();
        if at(node, "spec.configSource").is_some() {
            found.push("spec.configSource: the feature is no longer available".to_owned());
        }
        if !text(node, "spec.externalID").is_empty() && old.is_none_or(|old| text(old, "spec.externalID").is_empty()) {
            found.push("spec.externalID: this field is deprecated, and is unused by Kubernetes".to_owned());
        }
        found
    }
}

/// Taints and the pods' addresses. The reference reports taints below `metadata`.
fn placed(errors: &mut Errors, node: &Value) {
    let metadata = Path::Root("metadata");
    placement::taints(errors, metadata.field("taints"), node);
    let ranges = SPEC.field("podCIDRs");
    for (number, range) in texts(node, "spec.podCIDRs").enumerate() {
        invalid_all(errors, ranges.index(number), range, names::cidr(range));
    }
    let six = texts(node, "spec.podCIDRs").filter(|range| range.contains(':')).count();
    if six > 1 || texts(node, "spec.podCIDRs").count() - six > 1 {
        let shown: Vec<&str> = texts(node, "spec.podCIDRs").collect();
        errors.push(FieldError::invalid(ranges, shown, "may specify no more than one CIDR for each IP family"));
    }
}

/// How much a node can swap. The reference reports this below `metadata`, too.
fn swap(errors: &mut Errors, node: &Value) {
    if let Some(bytes) = int(node, "status.nodeInfo.swap.capacity") {
        let metadata = Path::Root("metadata");
        let status = metadata.field("nodeSwapStatus");
        positive(errors, status.field("capacity"), bytes);
    }
}

/// What a kubelet reports: amounts, and the features it has.
fn reported(errors: &mut Errors, node: &Value) {
    amounts(errors, node);
    let status = Path::Root("status");
    let all = status.field("declaredFeatures");
    let mut before = None;
    for (number, feature) in texts(node, "status.declaredFeatures").enumerate() {
        let path = all.index(number);
        if let Some(words) = feature_name(feature) {
            errors.push(FieldError::invalid(path, feature, words));
        }
        match before.replace(feature) {
            Some(before) if before == feature => errors.push(FieldError::duplicate(path, feature)),
            Some(before) if before > feature => errors.push(FieldError::invalid(path, feature, "list must be sorted alphabetically")),
            _ => {}
        }
    }
}

/// What is wrong with the name of a feature.
fn feature_name(name: &str) -> Option<String> {
    const LONGEST: usize = 253;
    if name.len() > LONGEST {
        return Some(format!("invalid feature name {name:?}: must be no more than {LONGEST} characters"));
    }
    let plain = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let camel = name.bytes().next().is_some_and(|byte| byte.is_ascii_uppercase());
    (!camel || !name.split('/').all(plain)).then(|| {
        format!(
            "invalid feature name {name:?}: must start with an UpperCamelCase segment, with subsequent segments separated by '/' (e.g., \
             MyFeature or MyFeature/mySubFeature), and contain only alphanumeric characters and slashes"
        )
    })
}

/// What changes of a node and of its status have in common: the reference looks at the whole node both times.
fn changed(node: &Value, old: &Value) -> Errors {
    let mut errors = Errors::new();
    reported(&mut errors, node);
    let status = Path::Root("status");
    let all = status.field("addresses");
    let mut seen = HashSet::new();
    for (number, address) in list(node, "status.addresses").enumerate() {
        if !seen.insert((text(address, "type"), text(address, "address"))) {
            errors.push(FieldError::duplicate(all.index(number), address));
        }
    }
    let before = list(old, "spec.podCIDRs");
    if before.len() > 0 && !before.eq(list(node, "spec.podCIDRs")) {
        errors.push(FieldError::forbidden(SPEC.field("podCIDRs"), "node updates may not change podCIDR except from \"\" to valid"));
    }
    let before = text(old, "spec.providerID");
    if !before.is_empty() && before != text(node, "spec.providerID") {
        errors.push(FieldError::forbidden(SPEC.field("providerID"), "node updates may not change providerID except from \"\" to valid"));
    }
    source(&mut errors, SPEC.field("configSource"), at(node, "spec.configSource"), false);
    let config = status.field("config");
    for field in ["assigned", "active", "lastKnownGood"] {
        source(&mut errors, config.field(field), at(node, &format!("status.config.{field}")), true);
    }
    placed(&mut errors, node);
    if text(node, "spec.externalID") != text(old, "spec.externalID") {
        errors.push(FieldError::forbidden(SPEC.field("externalID"), "may not be updated"));
    }
    errors
}

fn amounts(errors: &mut Errors, node: &Value) {
    let status = Path::Root("status");
    for field in ["capacity", "allocatable"] {
        let path = status.field(field);
        for (name, amount) in at(node, "status").map(|status| entries(status, field)).into_iter().flatten() {
            resources::amount(errors, path.field(name), name, amount.as_str().unwrap_or_default());
        }
    }
}

/// The source of a kubelet's configuration, of no effect any more; in the status it is exactly known.
fn source(errors: &mut Errors, path: Path<'_>, source: Option<&Value>, known: bool) {
    let Some(source) = source else { return };
    let Some(map) = at(source, "configMap") else {
        errors.push(FieldError::invalid(path, source, "exactly one reference subfield must be non-nil"));
        return;
    };
    let path = path.field("configMap");
    for field in ["uid", "resourceVersion"] {
        match text(map, field).is_empty() {
            false if !known => errors.push(FieldError::forbidden(path.field(field), format!("{field} must not be set in spec"))),
            true if known => errors.push(FieldError::required(path.field(field), "")),
            _ => {}
        }
    }
    required_name(errors, path.field("namespace"), text(map, "namespace"), names::label);
    required_name(errors, path.field("name"), text(map, "name"), names::subdomain);
    required_name(errors, path.field("kubeletConfigKey"), text(map, "kubeletConfigKey"), names::config_key);
}
