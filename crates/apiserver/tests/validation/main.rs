//! What is refused, in which words, and what is filled in: tables of cases, a YAML file a kind (or a part of one).
//!
//! ```yaml
//! path: /api/v1/namespaces/default/pods   # where objects are posted
//! object: {…}                             # one that is accepted
//! create:                                 # creations (dry runs)
//! - set: {/spec/x: 1}                     # JSON pointers, changed in the object; null removes; `-` appends
//!   fails: ["spec.x: Invalid value: 1: …"]  # the causes, in any order; absent: it is accepted
//!   warns: ["…"]                          # the warnings; absent: not looked at
//!   gives: {/spec/y: 2}                   # what the answer has there (null: nothing)
//! update:                                 # changes of an object that exists (dry runs)
//! - from: {…}                             # changed in the object before it is created
//!   status: {…}                           # its status before the change
//!   via: status                           # the subresource that is written
//!   set: {…}
//!   fails: […]
//! ```
//!
//! `{name}` in expectations is the object's name.

#![allow(unreachable_pub, dead_code, reason = "modules shared with another test program")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

#[path = "../api/common.rs"]
mod common;
mod generation;
mod manifests;
mod mutations;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use common::Api;
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    path: String,
    object: Value,
    #[serde(default)]
    create: Vec<Case>,
    #[serde(default)]
    update: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    #[serde(default)]
    from: BTreeMap<String, Value>,
    #[serde(default)]
    status: Option<Value>,
    #[serde(default)]
    via: String,
    #[serde(default)]
    set: BTreeMap<String, Value>,
    #[serde(default)]
    fails: Vec<String>,
    #[serde(default)]
    warns: Option<Vec<String>>,
    #[serde(default)]
    gives: BTreeMap<String, Value>,
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(name)
}

/// Sets what a JSON pointer names, making maps on the way; null removes it.
fn set(object: &mut Value, pointer: &str, value: &Value) {
    let keys: Vec<String> = pointer.split('/').skip(1).map(|key| key.replace("~1", "/").replace("~0", "~")).collect();
    let (last, parents) = keys.split_last().unwrap();
    let mut target = object;
    for key in parents {
        target = match target {
            Value::Array(items) => items.get_mut(key.parse::<usize>().unwrap()).unwrap_or_else(|| panic!("{pointer}")),
            other => {
                if !other.is_object() {
                    *other = Value::Object(Default::default());
                }
                other.as_object_mut().unwrap().entry(key.as_str()).or_insert(Value::Null)
            }
        };
    }
    match target {
        Value::Array(items) if last == "-" => items.push(value.clone()),
        Value::Array(items) => match last.parse::<usize>().unwrap() {
            index if value.is_null() => drop(items.remove(index)),
            index => items[index] = value.clone(),
        },
        other => {
            if !other.is_object() {
                *other = Value::Object(Default::default());
            }
            let map = other.as_object_mut().unwrap();
            match value {
                Value::Null => drop(map.remove(last)),
                value => drop(map.insert(last.clone(), value.clone())),
            }
        }
    }
}

/// The machine-readable reason that goes with the words.
fn reason(message: &str) -> &'static str {
    let known = [
        ("Required value", "FieldValueRequired"),
        ("Invalid value", "FieldValueInvalid"),
        ("Unsupported value", "FieldValueNotSupported"),
        ("Forbidden", "FieldValueForbidden"),
        ("Duplicate value", "FieldValueDuplicate"),
        ("Not found", "FieldValueNotFound"),
        ("Too long", "FieldValueTooLong"),
        ("Too many", "FieldValueTooMany"),
    ];
    known.iter().find(|(words, _)| message.starts_with(words)).map_or("?", |(_, reason)| reason)
}

/// The texts of the `Warning` headers.
fn warnings(answer: &common::Answer) -> Vec<String> {
    let texts = answer.headers.get_all("warning").iter().filter_map(|value| value.to_str().ok());
    let inner = |text: &str| text.split_once('"').and_then(|(_, rest)| rest.strip_suffix('"')).unwrap_or(text).to_owned();
    texts.map(|text| inner(text).replace("\\\"", "\"").replace("\\\\", "\\")).collect()
}

