//! A cluster IP and its IPAddress object name each other.

use std::net::IpAddr;

use corten_schema::{Value, value};

use super::Keeper;
use crate::ledger::Snapshot;
use crate::reads;
use crate::status::ApiError;
use crate::strategies::services::addresses::{ALLOCATOR, FAMILY, MANAGED_BY, belongs, canonical, owner};
use crate::strategies::services::family::Family;
use crate::strategies::services::{addresses_of, ranges};

const CONTROLLER: &str = "ipallocator-repair-controller";

impl Keeper {
    /// Looks at the addresses and node ports of a Service.
    pub(super) async fn service(&self, namespace: &str, name: &str) -> Result<(), ApiError> {
        // One state for the Service and for what it should have: a later one may have given something back.
        let snapshot = self.snapshot();
        let key = reads::key("", "services", namespace, name);
        let Some((entry, service)) = snapshot.get(&key).and_then(|entry| Some((entry, reads::object(entry)?))) else { return Ok(()) };
        for address in addresses_of(&service) {
            self.cluster_ip(&snapshot, &service, address).await?;
        }
        self.node_ports(&snapshot, entry, &service).await
    }

    async fn cluster_ip(&self, snapshot: &Snapshot, service: &Value, text: &str) -> Result<(), ApiError> {
        let report = async |reason: &str, action: &str, note: String| self.report(CONTROLLER, service, reason, action, &note).await;
        let Ok(address) = canonical(text).parse::<IpAddr>() else {
            let note = format!("Cluster IP {text} is not a valid IP; please recreate Service");
            return report("ClusterIPNotValid", "ClusterIPValidation", note).await;
        };
        let family = Family::of(address).as_str();
        if !ranges::objects(snapshot).iter().flat_map(ranges::of).any(|range| ranges::contains(range, address)) {
            let note = format!("Cluster IP [{family}]: {address} is not within any configured Service CIDR; please recreate service");
            return report("ClusterIPOutOfRange", "ClusterIPAllocation", note).await;
        }
        let Some(found) = owner(snapshot, &address.to_string()) else {
            let note = format!("Cluster IP [{family}]: {address} is not allocated; repairing");
            report("ClusterIPNotAllocated", "ClusterIPAllocation", note).await?;
            return self.take(service, address).await;
        };
        if !belongs(&found, service) {
            if self.is_in_use(&found) {
                let note = format!("Cluster IP [{family}]:{address} was assigned to multiple services; please recreate service");
                return report("ClusterIPAlreadyAllocated", "ClusterIPAllocation", note).await;
            }
            let (namespace, name) = (service.namespace(), service.name());
            let note = format!("the ClusterIP [{family}]: {address} for Service {namespace}/{name} has a wrong reference; repairing");
            report("ClusterIPNotAllocated", "ClusterIPAllocation", note).await?;
        } else if found.label(MANAGED_BY) == Some(ALLOCATOR) && found.label(FAMILY) == Some(family) {
            return Ok(());
        }
        // What an IPAddress refers to cannot be changed: it is made anew.
        self.delete("ipaddresses", &found).await?;
        self.take(service, address).await
    }

    /// Whether an IPAddress belongs to a Service that has it.
    fn is_in_use(&self, address: &Value) -> bool {
        let parent = |field: &str| address.str_at(&["spec", "parentRef", field]);
        let service = self.service_now(parent("namespace"), parent("name")).filter(|service| belongs(address, service));
        service.is_some_and(|service| addresses_of(&service).into_iter().any(|text| canonical(text) == address.name()))
    }

    async fn take(&self, service: &Value, address: IpAddr) -> Result<(), ApiError> {
        let object = value!({
            "apiVersion": "networking.k8s.io/v1",
            "kind": "IPAddress",
            "metadata": {
                "name": (address.to_string()),
                "labels": {
                    "ipaddress.kubernetes.io/ip-family": (Family::of(address).as_str()),
                    "ipaddress.kubernetes.io/managed-by": (ALLOCATOR),
                },
            },
            "spec": {
                "parentRef": {"resource": "services", "namespace": (service.namespace()), "name": (service.name())},
            },
        });
        self.create(ranges::GROUP, "ipaddresses", object).await.map(drop)
    }

    /// Looks at an IPAddress: those that Services' addresses are kept in go when no Service has them.
    pub(super) async fn address(&self, name: &str) -> Result<(), ApiError> {
        let Some(address) = owner(&self.snapshot(), name) else { return Ok(()) };
        if address.label(MANAGED_BY) != Some(ALLOCATOR) || self.is_in_use(&address) {
            return Ok(());
        }
        let parent = |field: &str| address.str_at(&["spec", "parentRef", field]);
        let (namespace, service) = (parent("namespace"), parent("name"));
        let (reason, note) = if !parent("group").is_empty() || parent("resource") != "services" {
            let words = "appears to have been modified, not referencing a Service";
            ("IPAddressNotAllocated", format!("IPAddress {name} {words} {}: cleaning up", parent("resource")))
        } else if self.service_now(namespace, service).is_none() {
            ("IPAddressNotAllocated", format!("IPAddress: {name} for Service {namespace}/{service} appears to have leaked: cleaning up"))
        } else {
            ("IPAddressWrongReference", format!("IPAddress: {name} for Service {namespace}/{service} has a wrong reference; cleaning up"))
        };
        self.report(CONTROLLER, &address, reason, "IPAddressAllocation", &note).await?;
        self.delete("ipaddresses", &address).await
    }
}
