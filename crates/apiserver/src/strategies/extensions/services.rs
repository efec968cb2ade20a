//! API services: where the groups and versions come from that other servers serve.

use corten_schema::Value;

use crate::status::{ApiError, FieldError};
use crate::strategies::config::decoded_len;
use crate::strategies::forms::named;
use crate::strategies::validation::{Errors, Path, invalid_all, names};
use crate::strategies::{EDITABLE_METADATA, keep_metadata};
use crate::strategy::{NameRule, Scope, Strategy};
use crate::view::{at, flag, int, list, text};

const SPEC: Path<'static> = Path::Root("spec");

/// The strategy of API services.
pub(in crate::strategies) struct Services;

impl Strategy for Services {
    fn allows_unconditional_update(&self) -> bool {
        false
    }

    fn name_rule(&self) -> NameRule {
        NameRule::PathSegment
    }

    fn prepare_status(&self, _: Scope<'_>, service: &mut Value, old: &Value) -> Result<(), ApiError> {
        keep_metadata(service, old, EDITABLE_METADATA);
        Ok(())
    }

    fn validate(&self, _: Scope<'_>, service: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        let (group, version) = (text(service, "spec.group"), text(service, "spec.version"));
        let wanted = format!("{version}.{group}");
        if service.name() != wanted {
            let words = format!("must be `spec.version+\".\"+spec.group`: {wanted:?}");
            errors.push(FieldError::invalid("metadata.name", service.name(), words));
        }
        if group.is_empty() {
            if version != "v1" {
                errors.push(FieldError::required(SPEC.field("group"), "only v1 may have an empty group and it better be legacy kube"));
            }
        } else {
            invalid_all(&mut errors, SPEC.field("group"), group, names::subdomain(group));
        }
        invalid_all(&mut errors, SPEC.field("version"), version, names::label_1035(version));
        for (field, most) in [("groupPriorityMinimum", 20_000), ("versionPriority", 1000)] {
            let number = int(service, &format!("spec.{field}")).unwrap_or_default();
            if !(1..=most).contains(&number) {
                errors.push(FieldError::invalid(SPEC.field(field), number, format!("must be positive and less than {most}")));
            }
        }
        let insecure = flag(service, "spec.insecureSkipTLSVerify");
        let bundle = !text(service, "spec.caBundle").is_empty();
        let path = SPEC.field("service");
        match at(service, "spec.service") {
            None => {
                if bundle {
                    let words = "local APIServices may not have a caBundle";
                    let size = decoded_len(text(service, "spec.caBundle"));
                    errors.push(FieldError::invalid(SPEC.field("caBundle"), format!("{size} bytes"), words));
                }
                if insecure {
                    let words = "local APIServices may not have insecureSkipTLSVerify";
                    errors.push(FieldError::invalid(SPEC.field("insecureSkipTLSVerify"), true, words));
                }
            }
            Some(reference) => {
                named(&mut errors, path.field("namespace"), text(reference, "namespace"), |_| Vec::new());
                named(&mut errors, path.field("name"), text(reference, "name"), |_| Vec::new());
                let port = int(reference, "port").unwrap_or_default();
                let why = names::port_number(port);
                if !why.is_empty() {
                    errors.push(FieldError::invalid(path.field("port"), port, format!("port is not valid: {}", why.join(", "))));
                }
                if insecure && bundle {
                    let words = "may not be true if caBundle is present";
                    errors.push(FieldError::invalid(SPEC.field("insecureSkipTLSVerify"), true, words));
                }
            }
        }
        errors
    }

    fn validate_status(&self, _: Scope<'_>, service: &Value, _: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        let status = Path::Root("status");
        let all = status.field("conditions");
        for (number, condition) in list(service, "status.conditions").enumerate() {
            let found = text(condition, "status");
            if !["True", "False", "Unknown"].contains(&found) {
                let path = all.index(number);
                errors.push(FieldError::not_supported_as_given(path.field("status"), found, &["True", "False", "Unknown"]));
            }
        }
        errors
    }
}
