//! Corten as a CNI plugin: the same pod network, for container runtimes that attach pods by the Container Network Interface.
//!
//! One call is one process, which gets its parameters in `CNI_…` variables and the network's configuration on standard input,
//! and answers on standard output. Calls for different pods run at the same time; a lock file puts their bookkeeping in line.
//!
//! The configuration is `{"type": "corten-cni", "dir": …, "podCIDR": …, "nodeAddress": …, "mtu": …}`: where attachments are
//! recorded, the node's range of pod addresses, the node's address and the largest packet.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs::File;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use ipnet::IpNet;
use rustix::fs::{FlockOperation, flock};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{Attachment, NetworkError, Options, PodNetwork, links, netns};

/// The plugin that sets up a pod's loopback interface. Runtimes call it before the network's own, and bring none themselves.
pub const LOOPBACK: &str = "loopback";

/// The versions of the specification whose answers are known here, newest last.
const VERSIONS: [&str; 6] = ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0", "1.1"];

/// Version in which an error is told when the configuration names none.
const FALLBACK: &str = "1.0.0";

/// What the runtime says in its `CNI_…` variables.
#[derive(Debug, Clone, Default)]
pub struct Invocation {
    /// `CNI_COMMAND`.
    pub command: String,
    /// `CNI_CONTAINERID`.
    pub container_id: String,
    /// `CNI_NETNS`.
    pub netns: Option<PathBuf>,
    /// `CNI_IFNAME`.
    pub interface: String,
}

impl Invocation {
    /// The invocation that variables describe; `variable` gives the value of one.
    pub fn from_variables(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let text = |name: &str| variable(name).unwrap_or_default().to_string_lossy().into_owned();
        Self {
            command: text("CNI_COMMAND"),
            container_id: text("CNI_CONTAINERID"),
            netns: variable("CNI_NETNS").map(PathBuf::from),
            interface: text("CNI_IFNAME"),
        }
    }
}

/// An answer that is an error: its code is one of the specification's.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    version: String,
    code: u32,
    message: String,
}

impl Failure {
    /// The error as the specification writes it.
    pub fn to_json(&self) -> Value {
        json!({"cniVersion": self.version, "code": self.code, "msg": self.message})
    }
}

/// Error codes of the specification.
mod code {
    pub(super) const VERSION: u32 = 1;
    pub(super) const ENVIRONMENT: u32 = 4;
    pub(super) const IO: u32 = 5;
    pub(super) const DECODE: u32 = 6;
    pub(super) const CONFIGURATION: u32 = 7;
    pub(super) const TRY_AGAIN: u32 = 11;
    pub(super) const NOT_AVAILABLE: u32 = 50;
    /// The first code that is a plugin's own.
    pub(super) const ATTACHMENT: u32 = 100;
}

#[derive(Debug, Deserialize)]
struct Configuration {
    #[serde(rename = "cniVersion", default)]
    version: String,
    #[serde(rename = "type", default)]
    plugin: String,
    #[serde(default)]
    dir: PathBuf,
    #[serde(rename = "podCIDR")]
    pod_cidr: Option<IpNet>,
    #[serde(rename = "nodeAddress")]
    node_address: Option<Ipv4Addr>,
    #[serde(default = "ethernet")]
    mtu: u32,
    #[serde(rename = "prevResult")]
    previous: Option<Value>,
    #[serde(rename = "cni.dev/valid-attachments", default)]
    valid: Vec<ValidAttachment>,
}

#[derive(Debug, Deserialize)]
struct ValidAttachment {
    #[serde(rename = "containerID")]
    container_id: String,
    ifname: String,
}

fn ethernet() -> u32 {
    1500
}

