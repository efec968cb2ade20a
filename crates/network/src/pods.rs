//! The address and the link of every pod sandbox on this node.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use ipnet::{IpNet, Ipv4Net};
use rtnetlink::Handle;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::ipam::Pool;
use crate::links::{self, Mac};
use crate::netns::{self, NetnsError};
use crate::plugins::PluginError;

/// The gateway that every pod sees: link-local, so it can never be a pod or a host. It exists only as a neighbour entry.
pub(crate) const GATEWAY: Ipv4Addr = Ipv4Addr::new(169, 254, 1, 1);

/// Extension of a record that is being written.
const UNFINISHED: &str = "tmp";

/// The pod's end of its link.
pub(crate) const INTERFACE: &str = "eth0";

/// What a pod's network needs to know about its node.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where attachments are recorded; survives restarts.
    pub dir: PathBuf,
    /// The node's address, used as the source when the node itself speaks to its pods.
    pub node_address: Option<Ipv4Addr>,
    /// MTU of pod links in bytes.
    pub mtu: u32,
}

/// Why a pod could not be attached or detached.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// The node has no pod range yet.
    #[error("network is not ready: the node has no pod CIDR yet")]
    NotReady,
    /// Every address of the range is in use.
    #[error("no free address in pod CIDR {range}")]
    Exhausted {
        /// The node's pod range.
        range: Ipv4Net,
    },
    /// Only IPv4 ranges are supported.
    #[error("pod CIDR {range} is not an IPv4 range")]
    Family {
        /// The range as given.
        range: IpNet,
    },
    /// The pod's namespace could not be entered or configured.
    #[error(transparent)]
    Namespace(#[from] NetnsError),
    /// The node's side could not be configured.
    #[error("sandbox {sandbox}: cannot {action}: {source}")]
    Netlink {
        /// The pod sandbox.
        sandbox: String,
        /// What was being done.
        action: &'static str,
        /// The kernel's answer.
        source: rtnetlink::Error,
    },
    /// A plugin of the pods' network failed.
    #[error(transparent)]
    Plugin(#[from] PluginError),
    /// An attachment record could not be read or written.
    #[error("attachment record {path}: {source}")]
    Record {
        /// The record's file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
}

/// What a sandbox got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// The pod's addresses, the primary one first.
    pub addresses: Vec<IpAddr>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Record {
    address: Ipv4Addr,
    device: String,
}

#[derive(Default)]
struct State {
    pool: Pool,
    records: HashMap<String, Record>,
}

/// Attaches pod sandboxes of this node to the network. All methods may be repeated and called concurrently for different sandboxes.
pub struct PodNetwork {
    options: Options,
    handle: Handle,
    state: Mutex<State>,
}

impl PodNetwork {
    /// Opens the record directory. Must be called inside a tokio runtime whose threads are in the node's network namespace.
    pub async fn open(options: Options) -> Result<Self, NetworkError> {
        let record_error = |path: &Path| {
            let path = path.to_owned();
            move |source| NetworkError::Record { path, source }
        };
        fs::create_dir_all(&options.dir).map_err(record_error(&options.dir))?;
        let mut state = State::default();
        for entry in fs::read_dir(&options.dir).map_err(record_error(&options.dir))? {
            let path = entry.map_err(record_error(&options.dir))?.path();
            if path.extension().is_some_and(|extension| extension == UNFINISHED) {
                // Of a process that was killed before it could publish a record: nothing had been made yet.
                fs::remove_file(&path).map_err(record_error(&path))?;
                continue;
            }
            let Some(sandbox) = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix(".json")) else {
                continue;
            };
            let text = fs::read(&path).map_err(record_error(&path))?;
            match serde_json::from_slice::<Record>(&text) {
                Ok(record) => {
                    state.pool.claim(record.address, sandbox);
                    state.records.insert(sandbox.to_owned(), record);
                }
                // A record is published by rename, so a broken one is foreign; it must not keep the node from starting.
                Err(error) => tracing::warn!(path = %path.display(), %error, "ignoring unreadable attachment record"),
            }
        }
        let (connection, handle, _) = rtnetlink::new_connection().map_err(record_error(Path::new("netlink socket")))?;
        tokio::spawn(connection);
        Ok(Self { options, handle, state: Mutex::new(state) })
    }

    /// Sets the range that new pods get their addresses from.
    pub fn set_pod_cidr(&self, range: IpNet) -> Result<(), NetworkError> {
        let IpNet::V4(range) = range else { return Err(NetworkError::Family { range }) };
        self.state().pool.set_range(range);
        Ok(())
    }

    /// Whether pods can be attached, that is, whether the node has its range.
    pub fn ready(&self) -> bool {
        self.state().pool.range().is_some()
    }

    /// Gives the sandbox an address and a link. A sandbox that has them already gets the same ones.
    pub async fn attach(&self, sandbox: &str, netns: &Path) -> Result<Attachment, NetworkError> {
        self.attach_as(sandbox, netns, INTERFACE).await
    }

    /// The same with another name for the pod's end of the link.
    pub(crate) async fn attach_as(&self, sandbox: &str, netns: &Path, interface: &str) -> Result<Attachment, NetworkError> {
        let record = self.reserve(sandbox)?;
        match self.connect(sandbox, netns, interface, &record).await {
            Ok(()) => Ok(Attachment { addresses: vec![record.address.into()] }),
            Err(error) => {
                if let Err(also) = self.detach(sandbox).await {
                    tracing::warn!(sandbox, error = %also, "cannot undo a failed attachment");
                }
                Err(error)
            }
        }
    }

    /// Takes address and link away. A sandbox without them is fine.
    pub async fn detach(&self, sandbox: &str) -> Result<(), NetworkError> {
        let Some(record) = self.release(sandbox).await? else { return Ok(()) };
        // Deleting a veth takes the kernel tens of milliseconds. The name is unique and the route is gone, so nobody waits for it.
        let handle = self.handle.clone();
        tokio::spawn(async move {
            if let Err(error) = links::delete(&handle, &record.device).await {
                tracing::warn!(device = record.device, %error, "cannot delete a pod's link");
            }
        });
        Ok(())
    }

    /// The same, and waits until the link is gone.
    pub(crate) async fn detach_and_wait(&self, sandbox: &str) -> Result<(), NetworkError> {
        let Some(record) = self.release(sandbox).await? else { return Ok(()) };
        let deleted = links::delete(&self.handle, &record.device).await;
        deleted.map_err(|source| NetworkError::Netlink { sandbox: sandbox.to_owned(), action: "delete the pod's link", source })
    }

    /// Ends an attachment but for its link.
    async fn release(&self, sandbox: &str) -> Result<Option<Record>, NetworkError> {
        let Some(record) = self.state().records.get(sandbox).cloned() else { return Ok(None) };
        let netlink = |action| move |source| NetworkError::Netlink { sandbox: sandbox.to_owned(), action, source };
        links::delete_route(&self.handle, Ipv4Net::from(record.address)).await.map_err(netlink("remove the pod's route"))?;
        let path = self.path(sandbox);
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => return Err(NetworkError::Record { path, source }),
            _ => {}
        }
        let mut state = self.state();
        state.records.remove(sandbox);
        state.pool.release(record.address);
        Ok(Some(record))
    }

    /// Detaches every sandbox that is not in `live`: what a crash left behind.
    pub async fn retain(&self, live: &HashSet<String>) -> Result<(), NetworkError> {
        let dead: Vec<String> = self.state().records.keys().filter(|sandbox| !live.contains(*sandbox)).cloned().collect();
        for sandbox in dead {
            self.detach(&sandbox).await?;
        }
        Ok(())
    }

    /// Deletes the links of all pods, and with them the routes, and returns when they are gone. Addresses stay reserved.
    pub async fn disconnect_all(&self) -> Result<(), NetworkError> {
        let links: Vec<(String, String)> =
            self.state().records.iter().map(|(sandbox, record)| (sandbox.clone(), record.device.clone())).collect();
        for (sandbox, device) in links {
            links::delete(&self.handle, &device).await.map_err(|source| NetworkError::Netlink {
                sandbox,
                action: "delete the pod's link",
                source,
            })?;
        }
        Ok(())
    }

    /// The addresses that the sandbox has, if it is attached.
    pub fn attachment(&self, sandbox: &str) -> Option<Attachment> {
        self.state().records.get(sandbox).map(|record| Attachment { addresses: vec![record.address.into()] })
    }

    /// The sandboxes that are attached.
    pub(crate) fn attached(&self) -> Vec<String> {
        self.state().records.keys().cloned().collect()
    }

    /// Whether the node's end of the sandbox's link is there.
    pub(crate) async fn is_linked(&self, sandbox: &str) -> Result<bool, NetworkError> {
        let netlink = |source| NetworkError::Netlink { sandbox: sandbox.to_owned(), action: "look for the pod's link", source };
        Ok(links::index(&self.handle, &device_name(sandbox)).await.map_err(netlink)?.is_some())
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        // Nothing in the critical sections panics half-way through a change; a poisoned lock holds whole data.
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn path(&self, sandbox: &str) -> PathBuf {
        self.options.dir.join(format!("{sandbox}.json"))
    }

    fn reserve(&self, sandbox: &str) -> Result<Record, NetworkError> {
        let mut state = self.state();
        if let Some(record) = state.records.get(sandbox) {
            return Ok(record.clone());
        }
        let range = state.pool.range().ok_or(NetworkError::NotReady)?;
        let address = state.pool.allocate(sandbox).ok_or(NetworkError::Exhausted { range })?;
        let record = Record { address, device: device_name(sandbox) };
        // Recorded before anything is made, so that a crash in between leaves nothing unknown.
        if let Err(source) = publish(&self.path(sandbox), &record) {
            state.pool.release(address);
            return Err(NetworkError::Record { path: self.path(sandbox), source });
        }
        state.records.insert(sandbox.to_owned(), record.clone());
        Ok(record)
    }

    async fn connect(&self, sandbox: &str, path: &Path, interface: &str, record: &Record) -> Result<(), NetworkError> {
        let netlink = |action| move |source| NetworkError::Netlink { sandbox: sandbox.to_owned(), action, source };
        let (near, far) = macs(sandbox);
        if links::index(&self.handle, &record.device).await.map_err(netlink("look for the pod's link"))?.is_none() {
            let namespace = netns::open(path)?;
            links::add_veth(&self.handle, &record.device, interface, namespace.as_fd(), Some((near, far)), self.options.mtu)
                .await
                .map_err(netlink("create the pod's link"))?;
        }
        let link = links::existing(&self.handle, &record.device).await.map_err(netlink("find the pod's link"))?;
        let address = record.address;
        let interface = interface.to_owned();
        netns::within(path, move |handle| async move {
            links::set_up(&handle, "lo").await?;
            let eth0 = links::existing(&handle, &interface).await?;
            links::add_address(&handle, eth0, address, 32).await?;
            links::set_up(&handle, &interface).await?;
            links::set_neighbour(&handle, eth0, GATEWAY, near).await?;
            links::route_to_link(&handle, Ipv4Net::from(GATEWAY), eth0, None).await?;
            links::route_via(&handle, Ipv4Net::default(), GATEWAY, Some(eth0)).await
        })
        .await?;
        links::set_neighbour(&self.handle, link, address, far).await.map_err(netlink("set the pod's neighbour entry"))?;
        links::route_to_link(&self.handle, Ipv4Net::from(address), link, self.options.node_address)
            .await
            .map_err(netlink("route to the pod"))
    }
}

fn publish(path: &Path, record: &Record) -> io::Result<()> {
    let text = serde_json::to_vec(record)?;
    let partial = path.with_extension(UNFINISHED);
    let mut file = fs::File::create(&partial)?;
    file.write_all(&text)?;
    fs::rename(&partial, path)
}

fn digest(sandbox: &str) -> [u8; 32] {
    Sha256::digest(sandbox.as_bytes()).into()
}

/// A link name of at most 15 bytes that is the sandbox's own.
pub(crate) fn device_name(sandbox: &str) -> String {
    let [a, b, c, d, e, f, ..] = digest(sandbox);
    format!("cor{a:02x}{b:02x}{c:02x}{d:02x}{e:02x}{f:02x}")
}

/// Hardware addresses of both ends: locally administered unicast, derived so that a repeated attach finds the same.
fn macs(sandbox: &str) -> (Mac, Mac) {
    let [.., a, b, c, d] = digest(sandbox);
    ([0x02, 0xc0, a, b, c, d], [0x06, 0xc0, a, b, c, d])
}

/// The hardware addresses of both ends of a link, the node's first, as they are written.
pub(crate) fn hardware_addresses(sandbox: &str) -> (String, String) {
    let shown = |mac: Mac| mac.map(|byte| format!("{byte:02x}")).join(":");
    let (near, far) = macs(sandbox);
    (shown(near), shown(far))
}
