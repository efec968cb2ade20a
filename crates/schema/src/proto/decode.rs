//! From bytes to the canonical tree.

use super::wire::{Fields, Item};
use crate::canonical::{dropped, fill, settled, zero};
use crate::json::{self, DecodeError};
use crate::model::{Member, SchemaOr, Struct, Type, TypeId, TypeSet};
use crate::scalar;
use crate::{Map, Str, Value};

type Result<T> = std::result::Result<T, DecodeError>;

/// Messages nested deeper than this are refused; far more than any real object has.
const MAX_DEPTH: usize = 200;

pub(super) fn message(types: &TypeSet, id: TypeId, bytes: &[u8]) -> Result<Value> {
    Decoder { types, depth: 0 }.message(id, bytes)
}

/// What is in a message that holds nothing but bytes.
fn inner(bytes: &[u8]) -> Result<&[u8]> {
    let mut raw: &[u8] = &[];
    let mut fields = Fields(bytes);
    while let Some((tag, item)) = fields.next()? {
        if let (1, Item::Bytes(bytes)) = (tag, item) {
            raw = bytes;
        }
    }
    Ok(raw)
}

struct Decoder<'t> {
    types: &'t TypeSet,
    depth: usize,
}

impl Decoder<'_> {
    fn message(&mut self, id: TypeId, bytes: &[u8]) -> Result<Value> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(DecodeError::Proto("exceeded max depth".to_owned()));
        }
        let types = self.types;
        let structure = types.get(id);
        let mut slots = Vec::with_capacity(8);
        self.fields(structure, bytes, 0, &mut slots)?;
        slots.sort_by_key(|(index, _)| *index);
        let mut entries: Vec<(Str, Value)> = Vec::with_capacity(slots.len() + structure.always().len());
        let mut present = 0u128;
        for (index, value) in slots {
            if let Some(field) = structure.fields.get(index).filter(|field| !dropped(field, &value)) {
                present |= 1 << index;
                entries.push((field.name.clone(), settled(field, value)));
            }
        }
        fill(types, structure, present, &mut entries);
        self.depth -= 1;
        Ok(Value::Map(Map::from_entries(entries)))
    }

    /// Reads a struct's fields into the slots of the struct that shows them, whose first is at `base`.
    fn fields(&mut self, structure: &Struct, bytes: &[u8], base: usize, slots: &mut Vec<Slot>) -> Result<()> {
        let mut fields = Fields(bytes);
        while let Some((tag, item)) = fields.next()? {
            match structure.member(tag) {
                Some(Member::Field(index)) => {
                    if let Some(field) = structure.fields.get(*index) {
                        self.field(&field.ty, item, slot(slots, base + index)).map_err(|error| name(error, &field.name))?;
                    }
                }
                Some(Member::Inline { ty, at, .. }) => {
                    if let Item::Bytes(bytes) = item {
                        self.fields(self.types.get(*ty), bytes, base + at, slots)?;
                    }
                }
                None => {}
            }
        }
        Ok(())
    }

    /// Adds what is on the wire to a field: lists and maps grow, all else is replaced.
    fn field(&mut self, ty: &Type, item: Item<'_>, slot: &mut Value) -> Result<()> {
        match (ty, item) {
            (Type::List(inner), Item::Bytes(bytes)) if matches!(**inner, Type::Int32 | Type::Int64) => {
                let list = slot.make_list();
                let mut packed = Fields(bytes);
                while let Some(number) = packed.packed()? {
                    list.push(self.value(inner, Item::Number(number))?);
                }
            }
            (Type::List(inner), item) => {
                let value = self.value(inner, item)?;
                slot.make_list().push(value);
            }
            (Type::Map(inner), Item::Bytes(bytes)) => {
                let (key, value) = self.entry(inner, bytes)?;
                if slot.is_null() {
                    *slot = Value::Map(Map::sorted());
                }
                slot.make_map().insert(key, value);
            }
            (ty, item) => *slot = self.value(ty, item)?,
        }
        Ok(())
    }

    fn entry(&mut self, ty: &Type, bytes: &[u8]) -> Result<(Str, Value)> {
        let (mut key, mut value) = (Str::default(), None);
        let mut fields = Fields(bytes);
        while let Some((tag, item)) = fields.next()? {
            match (tag, item) {
                (1, Item::Bytes(bytes)) => key = text(bytes),
                (2, item) => value = Some(self.value(ty, item)?),
                _ => {}
            }
        }
        Ok((key, value.unwrap_or_else(|| zero(self.types, ty))))
    }

    fn value(&mut self, ty: &Type, item: Item<'_>) -> Result<Value> {
        match (ty, item) {
            (Type::Bool, Item::Number(number)) => Ok(Value::Bool(number != 0)),
            (Type::Int32, Item::Number(number)) => Ok(Value::Int((number as i32).into())),
            (Type::Int64, Item::Number(number)) => Ok(Value::Int(number as i64)),
            (Type::Double, Item::Fixed64(bits)) => {
                let number = f64::from_bits(bits);
                let whole = number.fract() == 0.0 && number.abs() < 9e15;
                Ok(if whole { Value::Int(number as i64) } else { Value::Float(number) })
            }
            (Type::String, Item::Bytes(bytes)) => Ok(Value::String(text(bytes))),
            (Type::Bytes, Item::Bytes(bytes)) => Ok(scalar::base64(bytes).into()),
            (Type::Time, Item::Bytes(bytes)) => time(bytes, false),
            (Type::MicroTime, Item::Bytes(bytes)) => time(bytes, true),
            (Type::Quantity, Item::Bytes(bytes)) => quantity(bytes),
            (Type::IntOrString, Item::Bytes(bytes)) => int_or_string(bytes),
            (Type::RawExtension | Type::Json, Item::Bytes(bytes)) => self.raw(bytes),
            (Type::FieldsV1, Item::Bytes(bytes)) => Ok(match (self.raw(bytes)?, std::str::from_utf8(inner(bytes)?)) {
                // A set of owned fields stays text, whoever sent it.
                (Value::Map(_), Ok(text)) if text.starts_with('{') && !json::is_spaced(text) => Value::Json(text.into()),
                (value @ Value::Map(_), _) => Value::Json(json::text(&value).into()),
                (other, _) => other,
            }),
            (Type::Strings, Item::Bytes(bytes)) => self.texts(bytes, 1),
            (Type::SchemaOr(which, id), Item::Bytes(bytes)) => self.schema_or(*which, *id, bytes),
            (Type::Struct(id), Item::Bytes(bytes)) => self.message(*id, bytes),
            _ => Err(DecodeError::Proto("proto: wrong wireType for field".to_owned())),
        }
    }

    /// JSON, or an enveloped object of a kind of the table.
    fn raw(&mut self, bytes: &[u8]) -> Result<Value> {
        let raw = inner(bytes)?;
        if raw.is_empty() {
            return Ok(Value::Null);
        }
        if !raw.starts_with(super::MAGIC) {
            return json::decode_untyped(raw);
        }
        let meta = super::type_meta(raw)?;
        let Some(resource) = crate::table().kind_of(&meta.api_version, &meta.kind) else {
            return Err(DecodeError::Proto(format!("no kind {:?} is registered for version {:?}", meta.kind, meta.api_version)));
        };
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(DecodeError::Proto("exceeded max depth".to_owned()));
        }
        let mut value = self.message(resource.schema.root(), super::open(raw)?.raw)?;
        self.depth -= 1;
        value.insert(Str::from_static("kind"), meta.kind);
        value.insert(Str::from_static("apiVersion"), meta.api_version);
        Ok(value)
    }

    fn texts(&mut self, bytes: &[u8], of: u32) -> Result<Value> {
        let mut list = Vec::new();
        let mut fields = Fields(bytes);
        while let Some((tag, item)) = fields.next()? {
            if let Item::Bytes(bytes) = item
                && tag == of
            {
                list.push(Value::String(text(bytes)));
            }
        }
        Ok(Value::List(list))
    }

    fn schema_or(&mut self, which: SchemaOr, id: TypeId, bytes: &[u8]) -> Result<Value> {
        let mut result = match which {
            SchemaOr::Bool => Value::Bool(false),
            SchemaOr::Schemas => Value::Null,
            SchemaOr::Strings => return self.schema_or_strings(id, bytes),
        };
        let mut fields = Fields(bytes);
        while let Some((tag, item)) = fields.next()? {
            match (which, tag, item) {
                (SchemaOr::Bool, 1, Item::Number(number)) if !matches!(result, Value::Map(_)) => result = Value::Bool(number != 0),
                (SchemaOr::Bool, 2, Item::Bytes(bytes)) | (SchemaOr::Schemas, 1, Item::Bytes(bytes)) => result = self.message(id, bytes)?,
                (SchemaOr::Schemas, 2, Item::Bytes(bytes)) => {
                    let schema = self.message(id, bytes)?;
                    result.make_list().push(schema);
                }
                _ => {}
            }
        }
        Ok(result)
    }

    fn schema_or_strings(&mut self, id: TypeId, bytes: &[u8]) -> Result<Value> {
        let mut fields = Fields(bytes);
        while let Some((tag, item)) = fields.next()? {
            if let (1, Item::Bytes(bytes)) = (tag, item) {
                return self.message(id, bytes);
            }
        }
        self.texts(bytes, 2)
    }
}

