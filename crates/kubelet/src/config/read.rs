//! Reading the files.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use corten_client::quantity;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use serde_json::{Map, Value};

use super::fields::{Effect, FIELDS, Kind};
use super::limits::Limits;
use super::{Access, CgroupDriver, Configuration, duration};
use crate::eviction::threshold::{ThresholdError, Thresholds};
use crate::shutdown::Class;
use crate::statics::Sources;

const API_VERSION: &str = "kubelet.config.k8s.io/v1beta1";
const KIND: &str = "KubeletConfiguration";
/// The shortest interval: a slip such as `1ns` must not keep a core busy.
const SHORTEST: Duration = Duration::from_millis(100);

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file cannot be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file is not YAML or JSON.
    #[error("{}: {message}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// A setting is unknown, malformed, or contradicts another one.
    #[error("{}{field}: {message}", file.as_ref().map(|f| format!("{}: ", f.display())).unwrap_or_default())]
    Setting {
        /// The file, if it is one file's fault.
        file: Option<PathBuf>,
        /// The setting's path.
        field: String,
        /// What is wrong with it.
        message: String,
    },
}

pub(super) fn wrong(field: &str, message: impl Into<String>) -> ConfigError {
    ConfigError::Setting { file: None, field: field.to_owned(), message: message.into() }
}

impl Configuration {
    /// Reads a file, and lays the `*.conf` files of a directory over it in the order of their names.
    ///
    /// # Errors
    /// When a file cannot be read, or a setting is unknown, malformed, or contradicts another one.
    pub fn load(file: Option<&Path>, directory: Option<&Path>) -> Result<Self, ConfigError> {
        let mut merged = Map::new();
        let mut files: Vec<PathBuf> = file.into_iter().map(Path::to_owned).collect();
        if let Some(directory) = directory {
            files.extend(drop_ins(directory)?);
        }
        for path in files {
            let source = |source| ConfigError::Read { path: path.clone(), source };
            let bytes = std::fs::read(&path).map_err(source)?;
            let settings = parse(&bytes).map_err(|error| match error {
                ConfigError::Setting { field, message, .. } => ConfigError::Setting { file: Some(path.clone()), field, message },
                ConfigError::Syntax { message, .. } => ConfigError::Syntax { path: path.clone(), message },
                other => other,
            })?;
            merge(&mut merged, settings);
        }
        Self::of(merged)
    }

