//! Network configurations: files of the configuration directory, and what of them a plugin gets to see.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::PluginError;

/// The versions of the specification that are known here, oldest first.
const VERSIONS: [&str; 7] = ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];

/// The newest of them.
pub(super) fn newest() -> &'static str {
    VERSIONS.last().copied().unwrap_or_default()
}

/// Whether a known version is `least` or newer.
pub(super) fn at_least(version: &str, least: &str) -> bool {
    let place = |wanted: &str| VERSIONS.iter().position(|known| *known == wanted);
    place(version) >= place(least)
}

/// A network: plugins that are called one after the other.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct List {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) disable_check: bool,
    pub(super) disable_gc: bool,
    /// Whether the list has all of the network's plugins.
    complete: bool,
    /// Their configurations, as they were given.
    pub(super) plugins: Vec<Map<String, Value>>,
}

impl List {
    /// The network of a directory: the first file, by name, that describes one. Files that describe none are passed over, but if
    /// there is no other, what is wrong with the first of them is the answer.
    pub(super) fn first(dir: &Path) -> Result<Self, PluginError> {
        let file = |source: io::Error| PluginError::File { path: dir.to_owned(), source };
        let mut paths: Vec<PathBuf> = match fs::read_dir(dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(PluginError::NoNetwork(dir.to_owned())),
            entries => entries.map_err(file)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>().map_err(file)?,
        };
        paths.retain(|path| path.is_file() && path.extension().is_some_and(|e| e == "conflist" || e == "conf" || e == "json"));
        paths.sort();
        let mut wrong = None;
        for path in paths {
            match Self::load(&path) {
                Ok(list) => return Ok(list),
                Err(error) => {
                    tracing::warn!(%error, "a network configuration is passed over");
                    wrong.get_or_insert(error);
                }
            }
        }
        Err(wrong.unwrap_or_else(|| PluginError::NoNetwork(dir.to_owned())))
    }

    fn load(path: &Path) -> Result<Self, PluginError> {
        let text = fs::read(path).map_err(|source| PluginError::File { path: path.to_owned(), source })?;
        let wrong = |message: String| PluginError::Configuration { path: path.to_owned(), message };
        let value: Map<String, Value> = serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))?;
        let mut list = Self::of(value).map_err(wrong)?;
        list.extend(path.parent().unwrap_or(path))?;
        Ok(list)
    }

    /// The network that a file's text describes: a list, or one plugin.
    pub(super) fn of(given: Map<String, Value>) -> Result<Self, String> {
        let name = match given.get("name") {
            Some(Value::String(name)) => name.clone(),
            None => return Err("it has no name".to_owned()),
            Some(other) => return Err(format!("its name is {other}, not a string")),
        };
        let sound = name.starts_with(|c: char| c.is_ascii_alphanumeric())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'));
        if !sound {
            return Err(format!("{name:?} is not a network's name"));
        }
        let version = version(&given)?;
        let flag = |key: &str| match given.get(key) {
            None => Ok(false),
            Some(Value::Bool(value)) => Ok(*value),
            // Some tools write these as text.
            Some(Value::String(text)) => text.parse().map_err(|_| format!("{key} is {text:?}, not true or false")),
            Some(other) => Err(format!("{key} is {other}, not true or false")),
        };
        let (disable_check, disable_gc, complete) = (flag("disableCheck")?, flag("disableGC")?, flag("loadOnlyInlinedPlugins")?);
        let plugins = match given.get("plugins") {
            None if given.contains_key("type") => vec![given.clone()],
            None => return Err("it has neither plugins nor a type".to_owned()),
            Some(Value::Array(plugins)) => plugins
                .iter()
                .map(|plugin| plugin.as_object().cloned().ok_or_else(|| format!("{plugin} is not a plugin")))
                .collect::<Result<_, _>>()?,
            Some(other) => return Err(format!("plugins is {other}, not a list")),
        };
        if plugins.is_empty() {
            return Err("it has no plugins".to_owned());
        }
        let list = Self { name, version, disable_check, disable_gc, complete, plugins };
        list.plugins.iter().try_for_each(check_plugin)?;
        Ok(list)
    }

    /// Adds the plugins of the directory that has the network's name, unless the list says that it has all.
    fn extend(&mut self, dir: &Path) -> Result<(), PluginError> {
        let Ok(entries) = fs::read_dir(dir.join(&self.name)) else { return Ok(()) };
        let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        paths.retain(|path| !self.complete && path.is_file() && path.extension().is_some_and(|extension| extension == "conf"));
        paths.sort();
        for path in paths {
            let text = fs::read(&path).map_err(|source| PluginError::File { path: path.clone(), source })?;
            let read = serde_json::from_slice::<Map<String, Value>>(&text).map_err(|error| error.to_string());
            let plugin = read.and_then(|plugin| check_plugin(&plugin).map(|()| plugin));
            self.plugins.push(plugin.map_err(|message| PluginError::Configuration { path, message })?);
        }
        Ok(())
    }

    /// The name of a plugin's program.
    pub(super) fn plugin_name(plugin: &Map<String, Value>) -> &str {
        plugin.get("type").and_then(Value::as_str).unwrap_or_default()
    }

    /// What a plugin reads: its configuration, with the network's name and version, what it asked for of `capabilities`, and the
    /// result of the plugins before.
    pub(super) fn input(&self, plugin: &Map<String, Value>, capabilities: &Map<String, Value>, previous: Option<&Value>) -> Value {
        let mut input = plugin.clone();
        let asked = input.remove("capabilities");
        input.insert("name".to_owned(), json!(self.name));
        input.insert("cniVersion".to_owned(), json!(self.version));
        let wanted = |name: &str| asked.as_ref().and_then(|asked| asked.get(name)) == Some(&Value::Bool(true));
        let given: Map<String, Value> =
            capabilities.iter().filter(|(name, _)| wanted(name)).map(|(name, value)| (name.clone(), value.clone())).collect();
        if !given.is_empty() {
            input.insert("runtimeConfig".to_owned(), Value::Object(given));
        }
        if let Some(previous) = previous {
            input.insert("prevResult".to_owned(), previous.clone());
        }
        Value::Object(input)
    }
}

/// A plugin's type is its program's name, and must not lead anywhere else.
fn check_plugin(plugin: &Map<String, Value>) -> Result<(), String> {
    match plugin.get("type") {
        Some(Value::String(name)) if !name.is_empty() && !name.contains('/') && name != "." && name != ".." => Ok(()),
        Some(Value::String(name)) => Err(format!("{name:?} is not a plugin's type")),
        _ => Err("a plugin has no type".to_owned()),
    }
}

/// The newest known version of those that a network offers.
fn version(given: &Map<String, Value>) -> Result<String, String> {
    let text = |value: &Value| value.as_str().map(str::to_owned).ok_or_else(|| format!("version {value} is not a string"));
    let mut offered = Vec::new();
    if let Some(Value::Array(more)) = given.get("cniVersions") {
        offered.extend(more.iter().map(text).collect::<Result<Vec<_>, _>>()?);
    }
    match given.get("cniVersion") {
        Some(one) => offered.push(text(one)?),
        // What there was before versions were written down.
        None if offered.is_empty() => offered.push("0.1.0".to_owned()),
        None => {}
    }
    let best = VERSIONS.iter().rev().find(|known| offered.iter().any(|offer| offer == *known));
    best.map(|known| (*known).to_owned()).ok_or_else(|| format!("CNI version {} is not one of {}", offered.join(", "), VERSIONS.join(", ")))
}
