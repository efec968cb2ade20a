//! What expressions may talk about, depending on where they are.

use std::sync::Arc;

use corten_schema::Value;

use super::types::Type;
use crate::view::{at, entries, flag, text};

/// The variables of an expression.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    variables: Vec<(String, Type)>,
}

impl Environment {
    /// One with these variables.
    pub fn new(variables: impl IntoIterator<Item = (&'static str, Type)>) -> Self {
        Self { variables: variables.into_iter().map(|(name, kind)| (name.to_owned(), kind)).collect() }
    }

    /// Declares a variable, or declares it anew.
    pub fn declare(&mut self, name: &str, kind: Type) {
        self.variables.retain(|(known, _)| known != name);
        self.variables.push((name.to_owned(), kind));
    }

    /// Declares a field of a variable that is an object.
    pub fn declare_field(&mut self, name: &str, field: &str, kind: Type) {
        if let Some((_, Type::Object(object))) = self.variables.iter_mut().find(|(known, _)| known == name) {
            Arc::make_mut(object).fields.insert(field.to_owned(), kind);
        }
    }

    /// The same without some variables.
    pub fn without(&self, names: &[&str]) -> Self {
        Self { variables: self.variables.iter().filter(|(name, _)| !names.contains(&name.as_str())).cloned().collect() }
    }

    pub(super) fn find(&self, name: &str) -> Option<&Type> {
        self.variables.iter().find(|(known, _)| known == name).map(|(_, kind)| kind)
    }
}

fn fields(names: &[&str], kind: &Type) -> Vec<(String, Type)> {
    names.iter().map(|name| ((*name).to_owned(), kind.clone())).collect()
}

/// The request that admission is asked about.
fn request() -> Type {
    let kind = Type::object("kubernetes.GroupVersionKind", fields(&["group", "version", "kind"], &Type::String));
    let resource = Type::object("kubernetes.GroupVersionResource", fields(&["group", "version", "resource"], &Type::String));
    let mut user = fields(&["username", "uid"], &Type::String);
    user.push(("groups".to_owned(), Type::list(Type::String)));
    user.push(("extra".to_owned(), Type::map(Type::String, Type::list(Type::String))));
    let mut all = fields(&["kind", "requestKind"], &kind);
    all.extend(fields(&["resource", "requestResource"], &resource));
    all.extend(fields(&["subResource", "requestSubResource", "name", "namespace", "operation"], &Type::String));
    all.push(("userInfo".to_owned(), Type::object("kubernetes.UserInfo", user)));
    all.push(("dryRun".to_owned(), Type::Bool));
    all.push(("options".to_owned(), Type::Dyn));
    Type::object("kubernetes.AdmissionRequest", all)
}

/// The namespace of the object that admission is asked about.
fn namespace() -> Type {
    let map = Type::map(Type::String, Type::String);
    let mut metadata = fields(&["name", "generateName", "namespace", "UID", "selfLink", "resourceVersion"], &Type::String);
    metadata.extend(fields(&["labels", "annotations"], &map));
    metadata.extend(fields(&["creationTimestamp", "deletionTimestamp"], &Type::Timestamp));
    metadata.extend(fields(&["generation", "deletionGracePeriodSeconds"], &Type::Int));
    let finalizers = || ("finalizers".to_owned(), Type::list(Type::String));
    metadata.push(finalizers());
    let words = ["status", "type", "lastTransitionTime", "message", "reason"];
    let condition = Type::object("kubernetes.NamespaceCondition", fields(&words, &Type::String));
    let status = [("phase".to_owned(), Type::String), ("conditions".to_owned(), Type::list(condition))];
    let all = [
        ("metadata", Type::object("kubernetes.NamespaceMetadata", metadata)),
        ("spec", Type::object("kubernetes.NamespaceSpec", [finalizers()])),
        ("status", Type::object("kubernetes.NamespaceStatus", status)),
    ];
    Type::object("kubernetes.Namespace", all.map(|(name, kind)| (name.to_owned(), kind)))
}

/// What expressions in admission see. Objects are not known before there are some.
pub fn admission(params: bool, namespaces: bool) -> Environment {
    let mut environment = Environment::new([
        ("object", Type::Dyn),
        ("oldObject", Type::Dyn),
        ("request", request()),
        ("authorizer", Type::Opaque("kubernetes.authorization.Authorizer")),
        ("authorizer.requestResource", Type::Opaque("kubernetes.authorization.ResourceCheck")),
    ]);
    if params {
        environment.declare("params", Type::Dyn);
    }
    if namespaces {
        environment.declare("namespaceObject", namespace());
    }
    environment
}

/// What the selectors of devices see.
pub fn devices() -> Environment {
    let of = |kind: Type| Type::map(Type::String, Type::map(Type::String, kind));
    let all = [
        ("driver", Type::String),
        ("attributes", of(Type::Any)),
        ("capacity", of(Type::Opaque("kubernetes.Quantity"))),
        ("allowMultipleAllocations", Type::Bool),
    ];
    Environment::new([("device", Type::object("kubernetes.DRADevice", all.map(|(name, kind)| (name.to_owned(), kind))))])
}

/// Words that are no names in expressions.
const RESERVED: [&str; 21] = [
    "true",
    "false",
    "null",
    "in",
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

/// A property's name as expressions have it; none for one that they cannot name.
fn escaped(name: &str) -> Option<String> {
    if RESERVED.contains(&name) {
        return Some(format!("__{name}__"));
    }
    let mut found = String::new();
    let mut rest = name;
    while let Some(c) = rest.chars().next() {
        if let Some(after) = rest.strip_prefix("__") {
            found.push_str("__underscores__");
            rest = after;
            continue;
        }
        match c {
            '.' => found.push_str("__dot__"),
            '-' => found.push_str("__dash__"),
            '/' => found.push_str("__slash__"),
            c if c.is_ascii_alphanumeric() || c == '_' => found.push(c),
            _ => return None,
        }
        rest = rest.get(c.len_utf8()..).unwrap_or_default();
    }
    (!found.is_empty() && !found.starts_with(|c: char| c.is_ascii_digit())).then_some(found)
}

/// The type of values that a custom kind's schema describes; none where it describes nothing.
pub fn schema_type(schema: &Value, is_object: bool) -> Option<Type> {
    if flag(schema, "x-kubernetes-int-or-string") {
        return Some(Type::Dyn);
    }
    let embedded = is_object || flag(schema, "x-kubernetes-embedded-resource");
    Some(match text(schema, "type") {
        "boolean" => Type::Bool,
        "integer" => Type::Int,
        "number" => Type::Double,
        "string" => match text(schema, "format") {
            "byte" => Type::Bytes,
            "duration" => Type::Duration,
            "date" | "date-time" => Type::Timestamp,
            _ => Type::String,
        },
        "array" => Type::list(schema_type(at(schema, "items")?, false)?),
        "object" => match at(schema, "additionalProperties") {
            Some(more) if more.as_map().is_some() => Type::map(Type::String, schema_type(more, false)?),
            _ => object_type(schema, embedded),
        },
        _ if embedded => object_type(schema, true),
        _ => return None,
    })
}

fn object_type(schema: &Value, embedded: bool) -> Type {
    let mut all: Vec<(String, Type)> = entries(schema, "properties")
        .filter(|(name, _)| !(embedded && *name == "metadata"))
        .filter_map(|(name, property)| Some((escaped(name)?, schema_type(property, false)?)))
        .collect();
    if embedded {
        all.extend(fields(&["apiVersion", "kind"], &Type::String));
        all.push(("metadata".to_owned(), Type::object("object", fields(&["name", "generateName"], &Type::String))));
    }
    Type::object("object", all)
}
