//! The rules of every kind, as tables: `tests/cases/*.yaml` say what is wrong with an object, and what is filled in.
//!
//! A table has a `path`, a `base` object that is right, and cases that `set` fields (by JSON pointer; null removes) of it:
//! `create` sends the object as new, `update` and `status` send it over a base that was stored with `from` set. A case names
//! all `errors` (`field: words`), or some fields that it must `expect` in the answer, and all `warnings`.

use std::fmt::Write as _;

use serde_json::Value;

use crate::common::Api;

const REASONS: [(&str, &str); 9] = [
    ("Required value", "FieldValueRequired"),
    ("Invalid value", "FieldValueInvalid"),
    ("Unsupported value", "FieldValueNotSupported"),
    ("Forbidden", "FieldValueForbidden"),
    ("Duplicate value", "FieldValueDuplicate"),
    ("Not found", "FieldValueNotFound"),
    ("Too long", "FieldValueTooLong"),
    ("Too many", "FieldValueTooMany"),
    ("Internal error", "InternalError"),
];

fn set(object: &mut Value, changes: &Value) {
    for (pointer, value) in changes.as_object().into_iter().flatten() {
        let (parent, last) = pointer.rsplit_once('/').unwrap_or_else(|| panic!("{pointer} is no pointer"));
        let last = last.replace("~1", "/").replace("~0", "~");
        let mut target = &mut *object;
        for part in parent.split('/').skip(1) {
            let part = part.replace("~1", "/").replace("~0", "~");
            target = match target {
                Value::Array(items) => items.get_mut(part.parse::<usize>().unwrap()).unwrap_or_else(|| panic!("nothing at {pointer}")),
                other => {
                    if other.is_null() {
                        *other = Value::Object(serde_json::Map::new());
                    }
                    other.as_object_mut().unwrap_or_else(|| panic!("no map at {pointer}")).entry(part).or_insert(Value::Null)
                }
            };
        }
        match target {
            Value::Array(items) if last == "-" => items.push(value.clone()),
            Value::Array(items) if value.is_null() => drop(items.remove(last.parse().unwrap())),
            Value::Array(items) => items[last.parse::<usize>().unwrap()] = value.clone(),
            Value::Object(map) if value.is_null() => drop(map.remove(&last)),
            Value::Object(map) => drop(map.insert(last, value.clone())),
            Value::Null if value.is_null() => {}
            other => *other = serde_json::json!({ last: value }),
        }
    }
}

fn texts(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().map(|item| item.as_str().unwrap().to_owned()).collect()
}

/// What is wrong with an answer, compared with the case.
fn compare(case: &Value, answer: &crate::common::Answer) -> Result<(), String> {
    let json = answer.json();
    let mut report = String::new();
    if let Some(words) = case.get("message") {
        if json["message"] != *words {
            let _ = writeln!(report, "message: {}", json["message"]);
        }
    } else if case.get("errors").is_some() {
        let causes = json.pointer("/details/causes").and_then(Value::as_array).cloned().unwrap_or_default();
        let mut found = Vec::new();
        for cause in &causes {
            let message = cause["message"].as_str().unwrap_or_default();
            let reason = REASONS.iter().find(|(words, _)| message.starts_with(words)).map_or("?", |(_, reason)| reason);
            if cause["reason"] != reason {
                let _ = writeln!(report, "reason {} for {message}", cause["reason"]);
            }
            found.push(format!("{}: {message}", cause["field"].as_str().unwrap_or_default()));
        }
        if found != texts(&case["errors"]) {
            let _ = writeln!(report, "code {}", answer.code);
            for text in &found {
                let _ = writeln!(report, "found    {text}");
            }
            for text in texts(&case["errors"]) {
                let _ = writeln!(report, "expected {text}");
            }
            if causes.is_empty() {
                let _ = writeln!(report, "{}", answer.text());
            }
        }
    } else if !answer.code.is_success() {
        let _ = writeln!(report, "refused: {}", json["message"]);
    }
    for (pointer, value) in case.get("expect").and_then(Value::as_object).into_iter().flatten() {
        let found = json.pointer(pointer).unwrap_or(&Value::Null);
        if found != value {
            let _ = writeln!(report, "{pointer}: found {found}, expected {value}");
        }
    }
    if let Some(warnings) = case.get("warnings") {
        let found: Vec<String> = answer.headers.get_all("warning").iter().map(|w| w.to_str().unwrap().to_owned()).collect();
        let expected: Vec<String> =
            texts(warnings).iter().map(|text| format!("299 - \"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))).collect();
        if found != expected {
            let _ = writeln!(report, "warnings: found {found:?}, expected {expected:?}");
        }
    }
    if report.is_empty() { Ok(()) } else { Err(report) }
}

struct Table {
    path: String,
    base: Value,
    name: String,
}

impl Table {
    async fn run(&self, api: &Api, part: &str, case: &Value, number: usize) -> Result<(), String> {
        if part == "create" {
            let mut object = self.base.clone();
            set(&mut object, &case["set"]);
            return compare(case, &api.post(&format!("{}?dryRun=All", self.path), object).send().await);
        }
        let mut object = self.base.clone();
        if !self.name.is_empty() {
            object["metadata"]["name"] = Value::String(format!("{}-{part}-{number}", self.name));
        }
        set(&mut object, case.get("from").unwrap_or(&Value::Null));
        let stored = api.post(&self.path, object).send().await;
        assert!(stored.code.is_success(), "{} {part} {number}: {}", self.path, stored.text());
        let mut object = stored.json();
        let path = format!("{}/{}", self.path, object["metadata"]["name"].as_str().unwrap());
        if let Some(status) = case.get("status") {
            set(&mut object, status);
            object = api.put(&format!("{path}/status"), object).ok().await;
        }
        set(&mut object, &case["set"]);
        let answer = match part {
            "update" => api.put(&format!("{path}?dryRun=All"), object).send().await,
            subresource => api.put(&format!("{path}/{subresource}?dryRun=All"), object).send().await,
        };
        let result = compare(case, &answer);
        api.delete(&path).send().await;
        result
    }
}

#[tokio::test]
async fn every_rule_of_the_tables_holds() {
    let api = Api::start().await;
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cases");
    let mut files: Vec<_> = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let (mut count, mut failures) = (0, String::new());
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let tables: Value = serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        for table in tables.as_array().unwrap_or_else(|| panic!("{} is no list", file.display())) {
            let base = table["base"].clone();
            let name = base["metadata"]["name"].as_str().filter(|_| table.get("keepName").is_none()).unwrap_or_default().to_owned();
            let path = table["path"].as_str().unwrap().to_owned();
            let this = Table { path, base, name };
            for part in ["create", "update", "status", "approval"] {
                for (number, case) in table.get(part).and_then(Value::as_array).into_iter().flatten().enumerate() {
                    count += 1;
                    if let Err(report) = this.run(&api, part, case, number).await {
                        let _ = writeln!(failures, "{} {part} {}:\n{report}", this.path, case["set"]);
                    }
                }
            }
        }
    }
    println!("{count} cases");
    assert!(failures.is_empty(), "\n{failures}");
}
