//! Values as Go prints them: messages of the reference quote what was sent that way.

use crate::{Value, json};

/// As `%v` prints it.
pub fn plain(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::String(text) => text.to_string(),
        Value::List(items) => format!("[{}]", items.iter().map(plain).collect::<Vec<_>>().join(" ")),
        Value::Map(map) => {
            let mut entries: Vec<String> = map.iter().map(|(key, value)| format!("{key}:{}", plain(value))).collect();
            entries.sort();
            format!("map[{}]", entries.join(" "))
        }
        other => String::from_utf8_lossy(&json::encode(other)).into_owned(),
    }
}

/// As `%#v` prints it: as a program would write it.
pub fn syntax(value: &Value) -> String {
    match value {
        Value::Null => "interface {}(nil)".to_owned(),
        Value::List(items) => format!("[]interface {{}}{{{}}}", items.iter().map(syntax).collect::<Vec<_>>().join(", ")),
        Value::Map(map) => {
            let mut entries: Vec<String> = map.iter().map(|(key, value)| format!("{:?}:{}", key.as_str(), syntax(value))).collect();
            entries.sort();
            format!("map[string]interface {{}}{{{}}}", entries.join(", "))
        }
        other => String::from_utf8_lossy(&json::encode(other)).into_owned(),
    }
}

/// The name of the type that Go has for a value that was read from JSON.
pub const fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Int(_) => "int64",
        Value::Float(_) => "float64",
        Value::String(_) => "string",
        Value::List(_) => "[]interface {}",
        Value::Map(_) | Value::Json(_) => "map[string]interface {}",
    }
}

/// As Go says that a value cannot be read into a type of Go's.
pub fn cannot_unmarshal(value: &Value, into: &str) -> String {
    let found = match value {
        Value::Map(_) | Value::Json(_) => "object",
        Value::List(_) => "array",
        Value::String(_) => "string",
        Value::Bool(_) => "bool",
        Value::Int(_) | Value::Float(_) => "number",
        Value::Null => "null",
    };
    format!("json: cannot unmarshal {found} into Go value of type {into}")
}
