//! Horizontal pod autoscalers.

use super::{Rule, default};
use crate::{Map, Value, value};

pub(super) static RULES: &[(&str, Rule)] = &[("autoscaling.v2.HorizontalPodAutoscalerBehavior", behavior)];

/// Rules that are named at all are complete.
fn behavior(map: &mut Map) {
    let up = map.get_or_insert_with("scaleUp", Value::map).make_map();
    default(up, "stabilizationWindowSeconds", || 0.into());
    default(up, "selectPolicy", || "Max".into());
    default(
        up,
        "policies",
        || value!([{"type": "Pods", "value": 4, "periodSeconds": 15}, {"type": "Percent", "value": 100, "periodSeconds": 15}]),
    );
    let down = map.get_or_insert_with("scaleDown", Value::map).make_map();
    default(down, "selectPolicy", || "Max".into());
    default(down, "policies", || value!([{"type": "Percent", "value": 100, "periodSeconds": 15}]));
}
