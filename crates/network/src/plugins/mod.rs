//! Pods attached by CNI plugins instead of the built-in network: the runtime's side of the Container Network Interface.
//!
//! The network is the first file of the configuration directory that describes one. Directories are read when they are
//! needed, so a network that is put there later needs no restart. What was attached is recorded with the configuration that
//! attached it, before the first plugin runs: whatever happens in between, and whatever the directory says by then, the
//! same plugins are asked to take it away again.
//!
//! <https://www.cni.dev/docs/spec/>

mod exec;
mod list;
mod result;

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::SystemTime;

use futures::StreamExt;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::pods::INTERFACE;
use crate::{Attachment, links, netns};
use exec::Job;
use list::List;

/// Where the configuration and the programs are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directories {
    /// The directory of network configurations; the first one by name is the network.
    pub configurations: PathBuf,
    /// The directories of plugins, searched in turn.
    pub programs: Vec<PathBuf>,
}

/// A pod that is to be attached.
#[derive(Debug, Clone)]
pub struct Pod {
    /// The sandbox's id.
    pub id: String,
    /// The pod's namespace in the cluster.
    pub namespace: String,
    /// The pod's name.
    pub name: String,
    /// The pod's uid.
    pub uid: String,
    /// Its pinned network namespace.
    pub netns: PathBuf,
    /// What plugins may ask for by capability: `portMappings`, `dns`, `bandwidth`, …
    pub capabilities: Map<String, Value>,
}

/// Why a network of plugins does not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum PluginError {
    /// The directory has no network.
    #[error("no network config found in {}: cni plugin not initialized", .0.display())]
    NoNetwork(PathBuf),
    /// A file cannot be read or written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A configuration is wrong.
    #[error("network configuration {path}: {message}")]
    Configuration {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// A plugin's program is not there.
    #[error("failed to find plugin {plugin:?} in path {path:?}")]
    Missing {
        /// The plugin's type.
        plugin: String,
        /// Where it was looked for.
        path: Vec<PathBuf>,
    },
    /// A plugin does not know the configuration's version.
    #[error("plugin type={plugin:?} does not support CNI version {version:?}; it supports {}", supported.join(", "))]
    Version {
        /// The plugin's type.
        plugin: String,
        /// The configuration's version.
        version: String,
        /// The versions it knows.
        supported: Vec<String>,
    },
    /// A plugin failed.
    #[error("plugin type={plugin:?} failed ({command}): {message}")]
    Failed {
        /// The plugin's type.
        plugin: String,
        /// `add`, `del`, …
        command: String,
        /// What it said.
        message: String,
    },
    /// A plugin's answer is not what the specification wants.
    #[error("plugin type={plugin:?} gave an invalid result: {message}")]
    Result {
        /// The plugin's type.
        plugin: String,
        /// What is wrong with it.
        message: String,
    },
    /// The pod's loopback interface cannot be brought up.
    #[error(transparent)]
    Namespace(#[from] netns::NetnsError),
}

/// What was attached, and how.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Record {
    network: List,
    programs: Vec<PathBuf>,
    netns: PathBuf,
    interface: String,
    arguments: String,
    capabilities: Map<String, Value>,
    /// The last plugin's, once all have added the pod.
    result: Option<Value>,
}

/// The extension of records. Those of the built-in network lie beside them and have another.
const RECORD: &str = "cni";

/// From which version on plugins are asked whether they are ready, and to collect garbage.
const STATUS_AND_GC: &str = "1.1.0";

/// From which version on there is `CHECK`, and `DEL` gets the result.
const CHECK: &str = "0.4.0";

/// How many pods' plugins run at once where all pods are gone through.
const AT_ONCE: usize = 8;

/// The versions that a program knows, and when it was written.
type Known = (SystemTime, Vec<String>);

/// Networks made by plugins.
pub struct Plugins {
    dir: PathBuf,
    directories: Option<Directories>,
    versions: Mutex<HashMap<PathBuf, Known>>,
}

impl Plugins {
    /// Records go into `dir`. Without directories nothing is attached, but what was before can still be detached.
    pub(crate) fn new(dir: PathBuf, directories: Option<Directories>) -> Self {
        Self { dir, directories, versions: Mutex::default() }
    }

    /// Whether pods are to be attached by plugins.
    pub(crate) fn enabled(&self) -> bool {
        self.directories.is_some()
    }

    /// Whether there is a network whose plugins are there, know its version, and say that they are ready.
    pub(crate) async fn ready(&self) -> Result<(), PluginError> {
        let (list, directories) = self.network()?;
        for plugin in &list.plugins {
            let name = List::plugin_name(plugin);
            let program = exec::find(name, &directories.programs)?;
            let supported = self.supported(name, &program, &directories.programs).await?;
            if !supported.contains(&list.version) {
                return Err(PluginError::Version { plugin: name.to_owned(), version: list.version.clone(), supported });
            }
            if list::at_least(&list.version, STATUS_AND_GC) {
                let input = list.input(plugin, &Map::new(), None);
                Job::plain("STATUS", name, &directories.programs).run(&program, &input).await?;
            }
        }
        Ok(())
    }

