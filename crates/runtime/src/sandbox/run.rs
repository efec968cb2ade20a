//! `RunPodSandbox`.

use std::fs;
use std::path::{Component, Path};
use std::sync::Arc;

use corten_cri::v1::{self, NamespaceMode};
use corten_shim::protocol::Serve;

use super::{Sandbox, etc, network};
use crate::engine::Engine;
use crate::error::{Error, Result, blocking};
use crate::events::Kind;
use crate::files;
use crate::namespaces::{self, Wanted};
use crate::paths::SandboxPaths;
use crate::record::{Encoded, Made, SandboxRecord};
use crate::shim::{Shim, ShimError};
use crate::{cgroup, mounts, names, spec, userns};

/// How many times a shim that is only being started is waited for: where many start at once, the kernel moves them between
/// cgroups one after the other.
const PATIENCE: usize = 6;

impl Engine {
    /// Makes a sandbox, or nothing at all.
    pub(crate) async fn run_pod_sandbox(self: &Arc<Self>, request: v1::RunPodSandboxRequest) -> Result<String> {
        let config = request.config.ok_or_else(|| Error::invalid("sandbox config is missing"))?;
        let metadata = config.metadata.clone().ok_or_else(|| Error::invalid("sandbox config must include metadata"))?;
        self.handlers.find(&request.runtime_handler)?;
        userns::wanted(&spec::namespace_options(&config))?;
        let id = files::new_id();
        let name = names::sandbox(&metadata);
        let record = SandboxRecord {
            cgroup_parent: self.cgroup_parent(&config, &id)?,
            hostname: hostname(&config)?,
            id: id.clone(),
            name: name.clone(),
            created_at: files::now(),
            boot_id: self.boot_id.clone(),
            handler: request.runtime_handler,
            config: Encoded(config),
        };
        self.with_tables(|tables| tables.names.reserve("sandbox", &name, &id))?;
        let paths = self.paths.sandbox(&id);
        match self.make(record.clone(), paths.clone()).await {
            Ok((made, shim)) => {
                let sandbox = Arc::new(Sandbox::new(record, paths, made.addresses));
                sandbox.set_ready(shim.clone());
                self.with_tables(|tables| tables.sandboxes.insert(id.clone(), sandbox.clone()));
                self.announce_sandbox(&sandbox, Kind::Created);
                self.announce_sandbox(&sandbox, Kind::Started);
                // It may have died before the sandbox could be found by its end.
                if shim.is_closed() {
                    self.shim_lost(&id);
                }
                Ok(id)
            }
            Err(error) => {
                if let Err(left) = self.discard(&record).await {
                    tracing::error!(sandbox = %id, error = %left, "a sandbox that could not be made is not all gone");
                }
                self.with_tables(|tables| tables.names.release(&name));
                Err(error)
            }
        }
    }

