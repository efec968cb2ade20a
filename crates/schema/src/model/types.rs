//! Structural types: what a field is, and what its absence means.

use crate::{Str, Value};
use rustc_hash::FxHashSet;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Index of a struct in its [`TypeSet`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TypeId(pub(crate) u32);

/// The type of a field, list item or map value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Type {
    /// A boolean.
    Bool,
    /// A 32-bit integer.
    Int32,
    /// A 64-bit integer.
    Int64,
    /// A floating-point number.
    Double,
    /// Text.
    String,
    /// Bytes, base64 in JSON.
    Bytes,
    /// RFC 3339 time with seconds.
    Time,
    /// RFC 3339 time with microseconds.
    MicroTime,
    /// Resource quantity.
    Quantity,
    /// A number or text.
    IntOrString,
    /// Any object with its own `apiVersion` and `kind`; kept as it is.
    RawExtension,
    /// Any JSON; kept as it is.
    Json,
    /// A set of owned fields; kept as it is.
    FieldsV1,
    /// A list of text that protobuf wraps in a message (`ExtraValue`, `Verbs`).
    Strings,
    /// A schema or something simpler, in custom resource definitions.
    SchemaOr(SchemaOr, TypeId),
    /// A struct of the same set.
    Struct(TypeId),
    /// A list.
    List(Box<Type>),
    /// A map from text.
    Map(Box<Type>),
}

/// What may stand in place of a schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SchemaOr {
    /// `true` or `false`.
    Bool,
    /// A list of schemas.
    Schemas,
    /// A list of names.
    Strings,
}

/// What a Go field is, which decides what its zero value and its absence mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// A pointer with `omitempty`: absent or any value, also an empty one.
    Pointer,
    /// A pointer without `omitempty`: `null` when absent.
    NullPointer,
    /// A value, list or map with `omitempty`: dropped when zero or empty (a struct never is).
    Omit,
    /// A value with `omitzero`: dropped when zero, a struct too.
    OmitZero,
    /// Always there: the zero value or `null` (list, map, bytes) when absent.
    Always,
}

/// How lists and maps merge in server-side apply.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ListType {
    /// Not said: a list is atomic, a map or struct granular.
    #[default]
    Default,
    /// Replaced as a whole.
    Atomic,
    /// A set of scalars.
    Set,
    /// Items are told apart by these fields.
    Map(Vec<Str>),
}

/// Strategic merge patch: how a field merges.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Patch {
    /// Items merge (`patchStrategy: merge`).
    pub merge: bool,
    /// Only the fields named by `$retainKeys` are kept (`patchStrategy: retainKeys`).
    pub retain_keys: bool,
    /// Field that tells items apart (`patchMergeKey`).
    pub key: Option<Str>,
}

/// A field of a struct as JSON shows it.
#[derive(Clone, Debug)]
pub struct Field {
    /// JSON name.
    pub name: Str,
    /// Protobuf tag; 0 if the field is not in protobuf.
    pub tag: u32,
    /// Its type.
    pub ty: Type,
    /// What its absence means.
    pub presence: Presence,
    /// OpenAPI says that it is required.
    pub required: bool,
    /// Merge type in server-side apply.
    pub list_type: ListType,
    /// Merge in strategic merge patches.
    pub patch: Patch,
    /// Known values, if the type is an enumeration.
    pub values: Vec<Str>,
    /// What its absence stands for, where items of lists are told apart by it.
    pub default: Option<Value>,
}

impl Field {
    /// An optional text field of this name, in no protobuf.
    pub(crate) fn text(name: &'static str) -> Self {
        Self {
            name: Str::from_static(name),
            tag: 0,
            ty: Type::String,
            presence: Presence::Omit,
            required: false,
            list_type: ListType::Default,
            patch: Patch::default(),
            values: Vec::new(),
            default: None,
        }
    }

    /// True if the canonical form has the field whether it was given or not: Go never takes a
    /// struct for empty, and a field without `omitempty` is always written.
    pub fn always(&self) -> bool {
        match self.presence {
            Presence::Always | Presence::NullPointer => true,
            Presence::Pointer | Presence::OmitZero => false,
            Presence::Omit => {
                matches!(self.ty, Type::Struct(_) | Type::Time | Type::MicroTime | Type::Quantity | Type::IntOrString | Type::RawExtension)
            }
        }
    }
}

/// What a struct holds in protobuf: its own fields, and structs that JSON shows inlined.
#[derive(Clone, Copy, Debug)]
pub enum Member {
    /// Index in [`Struct::fields`].
    Field(usize),
    /// A struct under a tag of its own whose fields JSON shows beside the others.
    Inline {
        /// Protobuf tag.
        tag: u32,
        /// The inlined struct.
        ty: TypeId,
        /// Position of its first field in [`Struct::fields`]; the others follow.
        at: usize,
    },
}

/// A struct type.
#[derive(Clone, Debug)]
pub struct Struct {
    /// OpenAPI name, e.g. `io.k8s.api.core.v1.PodSpec`.
    pub name: Str,
    /// Fields in order, inlined ones included.
    pub fields: Vec<Field>,
    /// The same for protobuf, in order of their tags.
    pub members: Vec<Member>,
    /// Applied as a whole (`structType: atomic`).
    pub atomic: bool,
    /// It is an object or list with `apiVersion` and `kind`.
    pub object: bool,
    /// Positions of the fields that are [`Field::always`] there.
    always: Vec<usize>,
    /// Open-addressed positions plus one, by [`slot`] of the name.
    lookup: Vec<u16>,
}

