//! Claims for volumes.

use corten_schema::{Value, value};

use super::{class, modes, size};
use crate::reads;
use crate::status::{ApiError, FieldError, GroupResource};
use crate::strategies::validation::{Errors, Path, immutable, invalid_all, labels, names, one_of, quantity, values_of};
use crate::strategy::{Scope, Strategy};
use crate::view::{at, entries, entry, flag, text};

const SPEC: Path<'static> = Path::Root("spec");

/// The strategy of claims.
pub(in crate::strategies) struct Claims;

/// Everything wrong with the specification of a claim, wherever it is.
pub(in crate::strategies) fn claim_spec(errors: &mut Errors, path: Path<'_>, spec: &Value) {
    modes(errors, path, spec, "at least 1 access mode is required");
    if let Some(selector) = at(spec, "selector") {
        labels::selector(errors, path.field("selector"), selector);
    }
    let resources = path.field("resources");
    match entries(spec, "resources.requests").find(|(name, _)| *name == "storage") {
        None => errors.push(FieldError::required(resources.key("storage"), "")),
        Some((_, amount)) => size(errors, resources.key("storage"), amount.as_str().unwrap_or_default()),
    }
    class(errors, path.field("storageClassName"), text(spec, "storageClassName"));
    let mode = text(spec, "volumeMode");
    if !mode.is_empty() {
        one_of(errors, path.field("volumeMode"), mode, values_of("core.v1.PersistentVolumeClaimSpec", "volumeMode"));
    }
    for field in ["dataSource", "dataSourceRef"] {
        source(errors, path.field(field), at(spec, field));
    }
    let (plain, reference) = (at(spec, "dataSource"), at(spec, "dataSourceRef"));
    if let (Some(plain), Some(reference)) = (plain, reference)
        && text(reference, "namespace").is_empty()
        && ["apiGroup", "kind", "name"].iter().any(|field| text(plain, field) != text(reference, field))
    {
        errors.push(FieldError::invalid(path, path_of(plain), "must match dataSourceRef"));
    }
    class(errors, path.field("volumeAttributesClassName"), text(spec, "volumeAttributesClassName"));
}

fn path_of(source: &Value) -> &str {
    text(source, "name")
}

fn source(errors: &mut Errors, path: Path<'_>, source: Option<&Value>) {
    let Some(source) = source else { return };
    for field in ["name", "kind"] {
        if text(source, field).is_empty() {
            errors.push(FieldError::required(path.field(field), ""));
        }
    }
    let kind = text(source, "kind");
    if text(source, "apiGroup").is_empty() && kind != "PersistentVolumeClaim" {
        let words = "must be 'PersistentVolumeClaim' when referencing the default apiGroup";
        errors.push(FieldError::invalid(path, kind, words));
    }
    let group = text(source, "apiGroup");
    if !group.is_empty() {
        invalid_all(errors, path.field("apiGroup"), group, names::subdomain(group));
    }
}

/// Claims are filled from other claims and snapshots of their own namespace. Everything else in the older field is dropped, unless
/// the newer one is there.
fn narrow(claim: &mut Value) {
    if !text(claim, "spec.dataSourceRef.namespace").is_empty() {
        claim.remove_at(&["spec", "dataSourceRef"]);
    }
    if let Some(plain) = at(claim, "spec.dataSource")
        && at(claim, "spec.dataSourceRef").is_none()
        && !matches!(
            (text(plain, "apiGroup"), text(plain, "kind")),
            ("", "PersistentVolumeClaim") | ("snapshot.storage.k8s.io", "VolumeSnapshot")
        )
    {
        claim.remove_at(&["spec", "dataSource"]);
    }
}

/// What a claim is filled from is said in two fields, for older and newer readers.
fn align(claim: &mut Value) {
    let (plain, reference) = (at(claim, "spec.dataSource").cloned(), at(claim, "spec.dataSourceRef").cloned());
    match (plain, reference) {
        (Some(plain), None) => claim.set_at(&["spec", "dataSourceRef"], plain),
        (None, Some(reference)) if text(&reference, "namespace").is_empty() => {
            claim.set_at(&["spec", "dataSource"], reference);
        }
        _ => {}
    }
}

