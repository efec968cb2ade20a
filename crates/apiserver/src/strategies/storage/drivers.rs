//! CSI drivers, and the nodes that they run on.

use std::collections::HashSet;

use corten_schema::{Value, value};

use crate::status::FieldError;
use crate::strategies::forms::csi_driver;
use crate::strategies::validation::{Errors, IMMUTABLE, Path, immutable, invalid_all, names, one_of};
use crate::strategy::{Scope, Strategy};
use crate::view::{at, int, list, text, texts};

const SPEC: Path<'static> = Path::Root("spec");

/// The strategy of CSI drivers.
pub(in crate::strategies) struct Drivers;

impl Strategy for Drivers {
    fn allows_unconditional_update(&self) -> bool {
        false
    }

    fn validate(&self, _: Scope<'_>, driver: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        if let Some(policy) = at(driver, "spec.fsGroupPolicy").and_then(Value::as_str) {
            one_of(&mut errors, SPEC.field("fsGroupPolicy"), policy, &["File", "None", "ReadWriteOnceWithFSType"]);
        }
        let all = SPEC.field("tokenRequests");
        let mut audiences: Vec<&str> = Vec::new();
        for (number, request) in list(driver, "spec.tokenRequests").enumerate() {
            let path = all.index(number);
            let audience = text(request, "audience");
            if audiences.contains(&audience) {
                errors.push(FieldError::duplicate(path.field("audience"), audience));
                continue;
            }
            audiences.push(audience);
            if let Some(seconds) = int(request, "expirationSeconds") {
                let path = path.field("expirationSeconds");
                if seconds < 600 {
                    errors.push(FieldError::invalid(path, seconds, "may not specify a duration less than 10 minutes"));
                }
                if seconds > 1 << 32 {
                    errors.push(FieldError::invalid(path, seconds, "may not specify a duration larger than 2^32 seconds"));
                }
            }
        }
        let modes = SPEC.field("volumeLifecycleModes");
        for mode in texts(driver, "spec.volumeLifecycleModes") {
            one_of(&mut errors, modes, mode, &["Ephemeral", "Persistent"]);
        }
        if let Some(seconds) = int(driver, "spec.nodeAllocatableUpdatePeriodSeconds")
            && seconds < 10
        {
            let path = SPEC.field("nodeAllocatableUpdatePeriodSeconds");
            errors.push(FieldError::invalid(path, seconds, "must be greater than or equal to 10 seconds"));
        }
        errors
    }

    fn validate_update(&self, scope: Scope<'_>, driver: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = self.validate(scope, driver);
        // The first path is the reference's.
        for (shown, path) in [("attachedRequired", "spec.attachRequired"), ("volumeLifecycleModes", "spec.volumeLifecycleModes")] {
            immutable(&mut errors, SPEC.field(shown), at(driver, path), at(old, path));
        }
        errors
    }
}

/// The strategy of CSI nodes.
pub(in crate::strategies) struct Nodes;

impl Strategy for Nodes {
    fn allows_unconditional_update(&self) -> bool {
        false
    }

    fn validate(&self, _: Scope<'_>, node: &Value) -> Vec<FieldError> {
        const LONGEST_ID: usize = 192;
        let mut errors = Errors::new();
        let all = SPEC.field("drivers");
        let mut seen: HashSet<&str> = HashSet::new();
        for (number, driver) in list(node, "spec.drivers").enumerate() {
            let path = all.index(number);
            let name = text(driver, "name");
            csi_driver(&mut errors, path.field("name"), name);
            let id = text(driver, "nodeID");
            if id.is_empty() {
                errors.push(FieldError::required(path.field("nodeID"), ""));
            } else if id.len() > LONGEST_ID {
                errors.push(FieldError::invalid(path.field("nodeID"), id, format!("must be {LONGEST_ID} characters or less")));
            }
            let allocatable = path.field("allocatable");
            if let Some(count) = int(driver, "allocatable.count")
                && count < 0
            {
                errors.push(FieldError::invalid(allocatable.field("count"), count, super::super::validation::NEGATIVE));
            }
            if !seen.insert(name) {
                errors.push(FieldError::duplicate(path.field("name"), name));
            }
            let mut known: HashSet<&str> = HashSet::new();
            for key in texts(driver, "topologyKeys") {
                if key.is_empty() {
                    errors.push(FieldError::required(path, key));
                }
                if !known.insert(key) {
                    errors.push(FieldError::duplicate(path, key));
                }
                invalid_all(&mut errors, path, key, names::qualified_name(key));
            }
        }
        errors
    }

    /// A driver's entry stays as it is; its capacity may be measured again.
    fn validate_update(&self, scope: Scope<'_>, node: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = self.validate(scope, node);
        let path = SPEC.field("drivers");
        let fixed = |driver: &Value| {
            let mut driver = driver.clone();
            driver.remove("allocatable");
            driver
        };
        for before in list(old, "spec.drivers") {
            let same = list(node, "spec.drivers").find(|driver| text(driver, "name") == text(before, "name"));
            if let Some(driver) = same.filter(|driver| fixed(driver) != fixed(before)) {
                let keys = at(driver, "topologyKeys").cloned().unwrap_or_default();
                let shown = value!({"Name": (text(driver, "name")), "NodeID": (text(driver, "nodeID")), "TopologyKeys": (keys), "Allocatable": null});
                errors.push(FieldError::invalid(path, shown, IMMUTABLE));
            }
        }
        errors
    }
}
