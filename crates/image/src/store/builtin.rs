//! The built-in images: made from the program that this binary carries, always there, whatever a registry or pull policy says.

use super::{Store, StoreError};
use crate::build::{Image, Rootfs};
use crate::digest::Digest;
use crate::model::{ContainerConfig, Empty};
use crate::reference::Reference;

/// The registry that never needs one.
const DOMAIN: &str = "corten.local";
const PROGRAM: &str = "/corten-hello";
const PAUSE: &str = "pause";
const HELLO: &str = "hello";

/// The built-in images, each with its name: for archives that take them to another container runtime.
///
/// # Errors
///
/// If an image cannot be assembled.
pub fn built_in() -> std::io::Result<Vec<(Reference, Image)>> {
    let mut rootfs = Rootfs::new();
    rootfs.file(PROGRAM, corten_embedded::HELLO, 0o755);
    let image = |name: &str| {
        let config = ContainerConfig {
            entrypoint: [PROGRAM.to_owned()].into_iter().chain((name == PAUSE).then(|| PAUSE.to_owned())).collect(),
            exposed_ports: (name == HELLO).then(|| ("8080/tcp".to_owned(), Empty {})).into_iter().collect(),
            user: "65535:65535".to_owned(),
            working_dir: "/".to_owned(),
            ..ContainerConfig::default()
        };
        let reference: Reference = format!("{DOMAIN}/{name}:latest").parse().map_err(std::io::Error::other)?;
        Ok((reference, Image::new(&rootfs, config)?))
    };
    [PAUSE, HELLO].into_iter().map(image).collect()
}

/// Whether the name is one of a built-in image, with any tag.
pub(crate) fn is_built_in(reference: &Reference) -> bool {
    reference.domain() == DOMAIN && matches!(reference.path(), PAUSE | HELLO)
}

/// Whether only a built-in image can have such a name, so that no registry is asked.
pub(crate) fn is_local(reference: &Reference) -> bool {
    reference.domain() == DOMAIN
}

/// The one recorded name of a built-in image, for whatever tag is asked. A digest must match, so it is looked up as it stands.
pub(crate) fn canonical(reference: &Reference) -> Option<String> {
    (is_built_in(reference) && reference.digest().is_none()).then(|| format!("{}:latest", reference.repository()))
}

impl Store {
    /// Makes the built-in images if they are absent or of another version.
    pub(crate) fn install_built_in(&self) -> Result<(), StoreError> {
        for (reference, image) in built_in().map_err(StoreError::io(&self.inner.paths.root))? {
            let repository = reference.repository();
            let names = [reference.to_string(), format!("{repository}@{}", image.manifest_digest())];
            self.write_image(&image, &names)?;
            self.forget_older(&repository, &image.manifest_digest())?;
        }
        Ok(())
    }

    /// Takes the names of an older version's image away, so that it can be collected when no container uses it any more.
    fn forget_older(&self, repository: &str, current: &Digest) -> Result<(), StoreError> {
        let records = self.records()?;
        let of_repository = |name: &str| name.parse::<Reference>().is_ok_and(|name| name.repository() == repository);
        for record in records.iter().filter(|record| record.manifest != *current && of_repository(&record.name)) {
            self.remove_record(&record.name)?;
            self.remove_record(&record.id.to_string())?;
        }
        Ok(())
    }

    /// Stores an image that was built in memory.
    pub(crate) fn write_image(&self, image: &Image, names: &[String]) -> Result<(), StoreError> {
        let lease = self.lease()?;
        for (digest, content) in image.blobs() {
            lease.protect_blob(&digest)?;
            self.write_blob(content)?;
        }
        self.commit_names(names, &image.manifest_digest(), &image.manifest_digest())
    }
}
