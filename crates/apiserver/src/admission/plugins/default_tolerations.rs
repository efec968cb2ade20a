//! DefaultTolerationSeconds: pods stay for five minutes on a node that is not ready or not reachable.

use corten_schema::{Value, value};

use super::super::{Attributes, Operation, Plugin};
use super::is;
use crate::status::ApiError;
use crate::view::{list, text};

/// The plugin.
pub(super) struct DefaultTolerationSeconds;

const SECONDS: i64 = 300;

impl Plugin for DefaultTolerationSeconds {
    fn name(&self) -> &'static str {
        "DefaultTolerationSeconds"
    }

    fn admit(&self, attributes: &mut Attributes<'_>) -> Result<(), ApiError> {
        if attributes.operation != Operation::Create || !is(attributes, "", "pods") {
            return Ok(());
        }
        let Some(pod) = attributes.object.as_deref_mut() else { return Ok(()) };
        for key in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
            let tolerated = list(pod, "spec.tolerations").any(|toleration| {
                (text(toleration, "key") == key || text(toleration, "key").is_empty())
                    && matches!(text(toleration, "effect"), "" | "NoExecute")
            });
            if tolerated {
                continue;
            }
            let spec = pod.make_map().get_or_insert_with("spec", Value::map).make_map();
            let tolerations = spec.get_or_insert_with("tolerations", || Value::List(Vec::new()));
            tolerations.make_list().push(value!({
                "key": (key),
                "operator": "Exists",
                "effect": "NoExecute",
                "tolerationSeconds": (SECONDS),
            }));
        }
        Ok(())
    }
}