impl Case {
    /// What is wrong with the answer to this case.
    fn judge(&self, answer: &common::Answer, name: &str) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut expected: Vec<String> = self.fails.iter().map(|text| text.replace("{name}", name)).collect();
        let body = answer.json();
        let mut found = Vec::new();
        for cause in body["details"]["causes"].as_array().into_iter().flatten() {
            let (field, message) = (cause["field"].as_str().unwrap_or_default(), cause["message"].as_str().unwrap_or_default());
            if cause["reason"] != reason(message) {
                wrong.push(format!("reason {} of {message:?}", cause["reason"]));
            }
            found.push(format!("{field}: {message}"));
        }
        if found.is_empty() && !answer.code.is_success() {
            found.push(body["message"].as_str().unwrap_or_default().to_owned());
        }
        // Differences that follow the words are for people.
        found.iter_mut().for_each(|text| text.truncate(text.find('\n').unwrap_or(text.len())));
        expected.sort();
        found.sort();
        if found != expected {
            wrong.push(format!("found    {found:#?}\nexpected {expected:#?}"));
        }
        if let Some(warns) = &self.warns {
            let mut warns: Vec<String> = warns.iter().map(|text| text.replace("{name}", name)).collect();
            let mut found = warnings(answer);
            warns.sort();
            found.sort();
            if found != warns {
                wrong.push(format!("warnings {found:#?}\nexpected {warns:#?}"));
            }
        }
        for (pointer, value) in &self.gives {
            let given = body.pointer(pointer).cloned().unwrap_or_default();
            if given != *value {
                wrong.push(format!("{pointer} is {given}, expected {value}"));
            }
        }
        wrong.iter().map(|text| format!("{name}: set {:?} from {:?}\n{text}", self.set, self.from)).collect()
    }
}

/// Runs a file's cases.
async fn run(file: &str) {
    let text = std::fs::read_to_string(folder("validation").join(file)).unwrap();
    let table: Table = serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{file}: {error}"));
    let api = Api::start().await;
    let mut wrong = Vec::new();
    let base = |name: &str| {
        let mut object = table.object.clone();
        if object["metadata"]["name"].is_null() {
            set(&mut object, "/metadata/name", &Value::from(name));
        }
        object
    };
    for (number, case) in table.create.iter().enumerate() {
        let name = format!("new-{number}");
        let mut object = base(&name);
        case.set.iter().for_each(|(pointer, value)| set(&mut object, pointer, value));
        let shown = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let answer = api.post(&format!("{}?dryRun=All", table.path), object).send().await;
        wrong.extend(case.judge(&answer, &shown));
    }
    for (number, case) in table.update.iter().enumerate() {
        let name = format!("old-{number}");
        let mut object = base(&name);
        case.from.iter().for_each(|(pointer, value)| set(&mut object, pointer, value));
        let answer = api.post(&table.path, object).send().await;
        if !answer.code.is_success() {
            wrong.push(format!("{name} is not created: {}", answer.text()));
            continue;
        }
        let mut object = answer.json();
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        let path = format!("{}/{name}", table.path);
        if let Some(status) = &case.status {
            object["status"] = status.clone();
            let answer = api.put(&format!("{path}/status"), object).send().await;
            if !answer.code.is_success() {
                wrong.push(format!("{name} does not get its status: {}", answer.text()));
                continue;
            }
            object = answer.json();
        }
        case.set.iter().for_each(|(pointer, value)| set(&mut object, pointer, value));
        let via = if case.via.is_empty() { String::new() } else { format!("/{}", case.via) };
        let answer = api.put(&format!("{path}{via}?dryRun=All"), object).send().await;
        wrong.extend(case.judge(&answer, &name));
        api.delete(&format!("{path}?gracePeriodSeconds=0")).send().await;
    }
    println!("{file}: {} cases", table.create.len() + table.update.len());
    assert!(wrong.is_empty(), "{} of {file}:\n{}", wrong.len(), wrong.join("\n\n"));
}

macro_rules! tables {
    ($($name:ident)*) => {
        $(#[tokio::test] async fn $name() { run(concat!(stringify!($name), ".yaml")).await; })*

        #[test]
        fn every_file_is_run() {
            let listed = [$(concat!(stringify!($name), ".yaml")),*];
            for entry in std::fs::read_dir(folder("validation")).unwrap() {
                let name = entry.unwrap().file_name().into_string().unwrap();
                assert!(!name.ends_with(".yaml") || listed.contains(&name.as_str()), "{name} is in no test");
            }
        }
    };
}

tables! {
    pods containers volumes placement pod_updates
    deployments replica_sets daemon_sets stateful_sets replication_controllers controller_revisions pod_templates
    jobs cron_jobs
    config_maps secrets namespaces nodes service_accounts limit_ranges resource_quotas events
}
