//! Telling users what was repaired: in the log and as Events.

use corten_schema::{Value, value};

use super::Keeper;
use crate::status::ApiError;

impl Keeper {
    /// Reports a finding about an object. The API refuses nothing for want of the report.
    pub(super) async fn report(&self, controller: &str, about: &Value, reason: &str, action: &str, note: &str) -> Result<(), ApiError> {
        tracing::warn!(kind = about.kind(), namespace = about.namespace(), name = about.name(), reason, "{note}");
        let namespace = if about.namespace().is_empty() { "default" } else { about.namespace() };
        let now = jiff::Timestamp::now();
        let name = format!("{}.{:x}", about.name().replace(':', "-"), now.as_nanosecond());
        let mut regarding = value!({
            "apiVersion": (about.api_version()),
            "kind": (about.kind()),
            "name": (about.name()),
            "uid": (about.uid()),
            "resourceVersion": (about.resource_version()),
        });
        if !about.namespace().is_empty() {
            regarding.insert("namespace", about.namespace());
        }
        let event = value!({
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"name": (name), "namespace": (namespace)},
            "eventTime": (now.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()),
            "reportingController": (controller),
            "reportingInstance": (controller),
            "action": (action),
            "reason": (reason),
            "regarding": (regarding),
            "note": (note),
            "type": "Warning",
        });
        if let Err(error) = self.create("events.k8s.io", "events", event).await {
            tracing::warn!(%error, "cannot write the event");
        }
        Ok(())
    }
}