/// Does what the runtime asks for and gives what is to be written to standard output; nothing where the specification wants none.
///
/// Must be called inside a tokio runtime whose threads are in the node's network namespace.
///
/// # Errors
///
/// The specification's error object, to be written to standard output before exiting with 1.
pub async fn run(invocation: &Invocation, input: &[u8]) -> Result<Option<Value>, Failure> {
    let fail = |code, message: String| Failure { version: FALLBACK.to_owned(), code, message };
    let configuration: Configuration = serde_json::from_slice(input)
        .map_err(|error| fail(code::DECODE, format!("the network's configuration cannot be read: {error}")))?;
    let version = match configuration.version.as_str() {
        "" => FALLBACK,
        version => version,
    };
    if invocation.command == "VERSION" {
        return Ok(Some(json!({"cniVersion": version, "supportedVersions": VERSIONS})));
    }
    let call = Call { invocation, configuration: &configuration, version };
    if !VERSIONS.contains(&version) {
        return Err(call.fail(code::VERSION, format!("CNI version {version} is not one of {}", VERSIONS.join(", "))));
    }
    if configuration.plugin == LOOPBACK {
        return call.loopback().await;
    }
    match invocation.command.as_str() {
        "ADD" => call.add().await.map(Some),
        "DEL" => call.delete().await.map(|()| None),
        "CHECK" => call.check().await.map(|()| None),
        "STATUS" => call.status().await.map(|()| None),
        "GC" => call.collect().await.map(|()| None),
        other => Err(call.fail(code::ENVIRONMENT, format!("CNI_COMMAND {other:?} is not one of ADD, DEL, CHECK, STATUS, GC, VERSION"))),
    }
}

struct Call<'a> {
    invocation: &'a Invocation,
    configuration: &'a Configuration,
    version: &'a str,
}

