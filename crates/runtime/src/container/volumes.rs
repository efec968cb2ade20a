//! Image volumes: the files of an image as a read-only directory of a container.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use corten_cri::v1::ContainerConfig;

use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::files;
use crate::mounts;
use crate::paths::ContainerPaths;
use crate::spec::Rootfs;
use crate::userns::Mapping;

/// Where the volumes among a container's mounts lie on the node, by their place in the list of mounts.
pub(crate) type Volumes = HashMap<usize, PathBuf>;

/// An image that is to be mounted.
pub(super) struct Wanted {
    index: usize,
    layers: Vec<PathBuf>,
    image: String,
    sub_path: String,
}

/// The pins of a container's volumes begin with the container's id.
fn pin(container: &str, index: &str) -> String {
    format!("{container}.{index}")
}

impl Engine {
    /// Finds and holds the images that a container's mounts name.
    pub(super) async fn hold_volumes(&self, id: &str, config: &ContainerConfig, paths: &ContainerPaths) -> Result<Vec<Wanted>> {
        let mut wanted = Vec::new();
        for (index, mount) in config.mounts.iter().enumerate() {
            let Some(spec) = &mount.image else { continue };
            if !mount.host_path.is_empty() {
                return Err(Error::Invalid(format!("mount {:?} names both a host path and an image", mount.container_path)));
            }
            let image = self.images.get(&spec.image).await?;
            let image = image.ok_or_else(|| failed(&spec.image, "the image is not on the node"))?;
            // The directory first: what is pinned is found by it.
            files::make_dir(&paths.volume(&index.to_string()))?;
            self.images.pin(&pin(id, &index.to_string()), &image).await?;
            let layers = self.images.rootfs(&image).await?;
            wanted.push(Wanted { index, layers, image: spec.image.clone(), sub_path: mount.image_sub_path.clone() });
        }
        Ok(wanted)
    }

    /// Lets go of a container's volumes. May be repeated.
    pub(super) async fn release_volumes(&self, id: &str) -> Result<()> {
        let paths = self.paths.container(id);
        for index in files::names_in(&paths.volumes()) {
            mounts::detach(&paths.volume(&index))?;
            self.images.unpin(&pin(id, &index)).await?;
        }
        Ok(())
    }
}

/// Mounts the images. Blocks.
pub(super) fn mount(wanted: &[Wanted], paths: &ContainerPaths, mapping: Option<(&Mapping, &Path)>, label: Option<&str>) -> Result<Volumes> {
    let mut volumes = Volumes::new();
    for Wanted { index, layers, image, sub_path } in wanted {
        let target = paths.volume(&index.to_string());
        mounts::mount_image(layers, paths, &target, mapping.map(|(_, userns)| userns), label).map_err(|error| failed(image, error))?;
        let found = Rootfs::open(&target)?.resolve(sub_path).map_err(|error| failed(image, format!("sub path {sub_path:?}: {error}")))?;
        volumes.insert(*index, found);
    }
    Ok(volumes)
}

/// In the words by which a kubelet knows this failure from others.
fn failed(image: &str, why: impl std::fmt::Display) -> Error {
    Error::Invalid(format!("ImageVolumeMountFailed: cannot mount image {image:?}: {why}"))
}