    /// The configuration of merged settings.
    fn of(given: Map<String, Value>) -> Result<Self, ConfigError> {
        let settings = Settings(&given);
        let defaults = Self::default();
        let eviction = Thresholds::from_settings(
            &settings.map("evictionHard"),
            &settings.map("evictionSoft"),
            &settings.map("evictionSoftGracePeriod"),
            &settings.map("evictionMinimumReclaim"),
            settings.bool("mergeDefaultEvictionSettings").unwrap_or(false),
        )
        .map_err(|ThresholdError { field, message }| wrong(&field, message))?;
        let eviction = Thresholds {
            transition: settings.duration("evictionPressureTransitionPeriod").filter(|d| !d.is_zero()).unwrap_or(eviction.transition),
            longest_grace: settings.int("evictionMaxPodGracePeriod").unwrap_or(eviction.longest_grace),
            ..eviction
        };
        if eviction.longest_grace < 0 {
            return Err(wrong("evictionMaxPodGracePeriod", "must not be negative"));
        }
        let percent = |name: &str, default: u64| match settings.int(name) {
            None => Ok(default),
            Some(value) => u64::try_from(value)
                .ok()
                .filter(|v| *v <= 100)
                .ok_or_else(|| wrong(name, format!("must be between 0 and 100, not {value}"))),
        };
        let (high, low) = (percent("imageGCHighThresholdPercent", 85)?, percent("imageGCLowThresholdPercent", 80)?);
        if low >= high {
            return Err(wrong("imageGCLowThresholdPercent", format!("must be less than imageGCHighThresholdPercent {high}, not {low}")));
        }
        let minimum_age = settings.duration("imageMinimumGCAge").unwrap_or(defaults.image_minimum_age);
        let maximum_age = settings.duration("imageMaximumGCAge").unwrap_or_default();
        if !maximum_age.is_zero() && maximum_age <= minimum_age {
            return Err(wrong("imageMaximumGCAge", "must be greater than imageMinimumGCAge"));
        }
        let positive = |name: &str| match settings.int(name) {
            None => Ok(None),
            Some(value) => u32::try_from(value).map(Some).map_err(|_| wrong(name, format!("must not be negative: {value}"))),
        };
        let cluster_dns = match given.get("clusterDNS") {
            None => None,
            Some(_) => Some(settings.addresses("clusterDNS")?),
        };
        let taints = given.get("registerWithTaints").cloned().unwrap_or_else(|| Value::Array(Vec::new()));
        let taints = serde_json::from_value(taints).map_err(|e| wrong("registerWithTaints", e.to_string()))?;
        let longest_backoff =
            settings.nested_duration("crashLoopBackOff", "maxContainerRestartPeriod")?.unwrap_or(defaults.longest_backoff);
        if longest_backoff < Duration::from_secs(1) || longest_backoff > Duration::from_secs(300) {
            return Err(wrong("crashLoopBackOff.maxContainerRestartPeriod", "must be between 1s and 300s"));
        }
        let system_log_files = settings.bool("enableSystemLogHandler").unwrap_or(true);
        let system_log_queries = settings.bool("enableSystemLogQuery").unwrap_or(false);
        if system_log_queries && !system_log_files {
            return Err(wrong("enableSystemLogQuery", "needs enableSystemLogHandler"));
        }
        let static_pods = static_pods(&settings)?;
        let shutdown = shutdown(&settings)?;
        let limits = Limits::of(&settings)?;
        let cgroup_driver = match settings.text("cgroupDriver").filter(|name| !name.is_empty()) {
            None => defaults.cgroup_driver,
            Some(name) => CgroupDriver::named(&name)
                .ok_or_else(|| wrong("cgroupDriver", format!("must be \"cgroupfs\" or \"systemd\", not {name:?}")))?,
        };
        Ok(Self {
            address: limits.address,
            port: limits.port,
            log_max_size: limits.log_max_size.unwrap_or(defaults.log_max_size),
            log_max_files: limits.log_max_files.unwrap_or(defaults.log_max_files),
            log_interval: limits.log_interval.unwrap_or(defaults.log_interval),
            enforce_allocatable: limits.enforce_allocatable,
            fail_swap_on: settings.bool("failSwapOn").unwrap_or(false),
            parallel_pulls: limits.parallel_pulls,
            pull_rate: limits.pull_rate,
            lease_duration: limits.lease_duration.unwrap_or(defaults.lease_duration),
            status_max_images: limits.status_max_images,
            status_update: settings.interval("nodeStatusUpdateFrequency")?.unwrap_or(defaults.status_update),
            status_report: settings.interval("nodeStatusReportFrequency")?.unwrap_or(defaults.status_report),
            pod_pids_limit: settings.int("podPidsLimit").and_then(|limit| u64::try_from(limit).ok()).filter(|limit| *limit > 0),
            register_node: settings.bool("registerNode").unwrap_or(true),
            reserved_cpus: limits.reserved_cpus,
            allowed_unsafe_sysctls: settings.texts("allowedUnsafeSysctls"),
            cgroup_driver,
            container_runtime_endpoint: settings.text("containerRuntimeEndpoint").filter(|url| !url.is_empty()),
            cluster_dns,
            cluster_domain: settings.text("clusterDomain").filter(|d| !d.is_empty()),
            eviction,
            fail_cgroup_v1: settings.bool("failCgroupV1").unwrap_or(false),
            image_gc_high: high,
            image_gc_low: low,
            image_minimum_age: minimum_age,
            image_maximum_age: maximum_age,
            kube_reserved: settings.quantities("kubeReserved")?,
            system_reserved: settings.quantities("systemReserved")?,
            local_storage_isolation: settings.bool("localStorageCapacityIsolation").unwrap_or(true),
            max_pods: positive("maxPods")?,
            pods_per_core: positive("podsPerCore")?.unwrap_or(0),
            provider_id: settings.text("providerID").filter(|id| !id.is_empty()),
            register_with_taints: taints,
            resolv_conf: settings.text("resolvConf").filter(|p| !p.is_empty()).map(PathBuf::from),
            seccomp_default: settings.bool("seccompDefault").unwrap_or(false),
            access: Access::of(&settings)?,
            debugging: settings.bool("enableDebuggingHandlers").unwrap_or(true),
            healthz: healthz(&settings)?,
            protect_kernel: settings.bool("protectKernelDefaults").unwrap_or(false),
            system_log_files,
            system_log_queries,
            image_service: image_service(&settings)?,
            pod_logs: pod_logs(&settings)?,
            longest_backoff,
            static_pods,
            shutdown,
            given: Value::Object(given.clone()),
        })
    }

