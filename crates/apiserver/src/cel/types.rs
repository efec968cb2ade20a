//! Types of values.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// The deepest type: as deep as schemas are. Expressions could make deeper ones, level by level; what is below is `dyn`.
const DEEPEST: usize = 200;

fn inner(of: Type) -> Box<Type> {
    Box::new(if of.depth() < DEEPEST { of } else { Type::Dyn })
}

/// The type of a value.
#[derive(Debug, Clone, PartialEq)]
pub enum Type {
    /// Known only when evaluated.
    Dyn,
    /// The same under its other name.
    Any,
    /// `bool`
    Bool,
    /// `int`
    Int,
    /// `uint`
    Uint,
    /// `double`
    Double,
    /// `string`
    String,
    /// `bytes`
    Bytes,
    /// `null`
    Null,
    /// `timestamp`
    Timestamp,
    /// `duration`
    Duration,
    /// A type as a value.
    Meta,
    /// `list(T)`
    List(Box<Type>),
    /// `map(K, V)`
    Map(Box<Type>, Box<Type>),
    /// `optional_type(T)`
    Optional(Box<Type>),
    /// Something with fields.
    Object(Arc<Object>),
    /// Something that only functions can do something with.
    Opaque(&'static str),
    /// A parameter of a function's declaration.
    Param(char),
    /// What has no type because it is wrong.
    Error,
}

/// The fields of an object.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Object {
    /// Its name.
    pub name: String,
    /// Its fields.
    pub fields: BTreeMap<String, Type>,
}

impl Type {
    /// `list(item)`
    pub fn list(item: Self) -> Self {
        Self::List(inner(item))
    }

    /// `map(key, value)`. No key is a list or a map; those who say so get `dyn`, for with such keys in such keys a type would
    /// double each time that it is used, and a short expression have one without end.
    pub fn map(key: Self, value: Self) -> Self {
        let key = if matches!(key, Self::List(_) | Self::Map(..) | Self::Optional(_)) { Self::Dyn } else { key };
        Self::Map(Box::new(key), inner(value))
    }

    /// `optional_type(of)`
    pub fn optional(of: Self) -> Self {
        Self::Optional(inner(of))
    }

    /// An object.
    pub fn object(name: &str, fields: impl IntoIterator<Item = (String, Self)>) -> Self {
        Self::Object(Arc::new(Object { name: name.to_owned(), fields: fields.into_iter().collect() }))
    }

    /// Levels of lists, maps and optional values.
    fn depth(&self) -> usize {
        match self {
            Self::List(of) | Self::Optional(of) | Self::Map(_, of) => 1 + of.depth(),
            _ => 0,
        }
    }

    /// Whether it is the object of that name, or one of such objects.
    pub fn holds(&self, name: &str) -> bool {
        match self {
            Self::List(of) | Self::Optional(of) | Self::Map(_, of) => of.holds(name),
            Self::Object(object) => object.name == name,
            _ => false,
        }
    }

    /// Whether anything goes.
    pub fn is_open(&self) -> bool {
        matches!(self, Self::Dyn | Self::Any | Self::Error)
    }

    /// Whether the value may be absent, so that `null` may stand for it.
    fn takes_null(&self) -> bool {
        matches!(self, Self::Null | Self::Object(_) | Self::Timestamp | Self::Duration | Self::Opaque(_) | Self::Optional(_))
    }
}

/// What the parameters of a declaration stand for.
pub(super) type Bindings = BTreeMap<char, Type>;

/// Whether a value of a type can be where another is declared.
pub(super) fn fits(given: &Type, declared: &Type, bindings: &mut Bindings) -> bool {
    match (given, declared) {
        (_, Type::Param(name)) => match bindings.get(name).cloned() {
            None => {
                bindings.insert(*name, given.clone());
                true
            }
            Some(bound) if bound.is_open() || given.is_open() => true,
            Some(bound) => {
                if fits(given, &bound, bindings) {
                    return true;
                }
                // The wider of both counts.
                let wider = fits(&bound, given, bindings);
                if wider {
                    bindings.insert(*name, given.clone());
                }
                wider
            }
        },
        _ if given.is_open() || declared.is_open() => true,
        (Type::Null, _) => declared.takes_null(),
        (_, Type::Null) => given.takes_null(),
        (Type::List(given), Type::List(declared)) | (Type::Optional(given), Type::Optional(declared)) => fits(given, declared, bindings),
        (Type::Map(key, value), Type::Map(other_key, other)) => fits(key, other_key, bindings) && fits(value, other, bindings),
        _ => given == declared,
    }
}

/// A declared type with its parameters filled in.
pub(super) fn filled(declared: &Type, bindings: &Bindings) -> Type {
    match declared {
        Type::Param(name) => bindings.get(name).cloned().unwrap_or(Type::Dyn),
        Type::List(item) => Type::list(filled(item, bindings)),
        Type::Optional(of) => Type::optional(filled(of, bindings)),
        Type::Map(key, value) => Type::map(filled(key, bindings), filled(value, bindings)),
        other => other.clone(),
    }
}

/// The type of what may be of either.
pub(super) fn joined(one: &Type, other: &Type) -> Type {
    let mut none = Bindings::new();
    if fits(other, one, &mut none) && !other.is_open() {
        one.clone()
    } else if fits(one, other, &mut none) && !one.is_open() {
        other.clone()
    } else {
        Type::Dyn
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dyn => "dyn",
            Self::Any => "any",
            Self::Bool => "bool",
            Self::Int => "int",
            Self::Uint => "uint",
            Self::Double => "double",
            Self::String => "string",
            Self::Bytes => "bytes",
            Self::Null => "null",
            Self::Timestamp => "timestamp",
            Self::Duration => "duration",
            Self::Meta => "type",
            Self::Error => "!error!",
            Self::Opaque(name) => name,
            Self::Object(object) => &object.name,
            Self::List(item) => return write!(f, "list({item})"),
            Self::Map(key, value) => return write!(f, "map({key}, {value})"),
            Self::Optional(of) => return write!(f, "optional_type({of})"),
            Self::Param(name) => return write!(f, "{name}"),
        })
    }
}
