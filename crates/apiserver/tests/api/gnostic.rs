//! `/openapi/v2` as protobuf, read by messages that are declared here anew.

use std::collections::BTreeMap;

use prost::Message;
use serde_json::{Value, json};

use crate::common::Api;

#[derive(Clone, PartialEq, Message)]
struct Document {
    #[prost(string, tag = "1")]
    swagger: String,
    #[prost(message, optional, tag = "8")]
    paths: Option<Paths>,
    #[prost(message, optional, tag = "9")]
    definitions: Option<Schemas>,
}

#[derive(Clone, PartialEq, Message)]
struct Paths {
    #[prost(message, repeated, tag = "2")]
    path: Vec<NamedPathItem>,
}

#[derive(Clone, PartialEq, Message)]
struct NamedPathItem {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "2")]
    value: Option<PathItem>,
}

#[derive(Clone, PartialEq, Message)]
struct PathItem {
    #[prost(message, optional, tag = "8")]
    patch: Option<Operation>,
    #[prost(message, repeated, tag = "9")]
    parameters: Vec<ParametersItem>,
}

#[derive(Clone, PartialEq, Message)]
struct Operation {
    #[prost(string, tag = "5")]
    operation_id: String,
    #[prost(string, repeated, tag = "7")]
    consumes: Vec<String>,
    #[prost(message, repeated, tag = "8")]
    parameters: Vec<ParametersItem>,
    #[prost(message, repeated, tag = "13")]
    vendor_extension: Vec<NamedAny>,
}

#[derive(Clone, PartialEq, Message)]
struct ParametersItem {
    #[prost(message, optional, tag = "1")]
    parameter: Option<Parameter>,
}

#[derive(Clone, PartialEq, Message)]
struct Parameter {
    #[prost(message, optional, tag = "1")]
    body: Option<Body>,
    #[prost(message, optional, tag = "2")]
    non_body: Option<NonBody>,
}

#[derive(Clone, PartialEq, Message)]
struct Body {
    #[prost(string, tag = "2")]
    name: String,
    #[prost(message, optional, tag = "5")]
    schema: Option<Schema>,
}

#[derive(Clone, PartialEq, Message)]
struct NonBody {
    #[prost(message, optional, tag = "3")]
    query: Option<Place>,
    #[prost(message, optional, tag = "4")]
    path: Option<Place>,
}

#[derive(Clone, PartialEq, Message)]
struct Place {
    #[prost(bool, tag = "1")]
    required: bool,
    #[prost(string, tag = "4")]
    name: String,
}

#[derive(Clone, PartialEq, Message)]
struct Schemas {
    #[prost(message, repeated, tag = "1")]
    named: Vec<NamedSchema>,
}

#[derive(Clone, PartialEq, Message)]
struct NamedSchema {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "2")]
    value: Option<Schema>,
}

#[derive(Clone, PartialEq, Message)]
struct Schema {
    #[prost(string, tag = "1")]
    reference: String,
    #[prost(string, tag = "2")]
    format: String,
    #[prost(string, tag = "4")]
    description: String,
    #[prost(message, optional, tag = "5")]
    default: Option<Any>,
    #[prost(string, repeated, tag = "19")]
    required: Vec<String>,
    #[prost(message, repeated, tag = "20")]
    values: Vec<Any>,
    #[prost(message, optional, boxed, tag = "21")]
    additional_properties: Option<Box<SchemaItem>>,
    #[prost(message, optional, tag = "22")]
    ty: Option<TypeItem>,
    #[prost(message, optional, boxed, tag = "23")]
    items: Option<Box<SchemaItem>>,
    #[prost(message, repeated, tag = "24")]
    all_of: Vec<Schema>,
    #[prost(message, optional, tag = "25")]
    properties: Option<Schemas>,
    #[prost(message, repeated, tag = "31")]
    vendor_extension: Vec<NamedAny>,
}

#[derive(Clone, PartialEq, Message)]
struct SchemaItem {
    #[prost(message, optional, boxed, tag = "1")]
    schema: Option<Box<Schema>>,
}

#[derive(Clone, PartialEq, Message)]
struct TypeItem {
    #[prost(string, repeated, tag = "1")]
    value: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
struct Any {
    #[prost(string, tag = "2")]
    yaml: String,
}

#[derive(Clone, PartialEq, Message)]
struct NamedAny {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "2")]
    value: Option<Any>,
}

impl Any {
    fn json(&self) -> Value {
        serde_json::from_str(&self.yaml).unwrap()
    }
}

impl Schemas {
    fn json(&self) -> Value {
        self.named
            .iter()
            .map(|named| (named.name.clone(), named.value.as_ref().unwrap().json()))
            .collect::<BTreeMap<_, _>>()
            .into_iter()
            .collect()
    }
}

