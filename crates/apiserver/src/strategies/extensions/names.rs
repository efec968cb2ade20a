//! The names of a custom kind.

use corten_schema::Value;

use crate::status::FieldError;
use crate::strategies::validation::{Errors, Path, names};
use crate::view::{text, texts};

const REQUIRED: [&str; 4] = ["plural", "singular", "kind", "listKind"];

/// An error with all findings about a name.
pub(super) fn joined(errors: &mut Errors, path: Path<'_>, name: &str, prefix: &str, findings: &names::Findings) {
    if !findings.is_empty() {
        errors.push(FieldError::invalid(path, name, format!("{prefix}{}", findings.join(","))));
    }
}

/// What is wrong with the names at `path`; in a specification the main ones must be there.
pub(super) fn check(errors: &mut Errors, path: Path<'_>, names_of: &Value, required: bool) {
    for field in REQUIRED.iter().filter(|field| required && text(names_of, field).is_empty()) {
        errors.push(FieldError::required(path.field(field), ""));
    }
    for field in REQUIRED {
        let name = text(names_of, field);
        if name.is_empty() {
            continue;
        }
        if matches!(field, "kind" | "listKind") {
            let prefix = "may have mixed case, but should otherwise match: ";
            joined(errors, path.field(field), name, prefix, &names::label_1035(&name.to_lowercase()));
        } else {
            joined(errors, path.field(field), name, "", &names::label_1035(name));
        }
    }
    let list = |errors: &mut Errors, field: &str| {
        let path = path.field(field);
        for (number, name) in texts(names_of, field).enumerate() {
            joined(errors, path.index(number), name, "", &names::label_1035(name));
        }
    };
    list(errors, "shortNames");
    let kind = text(names_of, "kind");
    if !kind.is_empty() && kind == text(names_of, "listKind") {
        errors.push(FieldError::invalid(path.field("listKind"), kind, "kind and listKind may not be the same"));
    }
    list(errors, "categories");
}
