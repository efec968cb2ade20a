//! Just enough of a Go reader: type declarations with their field tags and markers.

use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Where packages lie in the source tree and what OpenAPI calls them.
pub(super) struct Package {
    path: &'static str,
    prefix: &'static str,
}

/// All packages whose types the table may need.
pub(super) const PACKAGES: &[Package] = &[
    package("k8s.io/apimachinery/pkg/apis/meta/v1", "io.k8s.apimachinery.pkg.apis.meta.v1"),
    package("k8s.io/apimachinery/pkg/types", "io.k8s.apimachinery.pkg.types"),
    package("k8s.io/api/admission/v1", "io.k8s.api.admission.v1"),
    package("k8s.io/api/admissionregistration/v1", "io.k8s.api.admissionregistration.v1"),
    package("k8s.io/api/apidiscovery/v2", "io.k8s.api.apidiscovery.v2"),
    package("k8s.io/api/apps/v1", "io.k8s.api.apps.v1"),
    package("k8s.io/api/authentication/v1", "io.k8s.api.authentication.v1"),
    package("k8s.io/api/authorization/v1", "io.k8s.api.authorization.v1"),
    package("k8s.io/api/autoscaling/v1", "io.k8s.api.autoscaling.v1"),
    package("k8s.io/api/autoscaling/v2", "io.k8s.api.autoscaling.v2"),
    package("k8s.io/api/batch/v1", "io.k8s.api.batch.v1"),
    package("k8s.io/api/certificates/v1", "io.k8s.api.certificates.v1"),
    package("k8s.io/api/coordination/v1", "io.k8s.api.coordination.v1"),
    package("k8s.io/api/core/v1", "io.k8s.api.core.v1"),
    package("k8s.io/api/discovery/v1", "io.k8s.api.discovery.v1"),
    package("k8s.io/api/events/v1", "io.k8s.api.events.v1"),
    package("k8s.io/api/flowcontrol/v1", "io.k8s.api.flowcontrol.v1"),
    package("k8s.io/api/networking/v1", "io.k8s.api.networking.v1"),
    package("k8s.io/api/node/v1", "io.k8s.api.node.v1"),
    package("k8s.io/api/policy/v1", "io.k8s.api.policy.v1"),
    package("k8s.io/api/rbac/v1", "io.k8s.api.rbac.v1"),
    package("k8s.io/api/resource/v1", "io.k8s.api.resource.v1"),
    package("k8s.io/api/scheduling/v1", "io.k8s.api.scheduling.v1"),
    package("k8s.io/api/storage/v1", "io.k8s.api.storage.v1"),
    package("k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1", "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1"),
];

const fn package(path: &'static str, prefix: &'static str) -> Package {
    Package { path, prefix }
}

/// Types that are scalars of the table, by Go path and name.
const SCALARS: &[(&str, &str)] = &[
    ("k8s.io/apimachinery/pkg/apis/meta/v1.Time", "time"),
    ("k8s.io/apimachinery/pkg/apis/meta/v1.MicroTime", "microtime"),
    ("k8s.io/apimachinery/pkg/apis/meta/v1.FieldsV1", "fields"),
    ("k8s.io/apimachinery/pkg/api/resource.Quantity", "quantity"),
    ("k8s.io/apimachinery/pkg/util/intstr.IntOrString", "intorstring"),
    ("k8s.io/apimachinery/pkg/runtime.RawExtension", "raw"),
    ("k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1.JSON", "json"),
    ("k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1.JSONSchemaPropsOrBool", "schemaorbool"),
    ("k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1.JSONSchemaPropsOrArray", "schemaorarray"),
    ("k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1.JSONSchemaPropsOrStringArray", "schemaorstrings"),
];

/// A Go type, resolved down to what the table knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Type {
    /// A scalar of the table (`string`, `int32`, `time`, …).
    Scalar(&'static str),
    /// A struct by OpenAPI name.
    Struct(String),
    List(Box<Type>),
    Map(Box<Type>),
    Pointer(Box<Type>),
}

/// A field declaration.
#[derive(Clone, Debug)]
pub(super) struct Field {
    /// JSON name; empty for an embedded struct that JSON shows inline.
    pub(super) name: String,
    /// Protobuf tag; 0 without one.
    pub(super) tag: u32,
    pub(super) ty: Type,
    pub(super) omit_empty: bool,
    pub(super) omit_zero: bool,
    pub(super) patch_strategy: String,
    pub(super) patch_key: String,
    pub(super) markers: Markers,
    /// Values of the enumeration that is its type.
    pub(super) values: Vec<String>,
}

/// A struct declaration.
#[derive(Clone, Debug)]
pub(super) struct Struct {
    pub(super) fields: Vec<Field>,
    pub(super) markers: Markers,
    /// Embeds TypeMeta.
    pub(super) object: bool,
}

