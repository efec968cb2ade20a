//! What drivers offer, in slices.

use corten_schema::Value;

use super::supply::{counter_set, device, given};
use super::{driver, items, name, pool, set};
use crate::status::FieldError;
use crate::strategies::field;
use crate::strategies::validation::{Errors, NOT_POSITIVE, Path, immutable};
use crate::strategy::{Scope, SelectableField, Strategy};
use crate::view::{at, flag, int, list, text};

const SPEC: Path<'static> = Path::Root("spec");
const MOST_DEVICES: usize = 128;
/// The same where devices have taints or consume counters.
const MOST_COSTLY: usize = 64;
const MOST_COUNTER_SETS: usize = 8;
const PLACES: [&str; 4] = ["nodeName", "nodeSelector", "allNodes", "perDeviceNodeSelection"];

/// The strategy of slices.
pub(in crate::strategies) struct Slices;

impl Strategy for Slices {
    fn selectable_fields(&self) -> &'static [SelectableField] {
        const FIELDS: &[SelectableField] = &[field("spec.nodeName", &["spec", "nodeName"]), field("spec.driver", &["spec", "driver"])];
        FIELDS
    }

    fn tracks_generation(&self, _: &corten_schema::Resource) -> bool {
        true
    }

    fn validate(&self, _: Scope<'_>, slice: &Value) -> Vec<FieldError> {
        check(slice, None)
    }

    fn validate_update(&self, _: Scope<'_>, slice: &Value, old: &Value) -> Vec<FieldError> {
        check(slice, Some(old))
    }
}

fn check(slice: &Value, old: Option<&Value>) -> Errors {
    let mut errors = Errors::new();
    let errors = &mut errors;
    let spec = at(slice, "spec").unwrap_or(&Value::Null);
    driver(errors, SPEC.field("driver"), text(spec, "driver"));
    let path = SPEC.field("pool");
    pool(errors, path.field("name"), text(spec, "pool.name"));
    let count = int(spec, "pool.resourceSliceCount").unwrap_or_default();
    if count <= 0 {
        errors.push(FieldError::invalid(path.field("resourceSliceCount"), count, NOT_POSITIVE));
    }
    let generation = int(spec, "pool.generation").unwrap_or_default();
    if generation < 0 {
        errors.push(FieldError::invalid(path.field("generation"), generation, "must be greater than or equal to zero"));
    }
    if let Some(old) = old {
        immutable(errors, path.field("name"), at(slice, "spec.pool.name"), at(old, "spec.pool.name"));
        for field in ["driver", "nodeName"] {
            let path = format!("spec.{field}");
            immutable(errors, SPEC.field(field), at(slice, &path), at(old, &path));
        }
    }
    places(errors, spec);
    if at(spec, "sharedCounters").is_some() && at(spec, "devices").is_some() {
        errors.push(FieldError::invalid(SPEC, "", "only one of `sharedCounters` or `devices` is allowed"));
    }
    let costly = |device: &Value| ["taints", "consumesCounters"].iter().any(|field| list(device, field).len() > 0);
    let most = if list(spec, "devices").any(costly) { MOST_COSTLY } else { MOST_DEVICES };
    let per_device = flag(spec, "perDeviceNodeSelection");
    set(errors, SPEC.field("devices"), items(spec, "devices"), most, name, |errors, path, item| {
        let before = old.and_then(|old| list(old, "spec.devices").find(|before| text(before, "name") == text(item, "name")));
        device(errors, path, item, before, per_device);
    });
    let sets = items(spec, "sharedCounters");
    set(errors, SPEC.field("sharedCounters"), sets, MOST_COUNTER_SETS, name, |errors, path, set| {
        counter_set(errors, path, set, "name");
    });
    std::mem::take(errors)
}

/// Where the devices can be used.
fn places(errors: &mut Errors, spec: &Value) {
    const WORDS: &str = "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required";
    let given = given(errors, SPEC, spec, &PLACES, "must be either unset or set to a non-empty string");
    let terms = list(spec, "nodeSelector.nodeSelectorTerms");
    if at(spec, "nodeSelector").is_some() && terms.len() != 1 {
        let selector = SPEC.field("nodeSelector");
        let shown = at(spec, "nodeSelector.nodeSelectorTerms").unwrap_or(&Value::Null);
        errors.push(FieldError::invalid(selector.field("nodeSelectorTerms"), shown, "must have exactly one node selector term"));
    }
    match given.len() {
        0 => errors.push(FieldError::required(SPEC, WORDS)),
        1 => {}
        _ => {
            let value = format!("{{{}}}", given.join(", "));
            errors.push(FieldError::invalid(SPEC, value, format!("{WORDS}, but multiple fields are set")));
        }
    }
}
