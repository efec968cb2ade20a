//! From text to the canonical tree, by schema.

use super::reader::{Kind, Reader};
use super::{DecodeError, Decoded, Strictness};
use crate::apply::Owners;
use crate::canonical::{OWNERS, dropped, fill, settled, zero};
use crate::model::{Field, SchemaOr, Struct, Type, TypeId, TypeSet};
use crate::scalar;
use crate::{Map, Schema, Str, Value};
use std::borrow::Cow;
use std::fmt::Write;

type Result<T> = std::result::Result<T, DecodeError>;

/// Unknown and repeated fields that are told at most; more are only counted as errors.
const MAX_TOLD: usize = 100;

pub(super) fn decode(schema: &Schema, bytes: &[u8], strictness: Strictness) -> Result<Decoded> {
    let text = super::text_of(bytes);
    let mut decoder = Decoder { reader: Reader::new(&text), types: schema.types(), path: Vec::new(), strictness, told: Vec::new() };
    let value = match decoder.reader.peek()? {
        Kind::Map => decoder.structure(schema.root())?,
        other => return Err(decoder.mismatch(other.word(), &Type::Struct(schema.root()))),
    };
    decoder.reader.end()?;
    if strictness == Strictness::Strict && !decoder.told.is_empty() {
        return Err(DecodeError::Strict(decoder.told));
    }
    Ok(Decoded { value, warnings: decoder.told })
}

pub(super) fn decode_untyped(bytes: &[u8]) -> Result<Value> {
    let source = super::text_of(bytes);
    let mut reader = Reader::new(&source);
    let value = opaque(&mut reader, &text)?;
    reader.end()?;
    Ok(value)
}

pub(crate) fn decode_stored(bytes: &[u8], mut owners: Option<Value>) -> Result<Value> {
    let text = super::text_of(bytes);
    let mut reader = Reader::new(&text);
    let value = kept(&mut reader, &["metadata", OWNERS], &mut owners)?;
    reader.end()?;
    Ok(value)
}

pub(super) fn decode_owners(text: &str) -> Result<Value> {
    let mut reader = Reader::new(text);
    let value = kept(&mut reader, &["fieldsV1"], &mut None)?;
    reader.end()?;
    Ok(value)
}

/// Reads a value that was written here as it is, but what is at the end of the way as text; or there comes what is not written here.
fn kept(reader: &mut Reader<'_>, way: &[&str], other: &mut Option<Value>) -> Result<Value> {
    let types = crate::table().types();
    let name = |key: Cow<'_, str>| types.field_name(&key);
    match reader.peek()? {
        Kind::Map => {
            let mut entries = Vec::with_capacity(8);
            let mut more = reader.open(b'}')?;
            while more {
                let key = reader.key()?;
                let value = match way.split_first() {
                    Some((first, [])) if *first == key && matches!(reader.peek()?, Kind::Map | Kind::List) => {
                        Value::Json(reader.known()?.into())
                    }
                    Some((first, rest)) if *first == key => kept(reader, rest, other)?,
                    _ => opaque(reader, &name)?,
                };
                entries.push((name(key), value));
                more = reader.next_key()?;
            }
            if let [last] = way {
                entries.extend(other.take().map(|value| (types.field_name(last), value)));
            }
            Ok(Value::Map(Map::from_unsorted(entries).0))
        }
        Kind::List => {
            let mut items = Vec::new();
            let mut more = reader.open(b']')?;
            while more {
                items.push(kept(reader, way, other)?);
                more = reader.next_item()?;
            }
            Ok(Value::List(items))
        }
        _ => opaque(reader, &name),
    }
}

/// Reads a value of any shape as it is; the last of repeated keys wins.
fn opaque(reader: &mut Reader<'_>, name: &impl Fn(Cow<'_, str>) -> Str) -> Result<Value> {
    Ok(match reader.peek()? {
        Kind::Null => {
            reader.null()?;
            Value::Null
        }
        Kind::Bool => Value::Bool(reader.bool()?),
        Kind::Number => {
            let text = reader.number()?;
            number(text).ok_or_else(|| DecodeError::Type(format!("json: cannot unmarshal number {text} into Go value of type float64")))?
        }
        Kind::String => Value::String(text(reader.string()?)),
        Kind::List => {
            let mut items = Vec::new();
            let mut more = reader.open(b']')?;
            while more {
                items.push(opaque(reader, name)?);
                more = reader.next_item()?;
            }
            Value::List(items)
        }
        Kind::Map => {
            let mut entries = Vec::new();
            let mut more = reader.open(b'}')?;
            while more {
                let key = reader.key()?;
                entries.push((name(key), opaque(reader, name)?));
                more = reader.next_key()?;
            }
            Value::Map(Map::from_unsorted(entries).0)
        }
    })
}

