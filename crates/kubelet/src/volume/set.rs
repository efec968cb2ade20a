//! All volumes of one pod.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use corten_cri::v1;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, ImageVolumeSource, Pod, VolumeMount};

use super::subpath::{self, SubPath};
use super::{Context, Volume, VolumeError, build, mounts};
use crate::pod::env::Environment;

/// A volume that failed, by name.
#[derive(Debug, thiserror::Error)]
#[error("MountVolume.SetUp failed for volume \"{name}\" : {source}")]
pub(crate) struct MountError {
    name: String,
    source: VolumeError,
}

/// A container's mount cannot be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SubPathError {
    #[error("cannot find volume \"{volume}\" to mount into container \"{container}\"")]
    NoVolume { volume: String, container: String },
    #[error("volume \"{0}\" requested recursive read-only mode, but it is not supported by the runtime")]
    Recursive(String),
    #[error("failed to prepare subPath for volumeMount \"{mount}\" of container \"{container}\": {source}")]
    Prepare { mount: String, container: String, source: VolumeError },
}

/// The volumes of a pod, by name.
pub(crate) struct Volumes {
    pod_dir: PathBuf,
    volumes: BTreeMap<String, Result<Arc<dyn Volume>, String>>,
    /// Those that are images: the runtime mounts them, out of what was pulled.
    images: BTreeMap<String, ImageVolumeSource>,
}

/// What a container's mounts depend on besides its volumes.
#[derive(Debug, Default)]
pub(crate) struct Means {
    /// The images of image volumes as the runtime calls them, by the volume's name.
    pub(crate) images: BTreeMap<String, String>,
    /// Whether the runtime can make everything below a read-only mount read-only.
    pub(crate) recursive: bool,
}

impl Volumes {
    /// The volumes that a pod defines; nothing is done yet.
    pub(crate) fn new(pod: &Pod, pod_dir: &Path) -> Self {
        let definitions = || pod.spec.iter().flat_map(|s| s.volumes.iter().flatten());
        let images = definitions().filter_map(|d| Some((d.name.clone(), d.image.clone()?))).collect();
        let volumes = definitions()
            .filter(|definition| definition.image.is_none())
            .map(|definition| {
                let volume = build(pod, definition, pod_dir).map_err(|e| e.to_string());
                (definition.name.clone(), volume)
            })
            .collect();
        Self { pod_dir: pod_dir.to_owned(), volumes, images }
    }

    /// Makes all volumes ready; the first failure is returned after all have been tried.
    pub(crate) async fn mount(&self, context: &Context<'_>) -> Result<(), MountError> {
        self.each(context, |_| true).await
    }

    /// Brings those up to date that follow the cluster.
    pub(crate) async fn update(&self, context: &Context<'_>) -> Result<(), MountError> {
        self.each(context, |volume| volume.updates()).await
    }

    async fn each(&self, context: &Context<'_>, wanted: impl Fn(&dyn Volume) -> bool) -> Result<(), MountError> {
        let mut failure = None;
        for (name, volume) in &self.volumes {
            let result = match volume {
                Ok(volume) if !wanted(volume.as_ref()) => continue,
                Ok(volume) => volume.mount(context).await,
                Err(message) => Err(VolumeError::Unsupported(message.clone())),
            };
            if let Err(source) = result {
                failure.get_or_insert(MountError { name: name.clone(), source });
            }
        }
        failure.map_or(Ok(()), Err)
    }

    /// Whether any volume follows the cluster.
    pub(crate) fn updates(&self) -> bool {
        self.volumes.values().flatten().any(|v| v.updates())
    }

    /// When the next token has to be renewed.
    pub(crate) fn refresh_at(&self) -> Option<Timestamp> {
        self.volumes.values().flatten().filter_map(|v| v.refresh_at()).min()
    }

    /// The image volumes that a container mounts, each once.
    pub(crate) fn images(&self, container: &Container) -> Vec<(&str, &ImageVolumeSource)> {
        let mounted = |name: &str| container.volume_mounts.iter().flatten().any(|mount| mount.name == name);
        self.images.iter().filter(|(name, _)| mounted(name)).map(|(name, source)| (name.as_str(), source)).collect()
    }

