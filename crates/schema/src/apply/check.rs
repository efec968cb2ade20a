//! Whether a configuration fits the schema: what is said of one that does not.

use super::element::Element;
use super::set::Path;
use super::shape::Shape;
use crate::merge::Kind;
use crate::model::{Field, ListType, SchemaOr, Type, TypeSet};
use crate::{Schema, Value, go};
use std::collections::BTreeSet;

/// Problems that are told at most.
const MAX_TOLD: usize = 100;

/// Checks a configuration that is to be applied; the text says everything that is wrong, in the reference's words.
///
/// # Errors
///
/// That text.
pub fn check(schema: &Schema, object: &Value) -> Result<(), String> {
    let root = Type::Struct(schema.root());
    let mut check = Check { types: schema.types(), path: Vec::new(), told: Vec::new() };
    check.value(&root, &ListType::Default, object);
    match check.told.as_slice() {
        [] => Ok(()),
        [one] => Err(one.clone()),
        many => Err(format!("errors:\n  {}", many.join("\n  "))),
    }
}

struct Check<'t> {
    types: &'t TypeSet,
    path: Vec<Element>,
    told: Vec<String>,
}

impl<'t> Check<'t> {
    fn tell(&mut self, what: impl std::fmt::Display) {
        if self.told.len() < MAX_TOLD {
            let path = Path(&self.path).to_string();
            self.told.push(if path.is_empty() { what.to_string() } else { format!("{path}: {what}") });
        }
    }

    fn below(&mut self, element: Element, check: impl FnOnce(&mut Self)) {
        self.path.push(element);
        check(self);
        self.path.pop();
    }

    fn value(&mut self, ty: &'t Type, merge: &'t ListType, value: &Value) {
        match (ty, value) {
            (_, Value::Null) | (Type::RawExtension | Type::FieldsV1 | Type::Json, _) => {}
            (Type::Struct(id), Value::Map(map)) => {
                let structure = self.types.get(*id);
                for (name, entry) in map {
                    match structure.field(name) {
                        Some(Field { ty, list_type, .. }) => {
                            self.below(Element::Field(name.clone()), |check| check.value(ty, list_type, entry));
                        }
                        None => self.below(Element::Field(name.clone()), |check| check.tell("field not declared in schema")),
                    }
                }
            }
            (Type::Map(item), Value::Map(map)) => {
                for (name, entry) in map {
                    self.below(Element::Field(name.clone()), |check| check.value(item, &ListType::Default, entry));
                }
            }
            (Type::Struct(_) | Type::Map(_), other) => self.tell(format_args!("expected map, got &{{{}}}", go::plain(other))),
            (Type::List(item), Value::List(items)) => self.items(item, merge, items),
            (Type::Strings, Value::List(items)) => self.items(&Type::String, merge, items),
            (Type::List(_) | Type::Strings, other) => self.tell(format_args!("expected list, got &{{{}}}", go::plain(other))),
            (Type::Bool, Value::Bool(_)) | (Type::Int32 | Type::Int64 | Type::Double, Value::Int(_) | Value::Float(_)) => {}
            (Type::String | Type::Bytes | Type::Time | Type::MicroTime, Value::String(_)) => {}
            (Type::Bool, other) => self.tell(format_args!("expected boolean, got &value.valueUnstructured{{Value:{}}}", go::syntax(other))),
            (Type::Int32 | Type::Int64 | Type::Double, other) => {
                self.tell(format_args!("expected numeric (int or float), got {}", go::type_name(other)));
            }
            (Type::String | Type::Bytes | Type::Time | Type::MicroTime, other) => {
                self.tell(format_args!("expected string, got &value.valueUnstructured{{Value:{}}}", go::syntax(other)));
            }
            (Type::Quantity | Type::IntOrString, other @ (Value::List(_) | Value::Map(_))) => {
                self.tell(format_args!("expected any scalar, got &{{{}}}", go::plain(other)));
            }
            (Type::Quantity | Type::IntOrString, _) => {}
            (Type::SchemaOr(which, id), value) => match (which, value) {
                (_, Value::Map(_)) | (SchemaOr::Schemas | SchemaOr::Strings, Value::List(_)) | (SchemaOr::Bool, Value::Bool(_)) => {
                    let _ = id;
                }
                (_, other) => self.tell(format_args!("expected map, got &{{{}}}", go::plain(other))),
            },
        }
    }

    fn items(&mut self, item: &'t Type, merge: &'t ListType, items: &[Value]) {
        let shape = match merge {
            ListType::Set => Shape::Set,
            ListType::Map(keys) => Shape::Keyed(Kind::of(self.types, item), keys),
            ListType::Default | ListType::Atomic => Shape::Leaf,
        };
        let mut seen = BTreeSet::new();
        for (index, value) in items.iter().enumerate() {
            let position = Element::Index(i64::try_from(index).unwrap_or_default());
            let element = if shape.is_leaf() { Ok(position) } else { shape.identify(value) };
            match element {
                Err(why) => self.tell(format_args!("element {index}: {why}")),
                Ok(element) => {
                    if !shape.is_leaf() && !seen.insert(element.clone()) {
                        self.tell(format_args!("duplicate entries for key {element}"));
                    }
                    self.below(element, |check| check.value(item, &ListType::Default, value));
                }
            }
        }
    }
}
