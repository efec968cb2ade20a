//! Merging a configuration into an object: the rule of server-side apply.

use super::element::Element;
use super::shape::Shape;
use crate::merge::{self, Kind, Order, Rule, Step};
use crate::{Schema, Value};

/// Merges a configuration, which has been [checked](super::check), into an object.
pub fn merge(schema: &Schema, object: &Value, change: &Value) -> Value {
    // Everything that could be wrong has been found by the check; without one, what is wrong is left out.
    merge::merge(&Apply, Kind::root(schema), Some(object.clone()), change).ok().flatten().unwrap_or_else(|| object.clone())
}

struct Apply;

impl<'t> Rule<'t> for Apply {
    type Error = String;
    type Id = Element;
    const ORDER: Order = Order::Change;
    const MERGES_REPEATED: bool = false;

    fn step(&self, kind: Kind<'t>, target: Option<&Value>, change: &Value) -> Result<Step, String> {
        let shape = Shape::of_kind(kind).of(change);
        Ok(match (shape, target, change) {
            (Shape::Struct(_) | Shape::Map(_), Some(Value::Map(old)), Value::Map(new)) if !(old.is_empty() && new.is_empty()) => Step::Maps,
            (Shape::Struct(_) | Shape::Map(_), Some(Value::Map(old)), Value::Null) if !old.is_empty() => Step::Keep,
            (Shape::Set | Shape::Keyed(..), Some(Value::List(old)), Value::List(new)) if !(old.is_empty() && new.is_empty()) => Step::Lists,
            (Shape::Set | Shape::Keyed(..), Some(Value::List(old)), Value::Null) if !old.is_empty() => Step::Keep,
            _ => Step::Take(change.clone()),
        })
    }

    fn identify(&self, list: Kind<'t>, item: &Value) -> Result<Element, String> {
        Shape::of_kind(list).identify(item)
    }

    fn unidentified(&self, _: String) -> Result<(), String> {
        Ok(())
    }
}