    /// The mounts of a container, sub paths prepared.
    pub(crate) fn mounts(&self, container: &Container, environment: &Environment, means: &Means) -> Result<Vec<v1::Mount>, SubPathError> {
        let list = container.volume_mounts.iter().flatten();
        list.enumerate().map(|(index, mount)| self.one(container, environment, means, (index, mount))).collect()
    }

    fn one(
        &self,
        container: &Container,
        environment: &Environment,
        means: &Means,
        (index, mount): (usize, &VolumeMount),
    ) -> Result<v1::Mount, SubPathError> {
        let no_volume = || SubPathError::NoVolume { volume: mount.name.clone(), container: container.name.clone() };
        let part = part(mount, environment).map_err(|source| SubPathError::Prepare {
            mount: mount.name.clone(),
            container: container.name.clone(),
            source,
        })?;
        if let Some(source) = self.images.get(&mount.name) {
            return Ok(v1::Mount {
                container_path: absolute(&mount.mount_path),
                image: Some(v1::ImageSpec {
                    image: means.images.get(&mount.name).ok_or_else(no_volume)?.clone(),
                    user_specified_image: source.reference.clone().unwrap_or_default(),
                    ..Default::default()
                }),
                image_sub_path: part.unwrap_or_default(),
                readonly: true,
                ..Default::default()
            });
        }
        let volume = self.volumes.get(&mount.name).and_then(|v| v.as_ref().ok()).ok_or_else(no_volume)?;
        let host_path = match part {
            None => volume.path().to_owned(),
            Some(part) => subpath::bind(&SubPath {
                volume: volume.path(),
                path: &part,
                target: self.pod_dir.join("volume-subpaths").join(&mount.name).join(&container.name).join(index.to_string()),
            })
            .map_err(|source| SubPathError::Prepare {
                mount: mount.name.clone(),
                container: container.name.clone(),
                source,
            })?,
        };
        let propagation = match mount.mount_propagation.as_deref() {
            Some("HostToContainer") => v1::MountPropagation::PropagationHostToContainer,
            Some("Bidirectional") => v1::MountPropagation::PropagationBidirectional,
            _ => v1::MountPropagation::PropagationPrivate,
        };
        let asked = mount.read_only == Some(true);
        let recursive = match mount.recursive_read_only.as_deref().filter(|_| asked) {
            Some("Enabled") if !means.recursive => return Err(SubPathError::Recursive(mount.name.clone())),
            Some("Enabled" | "IfPossible") => means.recursive,
            _ => false,
        };
        Ok(v1::Mount {
            container_path: absolute(&mount.mount_path),
            host_path: host_path.to_string_lossy().into_owned(),
            readonly: asked || volume.read_only(),
            recursive_read_only: recursive,
            propagation: propagation as i32,
            ..Default::default()
        })
    }

    /// Takes everything down.
    pub(crate) fn unmount(&self) -> Result<(), VolumeError> {
        subpath::clear(&self.pod_dir)?;
        for volume in self.volumes.values().flatten() {
            volume.unmount()?;
        }
        Ok(())
    }
}

/// The part of the volume that is mounted, if not all of it.
fn part(mount: &VolumeMount, environment: &Environment) -> Result<Option<String>, VolumeError> {
    let part = match mount.sub_path_expr.as_deref().filter(|e| !e.is_empty()) {
        Some(expression) => Some(environment.expand_all(expression).map_err(VolumeError::NoVariable)?),
        None => mount.sub_path.clone(),
    };
    let part = part.filter(|p| !p.is_empty());
    part.iter().try_for_each(|p| subpath::check(p))?;
    Ok(part)
}

fn absolute(path: &str) -> String {
    if path.starts_with('/') { path.to_owned() } else { format!("/{path}") }
}

/// Removes a pod's directory with everything that is mounted in it.
pub(crate) fn remove_pod_dir(pod_dir: &Path) -> Result<(), VolumeError> {
    mounts::detach_below(pod_dir)?;
    match fs::remove_dir_all(pod_dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(super::io_error(pod_dir)(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
