//! `authentication` and `authorization`: who is known to the node API, and for how long an answer about them holds.

use std::time::Duration;

use serde_json::{Map, Value};

use super::duration;
use super::fields::Kind;
use super::read::{ConfigError, Settings, check, wrong};

/// How the node API learns who somebody is and what they may do. The defaults are the reference's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// Whether bearer tokens are asked about.
    pub tokens: bool,
    /// How long an answer about a token holds.
    pub token_ttl: Duration,
    /// How long a permission holds.
    pub allowed_ttl: Duration,
    /// How long a refusal holds.
    pub denied_ttl: Duration,
}

impl Default for Access {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { tokens: true, token_ttl: seconds(120), allowed_ttl: seconds(300), denied_ttl: seconds(30) }
    }
}

/// The one setting of them that nothing acts on: whose certificates are believed is the cluster's affair.
pub(super) fn without_effect(given: &Value) -> Option<&'static str> {
    let file = given.pointer("/authentication/x509/clientCAFile").filter(|file| !file.is_null());
    file.map(|_| "authentication.x509.clientCAFile")
}

impl Access {
    pub(super) fn of(settings: &Settings<'_>) -> Result<Self, ConfigError> {
        let mut access = Self::default();
        let root = Object { path: String::new(), fields: Some(settings.all()) };
        let authentication = root.inner("authentication")?;
        authentication.only(&["anonymous", "webhook", "x509"])?;
        let anonymous = authentication.inner("anonymous")?;
        anonymous.only(&["enabled"])?;
        if anonymous.bool("enabled")? == Some(true) {
            return Err(wrong(&anonymous.name("enabled"), "Corten supports false only, not true"));
        }
        let webhook = authentication.inner("webhook")?;
        webhook.only(&["enabled", "cacheTTL"])?;
        access.tokens = webhook.bool("enabled")?.unwrap_or(access.tokens);
        access.token_ttl = webhook.duration("cacheTTL")?.unwrap_or(access.token_ttl);
        // The cluster's own authority is known in any case.
        let x509 = authentication.inner("x509")?;
        x509.only(&["clientCAFile"])?;
        x509.text("clientCAFile")?;
        let authorization = root.inner("authorization")?;
        authorization.only(&["mode", "webhook"])?;
        match authorization.get("mode") {
            None => {}
            Some(Value::String(mode)) if mode == "Webhook" || mode.is_empty() => {}
            Some(other) => return Err(wrong(&authorization.name("mode"), format!("Corten supports \"Webhook\" only, not {other}"))),
        }
        let webhook = authorization.inner("webhook")?;
        webhook.only(&["cacheAuthorizedTTL", "cacheUnauthorizedTTL"])?;
        access.allowed_ttl = webhook.duration("cacheAuthorizedTTL")?.unwrap_or(access.allowed_ttl);
        access.denied_ttl = webhook.duration("cacheUnauthorizedTTL")?.unwrap_or(access.denied_ttl);
        Ok(access)
    }
}

/// A part of the settings, and how to get to it.
struct Object<'a> {
    path: String,
    fields: Option<&'a Map<String, Value>>,
}

impl<'a> Object<'a> {
    fn name(&self, field: &str) -> String {
        if self.path.is_empty() { field.to_owned() } else { format!("{}.{field}", self.path) }
    }

    fn get(&self, field: &str) -> Option<&'a Value> {
        self.fields?.get(field).filter(|value| !value.is_null())
    }

    /// A setting, if it is given and of its kind.
    fn checked(&self, field: &str, kind: Kind) -> Result<Option<&'a Value>, ConfigError> {
        let Some(value) = self.get(field) else { return Ok(None) };
        check(&self.name(field), kind, value)?;
        Ok(Some(value))
    }

    fn inner(&self, field: &str) -> Result<Self, ConfigError> {
        Ok(Self { path: self.name(field), fields: self.checked(field, Kind::Object)?.and_then(Value::as_object) })
    }

    fn only(&self, known: &[&str]) -> Result<(), ConfigError> {
        match self.fields.into_iter().flat_map(Map::keys).find(|name| !known.contains(&name.as_str())) {
            Some(unknown) => Err(wrong(&self.name(unknown), "unknown setting")),
            None => Ok(()),
        }
    }

    fn bool(&self, field: &str) -> Result<Option<bool>, ConfigError> {
        Ok(self.checked(field, Kind::Bool)?.and_then(Value::as_bool))
    }

    fn text(&self, field: &str) -> Result<Option<&'a str>, ConfigError> {
        Ok(self.checked(field, Kind::Text)?.and_then(Value::as_str))
    }

    /// Zero is as good as nothing, as with the reference.
    fn duration(&self, field: &str) -> Result<Option<Duration>, ConfigError> {
        let given = self.checked(field, Kind::Duration)?.and_then(Value::as_str).and_then(duration::parse);
        Ok(given.filter(|duration| !duration.is_zero()))
    }
}