impl Schema {
    /// The schema as the JSON document has it.
    fn json(&self) -> Value {
        let mut out = serde_json::Map::new();
        let mut put = |name: &str, value: Value| drop(out.insert(name.to_owned(), value));
        for (name, text) in [("$ref", &self.reference), ("format", &self.format), ("description", &self.description)] {
            if !text.is_empty() {
                put(name, json!(text));
            }
        }
        if let Some(default) = &self.default {
            put("default", default.json());
        }
        if !self.required.is_empty() {
            put("required", json!(self.required));
        }
        if !self.values.is_empty() {
            put("enum", self.values.iter().map(Any::json).collect());
        }
        for (name, item) in [("additionalProperties", &self.additional_properties), ("items", &self.items)] {
            if let Some(item) = item {
                put(name, item.schema.as_ref().unwrap().json());
            }
        }
        if let Some(ty) = &self.ty {
            put("type", json!(ty.value[0]));
        }
        if !self.all_of.is_empty() {
            put("allOf", self.all_of.iter().map(Schema::json).collect());
        }
        if let Some(properties) = &self.properties {
            put("properties", properties.json());
        }
        for extension in &self.vendor_extension {
            put(&extension.name, extension.value.as_ref().unwrap().json());
        }
        Value::Object(out)
    }
}

#[tokio::test]
async fn the_protobuf_says_what_the_json_says() {
    let api = Api::start().await;
    let plain = api.get("/openapi/v2").ok().await;
    let accept = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";
    let answer = api.get("/openapi/v2").header("accept", accept).send().await;
    assert_eq!(answer.header("content-type"), "application/com.github.proto-openapi.spec.v2.v1.0+protobuf");
    let document = Document::decode(answer.bytes.clone()).unwrap();
    assert_eq!(document.swagger, "2.0");
    let definitions = document.definitions.unwrap();
    assert_eq!(definitions.json(), plain["definitions"]);

    let paths = document.paths.unwrap().path;
    assert_eq!(paths.len(), plain["paths"].as_object().unwrap().len());
    let path = "/apis/apps/v1/namespaces/{namespace}/deployments/{name}";
    let item = paths.iter().find(|named| named.name == path).unwrap().value.as_ref().unwrap();
    let patch = item.patch.as_ref().unwrap();
    let wanted = &plain["paths"][path]["patch"];
    assert_eq!((json!(patch.operation_id), json!(patch.consumes)), (wanted["operationId"].clone(), wanted["consumes"].clone()));
    let extensions: BTreeMap<_, _> = patch.vendor_extension.iter().map(|e| (e.name.as_str(), e.value.as_ref().unwrap().json())).collect();
    assert_eq!(extensions["x-kubernetes-group-version-kind"], wanted["x-kubernetes-group-version-kind"]);
    let parameters: Vec<_> = patch.parameters.iter().map(|item| item.parameter.as_ref().unwrap()).collect();
    let query: Vec<_> = parameters.iter().filter_map(|one| Some(one.non_body.as_ref()?.query.as_ref()?.name.as_str())).collect();
    assert_eq!(query, ["dryRun", "fieldManager", "fieldValidation", "force"]);
    let body = parameters.iter().find_map(|one| one.body.as_ref()).unwrap();
    assert_eq!((body.name.as_str(), body.schema.as_ref().unwrap().json()), ("body", json!({"type": "object"})));
    let places: Vec<_> = item.parameters.iter().filter_map(|one| one.parameter.as_ref()?.non_body.as_ref()?.path.as_ref()).collect();
    assert_eq!(places.iter().map(|place| (place.name.as_str(), place.required)).collect::<Vec<_>>(), [("name", true), ("namespace", true)]);

    let known = api.get("/openapi/v2").header("accept", accept).header("if-none-match", answer.header("etag")).send().await;
    assert_eq!(known.code.as_u16(), 304);
    api.get("/openapi/v3").header("accept", accept).fails(406).await;
}

