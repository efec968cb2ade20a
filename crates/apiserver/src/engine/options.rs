//! The options of writes.

use corten_schema::Strictness;

use super::managed;
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
    /// The object comes with its owners: it has been applied.
    pub(crate) applied: bool,
}

impl WriteOptions {
    /// The options in a request's query. `kind` names them in errors (`CreateOptions`).
    ///
    /// # Errors
    ///
    /// 422 for a value that is not known.
    pub(crate) fn parse(info: &RequestInfo, kind: &str) -> Result<Self, ApiError> {
        Self::with_errors(info, kind, Vec::new())
    }

    /// The options of a PATCH; `applies` for server-side apply.
    ///
    /// # Errors
    ///
    /// 422 for a value that is not known, and for what only the other kind of patch has.
    pub(crate) fn parse_patch(info: &RequestInfo, applies: bool) -> Result<Self, ApiError> {
        let mut errors = Vec::new();
        if !applies && info.query.get("force").is_some() {
            errors.push(FieldError::forbidden("force", "may not be specified for non-apply patch"));
        }
        if applies && info.query.get("fieldManager").is_none_or(str::is_empty) {
            errors.push(FieldError::required("fieldManager", "is required for apply patch"));
        }
        Self::with_errors(info, "PatchOptions", errors).map(|options| Self { applied: applies, ..options })
    }

    fn with_errors(info: &RequestInfo, kind: &str, mut errors: Vec<FieldError>) -> Result<Self, ApiError> {
        let query = &info.query;
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
            if manager.len() > managed::LONGEST {
                errors.push(FieldError::too_long("fieldManager", managed::LONGEST));
            }
            for (position, c) in manager.char_indices().filter(|(_, c)| !managed::is_printable(*c)) {
                let words = format!("invalid character U+{:04X} (at position {position})", u32::from(c));
                errors.push(FieldError::invalid("fieldManager", manager, words));
            }
        }
        if errors.is_empty() {
            Ok(Self { dry_run, field_validation, applied: false })
        } else {
            Err(ApiError::invalid("meta.k8s.io", kind, "", errors))
        }
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
