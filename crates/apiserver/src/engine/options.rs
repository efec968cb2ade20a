//! The options of writes.

use corten_schema::Strictness;

use crate::{
    request::{Query, RequestInfo},
    status::{ApiError, FieldError},
};

/// `fieldValidation`: what to do with unknown and repeated fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum FieldValidation {
    /// Drop them.
    Ignore,
    /// Drop them and warn.
    #[default]
    Warn,
    /// Refuse the object.
    Strict,
}

impl From<FieldValidation> for Strictness {
    fn from(validation: FieldValidation) -> Self {
        match validation {
            FieldValidation::Ignore => Self::Ignore,
            FieldValidation::Warn => Self::Warn,
            FieldValidation::Strict => Self::Strict,
        }
    }
}

/// The options that create, update and patch share.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct WriteOptions {
    /// Do everything but write.
    pub(crate) dry_run: bool,
    /// What to do with unknown fields.
    pub(crate) field_validation: FieldValidation,
}

impl WriteOptions {
    /// The options in a request's query. `kind` names them in errors (`CreateOptions`).
    ///
    /// # Errors
    ///
    /// 422 for a value that is not known.
    pub(crate) fn parse(info: &RequestInfo, kind: &str) -> Result<Self, ApiError> {
        let query = &info.query;
        let mut errors = Vec::new();
        let dry_run = dry_run(query, &mut errors);
        let field_validation = match query.get("fieldValidation") {
            None | Some("Warn") => FieldValidation::Warn,
            Some("Ignore") => FieldValidation::Ignore,
            Some("Strict") => FieldValidation::Strict,
            Some(other) => {
                errors.push(FieldError::not_supported("fieldValidation", other, &["", "Ignore", "Strict", "Warn"]));
                FieldValidation::Warn
            }
        };
        if let Some(manager) = query.get("fieldManager") {
            if manager.len() > 128 {
                errors.push(FieldError::too_long("fieldManager", 128));
            } else if manager.chars().any(char::is_control) {
                errors.push(FieldError::invalid("fieldManager", manager, "should only contain printable characters"));
            }
        }
        if errors.is_empty() { Ok(Self { dry_run, field_validation }) } else { Err(ApiError::invalid("meta.k8s.io", kind, "", errors)) }
    }
}

/// `dryRun=All`, the only value there is.
pub(super) fn dry_run(query: &Query, errors: &mut Vec<FieldError>) -> bool {
    let mut asked = false;
    for value in query.all("dryRun").filter(|value| !value.is_empty()) {
        if value == "All" {
            asked = true;
        } else {
            errors.push(FieldError::not_supported("dryRun", value, &["All"]));
        }
    }
    asked
}
