//! The context `corten` in the user's kubeconfig.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use corten_pki::{Kubeconfig, add_context, write_private};

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

fn add(path: &Path, cluster: &Kubeconfig) -> Result<()> {
    // A link stays a link: the file that it leads to is replaced.
    let path = &fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let existing = match fs::read_to_string(path) {
        Ok(text) if text.trim().is_empty() => None,
        Ok(text) => {
            let value: serde_json::Value = serde_saphyr::from_str(&text)?;
            if !value.is_object() {
                bail!("it is not a kubeconfig");
            }
            Some(value)
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(error.into()),
    };
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let merged = add_context(existing, cluster);
    write_private(path, serde_saphyr::to_string(&merged)?.as_bytes())?;
    Ok(())
}

#[cfg(test)]
mod tests;
