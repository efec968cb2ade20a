//! A compact ordered tree: what an object is inside the API server.

mod access;
mod json;
mod map;
mod serde;
mod text;

pub use json::Json;
pub use map::{IntoIter, Iter, IterMut, Map};
pub use text::Str;

#[cfg(test)]
mod tests;

/// A JSON value whose strings are shared and whose field names cost nothing.
///
/// Cloning copies lists and shares maps and all text. Equality ignores the order of map entries; `Int` and `Float` are
/// different values; JSON text is what it says.
#[derive(Clone, Debug, Default)]
pub enum Value {
    /// JSON `null`.
    #[default]
    Null,
    /// A boolean.
    Bool(bool),
    /// A number without fraction that fits 64 bits.
    Int(i64),
    /// Any other number.
    Float(f64),
    /// A string.
    String(Str),
    /// A list.
    List(Vec<Value>),
    /// An object or map.
    Map(Map),
    /// JSON text that is kept as it is, because hardly anybody looks into it: an object's owners, and the fields of each.
    Json(Json),
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Bool(a), Self::Bool(b)) => a == b,
            (Self::Int(a), Self::Int(b)) => a == b,
            (Self::Float(a), Self::Float(b)) => a == b,
            (Self::String(a), Self::String(b)) => a == b,
            (Self::List(a), Self::List(b)) => a == b,
            (Self::Map(a), Self::Map(b)) => a == b,
            (Self::Json(a), Self::Json(b)) if a == b => true,
            (Self::Json(text), other) | (other, Self::Json(text)) => {
                crate::json::decode_untyped(text.text().as_bytes()).is_ok_and(|value| value == *other)
            }
            _ => false,
        }
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i32> for Value {
    fn from(value: i32) -> Self {
        Self::Int(value.into())
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::String(value.into())
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::String(value.into())
    }
}

impl From<Str> for Value {
    fn from(value: Str) -> Self {
        Self::String(value)
    }
}

impl From<Map> for Value {
    fn from(value: Map) -> Self {
        Self::Map(value)
    }
}

impl<T: Into<Value>> From<Vec<T>> for Value {
    fn from(value: Vec<T>) -> Self {
        Self::List(value.into_iter().map(Into::into).collect())
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// Builds a [`Value`] from JSON-like syntax: `value!({"a": 1, "b": ["x", (expr)]})`.
///
/// Keys are string literals; a value is a literal, `null`, a list, a map, or an
/// expression in parentheses.
#[macro_export]
macro_rules! value {
    (null) => { $crate::Value::Null };
    ([ $($item:tt),* $(,)? ]) => { $crate::Value::List(vec![ $($crate::value!($item)),* ]) };
    ({ $($key:literal : $item:tt),* $(,)? }) => {{
        #[allow(unused_mut)]
        let mut map = $crate::Map::new();
        $( map.insert($crate::Str::from_static($key), $crate::value!($item)); )*
        $crate::Value::Map(map)
    }};
    ($other:expr) => { $crate::Value::from($other) };
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}
