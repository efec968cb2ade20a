//! ConfigMaps and Secrets: bounded, checked by type, immutable if they say so.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use corten_schema::Value;

use super::field;
use super::validation::{Errors, Path, immutable, invalid_all, names};
use crate::status::{ApiError, FieldError};
use crate::strategy::{Scope, SelectableField, Strategy};
use crate::view::{at, entries, entry, flag, text};

/// The most bytes of data in one object.
const LARGEST: usize = 1024 * 1024;

/// How many bytes a text in base64 stands for.
pub(super) fn decoded_len(text: &str) -> usize {
    text.len() / 4 * 3 - text.bytes().rev().take_while(|byte| *byte == b'=').count().min(2)
}

fn frozen(errors: &mut Errors, object: &Value, old: &Value, fields: &[&str]) {
    if !flag(old, "immutable") {
        return;
    }
    let words = "field is immutable when `immutable` is set";
    if !flag(object, "immutable") {
        errors.push(FieldError::forbidden("immutable", words));
    }
    for field in fields {
        let empty = |value: Option<&Value>| value.and_then(Value::as_map).is_none_or(|map| map.is_empty());
        let (new, before) = (at(object, field), at(old, field));
        if new != before && !(empty(new) && empty(before)) {
            errors.push(FieldError::forbidden(*field, words));
        }
    }
}

/// The strategy of ConfigMaps.
pub(super) struct ConfigMaps;

impl Strategy for ConfigMaps {
    fn validate(&self, _: Scope<'_>, object: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        let mut size = 0;
        let data = Path::Root("data");
        for (key, value) in entries(object, "data") {
            invalid_all(&mut errors, data.key(key), key, names::config_key(key));
            size += value.as_str().map_or(0, str::len);
            if entry(object, "binaryData", key).is_some() {
                errors.push(FieldError::invalid(data.key(key), key, "duplicate of key present in binaryData"));
            }
        }
        let binary = Path::Root("binaryData");
        for (key, value) in entries(object, "binaryData") {
            invalid_all(&mut errors, binary.key(key), key, names::config_key(key));
            size += decoded_len(value.as_str().unwrap_or_default());
        }
        if size > LARGEST {
            errors.push(FieldError::too_long("", LARGEST));
        }
        errors
    }

    fn validate_update(&self, scope: Scope<'_>, object: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        frozen(&mut errors, object, old, &["data", "binaryData"]);
        errors.extend(self.validate(scope, object));
        errors
    }
}

/// The strategy of service accounts.
pub(super) struct ServiceAccounts;

impl Strategy for ServiceAccounts {
    fn warnings(&self, _: Scope<'_>, account: &Value, old: Option<&Value>) -> Vec<String> {
        const KEY: &str = "kubernetes.io/enforce-mountable-secrets";
        let given = |account: &Value| account.annotation(KEY).is_some();
        if !given(account) || old.is_some_and(given) {
            return Vec::new();
        }
        let words = "deprecated in v1.32+; prefer separate namespaces to isolate access to mounted secrets";
        vec![format!("metadata.annotations[{KEY}]: {words}")]
    }
}

/// The strategy of Secrets.
pub(super) struct Secrets;

/// Takes `stringData`, which is for writing only, into `data`.
fn take_strings(secret: &mut Value) {
    let strings = secret.remove("stringData");
    for (key, value) in strings.as_ref().and_then(Value::as_map).into_iter().flatten() {
        let encoded = STANDARD.encode(value.as_str().unwrap_or_default());
        secret.set_at(&["data", key], encoded);
    }
}

