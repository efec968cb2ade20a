//! ServiceCIDRs: ready as soon as they exist; gone when no address is left without a range.

use corten_schema::{Value, value};
use ipnet::IpNet;

use super::Keeper;
use crate::engine::Part;
use crate::reads;
use crate::status::ApiError;
use crate::strategies::services::addresses::{ALLOCATOR, MANAGED_BY};
use crate::strategies::services::ranges::{self, DEFAULT, GROUP};
use crate::view::{condition, text};

/// Holds a ServiceCIDR while addresses of it are in use.
const FINALIZER: &str = "networking.k8s.io/service-cidr-finalizer";

const READY: &str = "Kubernetes Service CIDR is ready";
const IN_USE: &str = "There are still IPAddresses referencing the ServiceCIDR, please remove them or create a new ServiceCIDR";

impl Keeper {
    /// Looks at a ServiceCIDR.
    pub(super) async fn range(&self, name: &str) -> Result<(), ApiError> {
        let Some(range) = reads::get(&self.server.ledger, GROUP, "servicecidrs", "", name) else {
            return if name == DEFAULT { self.default_range().await } else { Ok(()) };
        };
        let held = range.finalizers().any(|finalizer| finalizer == FINALIZER);
        if range.deletion_timestamp().is_none() {
            if !held {
                let add = |range: &mut Value| {
                    let finalizers = range.metadata_mut().get_or_insert_with("finalizers", || Value::List(Vec::new()));
                    finalizers.make_list().push(FINALIZER.into());
                };
                self.modify("servicecidrs", name, Part::Main, add).await?;
            }
            return self.set_ready(&range, "True", "", READY).await;
        }
        if self.is_needed(&range) {
            return self.set_ready(&range, "False", "Terminating", IN_USE).await;
        }
        let drop = |range: &mut Value| {
            if let Some(finalizers) = range.metadata_mut().get_mut("finalizers").and_then(Value::as_list_mut) {
                finalizers.retain(|finalizer| finalizer.as_str() != Some(FINALIZER));
            }
        };
        if held { self.modify("servicecidrs", name, Part::Main, drop).await } else { Ok(()) }
    }

    /// Looks again at those that are to go.
    pub(super) async fn ending_ranges(&self) -> Result<(), ApiError> {
        let ending = ranges::objects(&self.snapshot());
        for range in ending.iter().filter(|range| range.deletion_timestamp().is_some()) {
            self.range(range.name()).await?;
        }
        Ok(())
    }

    /// The range of the server's own settings comes back.
    async fn default_range(&self) -> Result<(), ApiError> {
        let cidrs: Vec<String> = self.server.options.service_ranges().map(|range| range.trunc().to_string()).collect();
        let object = value!({
            "apiVersion": "networking.k8s.io/v1",
            "kind": "ServiceCIDR",
            "metadata": {"name": (DEFAULT)},
            "spec": {"cidrs": (cidrs)},
        });
        self.create(GROUP, "servicecidrs", object).await.map(drop)
    }

    /// Whether an address in use would be in no range without this one.
    fn is_needed(&self, range: &Value) -> bool {
        let snapshot = self.snapshot();
        let others: Vec<IpNet> =
            ranges::objects(&snapshot).iter().filter(|other| other.name() != range.name()).flat_map(ranges::of).collect();
        let lost: Vec<IpNet> = ranges::of(range).filter(|lost| !others.iter().any(|other| other.contains(lost))).collect();
        if lost.is_empty() {
            return false;
        }
        let addresses = reads::list(&snapshot, GROUP, "ipaddresses", "");
        addresses.iter().filter(|address| address.label(MANAGED_BY) == Some(ALLOCATOR)).any(|address| {
            let Ok(address) = address.name().parse() else { return false };
            let within = |ranges: &[IpNet]| ranges.iter().any(|range| ranges::contains(*range, address));
            within(&lost) && !within(&others)
        })
    }

    async fn set_ready(&self, range: &Value, status: &str, reason: &str, message: &str) -> Result<(), ApiError> {
        let same = condition(range, "Ready")
            .is_some_and(|ready| text(ready, "status") == status && text(ready, "reason") == reason && text(ready, "message") == message);
        if same {
            return Ok(());
        }
        let set = |range: &mut Value| {
            let before = condition(range, "Ready").filter(|ready| text(ready, "status") == status);
            let since = before.map_or_else(crate::time::now, |ready| text(ready, "lastTransitionTime").into());
            let ready = value!({
                "type": "Ready", "status": (status), "reason": (reason), "message": (message), "lastTransitionTime": (since),
            });
            let mut conditions: Vec<Value> =
                crate::view::list(range, "status.conditions").filter(|other| text(other, "type") != "Ready").cloned().collect();
            conditions.push(ready);
            range.set_at(&["status", "conditions"], conditions);
        };
        self.modify("servicecidrs", range.name(), Part::Status, set).await
    }
}
