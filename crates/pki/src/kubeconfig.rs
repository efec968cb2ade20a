//! Kubeconfig files (`v1` `Config`), as data.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use serde_json::{Map, Value, json};

use crate::Credential;

/// How the user of a kubeconfig proves who it is.
#[derive(Clone, Debug)]
pub enum KubeconfigUser {
    /// A client certificate, embedded.
    Certificate(Credential),
    /// A bearer token.
    Token(String),
}

/// One cluster, one user and the context that joins them, all under the same name.
#[derive(Clone, Debug)]
pub struct Kubeconfig {
    /// The name of context, cluster and user.
    pub name: String,
    /// The URL of the API server, `https://…`.
    pub server: String,
    /// The certificate authority of the server, in PEM.
    pub authority: String,
    /// The user.
    pub user: KubeconfigUser,
}

impl Kubeconfig {
    /// The whole file as a value.
    pub fn to_value(&self) -> Value {
        add_context(None, self)
    }

    /// The whole file as text. It is indented JSON, which every reader of YAML takes.
    pub fn render(&self) -> String {
        format!("{:#}\n", self.to_value())
    }

    fn cluster(&self) -> Value {
        json!({
            "certificate-authority-data": BASE64.encode(&self.authority),
            "server": self.server,
        })
    }

    fn user(&self) -> Value {
        match &self.user {
            KubeconfigUser::Certificate(credential) => json!({
                "client-certificate-data": BASE64.encode(&credential.certificate),
                "client-key-data": BASE64.encode(&credential.key),
            }),
            KubeconfigUser::Token(token) => json!({ "token": token }),
        }
    }
}

/// Adds cluster, user and context to an existing kubeconfig, replacing those of the same name and
/// keeping everything else as it is. The current context stays, unless there is none.
pub fn add_context(existing: Option<Value>, added: &Kubeconfig) -> Value {
    let mut config = match existing {
        Some(Value::Object(fields)) => fields,
        _ => Map::new(),
    };
    config.entry("apiVersion").or_insert_with(|| json!("v1"));
    config.entry("kind").or_insert_with(|| json!("Config"));
    put(&mut config, "clusters", &added.name, "cluster", added.cluster());
    put(&mut config, "contexts", &added.name, "context", json!({"cluster": added.name, "user": added.name}));
    put(&mut config, "users", &added.name, "user", added.user());
    let current = config.get("current-context").and_then(Value::as_str);
    if current.unwrap_or_default().is_empty() {
        config.insert("current-context".into(), json!(added.name));
    }
    Value::Object(config)
}

fn put(config: &mut Map<String, Value>, list: &str, name: &str, field: &str, value: Value) {
    let entry = json!({"name": name, field: value});
    let entries = config.entry(list).or_insert_with(|| json!([]));
    // A hand-written file may say `users: null`.
    if !entries.is_array() {
        *entries = json!([]);
    }
    if let Value::Array(entries) = entries {
        match entries.iter_mut().find(|entry| entry["name"] == name) {
            Some(existing) => *existing = entry,
            None => entries.push(entry),
        }
    }
}