    /// Settings that were given and that change nothing here.
    pub fn without_effect(&self) -> Vec<&str> {
        let given = self.given.as_object();
        let known = FIELDS.iter().filter(|(_, _, effect)| *effect == Effect::No).map(|(name, _, _)| *name);
        let mut silent: Vec<&str> = known.filter(|name| given.is_some_and(|g| g.contains_key(*name))).collect();
        silent.extend(super::access::without_effect(&self.given));
        silent
    }
}

fn healthz(settings: &Settings<'_>) -> Result<Option<SocketAddr>, ConfigError> {
    let text = settings.text("healthzBindAddress").unwrap_or_else(|| "127.0.0.1".to_owned());
    let address = text.parse().map_err(|_| wrong("healthzBindAddress", format!("{text:?} is not an IP address")))?;
    let port = settings.int("healthzPort").unwrap_or(0);
    match u16::try_from(port) {
        Ok(0) => Ok(None),
        Ok(port) => Ok(Some(SocketAddr::new(address, port))),
        Err(_) => Err(wrong("healthzPort", format!("must be between 0 and 65535, not {port}"))),
    }
}

fn image_service(settings: &Settings<'_>) -> Result<Option<PathBuf>, ConfigError> {
    let name = "imageServiceEndpoint";
    let Some(url) = settings.text(name).filter(|url| !url.is_empty()) else { return Ok(None) };
    match url.strip_prefix("unix://").unwrap_or(&url) {
        path if path.starts_with('/') => Ok(Some(PathBuf::from(path))),
        _ => Err(wrong(name, format!("must be the path of a unix socket, not {url:?}"))),
    }
}

fn pod_logs(settings: &Settings<'_>) -> Result<Option<PathBuf>, ConfigError> {
    let name = "podLogsDir";
    let Some(path) = settings.text(name).filter(|path| !path.is_empty()) else { return Ok(None) };
    if !path.starts_with('/') {
        return Err(wrong(name, format!("pod logs path \"{path}\" must be absolute path")));
    }
    // It becomes part of what the runtime is told, and of what collectors of logs search for.
    if !path.is_ascii() || path.split('/').any(|part| matches!(part, "." | "..")) {
        return Err(wrong(name, format!("{path:?} is not a plain path")));
    }
    Ok(Some(PathBuf::from(path)))
}

fn static_pods(settings: &Settings<'_>) -> Result<Sources, ConfigError> {
    let text = |name: &str| settings.text(name).filter(|text| !text.is_empty());
    let defaults = Sources::default();
    let path = text("staticPodPath").map(PathBuf::from);
    if path.as_ref().is_some_and(|path| path.is_relative()) {
        return Err(wrong("staticPodPath", "must be an absolute path"));
    }
    let url = text("staticPodURL");
    let usable = |url: &str| url.parse::<http::Uri>().is_ok_and(|u| matches!(u.scheme_str(), Some("http" | "https")) && u.host().is_some());
    if let Some(url) = url.as_ref().filter(|url| !usable(url)) {
        return Err(wrong("staticPodURL", format!("must be an http or https URL, not {url:?}")));
    }
    let mut headers = Vec::new();
    for (name, values) in settings.0.get("staticPodURLHeader").and_then(Value::as_object).into_iter().flatten() {
        let field = format!("staticPodURLHeader[{name}]");
        check(&field, Kind::Texts, values)?;
        for value in values.as_array().into_iter().flatten().filter_map(Value::as_str) {
            let valid = name.parse::<http::HeaderName>().is_ok() && value.parse::<http::HeaderValue>().is_ok();
            if !valid {
                return Err(wrong(&field, "is not an HTTP header"));
            }
            headers.push((name.clone(), value.to_owned()));
        }
    }
    Ok(Sources {
        path,
        url,
        headers,
        file_interval: settings.interval("fileCheckFrequency")?.unwrap_or(defaults.file_interval),
        url_interval: settings.interval("httpCheckFrequency")?.unwrap_or(defaults.url_interval),
    })
}

