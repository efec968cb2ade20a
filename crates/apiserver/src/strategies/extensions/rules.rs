//! `x-kubernetes-validations`: rules about values, as expressions.

use corten_schema::{Value, value};

use super::field_path;
use crate::cel::{self, Environment, Type};
use crate::status::FieldError;
use crate::strategies::validation::{Errors, Path, one_of, values_of};
use crate::view::{at, flag, list, text};

const RULE: &str = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.ValidationRule";

/// The form of the rules, apart from their expressions.
pub(super) fn form(errors: &mut Errors, path: Path<'_>, schema: &Value) {
    let all = path.field("x-kubernetes-validations");
    let breaks = |text: &str| text.contains(['\n', '\r']);
    for (number, rule) in list(schema, "x-kubernetes-validations").enumerate() {
        let path = all.index(number);
        let (expression, message) = (text(rule, "rule").trim(), text(rule, "message"));
        if expression.is_empty() {
            errors.push(FieldError::required(path.field("rule"), "rule is not specified"));
        } else if !message.is_empty() && message.trim().is_empty() {
            errors.push(FieldError::invalid(path.field("message"), message, "message must be non-empty if specified"));
        } else if breaks(message.trim()) {
            errors.push(FieldError::invalid(path.field("message"), message, "message must not contain line breaks"));
        } else if breaks(expression) && message.trim().is_empty() {
            errors.push(FieldError::required(path.field("message"), "message must be specified if rule contains line breaks"));
        }
        let words = text(rule, "messageExpression");
        if !words.is_empty() && words.trim().is_empty() {
            errors.push(FieldError::required(path.field("messageExpression"), "messageExpression must be non-empty if specified"));
        }
        if let Some(reason) = at(rule, "reason").and_then(Value::as_str) {
            one_of(errors, path.field("reason"), reason, values_of(RULE, "reason"));
        }
        let field = text(rule, "fieldPath");
        let at_field = path.field("fieldPath");
        if !field.is_empty() {
            if field.trim().is_empty() {
                errors.push(FieldError::invalid(at_field, field, "fieldPath must be non-empty if specified"));
            }
            if breaks(field) {
                errors.push(FieldError::invalid(at_field, field, "fieldPath must not contain line breaks"));
            }
            if field_path::resolve(field, schema).is_err() {
                errors.push(FieldError::invalid(at_field, field, "fieldPath must be a valid path"));
            }
        }
    }
}

/// A rule as the reference prints it.
fn shown(rule: &Value) -> Value {
    let of = |field: &str| at(rule, field).cloned().unwrap_or_default();
    value!({
        "Rule": (text(rule, "rule")), "Message": (text(rule, "message")), "MessageExpression": (text(rule, "messageExpression")),
        "Reason": (of("reason")), "FieldPath": (text(rule, "fieldPath")), "OptionalOldSelf": (of("optionalOldSelf")),
    })
}

/// Compiles the rules of a schema that is otherwise right. `no_old` is the list or map because of which there is no old value.
pub(super) fn compile(errors: &mut Errors, path: Path<'_>, schema: &Value, is_object: bool, no_old: Option<&Path<'_>>) {
    let all = path.field("x-kubernetes-validations");
    if list(schema, "x-kubernetes-validations").len() == 0 {
        return;
    }
    let Some(kind) = cel::schema_type(schema, is_object) else {
        let words = "internal error: failed to retrieve type information for x-kubernetes-validations";
        errors.push(FieldError::internal(all, words));
        return;
    };
    let mut environment = Environment::default();
    environment.declare("self", kind.clone());
    for (number, rule) in list(schema, "x-kubernetes-validations").enumerate() {
        let path = all.index(number);
        let optional = flag(rule, "optionalOldSelf");
        environment.declare("oldSelf", if optional { Type::optional(kind.clone()) } else { kind.clone() });
        let at_rule = path.field("rule");
        let mut uses_old = false;
        match cel::check(text(rule, "rule"), &environment) {
            Err(refused) => errors.push(FieldError::invalid(at_rule, shown(rule), refused.to_string())),
            Ok(checked) => {
                uses_old = checked.uses.iter().any(|name| name == "oldSelf");
                if checked.result != Type::Bool {
                    errors.push(FieldError::invalid(at_rule, shown(rule), "cel expression must evaluate to a bool"));
                }
            }
        }
        message(errors, path.field("messageExpression"), rule, &environment);
        match (uses_old, no_old) {
            (true, Some(unrelated)) => {
                let words = format!("oldSelf cannot be used on the uncorrelatable portion of the schema within {unrelated}");
                errors.push(FieldError::invalid(at_rule, text(rule, "rule"), words));
            }
            (false, _) if at(rule, "optionalOldSelf").is_some() => {
                let words = "may not be set if oldSelf is not used in rule";
                errors.push(FieldError::invalid(path.field("optionalOldSelf"), optional, words));
            }
            _ => {}
        }
    }
}

fn message(errors: &mut Errors, path: Path<'_>, rule: &Value, environment: &Environment) {
    let words = text(rule, "messageExpression");
    if words.is_empty() {
        return;
    }
    match cel::check(words, environment) {
        Err(refused) => errors.push(FieldError::invalid(path, shown(rule), format!("messageExpression {refused}"))),
        Ok(checked) if checked.result != Type::String => {
            errors.push(FieldError::invalid(path, shown(rule), "messageExpression must evaluate to a string"));
        }
        Ok(_) => {}
    }
}
