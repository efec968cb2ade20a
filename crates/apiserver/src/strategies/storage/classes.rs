//! Storage classes and volume attributes classes.

use std::collections::HashSet;

use corten_schema::{Value, json};

use super::parameters;
use crate::status::FieldError;
use crate::strategies::forms::{distinct, forbidden_change};
use crate::strategies::validation::{Errors, Path, immutable, invalid_all, names, one_of, required_one_of, values_of};
use crate::strategy::{Scope, Strategy};
use crate::view::{at, list, text, texts};

/// The strategy of storage classes.
pub(in crate::strategies) struct Classes;

impl Strategy for Classes {
    fn validate(&self, _: Scope<'_>, class: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        let provisioner = text(class, "provisioner");
        let path = Path::Root("provisioner");
        match provisioner {
            "" => errors.push(FieldError::required(path, "")),
            name => driver(&mut errors, path, name),
        }
        parameters(&mut errors, Path::Root("parameters"), class, "parameters");
        let policy = text(class, "reclaimPolicy");
        if !policy.is_empty() {
            one_of(&mut errors, Path::Root("reclaimPolicy"), policy, &["Delete", "Retain"]);
        }
        let mode = text(class, "volumeBindingMode");
        required_one_of(&mut errors, Path::Root("volumeBindingMode"), mode, values_of("storage.v1.StorageClass", "volumeBindingMode"));
        topologies(&mut errors, class);
        errors
    }

    fn validate_update(&self, scope: Scope<'_>, class: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = self.validate(scope, class);
        for field in ["parameters", "provisioner", "reclaimPolicy"] {
            forbidden_change(&mut errors, class, old, field, &format!("updates to {field} are forbidden."));
        }
        immutable(&mut errors, Path::Root("volumeBindingMode"), at(class, "volumeBindingMode"), at(old, "volumeBindingMode"));
        errors
    }
}

/// The name of who provides volumes; shown as it is checked, in lower case.
fn driver(errors: &mut Errors, path: Path<'_>, name: &str) {
    let lower = name.to_lowercase();
    invalid_all(errors, path, &lower, names::qualified_name(&lower));
}

fn topologies(errors: &mut Errors, class: &Value) {
    let all = Path::Root("allowedTopologies");
    let mut seen = HashSet::new();
    for (number, term) in list(class, "allowedTopologies").enumerate() {
        let path = all.index(number);
        let expressions = path.field("matchLabelExpressions");
        let mut keys: HashSet<&str> = HashSet::new();
        for (number, expression) in list(term, "matchLabelExpressions").enumerate() {
            let path = expressions.index(number);
            let key = text(expression, "key");
            let values = path.field("values");
            if list(expression, "values").len() == 0 {
                errors.push(FieldError::required(values, ""));
            }
            distinct(errors, values, texts(expression, "values"));
            invalid_all(errors, path.field("key"), key, names::qualified_name(key));
            if !keys.insert(key) {
                errors.push(FieldError::duplicate(path.field("key"), key));
            }
        }
        if !seen.insert(json::encode(term)) {
            errors.push(FieldError::duplicate(path.field("matchLabelExpressions"), ""));
        }
    }
}

/// The strategy of volume attributes classes.
pub(in crate::strategies) struct AttributesClasses;

impl Strategy for AttributesClasses {
    fn validate(&self, _: Scope<'_>, class: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        match text(class, "driverName") {
            "" => errors.push(FieldError::required("driverName", "")),
            name => driver(&mut errors, Path::Root("driverName"), name),
        }
        let path = Path::Root("parameters");
        parameters(&mut errors, path, class, "parameters");
        if at(class, "parameters").and_then(Value::as_map).is_none_or(|map| map.is_empty()) {
            errors.push(FieldError::required(path, "must contain at least one key/value pair"));
        }
        errors
    }

    fn validate_update(&self, scope: Scope<'_>, class: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        for field in ["driverName", "parameters"] {
            forbidden_change(&mut errors, class, old, field, &format!("updates to {field} are forbidden."));
        }
        errors.extend(self.validate(scope, class));
        errors
    }
}
