//! Events: what a person reads in `kubectl describe`.
//!
//! Events are best effort by definition
//! (<https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/>): they are
//! written by a task of their own from a bounded queue, and what does not fit is dropped.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

#[derive(Debug)]
struct Report {
    about: ObjectReference,
    kind: EventType,
    reason: String,
    message: String,
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
        let report = Report { about, kind, reason: reason.to_owned(), message: message.into() };
        if let Err(error) = self.queue.try_send(report) {
            tracing::debug!(%error, reason, "event dropped");
        }
    }
}

struct Written {
    /// What tells its name from those of other events about the object.
    unique: i128,
    count: i32,
}

struct Writer {
    client: Client,
    source: EventSource,
    /// By what they say.
    written: HashMap<Arc<str>, Written>,
    order: VecDeque<Arc<str>>,
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
        let said = said(&report);
        if let Some(written) = self.written.get_mut(&*said) {
            let count = written.count.saturating_add(1);
            let patch = json!({"count": count, "lastTimestamp": now});
            let params = PatchParams::default();
            match api.patch(&name(&report, written.unique), &params, &Patch::Merge(patch)).await {
                Ok(_) => {
                    written.count = count;
                    return Ok(());
                }
                // Events live an hour: it begins to count anew.
                Err(error) if crate::is_not_found(&error) => {}
                Err(error) => return Err(error),
            }
        }
        let unique = k8s_openapi::jiff::Timestamp::now().as_nanosecond();
        api.create(&PostParams::default(), &new_event(&report, namespace, name(&report, unique), &self.source, &now)).await?;
        self.remember(said.into(), unique);
        Ok(())
    }

    fn remember(&mut self, said: Arc<str>, unique: i128) {
        if self.written.insert(Arc::clone(&said), Written { unique, count: 1 }).is_none() {
            self.order.push_back(said);
        }
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.written.remove(&oldest);
        }
    }
}

/// What a report says, on few bytes. Reports that differ only in the object's revision are repeats of each other.
fn said(report: &Report) -> String {
    let ObjectReference { api_version, kind, namespace, name, uid, field_path, resource_version: _ } = &report.about;
    let about = [api_version, kind, namespace, name, uid, field_path].map(|part| part.as_deref().unwrap_or_default());
    // None of these but the last can have the separator in it.
    [&about.join("\0"), report.kind.as_str(), &report.reason, &report.message].join("\0")
}

/// The name of an event.
fn name(report: &Report, unique: i128) -> String {
    format!("{}.{unique:x}", report.about.name.as_deref().unwrap_or_default())
}

fn new_event(report: &Report, namespace: &str, name: String, source: &EventSource, now: &Time) -> Event {
    Event {
        metadata: ObjectMeta { name: Some(name), namespace: Some(namespace.to_owned()), ..ObjectMeta::default() },
        involved_object: report.about.clone(),
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