    async fn make(self: &Arc<Self>, record: SandboxRecord, paths: SandboxPaths) -> Result<(Made, Shim)> {
        let options = spec::namespace_options(&record.config.0);
        let node = |mode: i32| mode == NamespaceMode::Node as i32;
        let (host_network, host_ipc) = (node(options.network), node(options.ipc));
        let mapping = userns::wanted(&options)?;
        let serve = Serve {
            sandbox: record.id.clone(),
            pause: options.pid == NamespaceMode::Pod as i32,
            userns: mapping.is_some().then(|| paths.user.clone()),
            cgroups: self.layout.shim_cgroups(&self.cgroup_root)?,
        };
        let engine = self.clone();
        let (layout, netns) = (self.layout.clone(), (!host_network).then(|| paths.netns.clone()));
        let (prepared, from) = (paths.clone(), record.clone());
        // The record first: from here on a crash leaves something that recovery finds.
        let recorded = (paths.clone(), record.clone());
        blocking(move || {
            files::make_dir(&recorded.0.dir)?;
            files::publish(&recorded.0.record(), &recorded.1)
        })
        .await?;
        let prepare = blocking(move || {
            let config = &from.config.0;
            etc::write(&prepared, &from.hostname, config.dns_config.as_ref())?;
            if !host_ipc {
                let security = config.linux.as_ref().and_then(|linux| linux.security_context.as_ref());
                let labels = spec::Labels::of(security.and_then(|security| security.selinux_options.as_ref()));
                mounts::mount_shm(&prepared.shm(), labels.as_ref().map(|labels| labels.files.as_str()))?;
            }
            let wanted = Wanted {
                made: mapping.is_some(),
                ipc: (!host_ipc).then(|| prepared.ipc.clone()),
                uts: (!host_network).then(|| prepared.uts.clone()),
                network: netns,
                hostname: from.hostname.clone(),
                sysctls: config.linux.as_ref().map(|linux| linux.sysctls.clone()).unwrap_or_default(),
            };
            match (&mapping, &wanted.network) {
                (Some(mapping), _) => {
                    userns::make(&engine.program, mapping, &prepared.user, &wanted)?;
                    for path in [prepared.etc("hostname"), prepared.etc("hosts"), prepared.etc("resolv.conf"), prepared.shm()] {
                        mapping.give(&path)?;
                    }
                }
                (None, Some(path)) => corten_network::netns::create(path)?,
                (None, None) => {}
            }
            namespaces::make(wanted)?;
            layout.create(&from.cgroup_parent)?;
            if let Some(resources) = config.linux.as_ref().and_then(|linux| linux.resources.as_ref()) {
                cgroup::apply(&layout, &from.cgroup_parent, resources)?;
            }
            Ok(())
        });
        let attach = async {
            if host_network {
                return Ok::<_, Error>(Made::default());
            }
            let attachment = self.network.attach(&network::pod(&record, &paths)).await?;
            Ok(Made { addresses: attachment.addresses.iter().map(ToString::to_string).collect() })
        };
        let start = async {
            self.program.start(&paths, &serve)?;
            let mut connected = self.connect(&record.id).await;
            for _ in 1..PATIENCE {
                if !matches!(connected, Err(ShimError::Silent)) {
                    break;
                }
                connected = self.connect(&record.id).await;
            }
            connected.map_err(|error| {
                let said = fs::read_to_string(paths.shim_log()).unwrap_or_default();
                Error::Internal(format!("the sandbox's shim does not start ({error}): {}", said.trim()))
            })
        };
        // Neither is given up when the other fails: what is half-made could not be taken apart.
        let (attached, started) = if serve.userns.is_some() {
            // The shim enters the user namespace.
            prepare.await?;
            tokio::join!(attach, start)
        } else {
            let attached = async {
                prepare.await?;
                attach.await
            };
            tokio::join!(attached, start)
        };
        let (made, shim) = (attached?, started?);
        files::publish(&paths.ready(), &made)?;
        Ok((made, shim))
    }

    /// The cgroup that the sandbox's containers go into, below this node's.
    fn cgroup_parent(&self, config: &v1::PodSandboxConfig, id: &str) -> Result<String> {
        let asked = config.linux.as_ref().map(|linux| linux.cgroup_parent.as_str()).unwrap_or_default();
        if Path::new(asked).components().any(|part| matches!(part, Component::ParentDir)) {
            return Err(Error::Invalid(format!("cgroup parent {asked:?} leads upwards")));
        }
        let root = self.cgroup_root.trim_end_matches('/');
        let asked = cgroup::names::parent(asked)?;
        if asked.is_empty() {
            return Ok(format!("{root}/sandbox-{id}"));
        }
        let inside = Path::new("/").join(&asked).starts_with(if root.is_empty() { "/" } else { root });
        Ok(if inside { format!("/{asked}") } else { format!("{root}/{asked}") })
    }
}

/// The pod's host name: the node's own, if it says nothing.
fn hostname(config: &v1::PodSandboxConfig) -> Result<String> {
    if !config.hostname.is_empty() {
        return Ok(config.hostname.clone());
    }
    let path = Path::new("/proc/sys/kernel/hostname");
    fs::read_to_string(path).map(|name| name.trim().to_owned()).map_err(Error::io("read", path))
}
