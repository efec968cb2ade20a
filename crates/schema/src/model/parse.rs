//! Reading the data files of the table.
//!
//! Types (`data/v1.35.types`, generated), one struct after the other:
//!
//! ```text
//! NAME [o] [a]                       o: has apiVersion and kind, a: applied as a whole
//!  FIELD TAG PRESENCE TYPE [FLAG...] with a space before; PRESENCE directly before TYPE
//!  > TAG NAME                        a struct whose fields JSON shows inline
//! ```
//!
//! PRESENCE is one of `*` [`Presence::Pointer`], `^` [`Presence::NullPointer`], `?` [`Presence::Omit`],
//! `-` [`Presence::OmitZero`], `!` [`Presence::Always`]. TYPE is a scalar's word or a struct's name, with
//! `[]` before it for a list and `{}` for a map. Flags: `req`, `set`, `atomic`, `keys=A,B`, `merge[=KEY]`,
//! `retain`; `enum=A|B` comes last, since its values may have spaces.
//!
//! Resources (`data/resources`, by hand) describe their lines themselves.

use super::resource::{GroupInfo, Resource, Storage, Subresource, Table, Verb, VersionInfo};
use super::types::{Field, ListType, Member, Patch, Presence, Schema, SchemaOr, Struct, Type, TypeId, TypeSet};
use crate::{Str, json};
use std::collections::HashMap;
use std::sync::Arc;

static TYPES: &str = include_str!("../../data/v1.35.types");
static RESOURCES: &str = include_str!("../../data/resources");

/// The place and length of a name that is the very text of the built-in types: a shorter way to say it.
#[inline]
pub(crate) fn place_of(name: &str) -> Option<(u32, u8)> {
    let place = name.as_ptr().addr().wrapping_sub(TYPES.as_ptr().addr());
    let is_there = place < TYPES.len() && name.len() <= usize::from(u8::MAX);
    is_there.then_some((place as u32, name.len() as u8))
}

/// The name that stands there.
pub(crate) fn name_at(place: usize, length: u8) -> Option<Str> {
    TYPES.get(place..place.checked_add(length.into())?).map(Str::from_static)
}

/// A line of a data file that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("line {line}: {problem}: {text}")]
pub(super) struct ParseError {
    line: usize,
    text: String,
    problem: &'static str,
}

type Result<T, E = &'static str> = std::result::Result<T, E>;

/// The built-in table.
pub(super) fn builtin() -> Result<Table, ParseError> {
    let types = Arc::new(types(TYPES)?);
    let mut reader = ResourceReader::new(types.clone());
    each_line(RESOURCES, |line| reader.line(line))?;
    let (resources, groups) = reader.finish();
    Ok(Table::new(types, resources, groups))
}

fn each_line<'a>(text: &'a str, mut read: impl FnMut(&'a str) -> Result<()>) -> Result<(), ParseError> {
    for (line, text) in text.lines().enumerate() {
        if !text.is_empty() && !text.starts_with('#') {
            read(text).map_err(|problem| ParseError { line: line + 1, text: text.to_owned(), problem })?;
        }
    }
    Ok(())
}

enum Line {
    Field(Field),
    Inline { tag: u32, ty: TypeId },
}

fn types(text: &'static str) -> Result<TypeSet, ParseError> {
    let heads = text.lines().filter(|line| !line.is_empty() && !line.starts_with([' ', '#']));
    let names: HashMap<&str, TypeId> =
        heads.zip(0..).map(|(line, index)| (line.split(' ').next().unwrap_or(line), TypeId(index))).collect();
    let mut heads: Vec<(&'static str, Vec<Line>)> = Vec::with_capacity(names.len());
    each_line(text, |line| {
        let Some(line) = line.strip_prefix(' ') else {
            heads.push((line, Vec::new()));
            return Ok(());
        };
        let (_, lines) = heads.last_mut().ok_or("a field before the first struct")?;
        lines.push(match line.strip_prefix("> ") {
            Some(rest) => {
                let (tag, name) = rest.split_once(' ').ok_or("an inline struct has a tag and a name")?;
                Line::Inline { tag: tag.parse().map_err(|_| "not a tag")?, ty: *names.get(name).ok_or("unknown struct")? }
            }
            None => Line::Field(field(line, &names)?),
        });
        Ok(())
    })?;
    let structs = heads.iter().map(|(head, lines)| structure(head, lines, &heads)).collect();
    Ok(TypeSet::new(structs))
}

fn structure(head: &'static str, lines: &[Line], all: &[(&'static str, Vec<Line>)]) -> Struct {
    let mut words = head.split(' ');
    let name = Str::from_static(words.next().unwrap_or(head));
    let (mut object, mut atomic) = (false, false);
    for word in words {
        object |= word == "o";
        atomic |= word == "a";
    }
    let defaults = key_defaults(&name);
    let mut fields = Vec::new();
    if object {
        fields.extend(["kind", "apiVersion"].map(Field::text));
    }
    let mut members = Vec::new();
    for line in lines {
        match line {
            Line::Field(field) => {
                members.push(Member::Field(fields.len()));
                fields.push(field.clone());
            }
            Line::Inline { tag, ty } => {
                members.push(Member::Inline { tag: *tag, ty: *ty, at: fields.len() });
                inline(*ty, all, &mut fields);
            }
        }
    }
    for (key, default) in defaults {
        if let Some(field) = fields.iter_mut().find(|field| field.name == **key) {
            field.default = json::decode_untyped(default.as_bytes()).ok();
        }
    }
    Struct::new(name, fields, members, atomic, object)
}