/// The class of claims that name none: the newest of those marked as default.
fn default_class(scope: Scope<'_>) -> Option<String> {
    const MARKS: [&str; 2] = ["storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"];
    let classes = reads::list(&scope.server.ledger.snapshot(), "storage.k8s.io", "storageclasses", "");
    let marked = classes.iter().filter(|class| MARKS.iter().any(|mark| class.annotation(mark) == Some("true")));
    let newest = marked.max_by(|a, b| a.creation_timestamp().cmp(b.creation_timestamp()).then_with(|| b.name().cmp(a.name())));
    newest.map(|class| class.name().to_owned())
}

fn requested(claim: &Value) -> Option<i128> {
    quantity::parse(entry(claim, "spec.resources.requests", "storage")?)
}

impl Strategy for Claims {
    fn prepare_create(&self, scope: Scope<'_>, claim: &mut Value) -> Result<(), ApiError> {
        claim.insert("status", value!({"phase": "Pending"}));
        narrow(claim);
        align(claim);
        if at(claim, "spec.storageClassName").is_none()
            && claim.annotation("volume.beta.kubernetes.io/storage-class").is_none()
            && let Some(class) = default_class(scope)
        {
            claim.set_at(&["spec", "storageClassName"], class);
        }
        Ok(())
    }

    /// A bound claim grows only if its class says that its volumes can.
    fn prepare_update(&self, scope: Scope<'_>, claim: &mut Value, old: &Value) -> Result<(), ApiError> {
        if at(old, "spec.dataSource").is_none() && at(old, "spec.dataSourceRef").is_none() {
            narrow(claim);
        }
        align(claim);
        let grows = requested(claim) > requested(old);
        if !grows || text(old, "status.phase") != "Bound" {
            return Ok(());
        }
        let class = text(old, "spec.storageClassName");
        let class = reads::get(&scope.server.ledger, "storage.k8s.io", "storageclasses", "", class);
        if class.is_some_and(|class| flag(&class, "allowVolumeExpansion")) {
            return Ok(());
        }
        let words = "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize";
        Err(ApiError::forbidden(&GroupResource::new("", "persistentvolumeclaims"), claim.name(), words))
    }

    fn validate(&self, _: Scope<'_>, claim: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        claim_spec(&mut errors, SPEC, at(claim, "spec").unwrap_or(&Value::Null));
        errors
    }

    fn validate_update(&self, scope: Scope<'_>, claim: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = self.validate(scope, claim);
        let bound = text(old, "status.phase") == "Bound";
        let fixed = |of: &Value| {
            let mut spec = at(of, "spec").cloned().unwrap_or_default();
            // A claim without a volume may be bound to one; a bound one may ask for more.
            if text(old, "spec.volumeName").is_empty() {
                spec.remove("volumeName");
            }
            if at(old, "spec.storageClassName").is_none() {
                spec.remove("storageClassName");
            }
            if bound {
                spec.remove_at(&["resources", "requests", "storage"]);
            }
            spec.remove("volumeAttributesClassName");
            spec
        };
        if fixed(claim) != fixed(old) {
            errors.push(FieldError::forbidden(
                SPEC,
                "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims",
            ));
        }
        let storage = "spec.resources.requests.storage";
        let capacity = entry(old, "status.capacity", "storage").and_then(quantity::parse);
        if requested(claim) < requested(old) && requested(claim) <= capacity {
            errors.push(FieldError::forbidden(storage, "field can not be less than status.capacity"));
        }
        immutable(&mut errors, Path::Root("volumeMode"), at(claim, "spec.volumeMode"), at(old, "spec.volumeMode"));
        let class = "spec.volumeAttributesClassName";
        if at(claim, class) != at(old, class) && at(old, "status.currentVolumeAttributesClassName").is_some() {
            let refuse = |what: &str| {
                let words = format!("update to {what} is forbidden when status.currentVolumeAttributesClassName is not nil");
                FieldError::forbidden(class, words)
            };
            match at(claim, class).and_then(Value::as_str) {
                None => errors.push(refuse("nil")),
                Some("") => errors.push(refuse("empty string")),
                Some(_) => {}
            }
        }
        errors
    }

    fn validate_status(&self, _: Scope<'_>, claim: &Value, _: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        let status = Path::Root("status");
        for field in ["capacity", "allocatedResources"] {
            let path = status.field(field);
            for (name, amount) in entries(claim, &format!("status.{field}")) {
                let amount = amount.as_str().unwrap_or_default();
                if quantity::parse(amount).is_some_and(|number| number < 0) {
                    errors.push(FieldError::invalid(path.key(name), amount, super::super::validation::NEGATIVE));
                }
            }
        }
        errors
    }
}