    /// Lets every plugin of the network add the pod; all or nothing.
    pub(crate) async fn attach(&self, pod: &Pod) -> Result<Attachment, PluginError> {
        let (network, directories) = self.network()?;
        for plugin in &network.plugins {
            exec::find(List::plugin_name(plugin), &directories.programs)?;
        }
        let mut record = Record {
            network,
            programs: directories.programs.clone(),
            netns: pod.netns.clone(),
            interface: INTERFACE.to_owned(),
            arguments: arguments(pod),
            capabilities: pod.capabilities.clone(),
            result: None,
        };
        self.publish(&pod.id, &record)?;
        // Runtimes call a plugin for this; it is one request to the kernel.
        netns::within(&pod.netns, async |handle| links::set_up(&handle, "lo").await).await?;
        let added = self.add(&pod.id, &mut record).await;
        if added.is_err()
            && let Err(left) = self.detach(&pod.id).await
        {
            tracing::warn!(sandbox = pod.id, error = %left, "what is left of a failed attachment could not be removed");
        }
        added.map(|addresses| Attachment { addresses })
    }

    async fn add(&self, id: &str, record: &mut Record) -> Result<Vec<IpAddr>, PluginError> {
        let mut last = String::new();
        for plugin in &record.network.plugins {
            let name = List::plugin_name(plugin);
            let input = record.network.input(plugin, &record.capabilities, record.result.as_ref());
            let answer = Job::of("ADD", name, id, record).run(&exec::find(name, &record.programs)?, &input).await?;
            let result = result::parse(&answer, &record.network.version);
            let result = result.map_err(|message| PluginError::Result { plugin: name.to_owned(), message })?;
            record.result = Some(result);
            name.clone_into(&mut last);
        }
        let addresses =
            record.result.as_ref().map_or_else(|| Err("there is none".to_owned()), |given| result::addresses(given, &record.interface));
        let addresses = addresses.map_err(|message| PluginError::Result { plugin: last, message })?;
        self.publish(id, record)?;
        Ok(addresses)
    }