/// `+name=value` comments before a declaration.
#[derive(Clone, Debug, Default)]
pub(super) struct Markers(Vec<(String, String)>);

impl Markers {
    fn read(comments: &[&str]) -> Self {
        Self(
            comments
                .iter()
                .filter_map(|line| line.trim_start_matches('/').trim().strip_prefix('+'))
                .map(|marker| marker.split_once('=').unwrap_or((marker, "")))
                .map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()))
                .collect(),
        )
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(key, _)| key == name)
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

#[derive(Clone, Debug)]
enum Declaration {
    Struct { lines: Vec<(Vec<String>, String)>, markers: Markers },
    Named { expression: String, markers: Markers },
}

#[derive(Default)]
struct File {
    imports: BTreeMap<String, String>,
}

/// Every declaration of the loaded packages.
#[derive(Default)]
pub(super) struct Program {
    /// By `path.Name`, with the imports of its file.
    declarations: BTreeMap<String, (Declaration, BTreeMap<String, String>)>,
    /// Values by `path.Name` of their type.
    values: BTreeMap<String, Vec<String>>,
}

impl Program {
    /// Reads a package's declarations.
    pub(super) fn load(&mut self, tree: &Path, package: &Package) -> Result<()> {
        let dir = tree.join(package.path);
        for entry in fs::read_dir(&dir).with_context(|| format!("read {}", dir.display()))? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if name.ends_with(".go") && !name.contains("_test") && !name.contains("generated") {
                self.read(package.path, &fs::read_to_string(&path)?);
            }
        }
        Ok(())
    }

    fn read(&mut self, package: &str, text: &str) {
        let mut file = File::default();
        let mut comments: Vec<&str> = Vec::new();
        let mut lines = text.lines().map(str::trim);
        let mut found = Vec::new();
        while let Some(line) = lines.next() {
            if line.starts_with("//") {
                comments.push(line);
                continue;
            }
            if line.is_empty() {
                continue;
            }
            if let Some(import) = line.strip_prefix("import \"") {
                file.import("", import);
            } else if line == "import (" {
                for line in lines.by_ref().take_while(|line| *line != ")") {
                    if let Some((alias, path)) = line.split_once('"') {
                        file.import(alias.trim(), path);
                    }
                }
            } else if let Some(rest) = line.strip_prefix("type ") {
                let (name, expression) = rest.split_once(' ').unwrap_or((rest, ""));
                let markers = Markers::read(&comments);
                let declaration = if expression.trim() == "struct {" {
                    Declaration::Struct { lines: read_fields(&mut lines), markers }
                } else if expression.trim() == "struct{}" {
                    Declaration::Struct { lines: Vec::new(), markers }
                } else {
                    let expression = expression.trim().trim_start_matches('=').trim();
                    Declaration::Named { expression: strip_comment(expression).to_owned(), markers }
                };
                found.push((format!("{package}.{name}"), declaration));
            } else if let Some((name_and_type, value)) = line.split_once(" = \"") {
                let mut words = name_and_type.trim_start_matches("const ").split_whitespace();
                if let (Some(_), Some(ty)) = (words.next(), words.next()) {
                    let value = value.split('"').next().unwrap_or_default().to_owned();
                    self.values.entry(format!("{package}.{ty}")).or_default().push(value);
                }
            }
            comments.clear();
        }
        for (name, declaration) in found {
            self.declarations.insert(name, (declaration, file.imports.clone()));
        }
    }

    /// The struct of an OpenAPI name.
    pub(super) fn structure(&self, name: &str) -> Result<Struct> {
        let (prefix, short) = name.rsplit_once('.').context("a type name has a package")?;
        let package = PACKAGES.iter().find(|p| p.prefix == prefix).with_context(|| format!("{name}: unknown package"))?;
        let key = format!("{}.{short}", package.path);
        let Some((Declaration::Struct { lines, markers }, imports)) = self.declarations.get(&key) else {
            bail!("{name} is not a struct");
        };
        let mut result = Struct { fields: Vec::new(), markers: markers.clone(), object: false };
        for (comments, line) in lines {
            if line.contains("metav1.TypeMeta") || line.starts_with("TypeMeta ") {
                result.object = true;
                continue;
            }
            if let Some(field) = self.field(package.path, imports, comments, line).with_context(|| format!("{name}: {line}"))? {
                result.fields.push(field);
            }
        }
        Ok(result)
    }

    fn field(&self, package: &str, imports: &BTreeMap<String, String>, comments: &[String], line: &str) -> Result<Option<Field>> {
        let Some((declaration, tags)) = line.split_once('`') else { return Ok(None) };
        let tags = tags.split('`').next().unwrap_or_default();
        let mut json = tag(tags, "json").split(',');
        let name = json.next().unwrap_or_default().to_owned();
        let options: Vec<&str> = json.collect();
        if name == "-" {
            return Ok(None);
        }
        let mut words = declaration.split_whitespace();
        let first = words.next().context("a field has a name")?;
        let rest: String = words.collect();
        let expression = if rest.is_empty() { first } else { &rest };
        let inline = options.contains(&"inline");
        if name.is_empty() && !inline {
            bail!("no JSON name");
        }
        let comments: Vec<&str> = comments.iter().map(String::as_str).collect();
        let mut markers = Markers::read(&comments);
        let mut values = Vec::new();
        let ty = self.resolve(package, imports, expression, &mut markers, &mut values)?;
        values.sort();
        values.dedup();
        values.retain(|value| !value.is_empty());
        Ok(Some(Field {
            name,
            tag: tag(tags, "protobuf").split(',').nth(1).and_then(|tag| tag.parse().ok()).unwrap_or_default(),
            ty,
            omit_empty: options.contains(&"omitempty"),
            omit_zero: options.contains(&"omitzero"),
            patch_strategy: tag(tags, "patchStrategy").to_owned(),
            patch_key: tag(tags, "patchMergeKey").to_owned(),
            markers,
            values,
        }))
    }

    /// Resolves a type expression; markers of named types on the way are added to the field's.
    fn resolve(
        &self,
        package: &str,
        imports: &BTreeMap<String, String>,
        expression: &str,
        markers: &mut Markers,
        values: &mut Vec<String>,
    ) -> Result<Type> {
        if let Some(rest) = expression.strip_prefix('*') {
            return Ok(Type::Pointer(Box::new(self.resolve(package, imports, rest, markers, values)?)));
        }
        if expression == "[]byte" {
            return Ok(Type::Scalar("bytes"));
        }
        if let Some(rest) = expression.strip_prefix("[]") {
            return Ok(Type::List(Box::new(self.resolve(package, imports, rest, markers, values)?)));
        }
        if let Some(rest) = expression.strip_prefix("map[") {
            let (_, value) = rest.split_once(']').context("a map has a key")?;
            return Ok(Type::Map(Box::new(self.resolve(package, imports, value, markers, values)?)));
        }
        let scalar = match expression {
            "string" => Some("string"),
            "bool" => Some("bool"),
            "int32" => Some("int32"),
            "int64" | "int" | "uint64" => Some("int64"),
            "float64" => Some("double"),
            "interface{}" => Some("json"),
            _ => None,
        };
        if let Some(scalar) = scalar {
            return Ok(Type::Scalar(scalar));
        }
        let key = match expression.split_once('.') {
            Some((alias, name)) => format!("{}.{name}", imports.get(alias).with_context(|| format!("unknown import {alias}"))?),
            None => format!("{package}.{expression}"),
        };
        if let Some((_, scalar)) = SCALARS.iter().find(|(name, _)| *name == key) {
            return Ok(Type::Scalar(scalar));
        }
        let (path, short) = key.rsplit_once('.').context("a type has a package")?;
        let (declaration, imports) = self.declarations.get(&key).with_context(|| format!("{key} is not declared"))?;
        match declaration {
            Declaration::Struct { markers: own, .. } => {
                markers.0.extend(own.0.iter().filter(|(name, _)| name == "structType").cloned());
                let package = PACKAGES.iter().find(|p| p.path == path).with_context(|| format!("{key}: unknown package"))?;
                Ok(Type::Struct(format!("{}.{short}", package.prefix)))
            }
            Declaration::Named { expression, markers: own } => {
                if own.has("protobuf.nullable") {
                    return Ok(Type::Scalar("strings"));
                }
                markers.0.extend(own.0.iter().filter(|(name, _)| name.ends_with("Type")).cloned());
                if own.has("enum") {
                    values.extend(self.values.get(&key).into_iter().flatten().cloned());
                }
                self.resolve(path, imports, expression, markers, values)
            }
        }
    }
}

impl File {
    fn import(&mut self, alias: &str, path: &str) {
        let path = path.trim_end_matches('"');
        let alias = if alias.is_empty() { path.rsplit('/').next().unwrap_or(path) } else { alias };
        self.imports.insert(alias.to_owned(), path.to_owned());
    }
}

fn read_fields<'a>(lines: &mut impl Iterator<Item = &'a str>) -> Vec<(Vec<String>, String)> {
    let mut fields = Vec::new();
    let mut comments = Vec::new();
    for line in lines {
        if line == "}" {
            break;
        }
        if line.starts_with("//") {
            comments.push(line.to_owned());
        } else if !line.is_empty() {
            fields.push((std::mem::take(&mut comments), line.to_owned()));
        }
    }
    fields
}

fn strip_comment(text: &str) -> &str {
    text.split("//").next().unwrap_or_default().trim()
}

/// A key of a Go field tag.
fn tag<'a>(tags: &'a str, key: &str) -> &'a str {
    tags.split(' ')
        .find_map(|part| part.strip_prefix(key)?.strip_prefix(":\""))
        .map(|value| value.trim_end_matches('"'))
        .unwrap_or_default()
}