/// The simple settings and the list of priorities exclude each other, and their numbers must fit together.
fn shutdown(settings: &Settings<'_>) -> Result<Vec<Class>, ConfigError> {
    let total = settings.duration("shutdownGracePeriod").unwrap_or_default();
    let critical = settings.duration("shutdownGracePeriodCriticalPods").unwrap_or_default();
    let listed = settings.0.get("shutdownGracePeriodByPodPriority").and_then(Value::as_array);
    if let Some(listed) = listed.filter(|list| !list.is_empty()) {
        if !total.is_zero() || !critical.is_zero() {
            let words = "cannot be set together with shutdownGracePeriod and shutdownGracePeriodCriticalPods";
            return Err(wrong("shutdownGracePeriodByPodPriority", words));
        }
        let number = |index: usize, class: &Value, name: &str| {
            let field = || format!("shutdownGracePeriodByPodPriority[{index}].{name}");
            class.get(name).and_then(Value::as_i64).ok_or_else(|| wrong(&field(), "must be a number"))
        };
        let read = |(index, class): (usize, &Value)| {
            let (priority, seconds) = (number(index, class, "priority")?, number(index, class, "shutdownGracePeriodSeconds")?);
            let out = |name: &str| wrong(&format!("shutdownGracePeriodByPodPriority[{index}].{name}"), "is out of range");
            Ok(Class {
                priority: i32::try_from(priority).map_err(|_| out("priority"))?,
                grace: Duration::from_secs(u64::try_from(seconds).map_err(|_| out("shutdownGracePeriodSeconds"))?),
            })
        };
        return listed.iter().enumerate().map(read).collect();
    }
    if critical > total {
        return Err(wrong("shutdownGracePeriodCriticalPods", format!("must be at most shutdownGracePeriod {total:?}, not {critical:?}")));
    }
    Ok(Class::simple(total, critical))
}