    /// Lets every plugin delete the pod, the last one first. A pod that is not attached is fine.
    pub(crate) async fn detach(&self, id: &str) -> Result<(), PluginError> {
        let Some(record) = self.load(id)? else { return Ok(()) };
        let previous = record.result.as_ref().filter(|_| list::at_least(&record.network.version, CHECK));
        for plugin in record.network.plugins.iter().rev() {
            let name = List::plugin_name(plugin);
            let input = record.network.input(plugin, &record.capabilities, previous);
            Job::of("DEL", name, id, &record).run(&exec::find(name, &record.programs)?, &input).await?;
        }
        let path = self.path(id);
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(PluginError::File { path, source }),
            _ => Ok(()),
        }
    }

    /// Whether the pod still has what it was given, as far as its plugins can tell.
    pub(crate) async fn check(&self, id: &str) -> Result<(), PluginError> {
        let Some(record) = self.load(id)? else { return Ok(()) };
        if record.network.disable_check || !list::at_least(&record.network.version, CHECK) {
            return Ok(());
        }
        for plugin in &record.network.plugins {
            let name = List::plugin_name(plugin);
            let input = record.network.input(plugin, &record.capabilities, record.result.as_ref());
            Job::of("CHECK", name, id, &record).run(&exec::find(name, &record.programs)?, &input).await?;
        }
        Ok(())
    }

    /// Looks after every pod in `live` that is attached whether it still is, and tells of those that are not. What others have is
    /// half made or half taken away.
    pub(crate) async fn check_all(&self, live: &HashSet<String>) -> Result<(), PluginError> {
        let mut attached = self.attached()?;
        attached.retain(|id| live.contains(id));
        let checked = futures::stream::iter(attached).for_each_concurrent(AT_ONCE, async |id| {
            // One that is detached meanwhile is as it should be.
            if let Err(error) = self.check(&id).await
                && self.path(&id).exists()
            {
                tracing::warn!(sandbox = id, %error, "the network of a pod is not as it was");
            }
        });
        checked.await;
        Ok(())
    }

    /// Detaches every pod that is not in `live`, then tells the network's plugins which ones are, so that they can drop what
    /// belongs to no pod.
    pub(crate) async fn retain(&self, live: &HashSet<String>) -> Result<(), PluginError> {
        let dead = self.attached()?.into_iter().filter(|id| !live.contains(id));
        let detached = futures::stream::iter(dead).for_each_concurrent(AT_ONCE, async |id| {
            // It keeps its record, and is tried again by the next daemon. No other pod has to wait for that.
            if let Err(error) = self.detach(&id).await {
                tracing::error!(sandbox = id, %error, "what a pod that is gone has of the network could not be removed");
            }
        });
        detached.await;
        if self.enabled()
            && let Err(error) = self.collect().await
        {
            tracing::warn!(%error, "what no pod uses of the network was not collected");
        }
        Ok(())
    }

    /// Detaches every pod. One that cannot be keeps no other from it.
    pub(crate) async fn detach_all(&self) -> Result<(), PluginError> {
        let mut outcome = Ok(());
        for id in self.attached()? {
            outcome = outcome.and(self.detach(&id).await);
        }
        outcome
    }

    async fn collect(&self) -> Result<(), PluginError> {
        let (list, directories) = self.network()?;
        if list.disable_gc || !list::at_least(&list.version, STATUS_AND_GC) {
            return Ok(());
        }
        let mut valid = Vec::new();
        for id in self.attached()? {
            if let Some(record) = self.load(&id)?.filter(|record| record.network.name == list.name) {
                valid.push(json!({"containerID": id, "ifname": record.interface}));
            }
        }
        for plugin in &list.plugins {
            let name = List::plugin_name(plugin);
            let mut input = list.input(plugin, &Map::new(), None);
            input["cni.dev/valid-attachments"] = Value::from(valid.clone());
            Job::plain("GC", name, &directories.programs).run(&exec::find(name, &directories.programs)?, &input).await?;
        }
        Ok(())
    }

    fn network(&self) -> Result<(List, &Directories), PluginError> {
        let directories = self.directories.as_ref().ok_or_else(|| PluginError::NoNetwork(PathBuf::new()))?;
        Ok((List::first(&directories.configurations)?, directories))
    }

    /// The versions that a program knows. It is asked again when it was replaced.
    async fn supported(&self, name: &str, program: &Path, path: &[PathBuf]) -> Result<Vec<String>, PluginError> {
        let file = |source| PluginError::File { path: program.to_owned(), source };
        let written = fs::metadata(program).and_then(|meta| meta.modified()).map_err(file)?;
        let known = |versions: &HashMap<PathBuf, Known>| versions.get(program).filter(|(at, _)| *at == written).map(|(_, v)| v.clone());
        if let Some(versions) = self.versions.lock().ok().and_then(|versions| known(&versions)) {
            return Ok(versions);
        }
        let answer = Job::plain("VERSION", name, path).run(program, &json!({"cniVersion": list::newest()})).await?;
        let told: Option<Vec<String>> = serde_json::from_slice::<Value>(&answer)
            .ok()
            .and_then(|answer| serde_json::from_value(answer["supportedVersions"].clone()).ok());
        let told = told.ok_or_else(|| PluginError::Result {
            plugin: name.to_owned(),
            message: format!("VERSION was answered with {:?}", String::from_utf8_lossy(&answer).trim()),
        })?;
        if let Ok(mut versions) = self.versions.lock() {
            versions.insert(program.to_owned(), (written, told.clone()));
        }
        Ok(told)
    }

    fn path(&self, id: &str) -> PathBuf {
        self.dir.join(format!("{id}.{RECORD}"))
    }

    fn load(&self, id: &str) -> Result<Option<Record>, PluginError> {
        let path = self.path(id);
        match fs::read(&path) {
            Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(PluginError::File { path, source }),
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|error| PluginError::File { path, source: error.into() }),
        }
    }

    /// The sandboxes that have a record.
    fn attached(&self) -> Result<Vec<String>, PluginError> {
        let file = |source| PluginError::File { path: self.dir.clone(), source };
        let mut ids = Vec::new();
        for entry in fs::read_dir(&self.dir).map_err(file)? {
            let path = entry.map_err(file)?.path();
            if path.extension().is_some_and(|extension| extension == RECORD)
                && let Some(id) = path.file_stem().and_then(|stem| stem.to_str())
            {
                ids.push(id.to_owned());
            }
        }
        Ok(ids)
    }

    /// Written aside and renamed: a record is whole or not there.
    fn publish(&self, id: &str, record: &Record) -> Result<(), PluginError> {
        let path = self.path(id);
        let partial = self.dir.join(format!("{id}.{RECORD}.tmp"));
        let written = serde_json::to_vec(record).map_err(io::Error::from).and_then(|text| {
            fs::write(&partial, text)?;
            fs::rename(&partial, &path)
        });
        written.map_err(|source| PluginError::File { path, source })
    }
}

/// What plugins are told of the pod in `CNI_ARGS`, by the names that every runtime uses.
fn arguments(pod: &Pod) -> String {
    let Pod { id, namespace, name, uid, .. } = pod;
    format!("IgnoreUnknown=1;K8S_POD_NAMESPACE={namespace};K8S_POD_NAME={name};K8S_POD_INFRA_CONTAINER_ID={id};K8S_POD_UID={uid}")
}

#[cfg(test)]
mod tests;
