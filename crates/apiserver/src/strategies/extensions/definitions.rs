//! Custom resource definitions.

use corten_schema::{Value, value};

use super::{approval, conversion, names, versions};
use crate::status::{ApiError, FieldError};
use crate::strategies::validation::{Errors, Path, immutable, names as forms, one_of};
use crate::strategies::{EDITABLE_METADATA, keep_metadata};
use crate::strategy::{Scope, Strategy};
use crate::view::{at, condition_true, flag, list, text, texts};

const SPEC: Path<'static> = versions::SPEC;

/// The strategy of custom resource definitions.
pub(in crate::strategies) struct Definitions;

/// The version that objects are stored in counts among those that objects have ever been stored in.
fn remember_storage(definition: &mut Value) {
    let storage =
        list(definition, "spec.versions").find(|version| flag(version, "storage")).map(|version| text(version, "name").to_owned());
    let mut stored: Vec<String> = texts(definition, "status.storedVersions").map(str::to_owned).collect();
    if let Some(storage) = storage.filter(|storage| !stored.contains(storage)) {
        stored.push(storage);
    }
    definition.set_at(&["status", "storedVersions"], stored);
}

fn specification(errors: &mut Errors, definition: &Value, old: Option<&Value>) {
    let group = text(definition, "spec.group");
    let path = SPEC.field("group");
    if group.is_empty() {
        errors.push(FieldError::required(path, ""));
    } else {
        let findings = forms::subdomain(group);
        if findings.is_empty() && !group.contains('.') {
            errors.push(FieldError::invalid(path, group, "should be a domain with at least one dot"));
        }
        names::joined(errors, path, group, "", &findings);
    }
    match text(definition, "spec.scope") {
        "" => errors.push(FieldError::required(SPEC.field("scope"), "")),
        other => one_of(errors, SPEC.field("scope"), other, &["Cluster", "Namespaced"]),
    }
    versions::check(errors, definition);
    let none = Value::map();
    names::check(errors, SPEC.field("names"), at(definition, "spec.names").unwrap_or(&none), true);
    versions::shared(errors, definition);
    conversion::check(errors, definition, old);
}

fn status(errors: &mut Errors, definition: &Value) {
    let path = Path::Root("status");
    if let Some(accepted) = at(definition, "status.acceptedNames") {
        names::check(errors, path.field("acceptedNames"), accepted, false);
    }
}

/// Every version that objects may be stored in must still be there.
fn stored_versions(errors: &mut Errors, definition: &Value) {
    let status = Path::Root("status");
    let path = status.field("storedVersions");
    let stored: Vec<&str> = texts(definition, "status.storedVersions").collect();
    if stored.is_empty() {
        errors.push(FieldError::invalid(path, stored, "must have at least one stored version"));
        return;
    }
    let has = |name: &str| list(definition, "spec.versions").any(|version| text(version, "name") == name);
    for version in list(definition, "spec.versions").filter(|version| flag(version, "storage")) {
        let name = text(version, "name");
        if !stored.contains(&name) {
            errors.push(FieldError::invalid(path, &stored, format!("must have the storage version {name}")));
        }
    }
    for (number, name) in stored.iter().enumerate().filter(|(_, name)| !has(name)) {
        let words = format!(
            "missing from spec.versions; {name} was previously a storage version, and must remain in spec.versions until a storage \
             migration ensures no data remains persisted in {name} and removes {name} from status.storedVersions"
        );
        errors.push(FieldError::invalid(path.index(number), name, words));
    }
}

fn unknown_fields(errors: &mut Errors, definition: &Value, old: Option<&Value>) {
    let preserves = |definition: &Value| flag(definition, "spec.preserveUnknownFields");
    if preserves(definition) && !old.is_some_and(preserves) {
        let words = "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead";
        errors.push(FieldError::invalid(SPEC.field("preserveUnknownFields"), true, words));
    }
}

impl Strategy for Definitions {
    fn allows_unconditional_update(&self) -> bool {
        false
    }

    fn prepare_create(&self, _: Scope<'_>, definition: &mut Value) -> Result<(), ApiError> {
        definition.set_at(&["status", "storedVersions"], value!([]));
        remember_storage(definition);
        Ok(())
    }

    fn prepare_update(&self, _: Scope<'_>, definition: &mut Value, _: &Value) -> Result<(), ApiError> {
        remember_storage(definition);
        Ok(())
    }

    fn prepare_status(&self, _: Scope<'_>, definition: &mut Value, old: &Value) -> Result<(), ApiError> {
        keep_metadata(definition, old, EDITABLE_METADATA);
        Ok(())
    }

    fn validate(&self, _: Scope<'_>, definition: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        if definition.name() != format!("{}.{}", text(definition, "spec.names.plural"), text(definition, "spec.group")) {
            errors.push(FieldError::invalid("metadata.name", definition.name(), "must be spec.names.plural+\".\"+spec.group"));
        }
        specification(&mut errors, definition, None);
        status(&mut errors, definition);
        stored_versions(&mut errors, definition);
        approval::check(&mut errors, definition, None);
        unknown_fields(&mut errors, definition, None);
        errors
    }

    /// What objects are stored under stays as it is.
    fn validate_update(&self, _: Scope<'_>, definition: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        specification(&mut errors, definition, Some(old));
        let established: &[&str] = if condition_true(old, "Established") { &["spec.scope", "spec.names.kind"] } else { &[] };
        for path in established.iter().chain(&["spec.group", "spec.names.plural"]) {
            immutable(&mut errors, Path::Root(path), at(definition, path), at(old, path));
        }
        status(&mut errors, definition);
        stored_versions(&mut errors, definition);
        approval::check(&mut errors, definition, Some(old));
        unknown_fields(&mut errors, definition, Some(old));
        errors
    }

    fn validate_status(&self, _: Scope<'_>, definition: &Value, _: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        status(&mut errors, definition);
        errors
    }
}