fn drop_ins(directory: &Path) -> Result<Vec<PathBuf>, ConfigError> {
    let error = |source| ConfigError::Read { path: directory.to_owned(), source };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(error)? {
        let path = entry.map_err(error)?.path();
        if path.extension().is_some_and(|extension| extension == "conf") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// The settings of one file, checked one by one.
fn parse(bytes: &[u8]) -> Result<Map<String, Value>, ConfigError> {
    let syntax = |message: String| ConfigError::Syntax { path: PathBuf::new(), message };
    let tree = corten_schema::yaml::decode_untyped(bytes).map_err(|e| syntax(e.to_string()))?;
    let tree = serde_json::from_slice(&corten_schema::json::encode(&tree)).map_err(|e| syntax(e.to_string()))?;
    let Value::Object(mut settings) = tree else {
        return Err(syntax("not an object".to_owned()));
    };
    for (field, expected) in [("apiVersion", API_VERSION), ("kind", KIND)] {
        match settings.remove(field) {
            Some(Value::String(text)) if text == expected => {}
            Some(other) => return Err(wrong(field, format!("must be {expected:?}, not {other}"))),
            None => return Err(wrong(field, format!("is missing, must be {expected:?}"))),
        }
    }
    settings.retain(|_, value| !value.is_null());
    for (name, value) in &settings {
        let Some((_, kind, effect)) = FIELDS.iter().find(|(field, _, _)| field == name) else {
            return Err(wrong(name, "unknown setting"));
        };
        check(name, *kind, value)?;
        if let Effect::Only(supported) = effect
            && !supported.contains(&value.to_string().as_str())
        {
            let only = supported.first().copied().unwrap_or_default();
            return Err(wrong(name, format!("Corten supports {only} only, not {value}")));
        }
    }
    Ok(settings)
}

/// Says what a setting must be, if it is something else.
pub(super) fn check(field: &str, kind: Kind, value: &Value) -> Result<(), ConfigError> {
    let expected = match (kind, value) {
        (Kind::Bool, Value::Bool(_))
        | (Kind::Text, Value::String(_))
        | (Kind::Number, Value::Number(_))
        | (Kind::Object, Value::Object(_)) => return Ok(()),
        (Kind::Int, value) if value.is_i64() || value.is_u64() => return Ok(()),
        (Kind::Duration, Value::String(text)) if duration::parse(text).is_some() => return Ok(()),
        (Kind::Duration, _) => "a duration such as \"1m30s\"",
        (Kind::Quantity, Value::String(text)) if quantity::units(&Quantity(text.clone())).is_some() => return Ok(()),
        (Kind::Quantity, _) => "a quantity such as \"10Mi\"",
        (Kind::Texts, Value::Array(items)) => {
            return items.iter().enumerate().try_for_each(|(index, item)| check(&format!("{field}[{index}]"), Kind::Text, item));
        }
        (Kind::Objects, Value::Array(items)) => {
            return items.iter().enumerate().try_for_each(|(index, item)| check(&format!("{field}[{index}]"), Kind::Object, item));
        }
        (Kind::Map, Value::Object(items)) => {
            return items.iter().try_for_each(|(name, item)| check(&format!("{field}[{name}]"), Kind::Text, item));
        }
        (Kind::Bools, Value::Object(items)) => {
            return items.iter().try_for_each(|(name, item)| check(&format!("{field}[{name}]"), Kind::Bool, item));
        }
        (Kind::Bool, _) => "true or false",
        (Kind::Int, _) => "a whole number",
        (Kind::Number, _) => "a number",
        (Kind::Text, _) => "a text",
        (Kind::Texts, _) => "a list of texts",
        (Kind::Map | Kind::Bools | Kind::Object, _) => "an object",
        (Kind::Objects, _) => "a list of objects",
    };
    Err(wrong(field, format!("must be {expected}, not {value}")))
}

/// Objects are merged name by name, everything else is replaced.
fn merge(into: &mut Map<String, Value>, from: Map<String, Value>) {
    for (name, value) in from {
        match (into.get_mut(&name), value) {
            (Some(Value::Object(old)), Value::Object(new)) => merge(old, new),
            (_, value) => {
                into.insert(name, value);
            }
        }
    }
}

/// Checked settings by name.
pub(super) struct Settings<'a>(&'a Map<String, Value>);

impl Settings<'_> {
    /// Everything that was given.
    pub(super) fn all(&self) -> &Map<String, Value> {
        self.0
    }

    pub(super) fn given(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    pub(super) fn bool(&self, name: &str) -> Option<bool> {
        self.0.get(name)?.as_bool()
    }

    pub(super) fn int(&self, name: &str) -> Option<i64> {
        self.0.get(name)?.as_i64()
    }

    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.0.get(name)?.as_str().map(str::to_owned)
    }

    pub(super) fn duration(&self, name: &str) -> Option<Duration> {
        duration::parse(self.0.get(name)?.as_str()?)
    }

    /// How often something is done: not at all times. Zero is as good as nothing.
    pub(super) fn interval(&self, name: &str) -> Result<Option<Duration>, ConfigError> {
        match self.duration(name).filter(|interval| !interval.is_zero()) {
            Some(interval) if interval < SHORTEST => Err(wrong(name, format!("must be at least {SHORTEST:?}, not {interval:?}"))),
            interval => Ok(interval),
        }
    }

    fn nested_duration(&self, outer: &str, inner: &str) -> Result<Option<Duration>, ConfigError> {
        let Some(value) = self.0.get(outer).and_then(|o| o.get(inner)) else { return Ok(None) };
        let field = format!("{outer}.{inner}");
        check(&field, Kind::Duration, value)?;
        Ok(value.as_str().and_then(duration::parse))
    }

    pub(super) fn texts(&self, name: &str) -> Vec<String> {
        let list = self.0.get(name).and_then(Value::as_array);
        list.into_iter().flatten().filter_map(|v| v.as_str().map(str::to_owned)).collect()
    }

    fn map(&self, name: &str) -> Option<BTreeMap<String, String>> {
        let map = self.0.get(name)?.as_object()?;
        Some(map.iter().filter_map(|(k, v)| Some((k.clone(), v.as_str()?.to_owned()))).collect())
    }

    fn addresses(&self, name: &str) -> Result<Vec<std::net::IpAddr>, ConfigError> {
        let parse = |(index, text): (usize, String)| {
            text.parse().map_err(|_| wrong(&format!("{name}[{index}]"), format!("{text:?} is not an IP address")))
        };
        self.texts(name).into_iter().enumerate().map(parse).collect()
    }

    fn quantities(&self, name: &str) -> Result<BTreeMap<String, Quantity>, ConfigError> {
        let given = self.map(name).unwrap_or_default();
        let known = ["cpu", "memory", "ephemeral-storage", "pid"];
        given
            .into_iter()
            .map(|(resource, text)| {
                let field = format!("{name}[{resource}]");
                if !known.contains(&resource.as_str()) && !resource.starts_with("hugepages-") {
                    return Err(wrong(&field, "unknown resource"));
                }
                let quantity = Quantity(text);
                match quantity::millis(&quantity) {
                    Some(value) if value >= 0 => Ok((resource, quantity)),
                    _ => Err(wrong(&field, format!("{:?} is not a quantity", quantity.0))),
                }
            })
            .collect()
    }
}
