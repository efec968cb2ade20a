//! The context `corten` in the user's kubeconfig.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use corten_pki::{Kubeconfig, add_context, write_private};
use serde_json::Value;

/// The user's own kubeconfig: the first file of `KUBECONFIG`, else `~/.kube/config`.
fn user_file() -> Option<PathBuf> {
    let named = std::env::var_os("KUBECONFIG").and_then(|paths| std::env::split_paths(&paths).find(|path| !path.as_os_str().is_empty()));
    named.or_else(|| std::env::home_dir().map(|home| home.join(".kube").join("config")))
}

/// Adds the cluster to the user's kubeconfig without changing the current context, unless there is none.
/// Returns the file, or `None` when the user has no home.
pub(crate) fn add_to_users(cluster: &Kubeconfig) -> Result<Option<PathBuf>> {
    let Some(path) = user_file() else { return Ok(None) };
    add(&path, cluster).with_context(|| format!("cannot add context {} to {}", cluster.name, path.display()))?;
    Ok(Some(path))
}

/// Removes the cluster, its context and its user from the user's kubeconfig: what led to a cluster that is no more.
pub(crate) fn remove_from_users(name: &str) -> Result<()> {
    match user_file() {
        Some(path) => remove(&path, name).with_context(|| format!("cannot remove context {name} from {}", path.display())),
        None => Ok(()),
    }
}

fn add(path: &Path, cluster: &Kubeconfig) -> Result<()> {
    let path = &resolved(path);
    let existing = read(path)?;
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    write(path, &add_context(existing, cluster))
}

fn remove(path: &Path, name: &str) -> Result<()> {
    let path = &resolved(path);
    let Some(mut config) = read(path)? else { return Ok(()) };
    let mut found = false;
    for list in ["clusters", "contexts", "users"] {
        let Some(entries) = config.get_mut(list).and_then(Value::as_array_mut) else { continue };
        let before = entries.len();
        entries.retain(|entry| entry.get("name").and_then(Value::as_str) != Some(name));
        found |= entries.len() < before;
    }
    if config.get("current-context").and_then(Value::as_str) == Some(name) {
        config["current-context"] = Value::from("");
    }
    if found { write(path, &config) } else { Ok(()) }
}

/// A link stays a link: the file that it leads to is replaced.
fn resolved(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

fn read(path: &Path) -> Result<Option<Value>> {
    match fs::read_to_string(path) {
        Ok(text) if text.trim().is_empty() => Ok(None),
        Ok(text) => {
            let value: Value = serde_saphyr::from_str(&text)?;
            if !value.is_object() {
                bail!("it is not a kubeconfig");
            }
            Ok(Some(value))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn write(path: &Path, config: &Value) -> Result<()> {
    write_private(path, serde_saphyr::to_string(config)?.as_bytes())?;
    Ok(())
}

#[cfg(test)]
mod tests;