/// A number of any size, but none that is larger than all of them.
fn number(text: &str) -> Option<Value> {
    if let Ok(number) = text.parse::<i64>() {
        return Some(Value::Int(number));
    }
    match text.parse::<f64>().unwrap_or_default() {
        // Whole numbers have one form (`2.0` is `2`), as far as they are exact.
        number if number.fract() == 0.0 && number.abs() < 9e15 => Some(Value::Int(number as i64)),
        number => Some(Value::Float(number)).filter(|_| number.is_finite()),
    }
}

fn text(text: Cow<'_, str>) -> Str {
    Str::from(&*text)
}

/// Where in the object the decoder is.
enum Step<'t> {
    Field(&'t Struct, &'t Field),
    Index(usize),
    Key(Str),
}

struct Decoder<'a, 't> {
    reader: Reader<'a>,
    types: &'t TypeSet,
    path: Vec<Step<'t>>,
    strictness: Strictness,
    told: Vec<String>,
}

impl<'t> Decoder<'_, 't> {
    /// Reads a map into a struct; the reader is at its brace.
    fn structure(&mut self, id: TypeId) -> Result<Value> {
        let types = self.types;
        let structure = types.get(id);
        let mut entries: Vec<(Str, Value)> = Vec::with_capacity(8);
        // A bit per field: seen in the text, and present in the result.
        let (mut given, mut present) = (0u128, 0u128);
        let mut more = self.reader.open(b'}')?;
        while more {
            let key = self.reader.key()?;
            match structure.index(&key).and_then(|index| Some((index, structure.fields.get(index)?))) {
                None => {
                    self.tell("unknown", &key);
                    self.reader.skip()?;
                }
                Some((index, field)) => {
                    let bit = 1u128 << index;
                    if given & bit != 0 {
                        self.tell("duplicate", &key);
                        entries.retain(|(name, _)| *name != field.name);
                        present &= !bit;
                    }
                    given |= bit;
                    if self.reader.peek()? == Kind::Null {
                        self.reader.null()?;
                    } else {
                        self.path.push(Step::Field(structure, field));
                        let value = if field.name == OWNERS { self.owners(&field.ty)? } else { self.value(&field.ty)? };
                        self.path.pop();
                        if !dropped(field, &value) {
                            present |= bit;
                            entries.push((field.name.clone(), settled(field, value)));
                        }
                    }
                }
            }
            more = self.reader.next_key()?;
        }
        fill(types, structure, present, &mut entries);
        Ok(Value::Map(Map::from_entries(entries)))
    }

    /// Mostly owners come as they are shown. Then they are known already; or they are kept as text, and nothing need be made of them to
    /// know that they fit.
    fn owners(&mut self, ty: &'t Type) -> Result<Value> {
        if self.reader.peek()? == Kind::List {
            let mut ahead = self.reader.clone();
            if let Some(owners) = ahead.known().ok().and_then(Owners::read_shown) {
                self.reader = ahead;
                return Ok(owners.into());
            }
        }
        let mut ahead = self.reader.clone();
        if let Some(text) = plain_owners(&mut ahead)? {
            self.reader = ahead;
            // Whether they make sense is for others to say.
            let _learnt = Owners::learn(text);
            return Ok(Value::Json(text.into()));
        }
        self.value(ty)
    }

    fn value(&mut self, ty: &'t Type) -> Result<Value> {
        let kind = self.reader.peek()?;
        if kind == Kind::Null && !matches!(ty, Type::Json | Type::RawExtension) {
            self.reader.null()?;
            return Ok(zero(self.types, ty));
        }
        match (ty, kind) {
            (Type::String, Kind::String) => Ok(Value::String(text(self.reader.string()?))),
            (Type::Struct(id), Kind::Map) => self.structure(*id),
            (Type::List(item), Kind::List) => self.list(item),
            (Type::Strings, Kind::List) => self.list(&Type::String),
            (Type::Map(item), Kind::Map) => self.map(item),
            (Type::Bool, Kind::Bool) => Ok(Value::Bool(self.reader.bool()?)),
            (Type::Int32, Kind::Number) => self.integer(ty, i32::MIN.into(), i32::MAX.into()),
            (Type::Int64, Kind::Number) => self.integer(ty, i64::MIN, i64::MAX),
            (Type::Double, Kind::Number) => {
                let text = self.reader.number()?;
                number(text).ok_or_else(|| self.mismatch(&format!("number {text}"), ty))
            }
            (Type::FieldsV1, Kind::Map) => match self.reader.raw()? {
                // Texts are parts of lines.
                spaced if is_spaced(spaced) => Ok(Value::Json(super::text(&decode_untyped(spaced.as_bytes())?).into())),
                text => Ok(Value::Json(text.into())),
            },
            (Type::Json | Type::RawExtension | Type::FieldsV1, _) => opaque(&mut self.reader, &text),
            (Type::Time, Kind::String) => self.scalar(|text| scalar::time(text).map_err(|error| error.to_string())),
            (Type::MicroTime, Kind::String) => self.scalar(|text| scalar::micro_time(text).map_err(|error| error.to_string())),
            (Type::Quantity, Kind::String) => self.scalar(quantity),
            (Type::Quantity, Kind::Number) => {
                let text = self.reader.number()?;
                quantity(text).map(|text| Value::String(text.as_ref().into())).map_err(DecodeError::Type)
            }
            (Type::Bytes, Kind::String) => self.scalar(|text| {
                let bytes = scalar::bytes(text)?;
                Ok(if text.contains(['\r', '\n']) { scalar::base64(&bytes).into() } else { text.into() })
            }),
            (Type::IntOrString, Kind::String) => Ok(Value::String(text(self.reader.string()?))),
            (Type::IntOrString, Kind::Number) => self.integer(&Type::Int32, i32::MIN.into(), i32::MAX.into()),
            (Type::SchemaOr(SchemaOr::Bool, _), Kind::Bool) => Ok(Value::Bool(self.reader.bool()?)),
            (Type::SchemaOr(SchemaOr::Schemas, id), Kind::List) => self.items(|decoder| decoder.schema(*id)),
            (Type::SchemaOr(SchemaOr::Strings, _), Kind::List) => self.list(&Type::String),
            (Type::SchemaOr(_, id), Kind::Map) => self.structure(*id),
            (Type::Time | Type::MicroTime, _) => Err(go_value(kind, "string")),
            (Type::IntOrString, _) => Err(go_value(kind, "int32")),
            _ => Err(self.mismatch(kind.word(), ty)),
        }
    }

    fn schema(&mut self, id: TypeId) -> Result<Value> {
        match self.reader.peek()? {
            Kind::Map => self.structure(id),
            other => Err(self.mismatch(other.word(), &Type::Struct(id))),
        }
    }

    fn integer(&mut self, ty: &Type, min: i64, max: i64) -> Result<Value> {
        let text = self.reader.number()?;
        match text.parse::<i64>() {
            Ok(number) if (min..=max).contains(&number) => Ok(Value::Int(number)),
            _ => Err(self.mismatch(&format!("number {text}"), ty)),
        }
    }

    /// Reads a string whose canonical form `normalize` gives.
    fn scalar(&mut self, normalize: impl FnOnce(&str) -> std::result::Result<Cow<'_, str>, String>) -> Result<Value> {
        let text = self.reader.string()?;
        normalize(&text).map(|text| Value::String(Str::from(&*text))).map_err(DecodeError::Type)
    }

    fn list(&mut self, item: &'t Type) -> Result<Value> {
        self.items(|decoder| decoder.value(item))
    }

    fn items(&mut self, mut read: impl FnMut(&mut Self) -> Result<Value>) -> Result<Value> {
        let mut items = Vec::new();
        let mut more = self.reader.open(b']')?;
        while more {
            self.path.push(Step::Index(items.len()));
            items.push(read(self)?);
            self.path.pop();
            more = self.reader.next_item()?;
        }
        Ok(Value::List(items))
    }

    fn map(&mut self, item: &'t Type) -> Result<Value> {
        let mut entries = Vec::new();
        let mut more = self.reader.open(b'}')?;
        while more {
            let key = text(self.reader.key()?);
            self.path.push(Step::Key(key.clone()));
            entries.push((key, self.value(item)?));
            self.path.pop();
            more = self.reader.next_key()?;
        }
        let (map, repeated) = Map::from_unsorted(entries);
        for key in repeated {
            self.tell("duplicate", &key);
        }
        Ok(Value::Map(map))
    }

    #[cold]
    fn tell(&mut self, what: &str, key: &str) {
        if self.strictness == Strictness::Ignore || self.told.len() >= MAX_TOLD {
            return;
        }
        let mut path = String::new();
        for step in &self.path {
            match step {
                Step::Field(_, field) => push_name(&mut path, &field.name),
                Step::Key(key) => push_name(&mut path, key),
                Step::Index(index) => {
                    let _ = write!(path, "[{index}]");
                }
            }
        }
        push_name(&mut path, key);
        self.told.push(format!("{what} field {path:?}"));
    }

    #[cold]
    fn mismatch(&self, found: &str, ty: &Type) -> DecodeError {
        let names: Vec<&str> = self
            .path
            .iter()
            .filter_map(|step| match step {
                Step::Field(_, field) => Some(field.name.as_str()),
                _ => None,
            })
            .collect();
        let owner = self.path.iter().rev().find_map(|step| match step {
            Step::Field(owner, _) => Some(owner.short_name()),
            _ => None,
        });
        let place = match owner {
            Some(owner) => format!("struct field {owner}.{}", names.join(".")),
            None => "value".to_owned(),
        };
        DecodeError::Type(format!("json: cannot unmarshal {found} into Go {place} of type {}", go_type(self.types, ty)))
    }
}