/// A field's position and what was read for it.
type Slot = (usize, Value);

/// The slot of a field, made when it is not there. Fields come in order of their tags: the last is the likeliest.
fn slot(slots: &mut Vec<Slot>, index: usize) -> &mut Value {
    let at = slots.iter().rposition(|(other, _)| *other == index).unwrap_or_else(|| {
        slots.push((index, Value::Null));
        slots.len() - 1
    });
    &mut slots[at].1
}

fn name(error: DecodeError, field: &str) -> DecodeError {
    match error {
        DecodeError::Proto(text) if text.ends_with("for field") => DecodeError::Proto(format!("{text} {field}")),
        other => other,
    }
}

fn text(bytes: &[u8]) -> Str {
    Str::from(&*String::from_utf8_lossy(bytes))
}

/// The numbers of a message that has nothing else: tags 1 and 2.
fn numbers(bytes: &[u8]) -> Result<(u64, u64)> {
    let mut result = (0, 0);
    let mut fields = Fields(bytes);
    while let Some((tag, item)) = fields.next()? {
        match (tag, item) {
            (1, Item::Number(number)) => result.0 = number,
            (2, Item::Number(number)) => result.1 = number,
            _ => {}
        }
    }
    Ok(result)
}

fn time(bytes: &[u8], micro: bool) -> Result<Value> {
    if bytes.is_empty() {
        return Ok(Value::Null);
    }
    let (seconds, nanoseconds) = numbers(bytes)?;
    let nanoseconds = if micro { nanoseconds as i32 } else { 0 };
    scalar::from_unix(seconds as i64, nanoseconds, micro)
        .map(Value::from)
        .ok_or_else(|| DecodeError::Proto(format!("time out of range: {}", seconds as i64)))
}

fn quantity(bytes: &[u8]) -> Result<Value> {
    let mut text = std::borrow::Cow::Borrowed("0");
    let mut fields = Fields(bytes);
    while let Some((tag, item)) = fields.next()? {
        if let (1, Item::Bytes(bytes)) = (tag, item) {
            text = String::from_utf8_lossy(bytes);
        }
    }
    let quantity: scalar::Quantity = text.parse().map_err(|error: scalar::QuantityError| DecodeError::Proto(error.to_string()))?;
    Ok(quantity.to_string().into())
}

fn int_or_string(bytes: &[u8]) -> Result<Value> {
    let (is_text, number) = numbers(bytes)?;
    if is_text == 0 {
        return Ok(Value::Int((number as i32).into()));
    }
    let mut fields = Fields(bytes);
    let mut result = Str::default();
    while let Some((tag, item)) = fields.next()? {
        if let (3, Item::Bytes(bytes)) = (tag, item) {
            result = text(bytes);
        }
    }
    Ok(Value::String(result))
}
