//! CSI drivers, and the nodes that they run on.

use corten_schema::Value;

use crate::status::FieldError;
use crate::strategies::forms::csi_driver;
use crate::strategies::validation::{Errors, Path, immutable, invalid_all, names, one_of};
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
        csi_driver(&mut errors, Path::Root("metadata").field("name"), driver.name());
        for field in ["attachRequired", "podInfoOnMount", "storageCapacity", "seLinuxMount"] {
            if at(driver, &format!("spec.{field}")).is_none() {
                errors.push(FieldError::required(SPEC.field(field), ""));
            }
        }
        let policy = text(driver, "spec.fsGroupPolicy");
        one_of(&mut errors, SPEC.field("fsGroupPolicy"), policy, &["File", "None", "ReadWriteOnceWithFSType"]);
        let modes = SPEC.field("volumeLifecycleModes");
        for mode in texts(driver, "spec.volumeLifecycleModes") {
            one_of(&mut errors, modes, mode, &["Ephemeral", "Persistent"]);
        }
        let all = SPEC.field("tokenRequests");
        let mut audiences: Vec<&str> = Vec::new();
        for (number, request) in list(driver, "spec.tokenRequests").enumerate() {
            let path = all.index(number);
            let audience = text(request, "audience");
            if audiences.contains(&audience) {
                errors.push(FieldError::duplicate(path.field("audience"), audience));
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
        for field in ["attachRequired", "volumeLifecycleModes"] {
            let path = format!("spec.{field}");
            immutable(&mut errors, SPEC.field(field), at(driver, &path), at(old, &path));
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
        let mut seen: Vec<&str> = Vec::new();
        for (number, driver) in list(node, "spec.drivers").enumerate() {
            let path = all.index(number);
            let name = text(driver, "name");
            csi_driver(&mut errors, path.field("name"), name);
            let id = text(driver, "nodeID");
            if id.is_empty() {
                errors.push(FieldError::required(path.field("nodeID"), ""));
            } else if id.len() > LONGEST_ID {
                errors.push(FieldError::too_long(path.field("nodeID"), LONGEST_ID));
            }
            let allocatable = path.field("allocatable");
            if let Some(count) = int(driver, "allocatable.count")
                && count < 0
            {
                errors.push(FieldError::invalid(allocatable.field("count"), count, super::super::validation::NEGATIVE));
            }
            let keys = path.field("topologyKeys");
            let mut known: Vec<&str> = Vec::new();
            for key in texts(driver, "topologyKeys") {
                if key.is_empty() {
                    errors.push(FieldError::required(keys, key));
                }
                if known.contains(&key) {
                    errors.push(FieldError::duplicate(keys, key));
                }
                known.push(key);
                invalid_all(&mut errors, keys, key, names::qualified_name(key));
            }
            if seen.contains(&name) {
                errors.push(FieldError::duplicate(path.field("name"), name));
            }
            seen.push(name);
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
            if same.is_some_and(|driver| fixed(driver) != fixed(before)) {
                errors.push(FieldError::invalid(path.field("name"), text(before, "name"), "field is immutable"));
            }
        }
        errors
    }
}
