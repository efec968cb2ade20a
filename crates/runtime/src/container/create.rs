//! `CreateContainer`: a root file system and a spec, and nothing that runs.

use std::path::Path;
use std::sync::Arc;

use corten_cri::v1::{self, NamespaceMode};
use corten_image::Image;
use corten_shim::protocol::PostStop;
use serde_json::{Value, json};

use super::{Container, Life};
use crate::cdi;
use crate::cgroup;
use crate::engine::Engine;
use crate::error::{Error, Result, blocking};
use crate::events::Kind;
use crate::files;
use crate::mounts;
use crate::names;
use crate::paths::ContainerPaths;
use crate::record::{ContainerRecord, Encoded};
use crate::sandbox::Sandbox;
use crate::spec::{self, Labels, Profiles, Rootfs, Source};
use crate::userns::Mapping;

impl Engine {
    /// Makes a container, or nothing at all.
    pub(crate) async fn create_container(self: &Arc<Self>, request: v1::CreateContainerRequest) -> Result<String> {
        let sandbox = self.sandbox(&request.pod_sandbox_id)?;
        sandbox.shim()?;
        let config = request.config.ok_or_else(|| Error::invalid("container config is missing"))?;
        let metadata = config.metadata.as_ref().ok_or_else(|| Error::invalid("container config must include metadata"))?;
        let of_sandbox = sandbox.record.config.0.metadata.clone().unwrap_or_default();
        let name = names::container(metadata, &of_sandbox);
        let wanted = config.image.as_ref().map(|image| image.image.as_str()).unwrap_or_default();
        let image = self.images.get(wanted).await?.ok_or_else(|| Error::not_found("image", wanted))?;
        let id = files::new_id();
        self.with_tables(|tables| tables.names.reserve("container", &name, &id))?;
        match self.make_container(&id, &name, config, &sandbox, &image).await {
            Ok(container) => {
                let container = Arc::new(container);
                self.with_tables(|tables| tables.containers.insert(id.clone(), container.clone()));
                self.announce(&container, Kind::Created);
                Ok(id)
            }
            Err(error) => {
                if let Err(left) = self.clear_container(&id, "").await {
                    tracing::error!(container = %id, error = %left, "a container that could not be made is not all gone");
                }
                self.with_tables(|tables| tables.names.release(&name));
                Err(error)
            }
        }
    }

