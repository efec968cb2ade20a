//! Pods as tests need them: one container of busybox that runs a line of shell, unless more is said.

use std::fmt;
use std::net::SocketAddr;
use std::path::Path;

use serde_json::{Value, json};

use crate::{Cluster, Options, PATIENCE, wait};

/// The image of [`Options::busybox`].
pub const BUSYBOX: &str = "busybox:1.36";

/// A pod's manifest. It ends at once when it is deleted.
#[derive(Debug, Clone)]
pub struct Pod(Value);

impl Pod {
    /// One whose container, `main`, runs `script`.
    #[must_use]
    pub fn new(name: &str, script: &str) -> Self {
        Self::of(name, container("main", script))
    }

    /// One whose container, `main`, is of another image, and runs what that says.
    #[must_use]
    pub fn image(name: &str, image: &str) -> Self {
        Self::of(name, json!({"name": "main", "image": image, "imagePullPolicy": "IfNotPresent"}))
    }

    fn of(name: &str, main: Value) -> Self {
        let spec = json!({"terminationGracePeriodSeconds": 0, "containers": [main]});
        Self(json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}))
    }

    /// Sets a field of its `spec`.
    #[must_use]
    pub fn spec(mut self, field: &str, value: impl Into<Value>) -> Self {
        self.0["spec"][field] = value.into();
        self
    }

    /// Sets a field of its first container.
    #[must_use]
    pub fn main(mut self, field: &str, value: impl Into<Value>) -> Self {
        self.0["spec"]["containers"][0][field] = value.into();
        self
    }

    /// Sets a field of its `metadata`.
    #[must_use]
    pub fn metadata(mut self, field: &str, value: impl Into<Value>) -> Self {
        self.0["metadata"][field] = value.into();
        self
    }

    /// Ends for good with its containers.
    #[must_use]
    pub fn once(self) -> Self {
        self.spec("restartPolicy", "Never")
    }

    /// Adds a container.
    #[must_use]
    pub fn and(self, name: &str, script: &str) -> Self {
        self.add("containers", container(name, script))
    }

    /// Adds an init container.
    #[must_use]
    pub fn first(self, name: &str, script: &str) -> Self {
        self.add("initContainers", container(name, script))
    }

    fn add(mut self, list: &str, container: Value) -> Self {
        match &mut self.0["spec"][list] {
            Value::Array(containers) => containers.push(container),
            none => *none = json!([container]),
        }
        self
    }
}

fn container(name: &str, script: &str) -> Value {
    json!({"name": name, "image": BUSYBOX, "command": ["sh", "-c", script]})
}

impl fmt::Display for Pod {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl Cluster {
    /// A cluster that has busybox.
    ///
    /// # Panics
    ///
    /// When it does not start.
    #[track_caller]
    pub fn with_busybox(program: impl AsRef<Path>) -> Self {
        Self::up(program, Options { busybox: true, ..Options::default() })
    }

    /// Makes a pod and waits until it is ready.
    ///
    /// # Panics
    ///
    /// When it is refused, or not ready in time.
    #[track_caller]
    pub fn run(&self, pod: &Pod) {
        self.apply(&pod.to_string());
        self.ready(pod.0["metadata"]["name"].as_str().unwrap_or_default());
    }

    /// Waits until a pod is ready.
    ///
    /// # Panics
    ///
    /// When it is not in time.
    #[track_caller]
    pub fn ready(&self, pod: &str) {
        self.kubectl(&["wait", "--for=condition=Ready", &format!("pod/{pod}"), &timeout()]);
    }

    /// Waits until a pod's containers have ended well, and will not be started again.
    ///
    /// # Panics
    ///
    /// When they have not in time.
    #[track_caller]
    pub fn succeeded(&self, pod: &str) {
        self.kubectl(&["wait", "--for=jsonpath={.status.phase}=Succeeded", &format!("pod/{pod}"), &timeout()]);
    }

    /// Waits until something in a pod listens on a TCP port. The pod must have busybox.
    ///
    /// # Panics
    ///
    /// When nothing does in time.
    #[track_caller]
    pub fn listens(&self, pod: &str, port: u16) {
        wait::until("the program listens", PATIENCE, || {
            let listening = self.kubectl(&["exec", pod, "--", "netstat", "-ltn"]);
            if listening.contains(&format!(":{port} ")) { Ok(()) } else { Err(listening) }
        });
    }

    /// The only node's name.
    ///
    /// # Panics
    ///
    /// When there is none.
    #[track_caller]
    pub fn node(&self) -> String {
        self.kubectl(&["get", "nodes", "-o", "jsonpath={.items[0].metadata.name}"])
    }

    /// A port of a pod, by its address.
    ///
    /// # Panics
    ///
    /// When the pod has no address.
    #[track_caller]
    pub fn address(&self, pod: &str, port: u16) -> SocketAddr {
        let address = self.kubectl(&["get", "pod", pod, "-o", "jsonpath={.status.podIP}"]);
        SocketAddr::new(address.parse().unwrap_or_else(|error| panic!("{pod} has the address {address:?}: {error}")), port)
    }
}

fn timeout() -> String {
    format!("--timeout={}s", PATIENCE.as_secs())
}
