//! Names that are taken while a sandbox or container exists: `name_namespace_uid_attempt`.

use std::collections::HashMap;

use corten_cri::v1::{ContainerMetadata, PodSandboxMetadata};

use crate::error::{Error, Result};

/// A sandbox's name.
pub(crate) fn sandbox(metadata: &PodSandboxMetadata) -> String {
    [metadata.name.as_str(), &metadata.namespace, &metadata.uid, &metadata.attempt.to_string()].join("_")
}

/// A container's name.
pub(crate) fn container(metadata: &ContainerMetadata, sandbox: &PodSandboxMetadata) -> String {
    let attempt = metadata.attempt.to_string();
    [metadata.name.as_str(), &sandbox.name, &sandbox.namespace, &sandbox.uid, &attempt].join("_")
}

/// The taken names, each with the id that has it.
#[derive(Debug, Default)]
pub(crate) struct Names {
    taken: HashMap<String, String>,
}

impl Names {
    /// Takes a name.
    pub(crate) fn reserve(&mut self, kind: &'static str, name: &str, id: &str) -> Result<()> {
        match self.taken.get(name) {
            Some(owner) if owner != id => Err(Error::Reserved { kind, name: name.to_owned(), owner: owner.clone() }),
            _ => {
                self.taken.insert(name.to_owned(), id.to_owned());
                Ok(())
            }
        }
    }

    /// Gives a name back.
    pub(crate) fn release(&mut self, name: &str) {
        self.taken.remove(name);
    }
}