/// Whether there are spaces or line ends in a text.
pub(crate) fn is_spaced(text: &str) -> bool {
    // Without a way out at the first one, many bytes are looked at at a time.
    text.bytes().fold(false, |found, byte| found | (byte <= b' '))
}

/// The text of owners in which every field is known, comes once, and has a value of its type in canonical form, without spaces.
/// `None`: those that need a closer look.
fn plain_owners<'a>(reader: &mut Reader<'a>) -> Result<Option<&'a str>> {
    if reader.peek()? != Kind::List {
        return Ok(None);
    }
    let start = reader.clone();
    let mut more = reader.open(b']')?;
    if !more {
        return Ok(None);
    }
    while more {
        if reader.peek()? != Kind::Map {
            return Ok(None);
        }
        let mut seen = 0_u8;
        let mut fields = reader.open(b'}')?;
        while fields {
            let bit = match &*reader.key()? {
                "manager" => 1,
                "operation" => 2,
                "apiVersion" => 4,
                "time" => 8,
                "fieldsType" => 16,
                "subresource" => 32,
                "fieldsV1" => 64,
                _ => return Ok(None),
            };
            let fits = match (bit, reader.peek()?) {
                (64, Kind::Map) => {
                    reader.skip()?;
                    true
                }
                (8, Kind::String) => matches!(scalar::time(&reader.string()?), Ok(Cow::Borrowed(_))),
                (1..64, Kind::String) => !reader.string()?.is_empty(),
                _ => false,
            };
            if !fits || seen & bit != 0 {
                return Ok(None);
            }
            seen |= bit;
            fields = reader.next_key()?;
        }
        more = reader.next_item()?;
    }
    Ok(Some(start.until(reader)).filter(|text| !is_spaced(text)))
}

