//! Path items: what can be done with a resource.

use super::list_type;
use super::schemas::Definitions;
use crate::model::{Subresource, Verb};
use crate::{Map, Resource, Value, value};

/// Which OpenAPI is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Flavor {
    V2,
    V3,
}

impl Flavor {
    pub(super) const fn ref_prefix(self) -> &'static str {
        match self {
            Self::V2 => "#/definitions/",
            Self::V3 => "#/components/schemas/",
        }
    }
}

const STATUS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Status";
const DELETE_OPTIONS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions";
const BODY_TYPES: [&str; 3] = ["application/json", "application/yaml", "application/vnd.kubernetes.protobuf"];
const PATCH_TYPES: [&str; 4] = [
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
];

/// A query parameter and its type.
type Query = (&'static str, &'static str);
const DRY_RUN: Query = ("dryRun", "string");
const FIELD_MANAGER: Query = ("fieldManager", "string");
const FIELD_VALIDATION: Query = ("fieldValidation", "string");
const FORCE: Query = ("force", "boolean");
const DELETE: [Query; 5] = [
    DRY_RUN,
    ("gracePeriodSeconds", "integer"),
    ("ignoreStoreReadErrorWithClusterBreakingPotential", "boolean"),
    ("orphanDependents", "boolean"),
    ("propagationPolicy", "string"),
];
const LIST: [Query; 10] = [
    ("allowWatchBookmarks", "boolean"),
    ("continue", "string"),
    ("fieldSelector", "string"),
    ("labelSelector", "string"),
    ("limit", "integer"),
    ("resourceVersion", "string"),
    ("resourceVersionMatch", "string"),
    ("sendInitialEvents", "boolean"),
    ("timeoutSeconds", "integer"),
    ("watch", "boolean"),
];

/// What an operation sends and answers.
struct Operation<'a> {
    action: &'static str,
    /// Group, version and kind that it is about.
    kind: (&'a str, &'a str, &'a str),
    query: &'a [Query],
    /// OpenAPI name of the body's type; a patch has none.
    body: Option<&'a str>,
    answer: &'a str,
    id: String,
}

impl Operation<'_> {
    fn write(&self, flavor: Flavor, definitions: &mut Definitions) -> Value {
        let answer = definitions.refer(self.answer);
        let ok = match flavor {
            Flavor::V2 => value!({"description": "OK", "schema": (answer)}),
            Flavor::V3 => value!({"description": "OK", "content": (content(&BODY_TYPES, &answer))}),
        };
        let mut parameters: Vec<Value> = self.query.iter().map(|query| parameter(*query, "query", flavor)).collect();
        let (group, version, kind) = self.kind;
        let mut operation = value!({
            "operationId": (self.id.clone()),
            "responses": {"200": (ok)},
            "x-kubernetes-action": (self.action),
            "x-kubernetes-group-version-kind": {"group": (group), "kind": (kind), "version": (version)}
        });
        let body = match self.body {
            Some(name) => Some(definitions.refer(name)),
            None if self.action == "patch" => Some(value!({"type": "object"})),
            None => None,
        };
        let types: &[&str] = if self.action == "patch" { &PATCH_TYPES } else { &BODY_TYPES };
        match (body, flavor) {
            (Some(body), Flavor::V3) => operation.insert("requestBody", value!({"content": (content(types, &body))})),
            (Some(body), Flavor::V2) => {
                parameters.push(value!({"name": "body", "in": "body", "required": true, "schema": (body)}));
                operation.insert("consumes", types.to_vec());
            }
            (None, _) => {}
        }
        if flavor == Flavor::V2 {
            operation.insert("produces", BODY_TYPES.to_vec());
        }
        operation.insert("parameters", Value::List(parameters));
        operation
    }
}