/// A cheap hash that tells field names of one struct apart well enough.
fn slot(name: &str) -> usize {
    let bytes = name.as_bytes();
    let (Some(first), Some(middle), Some(last)) = (bytes.first(), bytes.get(bytes.len() / 2), bytes.last()) else { return 0 };
    bytes.len().wrapping_mul(37) ^ (usize::from(*first) * 3) ^ (usize::from(*middle) * 11) ^ (usize::from(*last) * 29)
}

impl Struct {
    pub(crate) fn new(name: Str, fields: Vec<Field>, mut members: Vec<Member>, atomic: bool, object: bool) -> Self {
        let tag = |member: &Member| match member {
            Member::Field(index) => fields[*index].tag,
            Member::Inline { tag, .. } => *tag,
        };
        members.retain(|member| tag(member) != 0);
        members.sort_by_key(tag);
        let always = fields.iter().enumerate().filter(|(_, field)| field.always()).map(|(index, _)| index).collect();
        let mut lookup = vec![0; (fields.len() * 2).next_power_of_two()];
        let mask = lookup.len() - 1;
        for (field, entry) in fields.iter().zip(1..) {
            let mut at = slot(&field.name) & mask;
            while lookup[at] != 0 {
                at = (at + 1) & mask;
            }
            lookup[at] = entry;
        }
        Self { name, fields, members, atomic, object, always, lookup }
    }

    /// The member under a protobuf tag.
    pub(crate) fn member(&self, tag: u32) -> Option<&Member> {
        let of = |member: &Member| match member {
            Member::Field(index) => self.fields.get(*index).map_or(0, |field| field.tag),
            Member::Inline { tag, .. } => *tag,
        };
        let at = self.members.binary_search_by_key(&tag, of).ok()?;
        self.members.get(at)
    }

    /// Positions of the fields that the canonical form always has.
    pub(crate) fn always(&self) -> &[usize] {
        &self.always
    }

    /// Last segment of the name: the Go name.
    pub fn short_name(&self) -> &str {
        self.name.rsplit('.').next().unwrap_or_default()
    }

    /// The field of that JSON name.
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.index(name).and_then(|index| self.fields.get(index))
    }

    /// Position of the field of that JSON name.
    pub fn index(&self, name: &str) -> Option<usize> {
        let mask = self.lookup.len().wrapping_sub(1);
        let mut at = slot(name) & mask;
        loop {
            let index = usize::from(*self.lookup.get(at)?).checked_sub(1)?;
            let found = self.fields.get(index)?.name.as_str();
            // Names of the table are mostly the very same text.
            if std::ptr::eq(found, name) || found == name {
                return Some(index);
            }
            at = (at + 1) & mask;
        }
    }
}

/// A set of struct types that refer to each other: the built-in one, or one of a custom kind.
#[derive(Debug, Default)]
pub struct TypeSet {
    structs: Vec<Struct>,
    by_name: HashMap<Str, TypeId>,
    field_names: FxHashSet<Str>,
    number: u64,
}

impl TypeSet {
    /// A set of these structs; `TypeId`s in them are positions.
    pub(crate) fn new(mut structs: Vec<Struct>) -> Self {
        let mut field_names: FxHashSet<Str> = FxHashSet::default();
        for field in structs.iter_mut().flat_map(|structure| &mut structure.fields) {
            match field_names.get(&field.name) {
                Some(known) => field.name = known.clone(),
                None => drop(field_names.insert(field.name.clone())),
            }
        }
        let by_name = structs.iter().zip(0..).map(|(s, index)| (s.name.clone(), TypeId(index))).collect();
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self { structs, by_name, field_names, number: NEXT.fetch_add(1, Ordering::Relaxed) }
    }

    /// A name; if it is that of a field of this set, the very same text as in every struct that has such a field.
    pub(crate) fn field_name(&self, name: &str) -> Str {
        self.field_names.get(name).cloned().unwrap_or_else(|| name.into())
    }

    /// A number that no other set of this process has, for what is remembered of sets.
    pub(crate) const fn number(&self) -> u64 {
        self.number
    }

    /// The struct of an OpenAPI name.
    pub fn find(&self, name: &str) -> Option<TypeId> {
        self.by_name.get(name).copied()
    }

    /// A struct of this set.
    pub fn get(&self, id: TypeId) -> &Struct {
        &self.structs[id.0 as usize]
    }

    /// All structs.
    pub fn structs(&self) -> &[Struct] {
        &self.structs
    }
}

/// The shape of an object: a struct and the set that it belongs to. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Schema {
    types: Arc<TypeSet>,
    root: TypeId,
}

impl Schema {
    /// The shape of a struct of `types`.
    pub fn new(types: Arc<TypeSet>, root: TypeId) -> Self {
        Self { types, root }
    }

    /// The set.
    pub fn types(&self) -> &Arc<TypeSet> {
        &self.types
    }

    /// The struct.
    pub fn root(&self) -> TypeId {
        self.root
    }

    /// What Go takes for an empty object: the canonical form of `{}`.
    pub fn empty(&self) -> Value {
        crate::canonical::zero(&self.types, &Type::Struct(self.root))
    }

    /// The struct's description.
    pub fn describe(&self) -> &Struct {
        self.types.get(self.root)
    }
}
