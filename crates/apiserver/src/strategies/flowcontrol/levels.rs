//! Priority levels: how many requests at a time.

use corten_schema::{Value, value};

use crate::status::{ApiError, FieldError};
use crate::strategies::validation::{Errors, Path};
use crate::strategies::{EDITABLE_METADATA, keep_metadata};
use crate::strategy::{Scope, Strategy};
use crate::view::{at, int, text};

const SPEC: Path<'static> = Path::Root("spec");
const MOST_QUEUES: i64 = 10_000_000;
/// Bits of a request's hash that dealing a hand of queues may take.
const MOST_ENTROPY: f64 = 60.0;

/// The strategy of priority levels.
pub(in crate::strategies) struct Levels;

fn shares(errors: &mut Errors, path: Path<'_>, of: &Value) {
    let shares = int(of, "nominalConcurrencyShares").unwrap_or_default();
    if shares < 0 {
        errors.push(FieldError::invalid(path.field("nominalConcurrencyShares"), shares, "must be a non-negative integer"));
    }
    let lendable = int(of, "lendablePercent").unwrap_or_default();
    if !(0..=100).contains(&lendable) {
        errors.push(FieldError::invalid(path.field("lendablePercent"), lendable, "must be between 0 and 100, inclusive"));
    }
}

fn limited(errors: &mut Errors, path: Path<'_>, limited: &Value) {
    shares(errors, path, limited);
    if let Some(limit) = int(limited, "borrowingLimitPercent")
        && limit < 0
    {
        errors.push(FieldError::invalid(path.field("borrowingLimitPercent"), limit, "if specified, must be a non-negative integer"));
    }
    let response = path.field("limitResponse");
    let queuing_path = response.field("queuing");
    match (text(limited, "limitResponse.type"), at(limited, "limitResponse.queuing")) {
        ("Reject", Some(_)) => {
            errors.push(FieldError::forbidden(queuing_path, "must be nil if limited.limitResponse.type is not Limited"));
        }
        ("Reject", None) => {}
        ("Queue", None) => {
            errors.push(FieldError::required(queuing_path, "must not be empty if limited.limitResponse.type is Limited"));
        }
        ("Queue", Some(of)) => queuing(errors, queuing_path, of),
        (other, _) => errors.push(FieldError::not_supported(response.field("type"), other, &["Queue", "Reject"])),
    }
}

fn queuing(errors: &mut Errors, path: Path<'_>, queuing: &Value) {
    let number = |field: &str| int(queuing, field).unwrap_or_default();
    let (queues, hand, length) = (number("queues"), number("handSize"), number("queueLengthLimit"));
    if length <= 0 {
        errors.push(FieldError::invalid(path.field("queueLengthLimit"), length, "must be positive"));
    }
    if queues <= 0 {
        errors.push(FieldError::invalid(path.field("queues"), queues, "must be positive"));
    } else if queues > MOST_QUEUES {
        errors.push(FieldError::invalid(path.field("queues"), queues, format!("must not be greater than {MOST_QUEUES}")));
    }
    if hand <= 0 {
        errors.push(FieldError::invalid(path.field("handSize"), hand, "must be positive"));
    } else if hand > queues {
        let words = format!("should not be greater than queues ({queues})");
        errors.push(FieldError::invalid(path.field("handSize"), hand, words));
    } else if entropy(queues, hand) > MOST_ENTROPY {
        let words = format!("required entropy bits of deckSize {queues} and handSize {hand} should not be greater than 60");
        errors.push(FieldError::invalid(path.field("handSize"), hand, words));
    }
}

/// The bits of a number that chooses a hand of queues.
fn entropy(queues: i64, hand: i64) -> f64 {
    (0..hand.min(64)).map(|dealt| ((queues - dealt) as f64).log2()).sum::<f64>().ceil()
}

impl Strategy for Levels {
    fn validate(&self, _: Scope<'_>, level: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        let kind = text(level, "spec.type");
        if (level.name() == "exempt") != (kind == "Exempt") {
            errors.push(FieldError::invalid(SPEC.field("type"), kind, "type must be 'Exempt' if and only if name is 'exempt'"));
        }
        let (exempt, limits) = (at(level, "spec.exempt"), at(level, "spec.limited"));
        match kind {
            "Exempt" => {
                if limits.is_some() {
                    errors.push(FieldError::forbidden(SPEC.field("limited"), "must be nil if the type is not Limited"));
                }
                if let Some(exempt) = exempt {
                    shares(&mut errors, SPEC.field("exempt"), exempt);
                }
            }
            "Limited" => {
                if exempt.is_some() {
                    errors.push(FieldError::forbidden(SPEC.field("exempt"), "must be nil if the type is Limited"));
                }
                match limits {
                    None => errors.push(FieldError::required(SPEC.field("limited"), "must not be empty when type is Limited")),
                    Some(limits) => limited(&mut errors, SPEC.field("limited"), limits),
                }
            }
            other => errors.push(FieldError::not_supported(SPEC.field("type"), other, &["Exempt", "Limited"])),
        }
        let mandatory = (level.name() == "catch-all").then(|| {
            let limited = value!({"nominalConcurrencyShares": 5, "lendablePercent": 0, "limitResponse": {"type": "Reject"}});
            value!({"type": "Limited", "limited": (limited)})
        });
        super::fixed(&mut errors, level, mandatory);
        if level.name() == "exempt" && (kind != "Exempt" || limits.is_some()) {
            let spec = at(level, "spec").unwrap_or(&Value::Null);
            let words = "spec of 'exempt' except the 'spec.exempt' field must equal the fixed value";
            errors.push(FieldError::invalid(SPEC, spec, words));
        }
        errors
    }

    fn prepare_status(&self, _: Scope<'_>, level: &mut Value, old: &Value) -> Result<(), ApiError> {
        keep_metadata(level, old, EDITABLE_METADATA);
        Ok(())
    }

    fn validate_status(&self, _: Scope<'_>, level: &Value, _: &Value) -> Vec<FieldError> {
        super::conditions(level)
    }
}
