//! Serde for trees: to and from any format, and typed views without text.

use super::{Map, Str, Value};
use ::serde::de::value::{MapDeserializer, SeqDeserializer};
use ::serde::de::{DeserializeOwned, Deserializer, Error, IntoDeserializer, MapAccess, SeqAccess, Visitor};
use ::serde::{Deserialize, Serialize, Serializer, forward_to_deserialize_any};
use std::fmt;

/// Maps of more entries are sorted: in the order in which they came, each would be searched for among those before it.
const LONG: usize = 64;

/// Why a tree does not fit a type, or a type is not a tree.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ViewError(String);

impl Error for ViewError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

impl Value {
    /// A typed copy of the tree (`k8s-openapi` structs in strategies and controllers).
    pub fn view<T: DeserializeOwned>(&self) -> Result<T, ViewError> {
        T::deserialize(self)
    }

    /// A tree from anything serializable. The result is not canonical: see
    /// [`crate::json::canonicalize`].
    pub fn from_view<T: Serialize>(view: &T) -> Result<Self, serde_json::Error> {
        serde_json::to_value(view).map(Self::from)
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Int(value) => serializer.serialize_i64(*value),
            Self::Float(value) => serializer.serialize_f64(*value),
            Self::String(value) => serializer.serialize_str(value),
            Self::List(items) => serializer.collect_seq(items),
            Self::Map(map) => serializer.collect_map(map),
            Self::Json(text) => crate::json::decode_untyped(text.text().as_bytes()).unwrap_or_default().serialize(serializer),
        }
    }
}

impl Serialize for Str {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self)
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Tree)
    }
}

struct Tree;

impl<'de> Visitor<'de> for Tree {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Int(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(i64::try_from(value).map_or(Value::Float(value as f64), Value::Int))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Value::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some((key, value)) = access.next_entry::<String, Value>()? {
            entries.push((key, value));
        }
        if entries.len() > LONG {
            return Ok(Value::Map(entries.into_iter().collect()));
        }
        let mut map = Map::with_capacity(entries.len());
        for (key, value) in entries {
            map.insert(key, value);
        }
        Ok(Value::Map(map))
    }
}

impl<'de> Deserializer<'de> for &'de Value {
    type Error = ViewError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ViewError> {
        match self {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Int(value) => visitor.visit_i64(*value),
            Value::Float(value) => visitor.visit_f64(*value),
            Value::String(value) => visitor.visit_borrowed_str(value),
            Value::List(items) => visitor.visit_seq(SeqDeserializer::new(items.iter())),
            Value::Map(map) => visitor.visit_map(MapDeserializer::new(map.iter().map(|(key, value)| (key.as_str(), value)))),
            Value::Json(text) => {
                let value: serde_json::Value = serde_json::from_str(&text.text()).map_err(|error| ViewError(error.to_string()))?;
                value.deserialize_any(visitor).map_err(|error| ViewError(error.to_string()))
            }
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ViewError> {
        if self.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, ViewError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ViewError> {
        match self.as_str() {
            Some(text) => IntoDeserializer::<ViewError>::into_deserializer(text).deserialize_enum(name, variants, visitor),
            None => Err(ViewError(format!("{name} must be a string"))),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf
        unit unit_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

impl<'de> IntoDeserializer<'de, ViewError> for &'de Value {
    type Deserializer = Self;
    fn into_deserializer(self) -> Self {
        self
    }
}

impl From<serde_json::Value> for Value {
    fn from(value: serde_json::Value) -> Self {
        match value {
            serde_json::Value::Null => Self::Null,
            serde_json::Value::Bool(value) => Self::Bool(value),
            serde_json::Value::Number(number) => match number.as_i64() {
                Some(number) => Self::Int(number),
                None => Self::Float(number.as_f64().unwrap_or_default()),
            },
            serde_json::Value::String(text) => text.into(),
            serde_json::Value::Array(items) => Self::List(items.into_iter().map(Self::from).collect()),
            serde_json::Value::Object(map) => Self::Map(map.into_iter().map(|(key, value)| (key, Self::from(value))).collect()),
        }
    }
}

impl From<&Value> for serde_json::Value {
    fn from(value: &Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(value) => Self::Bool(*value),
            Value::Int(number) => (*number).into(),
            Value::Float(number) => (*number).into(),
            Value::String(text) => Self::String(text.to_string()),
            Value::List(items) => Self::Array(items.iter().map(Self::from).collect()),
            Value::Map(map) => Self::Object(map.iter().map(|(key, value)| (key.to_string(), Self::from(value))).collect()),
            Value::Json(text) => serde_json::from_str(&text.text()).unwrap_or_default(),
        }
    }
}
