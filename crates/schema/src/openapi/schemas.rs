//! Schema objects of types.

use super::operations::Flavor;
use crate::model::{Field, ListType, Presence, Struct, Type, TypeId, TypeSet, table};
use crate::{Map, Str, Value, value};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";
const EXTENSIONS: &str = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1";

/// The types that a document refers to.
pub(super) struct Definitions {
    types: Arc<TypeSet>,
    flavor: Flavor,
    found: BTreeSet<TypeId>,
    scalars: BTreeMap<String, Value>,
    /// Group and version by package.
    packages: BTreeMap<String, (Str, Str)>,
}

impl Definitions {
    pub(super) fn new(types: &Arc<TypeSet>, flavor: Flavor) -> Self {
        let packages = table()
            .resources()
            .iter()
            .filter_map(|resource| {
                let (package, _) = resource.schema.describe().name.rsplit_once('.')?;
                Some((package.to_owned(), (resource.group.clone(), resource.version.clone())))
            })
            .collect();
        Self { types: types.clone(), flavor, found: BTreeSet::new(), scalars: BTreeMap::new(), packages }
    }

    /// A reference to a type by its OpenAPI name, which becomes part of the document with all that it needs.
    pub(super) fn refer(&mut self, name: &str) -> Value {
        if let Some(id) = self.types.find(name) {
            self.collect(id);
        }
        self.link(name)
    }

    fn link(&self, name: &str) -> Value {
        value!({"$ref": (format!("{}{name}", self.flavor.ref_prefix()))})
    }

    fn collect(&mut self, id: TypeId) {
        if self.found.insert(id) {
            let types = self.types.clone();
            for field in &types.get(id).fields {
                self.collect_type(&field.ty);
            }
        }
    }

    fn collect_type(&mut self, ty: &Type) {
        match ty {
            Type::Struct(id) | Type::SchemaOr(_, id) => self.collect(*id),
            Type::List(item) | Type::Map(item) => self.collect_type(item),
            _ => {}
        }
    }

    /// All schemas, by name.
    pub(super) fn finish(mut self) -> Value {
        let types = self.types.clone();
        let mut schemas: Vec<(Str, Value)> = Vec::new();
        for id in self.found.clone() {
            let structure = types.get(id);
            schemas.push((structure.name.clone(), self.structure(structure)));
        }
        schemas.extend(std::mem::take(&mut self.scalars).into_iter().map(|(name, schema)| (name.into(), schema)));
        Value::Map(schemas.into_iter().collect())
    }

    fn structure(&mut self, structure: &Struct) -> Value {
        let mut schema = value!({"type": "object"});
        let mut properties = Map::new();
        for field in &structure.fields {
            properties.insert(field.name.clone(), self.property(field));
        }
        let required: Vec<Str> = structure.fields.iter().filter(|field| field.required).map(|field| field.name.clone()).collect();
        if !required.is_empty() {
            schema.insert("required", required);
        }
        if !properties.is_empty() {
            schema.insert("properties", properties);
        }
        if structure.atomic {
            schema.insert("x-kubernetes-map-type", "atomic");
        }
        let kinds = self.kinds(structure);
        if !kinds.is_empty() {
            schema.insert("x-kubernetes-group-version-kind", Value::List(kinds));
        }
        schema
    }

    /// Group, version and kind under which objects of the type are sent.
    fn kinds(&self, structure: &Struct) -> Vec<Value> {
        let kind = structure.short_name();
        let name = |group: &Str, version: &Str| value!({"group": (group.clone()), "kind": (kind), "version": (version.clone())});
        let Some((package, _)) = structure.name.rsplit_once('.') else { return Vec::new() };
        let everywhere = package == META && matches!(kind, "DeleteOptions" | "WatchEvent");
        if everywhere {
            return self.packages.values().map(|(group, version)| name(group, version)).collect();
        }
        if !structure.object {
            return Vec::new();
        }
        if package == META {
            return vec![name(&Str::default(), &Str::from_static("v1"))];
        }
        self.packages.get(package).map(|(group, version)| name(group, version)).into_iter().collect()
    }

