//! Manifests with every value replaced by something odd: each is accepted or refused in an orderly way.

use serde_json::{Value, json};

use super::common::Api;
use super::manifests::{documents, path_of};

/// JSON pointers of all values below one.
fn pointers(value: &Value, at: String, found: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                let pointer = format!("{at}/{}", key.replace('~', "~0").replace('/', "~1"));
                found.push(pointer.clone());
                pointers(value, pointer, found);
            }
        }
        Value::Array(items) => {
            for (number, value) in items.iter().enumerate() {
                let pointer = format!("{at}/{number}");
                found.push(pointer.clone());
                pointers(value, pointer, found);
            }
        }
        _ => {}
    }
}

/// Something odd of the same type, so that it reaches the checks.
fn odd(value: &Value, turn: usize) -> Value {
    match (value, turn % 3) {
        (Value::String(_), 0) => json!(""),
        (Value::String(_), 1) => json!("..ä/ %\u{0}=\"'".repeat(40)),
        (Value::String(text), _) => json!(format!("{text}-9999999999999999999999")),
        (Value::Number(_), 0) => json!(-2147483648),
        (Value::Number(_), 1) => json!(2147483647),
        (Value::Number(_), _) => json!(0),
        (Value::Bool(flag), _) => json!(!flag),
        (Value::Array(items), 0) => Value::Array(items.iter().chain(items).cloned().collect()),
        (Value::Array(_), _) => json!([]),
        (Value::Object(_), _) => json!({}),
        (Value::Null, _) => json!({}),
    }
}

#[tokio::test]
async fn odd_manifests_are_answered() {
    let api = Api::start().await;
    let mut refused = 0;
    for (turn, (file, document)) in documents().into_iter().enumerate() {
        let path = format!("{}?dryRun=All", path_of(&document));
        let mut all = Vec::new();
        pointers(&document, String::new(), &mut all);
        for (number, pointer) in all.iter().enumerate().filter(|(_, pointer)| pointer.matches('/').count() > 1) {
            let mut changed = document.clone();
            let target = changed.pointer_mut(pointer).unwrap();
            *target = odd(target, turn + number);
            let answer = api.post(&path, changed).send().await;
            assert!(answer.code.as_u16() < 500, "{file} {pointer}: {}", answer.text());
            if !answer.code.is_success() {
                let status = answer.json();
                assert!(!status["message"].as_str().unwrap_or_default().is_empty(), "{file} {pointer}: {status}");
                refused += 1;
            }
        }
    }
    assert!(refused > 100, "{refused}");
}
