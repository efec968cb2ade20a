//! What is remembered of sandboxes and containers across restarts.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use corten_cri::v1;
use prost::Message;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A CRI message as base64 of its protobuf encoding: exactly what came, also fields that this version does not know yet by name.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Encoded<M>(pub(crate) M);

impl<M: Message> Serialize for Encoded<M> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(self.0.encode_to_vec()))
    }
}

impl<'de, M: Message + Default> Deserialize<'de> for Encoded<M> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = STANDARD.decode(text).map_err(de::Error::custom)?;
        M::decode(bytes.as_slice()).map(Encoded).map_err(de::Error::custom)
    }
}

/// A sandbox as it was asked for.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct SandboxRecord {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) created_at: i64,
    /// The boot of the machine in which it was made: in any other it does not run.
    pub(crate) boot_id: String,
    pub(crate) handler: String,
    /// The directory below each hierarchy's root that its containers' cgroups are made in.
    pub(crate) cgroup_parent: String,
    pub(crate) hostname: String,
    pub(crate) config: Encoded<v1::PodSandboxConfig>,
}

/// What a sandbox got when it was made.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Made {
    pub(crate) addresses: Vec<String>,
}

/// A container as it was asked for.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ContainerRecord {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) sandbox: String,
    pub(crate) created_at: i64,
    pub(crate) boot_id: String,
    /// The image's configuration digest.
    pub(crate) image_id: String,
    /// A name with digest, or the id if the image has none.
    pub(crate) image_ref: String,
    /// The signal that asks it to end.
    pub(crate) stop_signal: i32,
    /// The absolute path of its log, if it has one.
    pub(crate) log: Option<String>,
    /// Its cgroup below each hierarchy's root.
    pub(crate) cgroup: String,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) groups: Vec<u32>,
    pub(crate) config: Encoded<v1::ContainerConfig>,
}

/// What came of starting a container, as far as the daemon saw it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Start {
    /// It ran.
    Done {
        /// Its first process.
        pid: i32,
        /// When.
        at: i64,
    },
    /// It ran, and was lost with its shim: nobody saw how it ended.
    Lost {
        /// When it was started.
        started_at: i64,
        /// When its end was noticed.
        at: i64,
    },
    /// It could not be started.
    Failed {
        /// Why.
        message: String,
        /// When.
        at: i64,
    },
}
