//! Settings that are numbers with bounds, or combinations of them.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use corten_client::quantity;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::read::{ConfigError, Settings, wrong};

/// What they come to.
pub(super) struct Limits {
    pub(super) address: Option<IpAddr>,
    pub(super) port: Option<u16>,
    pub(super) log_max_size: Option<u64>,
    pub(super) log_max_files: Option<usize>,
    pub(super) log_interval: Option<Duration>,
    pub(super) enforce_allocatable: bool,
    pub(super) parallel_pulls: Option<usize>,
    pub(super) pull_rate: Option<(f64, u32)>,
    pub(super) lease_duration: Option<Duration>,
    pub(super) status_max_images: Option<usize>,
    pub(super) reserved_cpus: Option<u32>,
}

impl Limits {
    pub(super) fn of(settings: &Settings<'_>) -> Result<Self, ConfigError> {
        let log_interval = settings.duration("containerLogMonitorInterval");
        if log_interval.is_some_and(|interval| interval < Duration::from_secs(3)) {
            return Err(wrong("containerLogMonitorInterval", "must be at least 3s"));
        }
        let images = at_least(settings, "nodeStatusMaxImages", -1)?;
        Ok(Self {
            address: address(settings)?,
            port: port(settings)?,
            log_max_size: log_max_size(settings)?,
            log_max_files: at_least(settings, "containerLogMaxFiles", 2)?.and_then(|n| usize::try_from(n).ok()),
            log_interval,
            enforce_allocatable: enforcement(settings)?,
            parallel_pulls: parallel(settings)?,
            pull_rate: pull_rate(settings)?,
            lease_duration: at_least(settings, "nodeLeaseDurationSeconds", 1)?.map(|n| Duration::from_secs(n.unsigned_abs())),
            status_max_images: images.map_or(Some(50), |n| usize::try_from(n).ok()),
            reserved_cpus: reserved_cpus(settings)?,
        })
    }
}

fn at_least(settings: &Settings<'_>, name: &str, least: i64) -> Result<Option<i64>, ConfigError> {
    match settings.int(name) {
        Some(value) if value < least => Err(wrong(name, format!("must be at least {least}, not {value}"))),
        value => Ok(value),
    }
}

fn address(settings: &Settings<'_>) -> Result<Option<IpAddr>, ConfigError> {
    let Some(text) = settings.text("address") else { return Ok(None) };
    let address: IpAddr = text.parse().map_err(|_| wrong("address", format!("{text:?} is not an IP address")))?;
    Ok(Some(address))
}

fn port(settings: &Settings<'_>) -> Result<Option<u16>, ConfigError> {
    let Some(port) = at_least(settings, "port", 1)? else { return Ok(None) };
    u16::try_from(port).map(Some).map_err(|_| wrong("port", format!("must be at most 65535, not {port}")))
}

fn log_max_size(settings: &Settings<'_>) -> Result<Option<u64>, ConfigError> {
    let size = settings.text("containerLogMaxSize").and_then(|text| quantity::units(&Quantity(text)));
    match size.map(u64::try_from) {
        None => Ok(None),
        Some(Ok(bytes)) if bytes > 0 => Ok(Some(bytes)),
        Some(_) => Err(wrong("containerLogMaxSize", "must be positive")),
    }
}

/// Whether pods are to be held to what is allocatable. Nothing else is: that would need the cgroups of the reserves.
fn enforcement(settings: &Settings<'_>) -> Result<bool, ConfigError> {
    let name = "enforceNodeAllocatable";
    if !settings.given(name) {
        return Ok(true);
    }
    let list = settings.texts(name);
    match list.iter().find(|word| !matches!(word.as_str(), "pods" | "none" | "")) {
        Some(other) => Err(wrong(name, format!("Corten supports \"pods\" and \"none\" only, not {other:?}"))),
        None if list.len() > 1 && list.iter().any(|word| word == "none") => Err(wrong(name, "\"none\" excludes everything else")),
        None => Ok(list.iter().any(|word| word == "pods")),
    }
}

fn parallel(settings: &Settings<'_>) -> Result<Option<usize>, ConfigError> {
    let most = at_least(settings, "maxParallelImagePulls", 1)?;
    match (settings.bool("serializeImagePulls"), most) {
        (Some(true), Some(most)) if most > 1 => {
            Err(wrong("maxParallelImagePulls", format!("must not be above 1 if serializeImagePulls is true, not {most}")))
        }
        (Some(true), _) => Ok(Some(1)),
        (_, most) => Ok(most.and_then(|n| usize::try_from(n).ok())),
    }
}

fn pull_rate(settings: &Settings<'_>) -> Result<Option<(f64, u32)>, ConfigError> {
    let rate = at_least(settings, "registryPullQPS", 0)?;
    let burst = at_least(settings, "registryBurst", 0)?;
    let small = |number: i64| u32::try_from(number).unwrap_or(u32::MAX);
    Ok(rate.filter(|rate| *rate > 0).map(|rate| (f64::from(small(rate)), small(burst.unwrap_or(10)).max(1))))
}

fn reserved_cpus(settings: &Settings<'_>) -> Result<Option<u32>, ConfigError> {
    let name = "reservedSystemCPUs";
    let Some(text) = settings.text(name).filter(|text| !text.is_empty()) else { return Ok(None) };
    cpus(&text).map(Some).ok_or_else(|| wrong(name, format!("must be a list of CPUs such as \"0-1,4\", not {text:?}")))
}

/// How many CPUs a list such as `0-3,8` names (cpuset(7)).
fn cpus(text: &str) -> Option<u32> {
    let mut named = BTreeSet::new();
    for part in text.split(',') {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        let (from, to): (u32, u32) = (from.trim().parse().ok()?, to.trim().parse().ok()?);
        if from > to || to > 1 << 16 {
            return None;
        }
        named.extend(from..=to);
    }
    u32::try_from(named.len()).ok()
}