impl Call<'_> {
    async fn add(&self) -> Result<Value, Failure> {
        let id = self.attachment_id()?;
        let netns = self.invocation.netns.as_ref().filter(|path| !path.as_os_str().is_empty());
        let netns = netns.ok_or_else(|| self.fail(code::ENVIRONMENT, "CNI_NETNS is needed to add a pod".to_owned()))?;
        let range = self.range()?;
        let (network, _lock) = self.open().await?;
        network.set_pod_cidr(range).map_err(|error| self.fail(code::CONFIGURATION, error.to_string()))?;
        let attachment = network.attach_as(&id, netns, &self.invocation.interface).await.map_err(|error| self.refuse(&error))?;
        Ok(self.result(&id, &attachment, &netns.display().to_string()))
    }

    /// The interface goes with its namespace: only adding does anything.
    async fn loopback(&self) -> Result<Option<Value>, Failure> {
        let netns = self.invocation.netns.as_ref().filter(|path| !path.as_os_str().is_empty());
        let (true, Some(netns)) = (self.invocation.command == "ADD", netns) else { return Ok(None) };
        let up = netns::within(netns, async |handle| links::set_up(&handle, "lo").await).await;
        up.map_err(|error| self.refuse(&error.into()))?;
        let interface = json!({"name": "lo", "mac": "00:00:00:00:00:00", "sandbox": netns});
        let mut ip = json!({"address": "127.0.0.1/8", "interface": 0});
        if self.version.starts_with("0.") {
            ip["version"] = json!("4");
        }
        Ok(Some(json!({"cniVersion": self.version, "interfaces": [interface], "ips": [ip], "routes": [], "dns": {}})))
    }

    async fn delete(&self) -> Result<(), Failure> {
        let id = self.attachment_id()?;
        let (network, _lock) = self.open().await?;
        network.detach_and_wait(&id).await.map_err(|error| self.refuse(&error))
    }

    /// The pod still has what `prevResult` says it was given.
    async fn check(&self) -> Result<(), Failure> {
        let id = self.attachment_id()?;
        let (network, _lock) = self.open().await?;
        let attachment =
            network.attachment(&id).ok_or_else(|| self.fail(code::ATTACHMENT, format!("container {id} is not attached to the network")))?;
        let given = self.configuration.previous.as_ref().and_then(|result| result.get("ips")).and_then(Value::as_array);
        let Some(given) = given else {
            return Err(self.fail(code::CONFIGURATION, "CHECK needs prevResult with the pod's addresses".to_owned()));
        };
        for address in &attachment.addresses {
            let shown = format!("{address}/32");
            if !given.iter().any(|ip| ip.get("address").and_then(Value::as_str) == Some(&shown)) {
                return Err(self.fail(code::ATTACHMENT, format!("container {id} has address {address}, which is not in prevResult")));
            }
        }
        let linked = network.is_linked(&id).await.map_err(|error| self.refuse(&error))?;
        if linked { Ok(()) } else { Err(self.fail(code::ATTACHMENT, format!("the link of container {id} is gone"))) }
    }

    async fn status(&self) -> Result<(), Failure> {
        self.range().map_err(|failure| self.fail(code::NOT_AVAILABLE, failure.message))?;
        self.open().await.map(drop)
    }

    async fn collect(&self) -> Result<(), Failure> {
        let live: HashSet<String> =
            self.configuration.valid.iter().map(|valid| attachment_id(&valid.container_id, &valid.ifname)).collect();
        let (network, _lock) = self.open().await?;
        for id in network.attached() {
            if !live.contains(&id) {
                network.detach_and_wait(&id).await.map_err(|error| self.refuse(&error))?;
            }
        }
        Ok(())
    }

    fn range(&self) -> Result<IpNet, Failure> {
        self.configuration.pod_cidr.ok_or_else(|| {
            self.fail(
                code::CONFIGURATION,
                "the network's configuration has no podCIDR: the node has no range of pod addresses yet".to_owned(),
            )
        })
    }

    /// What the call is about. A container's id and interface become a file's name, so they must be harmless as one.
    fn attachment_id(&self) -> Result<String, Failure> {
        let (id, interface) = (&self.invocation.container_id, &self.invocation.interface);
        let harmless = |text: &str| {
            text.starts_with(|first: char| first.is_ascii_alphanumeric())
                && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'))
        };
        if !harmless(id) || id.len() > 200 {
            return Err(self.fail(code::ENVIRONMENT, format!("CNI_CONTAINERID {id:?} is not a container's id")));
        }
        if !harmless(interface) || interface.len() > 15 {
            return Err(self.fail(code::ENVIRONMENT, format!("CNI_IFNAME {interface:?} is not an interface's name")));
        }
        Ok(attachment_id(id, interface))
    }

    /// The network, held alone until the lock is dropped.
    async fn open(&self) -> Result<(PodNetwork, File), Failure> {
        let Configuration { dir, node_address, mtu, .. } = self.configuration;
        if !dir.is_absolute() {
            return Err(self.fail(code::CONFIGURATION, format!("dir {} of the network's configuration is not absolute", dir.display())));
        }
        let path = dir.join("cni.lock");
        let locked = std::fs::create_dir_all(dir).and_then(|()| {
            let file = File::options().create(true).truncate(false).write(true).open(&path)?;
            flock(&file, FlockOperation::LockExclusive)?;
            Ok(file)
        });
        let lock = locked.map_err(|error| self.fail(code::IO, format!("cannot lock {}: {error}", path.display())))?;
        let options = Options { dir: dir.clone(), node_address: *node_address, mtu: *mtu };
        let network = PodNetwork::open(options).await.map_err(|error| self.refuse(&error))?;
        Ok((network, lock))
    }

    fn result(&self, id: &str, attachment: &Attachment, netns: &str) -> Value {
        let (near, far) = crate::pods::hardware_addresses(id);
        let ips: Vec<Value> = attachment
            .addresses
            .iter()
            .map(|address| {
                let mut ip = json!({"address": format!("{address}/32"), "gateway": crate::pods::GATEWAY, "interface": 1});
                if self.version.starts_with("0.") {
                    ip["version"] = json!("4");
                }
                ip
            })
            .collect();
        json!({
            "cniVersion": self.version,
            "interfaces": [
                {"name": crate::pods::device_name(id), "mac": near},
                {"name": self.invocation.interface, "mac": far, "sandbox": netns},
            ],
            "ips": ips,
            "routes": [{"dst": "0.0.0.0/0", "gw": crate::pods::GATEWAY}],
            "dns": {},
        })
    }

    fn refuse(&self, error: &NetworkError) -> Failure {
        let code = match error {
            NetworkError::NotReady | NetworkError::Exhausted { .. } => code::TRY_AGAIN,
            NetworkError::Family { .. } => code::CONFIGURATION,
            NetworkError::Record { .. } => code::IO,
            _ => code::ATTACHMENT,
        };
        self.fail(code, error.to_string())
    }

    fn fail(&self, code: u32, message: String) -> Failure {
        Failure { version: self.version.to_owned(), code, message }
    }
}

/// The usual interface's attachment has the container's own id, as the built-in runtime's has.
fn attachment_id(container: &str, interface: &str) -> String {
    if interface == crate::pods::INTERFACE { container.to_owned() } else { format!("{container}.{interface}") }
}

#[cfg(test)]
mod tests;
