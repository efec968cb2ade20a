//! Thresholds: below how much of a resource pods are evicted.
//!
//! <https://kubernetes.io/docs/concepts/scheduling-eviction/node-pressure-eviction/>

use std::collections::BTreeMap;
use std::time::Duration;

use corten_client::quantity;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use crate::config::duration;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Signal {
    /// Memory of the node that is not in use.
    Memory,
    /// Space on the file system of volumes and logs.
    NodeFs,
    /// Inodes on it.
    NodeFsInodes,
    /// Space on the file system of images.
    ImageFs,
    /// Inodes on it.
    ImageFsInodes,
    /// Process ids.
    Pid,
}

impl Signal {
    /// All signals.
    pub const ALL: [Self; 6] = [Self::Memory, Self::NodeFs, Self::NodeFsInodes, Self::ImageFs, Self::ImageFsInodes, Self::Pid];

    /// The name in configurations and events.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Memory => "memory.available",
            Self::NodeFs => "nodefs.available",
            Self::NodeFsInodes => "nodefs.inodesFree",
            Self::ImageFs => "imagefs.available",
            Self::ImageFsInodes => "imagefs.inodesFree",
            Self::Pid => "pid.available",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let same = |signal: &Self| signal.as_str() == text;
        // There is no separate file system for containers here: its signals are the image file system's.
        match text {
            "containerfs.available" => Some(Self::ImageFs),
            "containerfs.inodesFree" => Some(Self::ImageFsInodes),
            _ => Self::ALL.iter().copied().find(same),
        }
    }

    /// The condition of the node that it is about.
    pub fn condition(self) -> &'static str {
        match self {
            Self::Memory => "MemoryPressure",
            Self::Pid => "PIDPressure",
            _ => "DiskPressure",
        }
    }

    /// The resource in words: what an eviction is for.
    pub fn resource(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Pid => "pids",
            Self::NodeFs | Self::ImageFs => "ephemeral-storage",
            Self::NodeFsInodes | Self::ImageFsInodes => "inodes",
        }
    }
}

/// An amount: absolute, or a part of the whole.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Amount {
    /// Bytes or pieces.
    Absolute(i64),
    /// From 0 to 1.
    Part(f64),
}

impl Amount {
    /// The amount of a whole of this size.
    #[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "a threshold is a rough line")]
    pub fn of(self, capacity: i64) -> i64 {
        match self {
            Self::Absolute(amount) => amount,
            Self::Part(part) => (capacity as f64 * part) as i64,
        }
    }

    fn parse(text: &str) -> Option<Self> {
        if let Some(percent) = text.strip_suffix('%') {
            let percent: f64 = percent.parse().ok()?;
            return (0.0..=100.0).contains(&percent).then_some(Self::Part(percent / 100.0));
        }
        quantity::units(&Quantity(text.to_owned())).filter(|amount| *amount >= 0).map(Self::Absolute)
    }

    fn is_zero(self) -> bool {
        matches!(self, Self::Absolute(0)) || self == Self::Part(0.0)
    }
}

impl std::fmt::Display for Amount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Absolute(amount) => f.write_str(&quantity::from_bytes(*amount).0),
            Self::Part(part) => write!(f, "{}%", (part * 1e4).round() / 1e2),
        }
    }
}

/// One threshold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Threshold {
    /// What is measured.
    pub signal: Signal,
    /// Evict when less than this is available.
    pub below: Amount,
    /// How long it must have been so; `None` for a hard threshold, which evicts at once and without grace.
    pub grace: Option<Duration>,
    /// How much more must become available than `below` before it is enough.
    pub reclaim: Option<Amount>,
}

/// All thresholds.
#[derive(Clone, Debug, PartialEq)]
pub struct Thresholds {
    /// One by one.
    pub list: Vec<Threshold>,
    /// How long a condition stays after its cause has gone.
    pub transition: Duration,
    /// Longest grace period of a pod that is evicted by a soft threshold, in seconds; 0 for the pod's own.
    pub longest_grace: i64,
}

/// The reference's hard thresholds on Linux.
const DEFAULTS: [(&str, &str); 5] = [
    ("memory.available", "100Mi"),
    ("nodefs.available", "10%"),
    ("nodefs.inodesFree", "5%"),
    ("imagefs.available", "15%"),
    ("imagefs.inodesFree", "5%"),
];

impl Default for Thresholds {
    fn default() -> Self {
        let of = |(name, text): (&str, &str)| {
            Some(Threshold { signal: Signal::parse(name)?, below: Amount::parse(text)?, grace: None, reclaim: None })
        };
        Self { list: DEFAULTS.into_iter().filter_map(of).collect(), transition: Duration::from_secs(300), longest_grace: 0 }
    }
}

/// A setting that is no threshold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThresholdError {
    /// Its path.
    pub field: String,
    /// What is wrong with it.
    pub message: String,
}

type Given = Option<BTreeMap<String, String>>;

impl Thresholds {
    /// The thresholds of a configuration.
    ///
    /// # Errors
    /// When a signal is unknown, an amount malformed, or soft thresholds and grace periods do not belong together.
    pub fn from_settings(hard: &Given, soft: &Given, grace: &Given, reclaim: &Given, merge: bool) -> Result<Self, ThresholdError> {
        let defaults = Self::default();
        let error = |field: &str, name: &str, message: String| ThresholdError { field: format!("{field}[{name}]"), message };
        let parse = |field: &str, given: &Given| -> Result<BTreeMap<Signal, Amount>, ThresholdError> {
            let mut found = BTreeMap::new();
            for (name, text) in given.iter().flatten() {
                let signal = Signal::parse(name).ok_or_else(|| error(field, name, "unknown signal".to_owned()))?;
                let words = || format!("must be a quantity or a percentage from 0% to 100%, not {text:?}");
                found.insert(signal, Amount::parse(text).ok_or_else(|| error(field, name, words()))?);
            }
            Ok(found)
        };
        let (mut hard_found, soft_found) = (parse("evictionHard", hard)?, parse("evictionSoft", soft)?);
        let reclaim = parse("evictionMinimumReclaim", reclaim)?;
        // Given thresholds replace the defaults, unless they are to be merged.
        if hard.is_none() || merge {
            for threshold in &defaults.list {
                hard_found.entry(threshold.signal).or_insert(threshold.below);
            }
        }
        let mut periods = BTreeMap::new();
        for (name, text) in grace.iter().flatten() {
            let field = "evictionSoftGracePeriod";
            let signal = Signal::parse(name).ok_or_else(|| error(field, name, "unknown signal".to_owned()))?;
            if !soft_found.contains_key(&signal) {
                return Err(error(field, name, "has no threshold in evictionSoft".to_owned()));
            }
            let period =
                duration::parse(text).ok_or_else(|| error(field, name, format!("must be a duration such as \"1m30s\", not {text:?}")))?;
            periods.insert(signal, period);
        }
        let mut list = Vec::new();
        for (signal, below) in hard_found {
            list.push(Threshold { signal, below, grace: None, reclaim: reclaim.get(&signal).copied() });
        }
        for (signal, below) in soft_found {
            let needs = || error("evictionSoft", signal.as_str(), "needs a grace period in evictionSoftGracePeriod".to_owned());
            let grace = *periods.get(&signal).ok_or_else(needs)?;
            list.push(Threshold { signal, below, grace: Some(grace), reclaim: reclaim.get(&signal).copied() });
        }
        list.retain(|threshold| !threshold.below.is_zero());
        Ok(Self { list, ..defaults })
    }
}
