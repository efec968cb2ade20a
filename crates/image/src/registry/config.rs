//! Mirrors.
use std::path::PathBuf;
/// registries.yaml
pub struct Registries;
impl Registries {
    pub(crate) fn new(_file: Option<PathBuf>, _ca: Option<PathBuf>) -> Registries {
        Registries
    }
}
/// Bad registries.yaml.
#[derive(Debug, thiserror::Error)]
#[error("")]
pub struct InvalidRegistries;
