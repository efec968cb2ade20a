//! What drivers offer, in slices.

use corten_schema::Value;

use super::{driver, pool, qualified, unique};
use crate::status::FieldError;
use crate::strategies::field;
use crate::strategies::validation::{Errors, NEGATIVE, Path, immutable, invalid_all, names};
use crate::strategy::{Scope, SelectableField, Strategy};
use crate::view::{at, entries, flag, int, list, text};

const SPEC: Path<'static> = Path::Root("spec");
const MOST_DEVICES: usize = 128;
const MOST_ATTRIBUTES: usize = 32;
const PLACES: [&str; 4] = ["nodeName", "nodeSelector", "allNodes", "perDeviceNodeSelection"];

/// The strategy of slices.
pub(in crate::strategies) struct Slices;

fn device(errors: &mut Errors, path: Path<'_>, device: &Value) {
    let name = text(device, "name");
    invalid_all(errors, path.field("name"), name, names::label(name));
    let attributes = path.field("attributes");
    for (name, attribute) in entries(device, "attributes") {
        let path = attributes.key(name);
        invalid_all(errors, path, name, qualified(name));
        let kinds = ["int", "bool", "string", "version"];
        match kinds.iter().filter(|kind| at(attribute, kind).is_some()).count() {
            0 => errors.push(FieldError::required(path, "exactly one value must be specified")),
            1 => {}
            _ => errors.push(FieldError::invalid(path, attribute, "exactly one value must be specified")),
        }
        if text(attribute, "string").len() > 64 {
            errors.push(FieldError::too_long(path.field("string"), 64));
        }
    }
    let capacity = path.field("capacity");
    for (name, _) in entries(device, "capacity") {
        invalid_all(errors, capacity.key(name), name, qualified(name));
    }
    let count = entries(device, "attributes").count() + entries(device, "capacity").count();
    if count > MOST_ATTRIBUTES {
        let words = format!("the total number of attributes and capacities must not exceed {MOST_ATTRIBUTES}");
        errors.push(FieldError::invalid(path, count, words));
    }
}

impl Strategy for Slices {
    fn selectable_fields(&self) -> &'static [SelectableField] {
        const FIELDS: &[SelectableField] = &[field("spec.nodeName", &["spec", "nodeName"]), field("spec.driver", &["spec", "driver"])];
        FIELDS
    }

    fn tracks_generation(&self, _: &corten_schema::Resource) -> bool {
        true
    }

    fn validate(&self, _: Scope<'_>, slice: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        let spec = at(slice, "spec").unwrap_or(&Value::Null);
        driver(&mut errors, SPEC.field("driver"), text(spec, "driver"));
        let path = SPEC.field("pool");
        pool(&mut errors, path.field("name"), text(spec, "pool.name"));
        let count = int(spec, "pool.resourceSliceCount").unwrap_or_default();
        if count <= 0 {
            errors.push(FieldError::invalid(path.field("resourceSliceCount"), count, "must be greater than zero"));
        }
        let generation = int(spec, "pool.generation").unwrap_or_default();
        if generation < 0 {
            errors.push(FieldError::invalid(path.field("generation"), generation, NEGATIVE));
        }
        let given: Vec<String> = PLACES
            .iter()
            .filter(|field| match **field {
                "nodeName" => !text(spec, "nodeName").is_empty(),
                "nodeSelector" => at(spec, "nodeSelector").is_some(),
                other => flag(spec, other),
            })
            .map(|field| format!("`{field}`"))
            .collect();
        let words = "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required";
        match given.len() {
            0 => errors.push(FieldError::required(SPEC, words)),
            1 => {}
            _ => {
                let value = format!("{{{}}}", given.join(", "));
                errors.push(FieldError::invalid(SPEC, value, format!("{words}, but multiple fields are set")));
            }
        }
        let node = text(spec, "nodeName");
        if !node.is_empty() {
            invalid_all(&mut errors, SPEC.field("nodeName"), node, names::subdomain(node));
        }
        let all = SPEC.field("devices");
        let listed: Vec<&str> = list(spec, "devices").map(|device| text(device, "name")).collect();
        for (number, item) in list(spec, "devices").enumerate() {
            device(&mut errors, all.index(number), item);
        }
        unique(&mut errors, all, &listed, MOST_DEVICES);
        errors
    }

    fn validate_update(&self, scope: Scope<'_>, slice: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = self.validate(scope, slice);
        for field in ["driver", "nodeName"] {
            let path = format!("spec.{field}");
            immutable(&mut errors, SPEC.field(field), at(slice, &path), at(old, &path));
        }
        let path = SPEC.field("pool");
        immutable(&mut errors, path.field("name"), at(slice, "spec.pool.name"), at(old, "spec.pool.name"));
        errors
    }
}
