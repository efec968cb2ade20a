//! `pods/ephemeralcontainers`: containers that are added to a running pod, and never leave it (KEP-277).

use corten_schema::Value;

use super::MIRROR;
use crate::status::FieldError;
use crate::strategies::validation::{Errors, Path, differences, pod_spec};
use crate::view::{at, list, text};

/// Puts back all that the subresource does not write.
pub(super) fn keep_the_rest(pod: &mut Value, old: &Value) {
    let wanted = at(pod, "spec.ephemeralContainers").cloned();
    let mut spec = at(old, "spec").cloned().unwrap_or_default();
    match wanted {
        Some(wanted) => spec.insert("ephemeralContainers", wanted),
        None => drop(spec.remove("ephemeralContainers")),
    }
    pod.insert("spec", spec);
}

/// Everything wrong with the ephemeral containers wanted.
pub(super) fn validate(pod: &Value, old: &Value) -> Errors {
    if old.annotation(MIRROR).is_some() {
        return vec![FieldError::forbidden("", "static pods do not support ephemeral containers")];
    }
    let mut errors = Errors::new();
    pod_spec::pod(&mut errors, pod);
    let root = Path::Root("spec");
    let path = root.field("ephemeralContainers");
    for before in list(old, "spec.ephemeralContainers") {
        let name = text(before, "name");
        match list(pod, "spec.ephemeralContainers").find(|one| text(one, "name") == name) {
            None => errors.push(FieldError::forbidden(path, format!("existing ephemeral containers {name:?} may not be removed\n"))),
            Some(now) if now != before => {
                let words = format!("existing ephemeral containers {name:?} may not be changed\n{}", differences::between(before, now));
                errors.push(FieldError::forbidden(path, words));
            }
            Some(_) => {}
        }
    }
    errors
}
