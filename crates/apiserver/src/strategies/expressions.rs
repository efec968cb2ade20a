//! Expressions in objects: compiled when they are written, with the compiler's words in the error.

use super::validation::{Errors, Path};
use crate::cel::{self, Environment, Type};
use crate::status::FieldError;

/// Checks an expression that must give one of the `wanted` types (any, if there are none); its type if it does.
pub(super) fn compiled(errors: &mut Errors, path: Path<'_>, expression: &str, environment: &Environment, wanted: &[Type]) -> Option<Type> {
    match cel::check(expression, environment) {
        Err(refused) => errors.push(FieldError::invalid(path, expression, refused.to_string())),
        Ok(checked) if wanted.is_empty() || wanted.contains(&checked.result) || checked.result == Type::Any => return Some(checked.result),
        Ok(_) => {
            let names: Vec<String> =
                wanted.iter().map(|kind| if *kind == Type::Null { "null_type".to_owned() } else { kind.to_string() }).collect();
            let words = match names.as_slice() {
                [only] => format!("must evaluate to {only}"),
                all => format!("must evaluate to one of [{}]", all.join(" ")),
            };
            errors.push(FieldError::invalid(path, expression, words));
        }
    }
    None
}