/// `/openapi/v3` as protobuf: what the messages of its own package say is what the JSON says.
#[tokio::test]
async fn version_three_is_the_same_document() {
    #[derive(Clone, PartialEq, Message)]
    struct Document3 {
        #[prost(string, tag = "1")]
        openapi: String,
        #[prost(message, optional, tag = "4")]
        paths: Option<Paths3>,
        #[prost(message, optional, tag = "5")]
        components: Option<Components>,
    }
    #[derive(Clone, PartialEq, Message)]
    struct Paths3 {
        #[prost(message, repeated, tag = "1")]
        path: Vec<NamedPathItem3>,
    }
    #[derive(Clone, PartialEq, Message)]
    struct NamedPathItem3 {
        #[prost(string, tag = "1")]
        name: String,
        #[prost(message, optional, tag = "2")]
        value: Option<PathItem3>,
    }
    #[derive(Clone, PartialEq, Message)]
    struct PathItem3 {
        #[prost(message, optional, tag = "4")]
        get: Option<Operation3>,
    }
    #[derive(Clone, PartialEq, Message)]
    struct Operation3 {
        #[prost(string, tag = "5")]
        operation_id: String,
    }
    #[derive(Clone, PartialEq, Message)]
    struct Components {
        #[prost(message, optional, tag = "1")]
        schemas: Option<Schemas3>,
    }
    #[derive(Clone, PartialEq, Message)]
    struct Schemas3 {
        #[prost(message, repeated, tag = "1")]
        entries: Vec<NamedSchema3>,
    }
    #[derive(Clone, PartialEq, Message)]
    struct NamedSchema3 {
        #[prost(string, tag = "1")]
        name: String,
        #[prost(message, optional, tag = "2")]
        value: Option<SchemaOrReference>,
    }
    #[derive(Clone, PartialEq, Message)]
    struct SchemaOrReference {
        #[prost(message, optional, boxed, tag = "1")]
        schema: Option<Box<Schema3>>,
        #[prost(message, optional, tag = "2")]
        reference: Option<Reference>,
    }
    #[derive(Clone, PartialEq, Message)]
    struct Reference {
        #[prost(string, tag = "1")]
        reference: String,
    }
    #[derive(Clone, PartialEq, Message)]
    struct Schema3 {
        #[prost(string, repeated, tag = "23")]
        required: Vec<String>,
        #[prost(string, tag = "25")]
        kind: String,
        #[prost(message, repeated, tag = "26")]
        all_of: Vec<SchemaOrReference>,
        #[prost(message, optional, tag = "31")]
        properties: Option<Schemas3>,
    }

    let api = Api::start().await;
    let plain = api.get("/openapi/v3/apis/apps/v1").ok().await;
    for accept in
        ["application/com.github.proto-openapi.spec.v3@v1.0+protobuf", "application/com.github.proto-openapi.spec.v3.v1.0+protobuf"]
    {
        let answer = api.get("/openapi/v3/apis/apps/v1").header("accept", accept).send().await;
        assert_eq!(answer.header("content-type"), "application/com.github.proto-openapi.spec.v3.v1.0+protobuf");
        let document = Document3::decode(answer.bytes.clone()).unwrap();
        assert_eq!(document.openapi, "3.0.0");
        let paths = document.paths.unwrap().path;
        assert_eq!(paths.len(), plain["paths"].as_object().unwrap().len());
        for path in &paths {
            let id = path.value.as_ref().and_then(|item| item.get.as_ref()).map_or("", |get| &get.operation_id);
            assert_eq!(id, plain["paths"][&path.name]["get"]["operationId"].as_str().unwrap_or_default(), "{}", path.name);
        }
        let schemas = document.components.unwrap().schemas.unwrap().entries;
        assert_eq!(schemas.len(), plain["components"]["schemas"].as_object().unwrap().len());
        for named in schemas {
            let (schema, json) = (*named.value.unwrap().schema.unwrap(), &plain["components"]["schemas"][&named.name]);
            assert_eq!(schema.kind, json["type"].as_str().unwrap_or_default(), "{}", named.name);
            assert_eq!(serde_json::json!(schema.required).as_array().unwrap().len(), json["required"].as_array().map_or(0, Vec::len));
            for property in schema.properties.into_iter().flat_map(|properties| properties.entries) {
                let expected = &json["properties"][&property.name];
                let value = property.value.unwrap();
                let target = |of: &Value| of["$ref"].as_str().unwrap_or_default().to_owned();
                match (value.schema, value.reference) {
                    (Some(schema), None) => {
                        assert_eq!(schema.kind, expected["type"].as_str().unwrap_or_default(), "{}.{}", named.name, property.name);
                        let first = schema.all_of.first().and_then(|one| one.reference.as_ref()).map_or("", |one| &one.reference);
                        assert_eq!(first, target(&expected["allOf"][0]), "{}.{}", named.name, property.name);
                    }
                    (None, Some(reference)) => assert_eq!(reference.reference, target(expected)),
                    other => panic!("{other:?}"),
                }
            }
        }
    }
    // The index has no protobuf.
    let accept = "application/com.github.proto-openapi.spec.v3@v1.0+protobuf";
    assert_eq!(api.get("/openapi/v3").header("accept", accept).send().await.code, http::StatusCode::NOT_ACCEPTABLE);
}
