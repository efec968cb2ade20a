//! The pods' network of a node: the built-in one, or CNI plugins.

use std::collections::HashSet;

use ipnet::IpNet;

use crate::plugins::{Directories, Plugins, Pod};
use crate::{Attachment, NetworkError, Options, PodNetwork};

/// Attaches pod sandboxes with what the node is configured to use, and detaches them with what attached them, whatever is
/// configured by then.
pub struct Network {
    built_in: PodNetwork,
    plugins: Plugins,
}

impl Network {
    /// Opens the record directory. With `directories` of CNI plugins, these attach pods; else the built-in network does.
    ///
    /// Must be called inside a tokio runtime whose threads are in the node's network namespace.
    pub async fn open(options: Options, directories: Option<Directories>) -> Result<Self, NetworkError> {
        let plugins = Plugins::new(options.dir.clone(), directories);
        Ok(Self { built_in: PodNetwork::open(options).await?, plugins })
    }

    /// Whether pods can be attached; otherwise why not.
    pub async fn ready(&self) -> Result<(), NetworkError> {
        if self.plugins.enabled() {
            return Ok(self.plugins.ready().await?);
        }
        if self.built_in.ready() { Ok(()) } else { Err(NetworkError::NotReady) }
    }

    /// Sets the range that new pods get their addresses from. Plugins have a configuration of their own.
    pub fn set_pod_cidr(&self, range: IpNet) -> Result<(), NetworkError> {
        if self.plugins.enabled() { Ok(()) } else { self.built_in.set_pod_cidr(range) }
    }

    /// Gives a pod addresses and an interface.
    pub async fn attach(&self, pod: &Pod) -> Result<Attachment, NetworkError> {
        if self.plugins.enabled() {
            return Ok(self.plugins.attach(pod).await?);
        }
        self.built_in.attach(&pod.id, &pod.netns).await
    }

    /// Takes them away. A sandbox without them is fine.
    pub async fn detach(&self, sandbox: &str) -> Result<(), NetworkError> {
        self.plugins.detach(sandbox).await?;
        self.built_in.detach(sandbox).await
    }

    /// Detaches every sandbox that is not in `live`: what a crash left behind.
    pub async fn retain(&self, live: &HashSet<String>) -> Result<(), NetworkError> {
        self.built_in.retain(live).await?;
        Ok(self.plugins.retain(live).await?)
    }

    /// Asks CNI plugins whether the sandboxes in `live` still have what they were given, and tells of those that have not. The
    /// built-in network has nobody to ask.
    pub async fn check_all(&self, live: &HashSet<String>) -> Result<(), NetworkError> {
        Ok(self.plugins.check_all(live).await?)
    }

    /// Lets CNI plugins take away what the pods have of them, also outside of this network namespace.
    pub async fn detach_from_plugins(&self) -> Result<(), NetworkError> {
        Ok(self.plugins.detach_all().await?)
    }

    /// Takes away what the built-in network has for pods in this network namespace, and returns when it is gone. Their addresses
    /// stay reserved.
    pub async fn disconnect_all(&self) -> Result<(), NetworkError> {
        self.built_in.disconnect_all().await
    }
}
