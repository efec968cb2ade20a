//! Nodes.

use corten_schema::Value;

use super::validation::{Errors, Path, invalid_all, names, one_of};
use crate::status::{ApiError, FieldError};
use crate::strategy::{Scope, SelectableField, Strategy};
use crate::view::{at, list, text};

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
        let taints = SPEC.field("taints");
        let mut seen = Vec::new();
        for (number, taint) in list(node, "spec.taints").enumerate() {
            let path = taints.index(number);
            let (key, effect) = (text(taint, "key"), text(taint, "effect"));
            invalid_all(&mut errors, path.field("key"), key, names::qualified_name(key));
            invalid_all(&mut errors, path.field("value"), text(taint, "value"), names::label_value(text(taint, "value")));
            if effect.is_empty() {
                errors.push(FieldError::required(path.field("effect"), ""));
            } else {
                one_of(&mut errors, path.field("effect"), effect, &["NoExecute", "NoSchedule", "PreferNoSchedule"]);
            }
            if seen.contains(&(key, effect)) {
                errors.push(FieldError::duplicate(path, taint));
            }
            seen.push((key, effect));
        }
        let ranges = SPEC.field("podCIDRs");
        for (number, range) in list(node, "spec.podCIDRs").filter_map(Value::as_str).enumerate() {
            if range.parse::<ipnet::IpNet>().is_err() {
                let words = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
                errors.push(FieldError::invalid(ranges.index(number), range, words));
            }
        }
        errors
    }

    fn validate_update(&self, scope: Scope<'_>, node: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = self.validate(scope, node);
        let before = at(old, "spec.podCIDRs");
        if list(old, "spec.podCIDRs").len() > 0 && before != at(node, "spec.podCIDRs") {
            errors.push(FieldError::forbidden(SPEC.field("podCIDRs"), "node updates may not change podCIDR except from \"\" to valid"));
        }
        let before = text(old, "spec.providerID");
        if !before.is_empty() && before != text(node, "spec.providerID") {
            errors
                .push(FieldError::forbidden(SPEC.field("providerID"), "node updates may not change providerID except from \"\" to valid"));
        }
        errors
    }
}
