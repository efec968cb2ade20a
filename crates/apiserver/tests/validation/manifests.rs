//! Manifests as people write them (`tests/manifests`): every one is accepted, completed, and survives both encodings.

use corten_schema::json::{self, Strictness};
use corten_schema::{apply_defaults, proto, table, yaml};
use serde_json::Value;

use super::common::Api;
use super::folder;

/// The documents of all files, each with the file's name.
pub fn documents() -> Vec<(String, Value)> {
    let mut found = Vec::new();
    let mut files: Vec<_> = std::fs::read_dir(folder("manifests")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    for file in files {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&file).unwrap();
        for document in text.split("\n---\n") {
            let value = yaml::decode_untyped(document.as_bytes()).unwrap_or_else(|error| panic!("{name}: {error}\n{document}"));
            let value: Value = serde_json::from_slice(&json::encode(&value)).unwrap();
            if !value.is_null() {
                found.push((name.clone(), value));
            }
        }
    }
    found
}

/// Where a document is posted.
pub fn path_of(document: &Value) -> String {
    let (version, kind) = (document["apiVersion"].as_str().unwrap(), document["kind"].as_str().unwrap());
    let resource = table().kind_of(version, kind).unwrap_or_else(|| panic!("{version} {kind}"));
    let root = if version.contains('/') { format!("/apis/{version}") } else { format!("/api/{version}") };
    let namespace = match (resource.namespaced, document["metadata"]["namespace"].as_str()) {
        (true, namespace) => format!("/namespaces/{}", namespace.unwrap_or("default")),
        (false, _) => String::new(),
    };
    format!("{root}{namespace}/{}", resource.plural)
}

#[tokio::test]
async fn manifests_are_accepted() {
    let api = Api::start().await;
    let mut wrong = Vec::new();
    let documents = documents();
    for (file, document) in &documents {
        let path = format!("{}?dryRun=All&fieldValidation=Strict", path_of(document));
        let answer = api.post(&path, document.clone()).send().await;
        if !answer.code.is_success() {
            wrong.push(format!("{file} {} {}: {}", document["kind"], document["metadata"]["name"], answer.text()));
        }
    }
    assert!(documents.len() >= 40, "{}", documents.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn manifests_survive_both_encodings() {
    for (file, document) in documents() {
        let (version, kind) = (document["apiVersion"].as_str().unwrap(), document["kind"].as_str().unwrap());
        let resource = table().kind_of(version, kind).unwrap();
        let shown = format!("{file} {kind} {}", document["metadata"]["name"]);
        let decoded = json::decode(&resource.schema, document.to_string().as_bytes(), Strictness::Strict);
        let mut object = decoded.unwrap_or_else(|error| panic!("{shown}: {error}")).value;
        let before = object.clone();
        apply_defaults(resource, &mut object);
        let once = object.clone();
        apply_defaults(resource, &mut object);
        assert_eq!(object, once, "{shown}: defaults twice");
        for value in [before, once] {
            let text = json::encode(&value);
            let again = json::decode(&resource.schema, &text, Strictness::Strict).unwrap().value;
            assert_eq!(again, value, "{shown}: JSON");
            let bytes = proto::encode(&resource.schema, &value);
            let mut again = proto::decode(&resource.schema, &bytes).unwrap_or_else(|error| panic!("{shown}: {error}")).value;
            // Claim templates have no kind in protobuf; the defaults put it back.
            let mut value = value;
            apply_defaults(resource, &mut value);
            apply_defaults(resource, &mut again);
            assert_eq!(again, value, "{shown}: protobuf");
        }
    }
}