    fn property(&mut self, field: &Field) -> Value {
        let mut schema = self.schema(&field.ty, &field.values);
        if let Type::Struct(_) = field.ty
            && self.flavor == Flavor::V3
        {
            schema = value!({"allOf": [(schema)]});
            if field.presence != Presence::Pointer {
                schema.insert("default", Value::map());
            }
        }
        match (&field.list_type, &field.ty) {
            (ListType::Default, _) => {}
            (ListType::Atomic, Type::List(_) | Type::Bytes | Type::Strings) => schema.insert("x-kubernetes-list-type", "atomic"),
            (ListType::Atomic, _) => schema.insert("x-kubernetes-map-type", "atomic"),
            (ListType::Set, _) => schema.insert("x-kubernetes-list-type", "set"),
            (ListType::Map(keys), _) => {
                schema.insert("x-kubernetes-list-map-keys", keys.clone());
                schema.insert("x-kubernetes-list-type", "map");
            }
        }
        if let Some(key) = &field.patch.key {
            schema.insert("x-kubernetes-patch-merge-key", key.clone());
        }
        match (field.patch.merge, field.patch.retain_keys) {
            (true, true) => schema.insert("x-kubernetes-patch-strategy", "merge,retainKeys"),
            (true, false) => schema.insert("x-kubernetes-patch-strategy", "merge"),
            (false, true) => schema.insert("x-kubernetes-patch-strategy", "retainKeys"),
            (false, false) => {}
        }
        schema
    }

    fn schema(&mut self, ty: &Type, values: &[Str]) -> Value {
        match ty {
            Type::Bool => value!({"type": "boolean"}),
            Type::Int32 => value!({"type": "integer", "format": "int32"}),
            Type::Int64 => value!({"type": "integer", "format": "int64"}),
            Type::Double => value!({"type": "number", "format": "double"}),
            Type::String if values.is_empty() => value!({"type": "string"}),
            Type::String => value!({"type": "string", "enum": (values.to_vec())}),
            Type::Bytes => value!({"type": "string", "format": "byte"}),
            Type::Strings => value!({"type": "array", "items": {"type": "string"}}),
            Type::Time => self.scalar(META, "Time", || value!({"type": "string", "format": "date-time"})),
            Type::MicroTime => self.scalar(META, "MicroTime", || value!({"type": "string", "format": "date-time"})),
            Type::FieldsV1 => self.scalar(META, "FieldsV1", || value!({"type": "object"})),
            Type::Quantity => {
                let flavor = self.flavor;
                self.scalar("io.k8s.apimachinery.pkg.api.resource", "Quantity", || match flavor {
                    Flavor::V3 => value!({"oneOf": [{"type": "string"}, {"type": "number"}]}),
                    Flavor::V2 => value!({"type": "string"}),
                })
            }
            Type::IntOrString => {
                let flavor = self.flavor;
                self.scalar("io.k8s.apimachinery.pkg.util.intstr", "IntOrString", || match flavor {
                    Flavor::V3 => value!({"format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}]}),
                    Flavor::V2 => value!({"format": "int-or-string", "type": "string"}),
                })
            }
            Type::RawExtension => self.scalar("io.k8s.apimachinery.pkg.runtime", "RawExtension", || value!({"type": "object"})),
            Type::Json => self.scalar(EXTENSIONS, "JSON", || value!({})),
            Type::SchemaOr(which, _) => {
                let name = match which {
                    crate::model::SchemaOr::Bool => "JSONSchemaPropsOrBool",
                    crate::model::SchemaOr::Schemas => "JSONSchemaPropsOrArray",
                    crate::model::SchemaOr::Strings => "JSONSchemaPropsOrStringArray",
                };
                self.scalar(EXTENSIONS, name, || value!({}))
            }
            Type::Struct(id) => {
                let name = self.types.get(*id).name.clone();
                self.link(&name)
            }
            Type::List(item) => {
                let items = self.schema(item, values);
                value!({"type": "array", "items": (items)})
            }
            Type::Map(item) => {
                let items = self.schema(item, values);
                value!({"type": "object", "additionalProperties": (items)})
            }
        }
    }

    /// A reference to a scalar that has a schema of its own.
    fn scalar(&mut self, package: &str, name: &str, make: impl FnOnce() -> Value) -> Value {
        let name = format!("{package}.{name}");
        let link = self.link(&name);
        self.scalars.entry(name).or_insert_with(make);
        link
    }
}