/// Defaults of fields by which items of lists are told apart, as the reference's schema has them.
const KEY_DEFAULTS: &[(&str, &[(&str, &str)])] = &[
    ("core.v1.ContainerPort", &[("protocol", "\"TCP\"")]),
    ("core.v1.ServicePort", &[("protocol", "\"TCP\"")]),
    ("core.v1.LocalObjectReference", &[("name", "\"\"")]),
    ("core.v1.ObjectReference", &[("name", "\"\"")]),
    ("core.v1.ResourceClaim", &[("name", "\"\"")]),
];

fn key_defaults(name: &str) -> &'static [(&'static str, &'static str)] {
    KEY_DEFAULTS.iter().find(|(of, _)| name.strip_suffix(of).is_some_and(|rest| rest.ends_with('.'))).map_or(&[], |(_, defaults)| defaults)
}

fn inline(ty: TypeId, all: &[(&'static str, Vec<Line>)], fields: &mut Vec<Field>) {
    for line in all.get(ty.0 as usize).into_iter().flat_map(|(_, lines)| lines) {
        match line {
            Line::Field(field) => fields.push(field.clone()),
            Line::Inline { ty, .. } => inline(*ty, all, fields),
        }
    }
}

fn field(line: &'static str, names: &HashMap<&str, TypeId>) -> Result<Field> {
    let (line, values) = line.split_once(" enum=").map_or((line, None), |(line, values)| (line, Some(values)));
    let mut words = line.split(' ');
    let mut word = || words.next().ok_or("a field has a name, a tag and a type");
    let mut result = Field::text(word()?);
    result.tag = word()?.parse().map_err(|_| "not a tag")?;
    let spelled = word()?;
    let (presence, spelled) = spelled.split_at_checked(1).ok_or("no presence")?;
    result.presence = match presence {
        "*" => Presence::Pointer,
        "^" => Presence::NullPointer,
        "?" => Presence::Omit,
        "-" => Presence::OmitZero,
        "!" => Presence::Always,
        _ => return Err("unknown presence"),
    };
    result.ty = spell(spelled, names)?;
    result.values = values.into_iter().flat_map(|values| values.split('|')).map(Str::from_static).collect();
    for word in words {
        match word.split_once('=').unwrap_or((word, "")) {
            ("req", _) => result.required = true,
            ("set", _) => result.list_type = ListType::Set,
            ("atomic", _) => result.list_type = ListType::Atomic,
            ("keys", keys) => result.list_type = ListType::Map(keys.split(',').map(Str::from_static).collect()),
            ("merge", key) => {
                result.patch = Patch { merge: true, key: (!key.is_empty()).then_some(Str::from_static(key)), ..result.patch };
            }
            ("retain", _) => result.patch.retain_keys = true,
            _ => return Err("unknown flag"),
        }
    }
    Ok(result)
}

fn spell(text: &str, names: &HashMap<&str, TypeId>) -> Result<Type> {
    if let Some(rest) = text.strip_prefix("[]") {
        return Ok(Type::List(Box::new(spell(rest, names)?)));
    }
    if let Some(rest) = text.strip_prefix("{}") {
        return Ok(Type::Map(Box::new(spell(rest, names)?)));
    }
    let schema = || names.get("io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps").copied().ok_or("no schemas");
    Ok(match text {
        "bool" => Type::Bool,
        "int32" => Type::Int32,
        "int64" => Type::Int64,
        "double" => Type::Double,
        "string" => Type::String,
        "bytes" => Type::Bytes,
        "time" => Type::Time,
        "microtime" => Type::MicroTime,
        "quantity" => Type::Quantity,
        "intorstring" => Type::IntOrString,
        "raw" => Type::RawExtension,
        "json" => Type::Json,
        "fields" => Type::FieldsV1,
        "strings" => Type::Strings,
        "schemaorbool" => Type::SchemaOr(SchemaOr::Bool, schema()?),
        "schemaorarray" => Type::SchemaOr(SchemaOr::Schemas, schema()?),
        "schemaorstrings" => Type::SchemaOr(SchemaOr::Strings, schema()?),
        name => Type::Struct(*names.get(name).ok_or("unknown type")?),
    })
}

struct ResourceReader {
    types: Arc<TypeSet>,
    group: &'static str,
    version: &'static str,
    package: &'static str,
    rows: Vec<Resource>,
}

impl ResourceReader {
    fn new(types: Arc<TypeSet>) -> Self {
        Self { types, group: "", version: "", package: "", rows: Vec::new() }
    }

    fn line(&mut self, line: &'static str) -> Result<()> {
        let words: Vec<&'static str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["group", name] => self.group = if *name == "core" { "" } else { name },
            ["version", version, package] => (self.version, self.package) = (version, package),
            [name, verbs, kind @ ..] if name.starts_with('/') => {
                let row = self.rows.last_mut().ok_or("a subresource before the first resource")?;
                row.subresources.push(subresource(name.trim_start_matches('/'), verbs, kind, row, &self.types)?);
            }
            [plural, kind, scope, verbs, flags @ ..] => {
                let schema = shape(&self.types, self.package, kind)?;
                let mut row = Resource {
                    group: Str::from_static(self.group),
                    version: Str::from_static(self.version),
                    kind: Str::from_static(kind),
                    list_kind: format!("{kind}List").into(),
                    plural: Str::from_static(plural),
                    singular: kind.to_ascii_lowercase().into(),
                    short_names: Vec::new(),
                    categories: Vec::new(),
                    namespaced: *scope == "N",
                    verbs: letters(verbs)?,
                    subresources: Vec::new(),
                    storage: Storage {
                        group: Str::from_static(self.group),
                        version: Str::from_static(self.version),
                        plural: Str::from_static(plural),
                    },
                    schema,
                };
                for flag in flags {
                    match flag.split_once('=').ok_or("a flag has a value")? {
                        ("short", names) => row.short_names = names.split(',').map(Str::from_static).collect(),
                        ("cat", names) => row.categories = names.split(',').map(Str::from_static).collect(),
                        ("store", place) => {
                            let (group, version) = place.split_once('/').ok_or("a store has group and version")?;
                            row.storage.group = Str::from_static(if group == "core" { "" } else { group });
                            row.storage.version = Str::from_static(version);
                        }
                        _ => return Err("unknown flag"),
                    }
                }
                self.rows.push(row);
            }
            _ => return Err("unknown line"),
        }
        Ok(())
    }

    fn finish(self) -> (Vec<Arc<Resource>>, Vec<GroupInfo>) {
        let resources: Vec<Arc<Resource>> = self.rows.into_iter().map(Arc::new).collect();
        let mut groups: Vec<GroupInfo> = Vec::new();
        for resource in &resources {
            if groups.last().is_none_or(|group| group.name != resource.group) {
                groups.push(GroupInfo { name: resource.group.clone(), versions: Vec::new() });
            }
            let Some(group) = groups.last_mut() else { continue };
            if group.versions.last().is_none_or(|version| version.version != resource.version) {
                group.versions.push(VersionInfo { version: resource.version.clone(), resources: Vec::new() });
            }
            if let Some(version) = group.versions.last_mut() {
                version.resources.push(resource.clone());
            }
        }
        (resources, groups)
    }
}

fn subresource(name: &'static str, verbs: &str, kind: &[&'static str], parent: &Resource, types: &Arc<TypeSet>) -> Result<Subresource> {
    let (group, version, kind, schema) = match kind {
        [api_version, kind] => {
            let (group, version) = super::split_api_version(api_version);
            let package = match group {
                "" => "io.k8s.api.core".to_owned(),
                group => format!("io.k8s.api.{}", group.split('.').next().unwrap_or(group)),
            };
            let schema = shape(types, &format!("{package}.{version}"), kind)?;
            (Str::from_static(group), Str::from(version), Str::from_static(kind), schema)
        }
        _ => (parent.group.clone(), parent.version.clone(), parent.kind.clone(), parent.schema.clone()),
    };
    Ok(Subresource { name: Str::from_static(name), group, version, kind, verbs: letters(verbs)?, schema })
}

fn shape(types: &Arc<TypeSet>, package: &str, kind: &str) -> Result<Schema> {
    let root = types.find(&format!("{package}.{kind}")).ok_or("unknown kind")?;
    Ok(Schema::new(types.clone(), root))
}

fn letters(word: &str) -> Result<Vec<Verb>> {
    if word == "all" {
        return Ok(Verb::ALL.to_vec());
    }
    word.chars()
        .map(|letter| match letter {
            'c' => Ok(Verb::Create),
            'd' => Ok(Verb::Delete),
            'D' => Ok(Verb::DeleteCollection),
            'g' => Ok(Verb::Get),
            'l' => Ok(Verb::List),
            'p' => Ok(Verb::Patch),
            'u' => Ok(Verb::Update),
            'w' => Ok(Verb::Watch),
            _ => Err("unknown verb"),
        })
        .collect()
}
