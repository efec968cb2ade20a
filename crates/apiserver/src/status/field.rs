//! Errors about one field of an object, in the reference's words.

use std::fmt;

/// What is wrong with a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldErrorKind {
    /// A value that must be there is missing.
    Required,
    /// A value is malformed or out of range.
    Invalid,
    /// A value has the wrong type.
    TypeInvalid,
    /// A value is not one of an enumeration.
    NotSupported,
    /// A value must not be set under these conditions.
    Forbidden,
    /// A value that must be unique occurs twice.
    Duplicate,
    /// What a value refers to does not exist.
    NotFound,
    /// A string is too long.
    TooLong,
    /// A list has too many items.
    TooMany,
    /// The check itself failed.
    Internal,
}

impl FieldErrorKind {
    /// The machine-readable `reason` of the cause.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Required => "FieldValueRequired",
            Self::Invalid => "FieldValueInvalid",
            Self::TypeInvalid => "FieldValueTypeInvalid",
            Self::NotSupported => "FieldValueNotSupported",
            Self::Forbidden => "FieldValueForbidden",
            Self::Duplicate => "FieldValueDuplicate",
            Self::NotFound => "FieldValueNotFound",
            Self::TooLong => "FieldValueTooLong",
            Self::TooMany => "FieldValueTooMany",
            Self::Internal => "InternalError",
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Required => "Required value",
            Self::Invalid | Self::TypeInvalid => "Invalid value",
            Self::NotSupported => "Unsupported value",
            Self::Forbidden => "Forbidden",
            Self::Duplicate => "Duplicate value",
            Self::NotFound => "Not found",
            Self::TooLong => "Too long",
            Self::TooMany => "Too many",
            Self::Internal => "Internal error",
        }
    }
}

/// One error about one field. Displayed as `spec.x: Invalid value: "y": detail`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    /// What is wrong.
    pub kind: FieldErrorKind,
    /// Path of the field: `spec.containers[0].name`, `metadata.annotations[key]`.
    pub field: String,
    /// The offending value as printed (strings quoted, the rest as JSON); empty for kinds that show none.
    pub value: String,
    /// Further words; may be empty.
    pub detail: String,
}

impl FieldError {
    fn new(kind: FieldErrorKind, field: impl Into<String>, value: String, detail: impl Into<String>) -> Self {
        Self { kind, field: field.into(), value, detail: detail.into() }
    }

    /// `field: Required value: detail`.
    pub fn required(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::new(FieldErrorKind::Required, field, String::new(), detail)
    }

    /// `field: Invalid value: <value as JSON>: detail`. A `&str` is quoted, numbers are bare.
    pub fn invalid(field: impl Into<String>, value: impl serde::Serialize, detail: impl Into<String>) -> Self {
        Self::new(FieldErrorKind::Invalid, field, print(&value), detail)
    }

    /// `field: Invalid value: detail`: the value is not shown.
    pub fn invalid_unshown(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::new(FieldErrorKind::Invalid, field, String::new(), detail)
    }

    /// `field: Invalid value: detail`, for a wrong type.
    pub fn type_invalid(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::new(FieldErrorKind::TypeInvalid, field, String::new(), detail)
    }

    /// `field: Unsupported value: "x": supported values: "A", "B"`.
    pub fn not_supported(field: impl Into<String>, value: &str, supported: &[&str]) -> Self {
        let mut sorted = supported.to_vec();
        sorted.sort_unstable();
        Self::not_supported_as_given(field, value, &sorted)
    }

    /// The same, with the supported values in the order given: the reference sorts most of its lists, but not all.
    pub fn not_supported_as_given(field: impl Into<String>, value: impl serde::Serialize, supported: &[&str]) -> Self {
        let quoted: Vec<String> = supported.iter().map(|s| format!("{s:?}")).collect();
        let detail = format!("supported values: {}", quoted.join(", "));
        Self::new(FieldErrorKind::NotSupported, field, print(&value), detail)
    }

    /// The same error about another value.
    #[must_use]
    pub fn with_value(self, value: &impl serde::Serialize) -> Self {
        Self { value: print(value), ..self }
    }

    /// The same error about a map that is not there: unlike other absent values it is shown without quotes.
    #[must_use]
    pub fn about_no_map(self) -> Self {
        Self { value: "null".to_owned(), ..self }
    }

    /// `field: Internal error: detail`.
    pub fn internal(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::new(FieldErrorKind::Internal, field, String::new(), detail)
    }

    /// `field: Forbidden: detail`.
    pub fn forbidden(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::new(FieldErrorKind::Forbidden, field, String::new(), detail)
    }

    /// `field: Duplicate value: "x"`.
    pub fn duplicate(field: impl Into<String>, value: impl serde::Serialize) -> Self {
        Self::new(FieldErrorKind::Duplicate, field, print(&value), "")
    }

    /// `field: Duplicate value: "x": detail`.
    pub fn duplicate_because(field: impl Into<String>, value: impl serde::Serialize, detail: impl Into<String>) -> Self {
        Self::new(FieldErrorKind::Duplicate, field, print(&value), detail)
    }

    /// `field: Not found: "x": detail`.
    pub fn not_found_because(field: impl Into<String>, value: impl serde::Serialize, detail: impl Into<String>) -> Self {
        Self::new(FieldErrorKind::NotFound, field, print(&value), detail)
    }

    /// `field: Not found: "x"`.
    pub fn not_found(field: impl Into<String>, value: impl serde::Serialize) -> Self {
        Self::new(FieldErrorKind::NotFound, field, print(&value), "")
    }

    /// `field: Too long: may not be more than {max} bytes`.
    pub fn too_long(field: impl Into<String>, max: usize) -> Self {
        let detail = format!("may not be more than {max} bytes");
        Self::new(FieldErrorKind::TooLong, field, String::new(), detail)
    }

    /// `field: Too many: {count}: must have at most {max} items`.
    pub fn too_many(field: impl Into<String>, count: usize, max: usize) -> Self {
        let items = if max == 1 { "item" } else { "items" };
        let detail = format!("must have at most {max} {items}");
        Self::new(FieldErrorKind::TooMany, field, count.to_string(), detail)
    }

    /// The text without the field: the `message` of the cause.
    pub fn body(&self) -> String {
        let mut text = self.kind.words().to_owned();
        for part in [&self.value, &self.detail] {
            if !part.is_empty() {
                text.push_str(": ");
                text.push_str(part);
            }
        }
        text
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.body())
    }
}

/// A value as JSON; nothing at all is the text `"null"`, as in the reference.
fn print(value: &impl serde::Serialize) -> String {
    let text = serde_json::to_string(value).unwrap_or_default();
    match text.as_bytes().first() {
        Some(b'"') => text,
        _ if text == "null" => "\"null\"".to_owned(),
        // Go's JSON can stand in a page.
        _ => text.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026"),
    }
}
