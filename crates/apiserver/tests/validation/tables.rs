//! Tables of cases: what is sent, and what the answer must be.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::common::{self, Api};
use super::folder;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    path: String,
    object: Value,
    #[serde(default, rename = "keepName")]
    keep_name: bool,
    #[serde(default)]
    nameless: bool,
    #[serde(default, rename = "inOrder")]
    in_order: bool,
    #[serde(default)]
    create: Vec<Case>,
    #[serde(default)]
    update: Vec<Case>,
    #[serde(default)]
    status: Vec<Case>,
    #[serde(default)]
    approval: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum File {
    One(Box<Table>),
    Several(Vec<Table>),
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
    long: BTreeMap<String, usize>,
    #[serde(default)]
    send: Option<Value>,
    #[serde(default)]
    fails: Vec<String>,
    #[serde(default)]
    warns: Option<Vec<String>>,
    #[serde(default)]
    gives: BTreeMap<String, Value>,
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
        ("Internal error", "InternalError"),
    ];
    // Values of the wrong type have the words of invalid ones.
    if message.starts_with("Invalid value") && message.contains(" in body must be of type ") {
        return "FieldValueTypeInvalid";
    }
    known.iter().find(|(words, _)| message.starts_with(words)).map_or("?", |(_, reason)| reason)
}

/// The texts of the `Warning` headers.
fn warnings(answer: &common::Answer) -> Vec<String> {
    let texts = answer.headers.get_all("warning").iter().filter_map(|value| value.to_str().ok());
    let inner = |text: &str| text.split_once('"').and_then(|(_, rest)| rest.strip_suffix('"')).unwrap_or(text).to_owned();
    texts.map(|text| inner(text).replace("\\\"", "\"").replace("\\\\", "\\")).collect()
}

impl Case {
    /// What is sent in place of an object, and what is changed in it.
    fn change(&self, object: &mut Value) {
        if let Some(send) = &self.send {
            let name = std::mem::take(&mut object["metadata"]["name"]);
            object.clone_from(send);
            if object["metadata"]["name"].is_null() {
                set(object, "/metadata/name", &name);
            }
        }
        self.set.iter().for_each(|(pointer, value)| set(object, pointer, value));
        self.long.iter().for_each(|(pointer, length)| set(object, pointer, &Value::from("x".repeat(*length))));
    }

    /// What is wrong with the answer to this case.
    fn judge(&self, answer: &common::Answer, name: &str, ordered: bool) -> Vec<String> {
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
        // Differences that follow the words are for people; the lines of an expression belong to them.
        let end = |text: &str| text.find('\n').filter(|_| !text.contains("ERROR: <input>")).unwrap_or(text.len());
        found.iter_mut().for_each(|text| text.truncate(end(text)));
        if !ordered {
            expected.sort();
            found.sort();
        }
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
            let value = value.as_str().map_or_else(|| value.clone(), |text| Value::from(text.replace("{name}", name)));
            if given != value {
                wrong.push(format!("{pointer} is {given}, expected {value}"));
            }
        }
        wrong.iter().map(|text| format!("{name}: set {:?} from {:?}\n{text}", self.set, self.from)).collect()
    }
}

impl Table {
    fn object(&self, name: &str) -> Value {
        let mut object = self.object.clone();
        if !self.nameless && object["metadata"]["name"].is_null() {
            set(&mut object, "/metadata/name", &Value::from(name));
        }
        object
    }

    /// A change of an object that is made for it; what is wrong with the answer.
    async fn change(&self, api: &Api, name: &str, via: &str, case: &Case) -> Vec<String> {
        let mut object = self.object(name);
        if !self.keep_name {
            let own = format!("{}-{name}", object["metadata"]["name"].as_str().unwrap_or_default());
            set(&mut object, "/metadata/name", &Value::from(own));
        }
        case.from.iter().for_each(|(pointer, value)| set(&mut object, pointer, value));
        let answer = api.post(&self.path, object).send().await;
        if !answer.code.is_success() {
            return vec![format!("{} {name} is not created: {}", self.path, answer.text())];
        }
        let mut object = answer.json();
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        let path = format!("{}/{name}", self.path);
        if let Some(status) = &case.status {
            match status.as_object() {
                Some(map) if map.keys().all(|key| key.starts_with('/')) => {
                    map.iter().for_each(|(pointer, value)| set(&mut object, pointer, value));
                }
                _ => object["status"] = status.clone(),
            }
            let answer = api.put(&format!("{path}/status"), object).send().await;
            if !answer.code.is_success() {
                return vec![format!("{} {name} does not get its status: {}", self.path, answer.text())];
            }
            object = answer.json();
        }
        let via = if via.is_empty() { String::new() } else { format!("/{via}") };
        let answer = loop {
            case.change(&mut object);
            let answer = api.put(&format!("{path}{via}?dryRun=All"), object).send().await;
            if case.send.is_some() || !answer.text().contains("the object has been modified") {
                break answer;
            }
            // The server itself has written it since (a finalizer).
            object = api.get(&path).ok().await;
        };
        let wrong = case.judge(&answer, &name, self.in_order);
        api.delete(&format!("{path}?gracePeriodSeconds=0")).send().await;
        wrong
    }

    async fn run(&self, api: &Api, wrong: &mut Vec<String>) -> usize {
        for (number, case) in self.create.iter().enumerate() {
            let mut object = self.object(&format!("new-{number}"));
            case.change(&mut object);
            let shown = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
            let answer = api.post(&format!("{}?dryRun=All", self.path), object).send().await;
            wrong.extend(case.judge(&answer, &shown, self.in_order));
        }
        let changes = [("old", "", &self.update), ("status", "status", &self.status), ("approval", "approval", &self.approval)];
        for (part, via, cases) in changes {
            for (number, case) in cases.iter().enumerate() {
                let via = if case.via.is_empty() { via } else { &case.via };
                wrong.extend(self.change(api, &format!("{part}-{number}"), via, case).await);
            }
        }
        self.create.len() + self.update.len() + self.status.len() + self.approval.len()
    }
}

/// Runs a file's cases.
pub async fn run(file: &str) {
    let text = std::fs::read_to_string(folder("validation").join(file)).unwrap();
    let tables = match serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{file}: {error}")) {
        File::One(table) => vec![*table],
        File::Several(tables) => tables,
    };
    let api = Api::start().await;
    let (mut count, mut wrong) = (0, Vec::new());
    for table in &tables {
        count += table.run(&api, &mut wrong).await;
    }
    println!("{file}: {count} cases");
    assert!(wrong.is_empty(), "{} of {file}:\n{}", wrong.len(), wrong.join("\n\n"));
}