fn content(types: &[&'static str], schema: &Value) -> Value {
    let mut map = Map::new();
    for name in types {
        map.insert(*name, value!({"schema": (schema.clone())}));
    }
    Value::Map(map)
}

fn parameter((name, ty): Query, place: &'static str, flavor: Flavor) -> Value {
    let mut result = value!({"name": (name), "in": (place)});
    match flavor {
        Flavor::V2 => result.insert("type", ty),
        Flavor::V3 => result.insert("schema", value!({"type": (ty)})),
    }
    if flavor == Flavor::V2 || place == "path" {
        result.insert("uniqueItems", true);
    }
    if place == "path" {
        result.insert("required", true);
    }
    result
}

/// The paths of a resource and its subresources.
pub(super) fn resource_paths(root: &str, resource: &Resource, flavor: Flavor, definitions: &mut Definitions) -> Vec<(String, Value)> {
    let list = list_type(resource);
    let object = resource.schema.describe().name.to_string();
    let kind = (resource.group.as_str(), resource.version.as_str(), resource.kind.as_str());
    let collection = match resource.namespaced {
        true => format!("{root}/namespaces/{{namespace}}/{}", resource.plural),
        false => format!("{root}/{}", resource.plural),
    };
    let mut writer = Writer { resource, flavor, definitions, paths: Vec::new() };
    let whole = |action, query, body, answer, id: &str| Operation { action, kind, query, body, answer, id: operation_id(id, resource) };
    let listing = whole("list", &LIST, None, &list, "list");
    let creation = whole("post", &[DRY_RUN, FIELD_MANAGER, FIELD_VALIDATION], Some(&object), &object, "create");
    let clearing = whole("deletecollection", &DELETE, Some(DELETE_OPTIONS), STATUS, "deleteCollection");
    writer.item(
        &collection,
        &[(Verb::List, "get", &listing), (Verb::Create, "post", &creation), (Verb::DeleteCollection, "delete", &clearing)],
        false,
    );
    if resource.namespaced {
        let everywhere = whole("list", &LIST, None, &list, "listAllNamespaces");
        writer.item(&format!("{root}/{}", resource.plural), &[(Verb::List, "get", &everywhere)], false);
    }
    let get = whole("get", &[], None, &object, "read");
    let put = whole("put", &[DRY_RUN, FIELD_MANAGER, FIELD_VALIDATION], Some(&object), &object, "replace");
    let patch = whole("patch", &[DRY_RUN, FIELD_MANAGER, FIELD_VALIDATION, FORCE], None, &object, "patch");
    let delete = whole("delete", &DELETE, Some(DELETE_OPTIONS), STATUS, "delete");
    let one = format!("{collection}/{{name}}");
    writer.item(
        &one,
        &[(Verb::Get, "get", &get), (Verb::Update, "put", &put), (Verb::Patch, "patch", &patch), (Verb::Delete, "delete", &delete)],
        true,
    );
    for sub in &resource.subresources {
        writer.subresource(&one, sub);
    }
    writer.paths
}

struct Writer<'a> {
    resource: &'a Resource,
    flavor: Flavor,
    definitions: &'a mut Definitions,
    paths: Vec<(String, Value)>,
}

impl Writer<'_> {
    /// Adds a path with those operations that the resource allows.
    fn item(&mut self, path: &str, operations: &[(Verb, &'static str, &Operation<'_>)], named: bool) {
        let allowed: Vec<_> = operations.iter().filter(|(verb, ..)| self.resource.allows(*verb)).map(|(_, m, o)| (*m, *o)).collect();
        self.push(path, &allowed, named);
    }

    fn push(&mut self, path: &str, operations: &[(&'static str, &Operation<'_>)], named: bool) {
        if operations.is_empty() {
            return;
        }
        let mut item = Map::new();
        for (method, operation) in operations {
            item.insert(*method, operation.write(self.flavor, self.definitions));
        }
        let mut parameters = vec![parameter(("pretty", "string"), "query", self.flavor)];
        if named {
            parameters.push(parameter(("name", "string"), "path", self.flavor));
        }
        if path.contains("{namespace}") {
            parameters.push(parameter(("namespace", "string"), "path", self.flavor));
        }
        item.insert("parameters", Value::List(parameters));
        self.paths.push((path.to_owned(), Value::Map(item)));
    }

    fn subresource(&mut self, parent: &str, sub: &Subresource) {
        let object = sub.schema.describe().name.to_string();
        let kind = (sub.group.as_str(), sub.version.as_str(), sub.kind.as_str());
        let connect = matches!(sub.name.as_str(), "attach" | "exec" | "portforward" | "proxy");
        let operation = |action, query, body, id: &str| Operation {
            action: if connect { "connect" } else { action },
            kind,
            query,
            body: if connect { None } else { body },
            answer: &object,
            id: format!("{}{}", operation_id(id, self.resource), capital(&sub.name)),
        };
        let get = operation("get", &[], None, "read");
        let post = operation("post", &[DRY_RUN, FIELD_MANAGER, FIELD_VALIDATION], Some(&object), "create");
        let put = operation("put", &[DRY_RUN, FIELD_MANAGER, FIELD_VALIDATION], Some(&object), "replace");
        let patch = operation("patch", &[DRY_RUN, FIELD_MANAGER, FIELD_VALIDATION, FORCE], None, "patch");
        let delete = operation("delete", &[], None, "delete");
        let all = [
            (Verb::Get, "get", &get),
            (Verb::Create, "post", &post),
            (Verb::Update, "put", &put),
            (Verb::Patch, "patch", &patch),
            (Verb::Delete, "delete", &delete),
        ];
        let allowed: Vec<_> =
            all.into_iter().filter(|(verb, ..)| sub.verbs.contains(verb)).map(|(_, method, operation)| (method, operation)).collect();
        self.push(&format!("{parent}/{}", sub.name), &allowed, true);
    }
}

/// `readAppsV1NamespacedDeployment`: the reference's way to name operations.
fn operation_id(verb: &str, resource: &Resource) -> String {
    let group = if resource.group.is_empty() { "core" } else { resource.group.split('.').next().unwrap_or_default() };
    let (scope, suffix) = match (resource.namespaced, verb) {
        (true, "listAllNamespaces") => ("", "ForAllNamespaces"),
        (true, _) => ("Namespaced", ""),
        (false, _) => ("", ""),
    };
    let (verb, collection) = match verb {
        "listAllNamespaces" => ("list", ""),
        "deleteCollection" => ("delete", "Collection"),
        other => (other, ""),
    };
    format!("{verb}{}{}{collection}{scope}{}{suffix}", capital(group), capital(&resource.version), resource.kind)
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_ascii_uppercase().to_string() + letters.as_str()).unwrap_or_default()
}