    async fn make_container(
        &self,
        id: &str,
        name: &str,
        config: v1::ContainerConfig,
        sandbox: &Arc<Sandbox>,
        image: &Image,
    ) -> Result<Container> {
        let shim = sandbox.shim()?;
        let privileged =
            config.linux.as_ref().and_then(|linux| linux.security_context.as_ref()).is_some_and(|security| security.privileged);
        let of_sandbox = sandbox.record.config.0.linux.as_ref().and_then(|linux| linux.security_context.as_ref());
        if privileged && !of_sandbox.is_some_and(|security| security.privileged) {
            return Err(Error::invalid("no privileged container allowed in sandbox"));
        }
        let target = self.target(&config)?;
        let mut record = ContainerRecord {
            id: id.to_owned(),
            name: name.to_owned(),
            sandbox: sandbox.record.id.clone(),
            created_at: files::now(),
            boot_id: self.boot_id.clone(),
            image_id: image.id.to_string(),
            image_ref: image.repo_digests.first().cloned().unwrap_or_else(|| image.id.to_string()),
            stop_signal: super::stop::signal(config.stop_signal, &image.config.config.stop_signal)?,
            log: log_path(&sandbox.record.config.0.log_directory, &config.log_path),
            cgroup: cgroup::names::container(&sandbox.record.cgroup_parent, id),
            uid: 0,
            gid: 0,
            groups: Vec::new(),
            config: Encoded(config),
        };
        let paths = self.paths.container(id);
        files::make_dir(&paths.dir)?;
        files::publish(&paths.record(), &record)?;
        self.images.pin(id, image).await?;
        let layers = self.images.rootfs(image).await?;
        let wanted = self.hold_volumes(id, &record.config.0, &paths).await?;
        let foreign = self.handlers.find(&sandbox.record.handler)?.is_some();
        let (cdi, mapping) = (self.cdi_dirs.clone(), sandbox.mapping()?);
        let (layout, held, image) = (self.layout.clone(), sandbox.clone(), image.config.clone());
        let inside = paths.clone();
        let record = blocking(move || {
            let mapped = mapping.as_ref().map(|mapping| (mapping, held.paths.user.as_path()));
            let config = &record.config.0;
            let security = config.linux.as_ref().and_then(|linux| linux.security_context.clone()).unwrap_or_default();
            let labels = Labels::of(security.selinux_options.as_ref());
            let label = labels.as_ref().map(|labels| labels.files.as_str());
            mounts::mount_rootfs(&layers, &inside, mapped, label)?;
            let volumes = super::volumes::mount(&wanted, &inside, mapped, label)?;
            let rootfs = Rootfs::open(&inside.rootfs())?;
            let user = spec::resolve_user(&security, &image.config.user, &rootfs)?;
            if let Some(mapping) = mapping.as_ref().filter(|mapping| !mapping.covers(user.uid, user.gid)) {
                return Err(Error::Invalid(format!("user {}:{} is outside of the pod's user namespace ({mapping})", user.uid, user.gid)));
            }
            let root = mapping.as_ref().map_or((0, 0), Mapping::root);
            rootfs.make_dir(spec::working_dir(config, &image.config), root)?;
            let mut made = spec::make(&Source {
                config,
                sandbox_config: &held.record.config.0,
                sandbox: &held.paths,
                container: &inside,
                hostname: &held.record.hostname,
                image: &image.config,
                user: &user,
                cgroup: &record.cgroup,
                layout: &layout,
                mapping: mapping.as_ref(),
                volumes: &volumes,
                // Profiles come and go while the node runs.
                profiles: &Profiles::detect(),
                labels: labels.as_ref(),
                foreign,
                pause: shim.pause(),
                target,
            })?;
            // A kernel of its own knows nothing of the name that the pod's namespace has; all others give it the one it has.
            if foreign && made["linux"]["namespaces"].as_array().is_some_and(|list| list.iter().any(|one| one["type"] == "uts")) {
                made["hostname"] = json!(held.record.hostname);
            }
            cdi::apply(config, &cdi, &mut made)?;
            leave_hooks(&record.id, &inside, &made)?;
            files::publish(&inside.spec(), &made)?;
            (record.uid, record.gid, record.groups) = (user.uid, user.gid, user.groups);
            files::publish(&inside.record(), &record)?;
            Ok(record)
        })
        .await?;
        Ok(Container::new(record, sandbox.clone(), paths, Life::Created))
    }

    /// The process whose PID namespace an ephemeral container joins.
    fn target(&self, config: &v1::ContainerConfig) -> Result<Option<i32>> {
        let security = config.linux.as_ref().and_then(|linux| linux.security_context.as_ref());
        let Some(options) = security.and_then(|security| security.namespace_options.as_ref()) else { return Ok(None) };
        if options.pid != NamespaceMode::Target as i32 {
            return Ok(None);
        }
        self.container(&options.target_id)?.running().map(Some)
    }
}

/// What is to run after the container's end is found by the shim without reading the whole spec.
fn leave_hooks(id: &str, paths: &ContainerPaths, spec: &Value) -> Result<()> {
    let Some(hooks) = spec["hooks"]["poststop"].as_array().filter(|hooks| !hooks.is_empty()) else { return Ok(()) };
    let state = json!({
        "ociVersion": spec["ociVersion"], "id": id, "status": "stopped", "bundle": paths.dir, "annotations": spec["annotations"],
    });
    files::publish(&paths.dir.join(PostStop::FILE), &PostStop { state, hooks: hooks.clone() })
}

/// Both parts are needed for a log.
fn log_path(directory: &str, name: &str) -> Option<String> {
    let both = !directory.is_empty() && !name.is_empty();
    both.then(|| Path::new(directory).join(name).to_string_lossy().into_owned())
}
