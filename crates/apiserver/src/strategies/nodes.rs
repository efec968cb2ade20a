//! Nodes.

use corten_schema::Value;

use super::validation::{Errors, Path, invalid_all, names, placement, required_name, resources};
use crate::status::{ApiError, FieldError};
use crate::strategy::{Scope, SelectableField, Strategy};
use crate::view::{at, entries, list, text, texts};

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
        taints(&mut errors, node);
        amounts(&mut errors, node);
        let ranges = SPEC.field("podCIDRs");
        for (number, range) in texts(node, "spec.podCIDRs").enumerate() {
            invalid_all(&mut errors, ranges.index(number), range, names::cidr(range));
        }
        let six = texts(node, "spec.podCIDRs").filter(|range| range.contains(':')).count();
        if six > 1 || texts(node, "spec.podCIDRs").count() - six > 1 {
            let shown: Vec<&str> = texts(node, "spec.podCIDRs").collect();
            errors.push(FieldError::invalid(ranges, shown, "may specify no more than one CIDR for each IP family"));
        }
        source(&mut errors, SPEC.field("configSource"), node);
        errors
    }

    fn validate_update(&self, _: Scope<'_>, node: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = changed(node, old);
        taints(&mut errors, node);
        let before = list(old, "spec.podCIDRs");
        if before.len() > 0 && !before.eq(list(node, "spec.podCIDRs")) {
            errors.push(FieldError::forbidden(SPEC.field("podCIDRs"), "node updates may not change podCIDR except from \"\" to valid"));
        }
        let before = text(old, "spec.providerID");
        if !before.is_empty() && before != text(node, "spec.providerID") {
            errors
                .push(FieldError::forbidden(SPEC.field("providerID"), "node updates may not change providerID except from \"\" to valid"));
        }
        source(&mut errors, SPEC.field("configSource"), node);
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

/// The reference reports taints below `metadata`.
fn taints(errors: &mut Errors, node: &Value) {
    let metadata = Path::Root("metadata");
    placement::taints(errors, metadata.field("taints"), node);
}

/// What changes of a node and of its status have in common.
fn changed(node: &Value, old: &Value) -> Errors {
    let mut errors = Errors::new();
    amounts(&mut errors, node);
    let status = Path::Root("status");
    let all = status.field("addresses");
    for (number, address) in list(node, "status.addresses").enumerate() {
        if list(node, "status.addresses").take(number).any(|other| other == address) {
            errors.push(FieldError::duplicate(all.index(number), address));
        }
    }
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

/// The source of a kubelet's configuration, of no effect any more.
fn source(errors: &mut Errors, path: Path<'_>, node: &Value) {
    let Some(source) = at(node, "spec.configSource") else { return };
    let Some(map) = at(source, "configMap") else {
        errors.push(FieldError::invalid(path, source, "exactly one reference subfield must be non-nil"));
        return;
    };
    let path = path.field("configMap");
    for field in ["uid", "resourceVersion"] {
        if !text(map, field).is_empty() {
            errors.push(FieldError::forbidden(path.field(field), format!("{field} must not be set in spec")));
        }
    }
    required_name(errors, path.field("namespace"), text(map, "namespace"), names::label);
    required_name(errors, path.field("name"), text(map, "name"), names::subdomain);
    required_name(errors, path.field("kubeletConfigKey"), text(map, "kubeletConfigKey"), names::config_key);
}
