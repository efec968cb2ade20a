//! Taking paths out of an object, or taking only them.

use super::element::Element;
use super::set::FieldSet;
use super::shape::Shape;
use crate::{Map, Schema, Value};

/// The object without what is at these paths. Atomic values are only removed as a whole; what loses its last part
/// becomes null.
pub fn remove(schema: &Schema, object: &Value, paths: &FieldSet) -> Value {
    object_or_empty(Cut { extract: false }.value(Shape::root(schema), object, paths))
}

/// Only what is at these paths. An item of a list keeps its key fields only if they are among the paths.
pub fn extract(schema: &Schema, object: &Value, paths: &FieldSet) -> Value {
    object_or_empty(Cut { extract: true }.value(Shape::root(schema), object, paths))
}

/// An object stays one, even without anything in it.
fn object_or_empty(value: Value) -> Value {
    if value.is_null() { Value::map() } else { value }
}

struct Cut {
    extract: bool,
}

impl Cut {
    fn value(&self, shape: Shape<'_>, value: &Value, paths: &FieldSet) -> Value {
        match (shape.of(value), value) {
            (shape @ (Shape::Struct(_) | Shape::Map(_)), Value::Map(map)) if !map.is_empty() => {
                let kept: Vec<_> = map
                    .iter()
                    .filter_map(|(name, entry)| {
                        let entry = self.part(shape.entry(name), &Element::Field(name.clone()), entry, paths)?;
                        Some((name.clone(), entry))
                    })
                    .collect();
                if kept.is_empty() { Value::Null } else { Value::Map(Map::from_entries(kept)) }
            }
            (shape @ (Shape::Set | Shape::Keyed(..)), Value::List(items)) if !items.is_empty() => {
                let inner = shape.item();
                let mut kept = Vec::with_capacity(items.len());
                for item in items {
                    match shape.identify(item) {
                        Ok(element) => kept.extend(self.part(inner, &element, item, paths)),
                        Err(_) if !self.extract => kept.push(item.clone()),
                        Err(_) => {}
                    }
                }
                if kept.is_empty() { Value::Null } else { Value::List(kept) }
            }
            _ => value.clone(),
        }
    }

    fn part(&self, shape: Shape<'_>, element: &Element, value: &Value, paths: &FieldSet) -> Option<Value> {
        match (paths.node(element), self.extract) {
            (None, extract) => (!extract).then(|| value.clone()),
            (Some(node), false) if node.member => None,
            (Some(node), true) if node.below.is_empty() => Some(value.clone()),
            (Some(node), _) => Some(self.value(shape, value, &node.below)),
        }
    }
}