fn push_name(path: &mut String, name: &str) {
    if !path.is_empty() {
        path.push('.');
    }
    path.push_str(name);
}

fn quantity(text: &str) -> std::result::Result<Cow<'_, str>, String> {
    let quantity: scalar::Quantity = text.parse().map_err(|error: scalar::QuantityError| error.to_string())?;
    let canonical = quantity.to_string();
    Ok(if canonical == text { text.into() } else { canonical.into() })
}

#[cold]
fn go_value(kind: Kind, ty: &str) -> DecodeError {
    DecodeError::Type(format!("json: cannot unmarshal {} into Go value of type {ty}", kind.word()))
}

/// Go's name of a type, e.g. `[]v1.Container`.
fn go_type(types: &TypeSet, ty: &Type) -> String {
    match ty {
        Type::Bool => "bool".to_owned(),
        Type::Int32 => "int32".to_owned(),
        Type::Int64 => "int64".to_owned(),
        Type::Double => "float64".to_owned(),
        Type::String => "string".to_owned(),
        Type::Bytes => "[]uint8".to_owned(),
        Type::Time => "v1.Time".to_owned(),
        Type::MicroTime => "v1.MicroTime".to_owned(),
        Type::Quantity => "resource.Quantity".to_owned(),
        Type::IntOrString => "intstr.IntOrString".to_owned(),
        Type::RawExtension => "runtime.RawExtension".to_owned(),
        Type::Json => "v1.JSON".to_owned(),
        Type::FieldsV1 => "v1.FieldsV1".to_owned(),
        Type::Strings => "[]string".to_owned(),
        Type::SchemaOr(SchemaOr::Bool, _) => "v1.JSONSchemaPropsOrBool".to_owned(),
        Type::SchemaOr(SchemaOr::Schemas, _) => "v1.JSONSchemaPropsOrArray".to_owned(),
        Type::SchemaOr(SchemaOr::Strings, _) => "v1.JSONSchemaPropsOrStringArray".to_owned(),
        Type::Struct(id) => {
            let mut parts = types.get(*id).name.rsplitn(3, '.');
            let (name, package) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
            format!("{package}.{name}")
        }
        Type::List(item) => format!("[]{}", go_type(types, item)),
        Type::Map(item) => format!("map[string]{}", go_type(types, item)),
    }
}
