//! The cluster itself: nodes, namespaces, events, leases, priority classes, certificate requests.

use corten_schema::Value;
use jiff::Timestamp;
use serde_json::Value as Cell;

use super::age::{age, human, since, time};
use super::{AGE, Column, NAME, Printer, col, name, or_none, pick, wide};
use crate::view::{at, condition, condition_true, entries, flag, int, list, text};

static PRINTERS: &[(&str, &str, Printer)] = &[
    ("", "nodes", Printer { columns: NODE, row: node }),
    ("", "namespaces", Printer { columns: NAMESPACE, row: namespace }),
    ("", "events", Printer { columns: EVENT, row: event }),
    ("events.k8s.io", "events", Printer { columns: EVENT, row: event }),
    ("", "componentstatuses", Printer { columns: COMPONENT, row: component }),
    ("coordination.k8s.io", "leases", Printer { columns: LEASE, row: lease }),
    ("scheduling.k8s.io", "priorityclasses", Printer { columns: PRIORITY_CLASS, row: priority_class }),
    ("certificates.k8s.io", "certificatesigningrequests", Printer { columns: REQUEST, row: request }),
];

pub(super) fn find(group: &str, plural: &str) -> Option<&'static Printer> {
    pick(PRINTERS, group, plural)
}

const NODE: &[Column] = &[
    NAME,
    col("Status", "string", "Whether it is ready, and whether pods may be scheduled to it"),
    col("Roles", "string", "Roles by its labels"),
    AGE,
    col("Version", "string", "Version of its kubelet"),
    wide("Internal-IP", "string", "Address within the cluster"),
    wide("External-IP", "string", "Address outside of it"),
    wide("OS-Image", "string", "Operating system"),
    wide("Kernel-Version", "string", "Kernel"),
    wide("Container-Runtime", "string", "Container runtime and its version"),
];

const ROLE_PREFIX: &str = "node-role.kubernetes.io/";

fn node(node: &Value, now: Timestamp) -> Vec<Cell> {
    let mut status = match condition(node, "Ready") {
        Some(ready) if text(ready, "status") == "True" => "Ready".to_owned(),
        Some(_) => "NotReady".to_owned(),
        None => "Unknown".to_owned(),
    };
    if flag(node, "spec.unschedulable") {
        status.push_str(",SchedulingDisabled");
    }
    let mut roles: Vec<&str> = entries(node, "metadata.labels")
        .filter_map(|(key, value)| match key.strip_prefix(ROLE_PREFIX) {
            Some(role) if !role.is_empty() => Some(role),
            _ if key == "kubernetes.io/role" => value.as_str().filter(|role| !role.is_empty()),
            _ => None,
        })
        .collect();
    roles.sort_unstable();
    roles.dedup();
    let address = |kind: &str| {
        or_none(list(node, "status.addresses").find(|address| text(address, "type") == kind).map_or("", |address| text(address, "address")))
    };
    let info = |field: &str| match text(node, &format!("status.nodeInfo.{field}")) {
        "" => "<unknown>".into(),
        text => Cell::from(text),
    };
    vec![
        name(node),
        status.into(),
        or_none(&roles.join(",")),
        age(node, now).into(),
        text(node, "status.nodeInfo.kubeletVersion").into(),
        address("InternalIP"),
        address("ExternalIP"),
        info("osImage"),
        info("kernelVersion"),
        info("containerRuntimeVersion"),
    ]
}

const NAMESPACE: &[Column] = &[NAME, col("Status", "string", "Active or Terminating"), AGE];

fn namespace(object: &Value, now: Timestamp) -> Vec<Cell> {
    vec![name(object), text(object, "status.phase").into(), age(object, now).into()]
}

const EVENT: &[Column] = &[
    col("Last Seen", "string", "Time since it happened last"),
    col("Type", "string", "Normal or Warning"),
    col("Reason", "string", "Why it was reported, in one word"),
    col("Object", "string", "What it is about"),
    wide("Subobject", "string", "Part of the object that it is about"),
    wide("Source", "string", "Who reported it"),
    col("Message", "string", "What happened"),
    wide("First Seen", "string", "Time since it happened first"),
    wide("Count", "string", "How often it happened"),
    Column { priority: 1, ..NAME },
];

