//! The environment of a container.
//!
//! Values come from the definition, from ConfigMaps and Secrets, from the downward API, and from
//! the Services of the namespace; later ones may refer to earlier ones.

pub(crate) mod services;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{ConfigMap, Container, EnvVarSource, Pod, Secret};

use super::downward::{self, DownwardError, Surroundings};
use super::expansion::expand;

/// ConfigMaps and Secrets that were looked up, by name; `None` if there is none of that name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Looked {
    pub(crate) config_maps: HashMap<String, Option<Arc<ConfigMap>>>,
    pub(crate) secrets: HashMap<String, Option<Arc<Secret>>>,
}

/// The environment cannot be made; the message is the container's waiting message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EnvError {
    #[error("configmap \"{0}\" not found")]
    NoConfigMap(String),
    #[error("secret \"{0}\" not found")]
    NoSecret(String),
    #[error("couldn't find key {key} in ConfigMap {namespace}/{name}")]
    NoConfigMapKey { key: String, namespace: String, name: String },
    #[error("couldn't find key {key} in Secret {namespace}/{name}")]
    NoSecretKey { key: String, namespace: String, name: String },
    #[error(transparent)]
    Downward(#[from] DownwardError),
}

/// Variables in order, each name once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Environment {
    order: Vec<String>,
    values: HashMap<String, String>,
}

impl Environment {
    fn set(&mut self, name: String, value: String) {
        if self.values.insert(name.clone(), value).is_none() {
            self.order.push(name);
        }
    }

    /// A variable's value.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// Replaces references in a text.
    pub(crate) fn expand(&self, text: &str) -> String {
        expand(text, |name| self.values.get(name).cloned())
    }

    /// Replaces references in a text, all of which must lead to something; gives the name of the first that does not.
    pub(crate) fn expand_all(&self, text: &str) -> Result<String, String> {
        let missing = std::cell::RefCell::new(None);
        let expanded = expand(text, |name| {
            let value = self.values.get(name).cloned();
            if value.is_none() {
                missing.borrow_mut().get_or_insert_with(|| name.to_owned());
            }
            value
        });
        match missing.into_inner() {
            Some(name) => Err(name),
            None => Ok(expanded),
        }
    }

    /// Names and values in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.order.iter().filter_map(|name| Some((name.as_str(), self.get(name)?)))
    }
}

/// Makes the environment. `services` are the variables of Services.
pub(crate) fn environment(
    pod: &Pod,
    container: &Container,
    looked: &Looked,
    services: &BTreeMap<String, String>,
    around: &Surroundings,
) -> Result<Environment, EnvError> {
    let mut environment = Environment::default();
    for source in container.env_from.iter().flatten() {
        let prefix = source.prefix.as_deref().unwrap_or_default();
        if let Some(reference) = &source.config_map_ref {
            let optional = reference.optional == Some(true);
            let found = looked.config_maps.get(&reference.name).and_then(Option::as_ref);
            match found {
                Some(map) => {
                    for (key, value) in map.data.iter().flatten() {
                        environment.set(format!("{prefix}{key}"), value.clone());
                    }
                }
                None if optional => {}
                None => return Err(EnvError::NoConfigMap(reference.name.clone())),
            }
        }
        if let Some(reference) = &source.secret_ref {
            let optional = reference.optional == Some(true);
            let found = looked.secrets.get(&reference.name).and_then(Option::as_ref);
            match found {
                Some(secret) => {
                    for (key, value) in secret.data.iter().flatten() {
                        let value = String::from_utf8_lossy(&value.0).into_owned();
                        environment.set(format!("{prefix}{key}"), value);
                    }
                }
                None if optional => {}
                None => return Err(EnvError::NoSecret(reference.name.clone())),
            }
        }
    }
    for variable in container.env.iter().flatten() {
        let value = match (&variable.value, &variable.value_from) {
            (Some(value), _) if !value.is_empty() => {
                Some(expand(value, |name| environment.get(name).map(str::to_owned).or_else(|| services.get(name).cloned())))
            }
            (_, Some(source)) => from_source(pod, container, source, looked, around)?,
            _ => Some(String::new()),
        };
        if let Some(value) = value {
            environment.set(variable.name.clone(), value);
        }
    }
    for (name, value) in services {
        if environment.get(name).is_none() {
            environment.set(name.clone(), value.clone());
        }
    }
    Ok(environment)
}

/// `None`: an optional reference to nothing, so there is no variable.
fn from_source(
    pod: &Pod,
    container: &Container,
    source: &EnvVarSource,
    looked: &Looked,
    around: &Surroundings,
) -> Result<Option<String>, EnvError> {
    let namespace = || super::namespace(pod).to_owned();
    if let Some(field) = &source.field_ref {
        return Ok(Some(downward::field(pod, around, &field.field_path)?));
    }
    if let Some(selector) = &source.resource_field_ref {
        return Ok(Some(downward::resource(pod, Some(container), selector, around)?));
    }
    if let Some(selector) = &source.config_map_key_ref {
        let optional = selector.optional == Some(true);
        let found = looked.config_maps.get(&selector.name).and_then(Option::as_ref);
        let Some(map) = found else {
            return none_if(optional, || EnvError::NoConfigMap(selector.name.clone()));
        };
        let value = map.data.as_ref().and_then(|d| d.get(&selector.key));
        return match value {
            Some(value) => Ok(Some(value.clone())),
            None => none_if(optional, || EnvError::NoConfigMapKey {
                key: selector.key.clone(),
                namespace: namespace(),
                name: selector.name.clone(),
            }),
        };
    }
    if let Some(selector) = &source.secret_key_ref {
        let optional = selector.optional == Some(true);
        let found = looked.secrets.get(&selector.name).and_then(Option::as_ref);
        let Some(secret) = found else {
            return none_if(optional, || EnvError::NoSecret(selector.name.clone()));
        };
        let value = secret.data.as_ref().and_then(|d| d.get(&selector.key));
        return match value {
            Some(value) => Ok(Some(String::from_utf8_lossy(&value.0).into_owned())),
            None => none_if(optional, || EnvError::NoSecretKey {
                key: selector.key.clone(),
                namespace: namespace(),
                name: selector.name.clone(),
            }),
        };
    }
    Ok(Some(String::new()))
}

fn none_if(optional: bool, error: impl FnOnce() -> EnvError) -> Result<Option<String>, EnvError> {
    if optional { Ok(None) } else { Err(error()) }
}

#[cfg(test)]
mod tests;
