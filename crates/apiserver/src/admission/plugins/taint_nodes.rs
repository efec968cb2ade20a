//! TaintNodesByCondition: a new node takes no pods until it is known to be ready.

use corten_schema::{Value, value};

use super::super::{Attributes, Operation, Plugin};
use super::is;
use crate::status::ApiError;
use crate::view::{list, text};

/// The plugin.
pub(super) struct TaintNodesByCondition;

const TAINT: &str = "node.kubernetes.io/not-ready";

impl Plugin for TaintNodesByCondition {
    fn name(&self) -> &'static str {
        "TaintNodesByCondition"
    }

    fn admit(&self, attributes: &mut Attributes<'_>) -> Result<(), ApiError> {
        if attributes.operation != Operation::Create || !is(attributes, "", "nodes") {
            return Ok(());
        }
        let Some(node) = attributes.object.as_deref_mut() else { return Ok(()) };
        let tainted = list(node, "spec.taints").any(|taint| text(taint, "key") == TAINT && text(taint, "effect") == "NoSchedule");
        if !tainted {
            let spec = node.make_map().get_or_insert_with("spec", Value::map).make_map();
            let taints = spec.get_or_insert_with("taints", || Value::List(Vec::new())).make_list();
            taints.push(value!({"key": (TAINT), "effect": "NoSchedule"}));
        }
        Ok(())
    }
}
