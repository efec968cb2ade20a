//! Which fields exist at the API level: those of the example objects.

use super::go::{Program, Struct, Type};
use anyhow::{Context, Result};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// JSON field names seen in examples, by the OpenAPI name of their struct.
#[derive(Default)]
pub(super) struct Fields {
    seen: BTreeMap<String, BTreeSet<String>>,
    missing: BTreeSet<String>,
}

impl Fields {
    /// Reads every example of the level.
    pub(super) fn of_examples(program: &Program, dir: &Path) -> Result<Self> {
        let mut fields = Self::default();
        for entry in fs::read_dir(dir).with_context(|| format!("read {}", dir.display()))? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let Some(name) = name.strip_suffix(".json").filter(|name| !name.contains("after_roundtrip")) else { continue };
            let mut parts = name.rsplitn(3, '.');
            let (Some(kind), Some(version), Some(group)) = (parts.next(), parts.next(), parts.next()) else { continue };
            let package = group.split('.').next().unwrap_or(group);
            let name = format!("io.k8s.api.{package}.{version}.{kind}");
            if program.structure(&name).is_ok() {
                fields.walk(program, &name, &serde_json::from_slice(&fs::read(&path)?)?)?;
            }
        }
        Ok(fields)
    }

    /// True if the field exists at the level. Structs that no example has are taken as they are.
    pub(super) fn has(&self, structure: &str, field: &str) -> bool {
        self.seen.get(structure).is_none_or(|fields| fields.contains(field))
    }

    /// Fields of the level that the declarations no longer have; the overlay must give them.
    pub(super) fn missing(&self) -> impl Iterator<Item = &str> {
        self.missing.iter().map(String::as_str)
    }

    fn walk(&mut self, program: &Program, name: &str, value: &Value) -> Result<()> {
        let Some(map) = value.as_object() else { return Ok(()) };
        let structure = program.structure(name)?;
        let names = all_names(program, &structure)?;
        for key in map.keys().filter(|key| !names.contains(*key) && !["apiVersion", "kind"].contains(&key.as_str())) {
            self.missing.insert(format!("{name} {key}"));
        }
        self.collect(program, name, structure, value)
    }

    fn collect(&mut self, program: &Program, name: &str, structure: Struct, value: &Value) -> Result<()> {
        let Some(map) = value.as_object() else { return Ok(()) };
        for field in structure.fields {
            if field.name.is_empty() {
                if let Type::Struct(inner) = &field.ty {
                    self.collect(program, inner, program.structure(inner)?, value)?;
                }
            } else if let Some(value) = map.get(&field.name) {
                self.seen.entry(name.to_owned()).or_default().insert(field.name);
                self.descend(program, &field.ty, value)?;
            }
        }
        Ok(())
    }

    fn descend(&mut self, program: &Program, ty: &Type, value: &Value) -> Result<()> {
        match ty {
            Type::Scalar(_) => Ok(()),
            Type::Pointer(inner) => self.descend(program, inner, value),
            Type::Struct(name) => self.walk(program, name, value),
            Type::List(inner) => value.as_array().into_iter().flatten().try_for_each(|item| self.descend(program, inner, item)),
            Type::Map(inner) => {
                value.as_object().into_iter().flat_map(|map| map.values()).try_for_each(|item| self.descend(program, inner, item))
            }
        }
    }
}

/// JSON names of a struct's fields, inlined ones included.
fn all_names(program: &Program, structure: &Struct) -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for field in &structure.fields {
        match &field.ty {
            Type::Struct(inner) if field.name.is_empty() => names.extend(all_names(program, &program.structure(inner)?)?),
            _ => {
                names.insert(field.name.clone());
            }
        }
    }
    Ok(names)
}