fn event(event: &Value, now: Timestamp) -> Vec<Cell> {
    let first = time(event, "firstTimestamp").or_else(|| time(event, "eventTime"));
    let mut last = time(event, "lastTimestamp").or(first);
    let mut count = int(event, "count").unwrap_or_default();
    if at(event, "series").is_some() {
        last = time(event, "series.lastObservedTime");
        count = int(event, "series.count").unwrap_or_default();
    } else if count == 0 {
        count = 1;
    }
    let kind = text(event, "involvedObject.kind").to_lowercase();
    let object = match text(event, "involvedObject.name") {
        "" => kind,
        name => format!("{kind}/{name}"),
    };
    let or = |first: &str, second: &str| {
        let found = text(event, first);
        if found.is_empty() { text(event, second).to_owned() } else { found.to_owned() }
    };
    let component = or("source.component", "reportingComponent");
    let source = match or("source.host", "reportingInstance") {
        instance if instance.is_empty() => component,
        instance => format!("{component}, {instance}"),
    };
    vec![
        since(last, now).into(),
        text(event, "type").into(),
        text(event, "reason").into(),
        object.into(),
        text(event, "involvedObject.fieldPath").into(),
        source.into(),
        text(event, "message").trim().into(),
        since(first, now).into(),
        count.into(),
        name(event),
    ]
}

const COMPONENT: &[Column] = &[
    NAME,
    col("Status", "string", "Whether it is healthy"),
    col("Message", "string", "What it says of itself"),
    col("Error", "string", "Why it could not be asked"),
];

fn component(object: &Value, _: Timestamp) -> Vec<Cell> {
    let Some(health) = list(object, "conditions").find(|condition| text(condition, "type") == "Healthy") else {
        return vec![name(object), "Unknown".into(), "".into(), "".into()];
    };
    let status = if text(health, "status") == "True" { "Healthy" } else { "Unhealthy" };
    vec![name(object), status.into(), text(health, "message").into(), text(health, "error").into()]
}

const LEASE: &[Column] = &[NAME, col("Holder", "string", "Who holds the lease"), AGE];

fn lease(object: &Value, now: Timestamp) -> Vec<Cell> {
    vec![name(object), text(object, "spec.holderIdentity").into(), age(object, now).into()]
}

const PRIORITY_CLASS: &[Column] = &[
    NAME,
    col("Value", "integer", "Priority of its pods"),
    col("Global-Default", "boolean", "Whether pods without a class belong to it"),
    AGE,
    col("PreemptionPolicy", "string", "Whether its pods may drive others out"),
];

fn priority_class(object: &Value, now: Timestamp) -> Vec<Cell> {
    vec![
        name(object),
        int(object, "value").unwrap_or_default().into(),
        flag(object, "globalDefault").into(),
        age(object, now).into(),
        text(object, "preemptionPolicy").into(),
    ]
}

const REQUEST: &[Column] = &[
    NAME,
    AGE,
    col("SignerName", "string", "Who is to sign"),
    col("Requestor", "string", "Who asked"),
    col("RequestedDuration", "string", "How long the certificate should be valid"),
    col("Condition", "string", "Whether it was approved and issued"),
];

fn request(object: &Value, now: Timestamp) -> Vec<Cell> {
    let has = |kind| condition(object, kind).is_some();
    let mut state = match (has("Denied"), has("Approved")) {
        (true, _) => "Denied".to_owned(),
        (false, true) => "Approved".to_owned(),
        (false, false) => "Pending".to_owned(),
    };
    if condition_true(object, "Failed") {
        state.push_str(",Failed");
    }
    if !text(object, "status.certificate").is_empty() {
        state.push_str(",Issued");
    }
    let duration = int(object, "spec.expirationSeconds").map_or_else(|| "<none>".to_owned(), human);
    vec![
        name(object),
        age(object, now).into(),
        text(object, "spec.signerName").into(),
        text(object, "spec.username").into(),
        duration.into(),
        state.into(),
    ]
}
