//! Pins: the layers that a container uses, kept as long as the container.

use serde::{Deserialize, Serialize};

use super::{Image, Store, StoreError, files};
use crate::digest::Digest;

const OWNER_MAX: usize = 200;

#[derive(Serialize, Deserialize)]
struct Pin {
    image: Digest,
    chain: Vec<Digest>,
}

fn check_owner(owner: &str) -> Result<(), StoreError> {
    let valid = !owner.is_empty()
        && owner.len() <= OWNER_MAX
        && !owner.starts_with('.')
        && owner.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
    if valid { Ok(()) } else { Err(StoreError::InvalidOwner(owner.to_owned())) }
}

impl Store {
    pub(crate) fn write_pin(&self, owner: &str, image: &Image) -> Result<(), StoreError> {
        check_owner(owner)?;
        let path = self.inner.paths.pins.join(owner);
        let content = serde_json::to_vec(&Pin { image: image.id.clone(), chain: image.chain.clone() })
            .map_err(|error| StoreError::io(&path)(error.into()))?;
        // The collector reads pins under the exclusive lock: it sees this one, or is done before the layers are looked for.
        let shared = self.inner.paths.lock(rustix::fs::FlockOperation::LockShared)?;
        // No container outlives the machine, so the pin need not either: a container's start does not wait for the disk.
        files::write_atomically(&path, &content, files::Survives::Kill, &shared)
    }

    pub(crate) fn remove_pin(&self, owner: &str) -> Result<(), StoreError> {
        check_owner(owner)?;
        files::remove_if_present(&self.inner.paths.pins.join(owner)).map(drop)
    }

    pub(crate) fn pin_owners(&self) -> Result<Vec<String>, StoreError> {
        let mut owners: Vec<_> = files::entries(&self.inner.paths.pins)?.into_iter().map(|(name, _)| name).collect();
        owners.sort_unstable();
        Ok(owners)
    }

    /// The chain ids of all pinned layers; `None` if a pin cannot be read, and nothing is known for certain.
    pub(crate) fn pinned_layers(&self) -> Result<Option<Vec<Digest>>, StoreError> {
        let mut chains = Vec::new();
        for (owner, path) in files::entries(&self.inner.paths.pins)? {
            match std::fs::read(&path) {
                Ok(content) => match serde_json::from_slice::<Pin>(&content) {
                    Ok(pin) => chains.extend(pin.chain),
                    Err(error) => {
                        tracing::warn!(owner, %error, "unreadable pin: no layer is collected");
                        return Ok(None);
                    }
                },
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(StoreError::io(path)(error)),
            }
        }
        Ok(Some(chains))
    }
}
