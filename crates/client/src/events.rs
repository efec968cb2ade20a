//! Events: what a person reads in `kubectl describe`.
//!
//! Events are best effort by definition
//! (<https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/>): they are
//! written by a task of their own from a bounded queue, and what does not fit is dropped.

use std::collections::{HashMap, VecDeque};

use k8s_openapi::{
    api::core::v1::{Event, EventSource, ObjectReference},
    apimachinery::pkg::apis::meta::v1::Time,
};
use kube::{
    Api, Client, Resource,
    api::{ObjectMeta, Patch, PatchParams, PostParams},
};
use serde_json::json;
use tokio::sync::mpsc;

const QUEUE: usize = 1024;

/// How many different events are remembered, to count their repeats.
const REMEMBERED: usize = 4096;

/// Whether an event is good or bad news.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventType {
    /// `Normal`
    Normal,
    /// `Warning`
    Warning,
}

impl EventType {
    /// The name in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

/// Reports events of one component; cheap to clone. Its task ends when the last clone is dropped
/// and everything queued is written.
#[derive(Clone, Debug)]
pub struct Recorder {
    queue: mpsc::Sender<Report>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Report {
    about: Reference,
    kind: EventType,
    reason: String,
    message: String,
}

/// The part of an object reference that identifies it, hashable.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Reference {
    api_version: Option<String>,
    kind: Option<String>,
    namespace: Option<String>,
    name: Option<String>,
    uid: Option<String>,
    field_path: Option<String>,
    resource_version: Option<String>,
}

impl Recorder {
    /// A recorder for a component (`kubelet`) on a host, if it runs on a particular one. Must be
    /// called inside a tokio runtime.
    pub fn new(client: Client, component: &str, host: Option<&str>) -> Self {
        let (queue, reports) = mpsc::channel(QUEUE);
        let writer = Writer {
            client,
            source: EventSource { component: Some(component.to_owned()), host: host.map(str::to_owned) },
            written: HashMap::new(),
            order: VecDeque::new(),
        };
        tokio::spawn(writer.run(reports));
        Self { queue }
    }

    /// Reports something about an object. Never waits.
    pub fn event<K: Resource<DynamicType = ()>>(&self, object: &K, kind: EventType, reason: &str, message: impl Into<String>) {
        let mut reference = object.object_ref(&());
        reference.resource_version.clone_from(&object.meta().resource_version);
        self.event_for(reference, kind, reason, message);
    }

    /// Reports something about what a reference names (with `fieldPath`, a container of a pod).
    pub fn event_for(&self, about: ObjectReference, kind: EventType, reason: &str, message: impl Into<String>) {
        let report = Report {
            about: Reference {
                api_version: about.api_version,
                kind: about.kind,
                namespace: about.namespace,
                name: about.name,
                uid: about.uid,
                field_path: about.field_path,
                resource_version: about.resource_version,
            },
            kind,
            reason: reason.to_owned(),
            message: message.into(),
        };
        if let Err(error) = self.queue.try_send(report) {
            tracing::debug!(%error, reason, "event dropped");
        }
    }
}

struct Written {
    name: String,
    count: i32,
}

struct Writer {
    client: Client,
    source: EventSource,
    written: HashMap<Report, Written>,
    order: VecDeque<Report>,
}

impl Writer {
    async fn run(mut self, mut reports: mpsc::Receiver<Report>) {
        while let Some(report) = reports.recv().await {
            if let Err(error) = self.write(report).await {
                tracing::debug!(%error, "event not written");
            }
        }
    }

    async fn write(&mut self, report: Report) -> Result<(), kube::Error> {
        let namespace = report.about.namespace.as_deref().unwrap_or("default");
        let api: Api<Event> = Api::namespaced(self.client.clone(), namespace);
        let now = crate::now();
        let same = same(&report);
        if let Some(written) = self.written.get_mut(&same) {
            let count = written.count.saturating_add(1);
            let patch = json!({"count": count, "lastTimestamp": now});
            let params = PatchParams::default();
            match api.patch(&written.name, &params, &Patch::Merge(patch)).await {
                Ok(_) => {
                    written.count = count;
                    return Ok(());
                }
                // Events live an hour: it begins to count anew.
                Err(error) if crate::is_not_found(&error) => {}
                Err(error) => return Err(error),
            }
        }
        let event = new_event(&report, namespace, &self.source, &now);
        let name = event.metadata.name.clone().unwrap_or_default();
        api.create(&PostParams::default(), &event).await?;
        self.remember(same, name);
        Ok(())
    }

    fn remember(&mut self, report: Report, name: String) {
        let written = Written { name, count: 1 };
        if self.written.insert(report.clone(), written).is_none() {
            self.order.push_back(report);
        }
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.written.remove(&oldest);
        }
    }
}

/// Reports that differ only in the object's revision are repeats of each other.
fn same(report: &Report) -> Report {
    let mut same = report.clone();
    same.about.resource_version = None;
    same
}

fn new_event(report: &Report, namespace: &str, source: &EventSource, now: &Time) -> Event {
    let about = &report.about;
    let object = about.name.as_deref().unwrap_or_default();
    let unique = k8s_openapi::jiff::Timestamp::now().as_nanosecond();
    Event {
        metadata: ObjectMeta { name: Some(format!("{object}.{unique:x}")), namespace: Some(namespace.to_owned()), ..ObjectMeta::default() },
        involved_object: ObjectReference {
            api_version: about.api_version.clone(),
            kind: about.kind.clone(),
            namespace: about.namespace.clone(),
            name: about.name.clone(),
            uid: about.uid.clone(),
            field_path: about.field_path.clone(),
            resource_version: about.resource_version.clone(),
        },
        type_: Some(report.kind.as_str().to_owned()),
        reason: Some(report.reason.clone()),
        message: Some(report.message.clone()),
        count: Some(1),
        first_timestamp: Some(now.clone()),
        last_timestamp: Some(now.clone()),
        reporting_component: source.component.clone(),
        reporting_instance: source.host.clone(),
        source: Some(source.clone()),
        ..Event::default()
    }
}

#[cfg(test)]
mod tests;