impl Strategy for Secrets {
    fn selectable_fields(&self) -> &'static [SelectableField] {
        const FIELDS: &[SelectableField] = &[field("type", &["type"])];
        FIELDS
    }

    fn prepare_create(&self, _: Scope<'_>, secret: &mut Value) -> Result<(), ApiError> {
        take_strings(secret);
        if text(secret, "type").is_empty() {
            secret.insert("type", "Opaque");
        }
        Ok(())
    }

    fn prepare_update(&self, _: Scope<'_>, secret: &mut Value, _: &Value) -> Result<(), ApiError> {
        take_strings(secret);
        if text(secret, "type").is_empty() {
            secret.insert("type", "Opaque");
        }
        Ok(())
    }

    fn validate(&self, _: Scope<'_>, secret: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        let data = Path::Root("data");
        let mut size = 0;
        for (key, value) in entries(secret, "data") {
            invalid_all(&mut errors, data.key(key), key, names::config_key(key));
            size += decoded_len(value.as_str().unwrap_or_default());
        }
        if size > LARGEST {
            errors.push(FieldError::too_long("data", LARGEST));
        }
        by_type(&mut errors, data, secret);
        errors
    }

    fn validate_update(&self, scope: Scope<'_>, secret: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        immutable(&mut errors, Path::Root("type"), at(secret, "type"), at(old, "type"));
        frozen(&mut errors, secret, old, &["data"]);
        errors.extend(self.validate(scope, secret));
        errors
    }
}

/// What a Secret's type demands of its data.
fn by_type(errors: &mut Errors, data: Path<'_>, secret: &Value) {
    let has = |key: &str| entries(secret, "data").any(|(name, _)| name == key);
    let mut require = |keys: &[&str]| {
        for key in keys {
            if !has(key) {
                errors.push(FieldError::required(data.key(key), ""));
            }
        }
    };
    match text(secret, "type") {
        "kubernetes.io/service-account-token" => {
            let key = "kubernetes.io/service-account.name";
            if entry(secret, "metadata.annotations", key).unwrap_or_default().is_empty() {
                let metadata = Path::Root("metadata");
                errors.push(FieldError::required(metadata.field("annotations").key(key), ""));
            }
        }
        "kubernetes.io/dockercfg" => json(errors, data, secret, ".dockercfg"),
        "kubernetes.io/dockerconfigjson" => json(errors, data, secret, ".dockerconfigjson"),
        "kubernetes.io/basic-auth" if !has("username") && !has("password") => require(&["username", "password"]),
        "kubernetes.io/ssh-auth" if entry(secret, "data", "ssh-privatekey").is_none_or(str::is_empty) => {
            errors.push(FieldError::required(data.key("ssh-privatekey"), ""));
        }
        "kubernetes.io/tls" => require(&["tls.crt", "tls.key"]),
        _ => {}
    }
}

/// A key whose value is a JSON object.
fn json(errors: &mut Errors, data: Path<'_>, secret: &Value, key: &str) {
    let Some(encoded) = entry(secret, "data", key) else {
        errors.push(FieldError::required(data.key(key), ""));
        return;
    };
    let bytes = STANDARD.decode(encoded).unwrap_or_default();
    let words = match serde_json::from_slice::<serde_json::Value>(&bytes) {
        Ok(serde_json::Value::Object(_) | serde_json::Value::Null) => return,
        Ok(other) => format!("json: cannot unmarshal {} into Go value of type map[string]interface {{}}", kind(&other)),
        Err(_) if bytes.is_empty() => "unexpected end of JSON input".to_owned(),
        Err(error) if error.is_eof() => "unexpected end of JSON input".to_owned(),
        Err(_) => match bytes.iter().find(|byte| !byte.is_ascii_whitespace()) {
            Some(first) if !b"{[\"-0123456789tfn".contains(first) => {
                format!("invalid character '{}' looking for beginning of value", char::from(*first))
            }
            _ => "invalid JSON".to_owned(),
        },
    };
    errors.push(FieldError::invalid(data.key(key), "<secret contents redacted>", words));
}

fn kind(value: &serde_json::Value) -> &'static str {
    match value {
        serde_json::Value::Bool(_) => "bool",
        serde_json::Value::Number(_) => "number",
        serde_json::Value::String(_) => "string",
        serde_json::Value::Array(_) => "array",
        _ => "object",
    }
}
