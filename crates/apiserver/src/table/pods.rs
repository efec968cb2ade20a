//! Pods: what STATUS, READY and RESTARTS mean.

use corten_schema::Value;
use jiff::Timestamp;
use serde_json::Value as Cell;

use super::age::{age, since, time};
use super::{Column, Printer, col, wide};
use crate::view::{at, condition_true, flag, int, list, text};

const COLUMNS: &[Column] = &[
    super::NAME,
    col("Ready", "string", "Ready containers of all containers"),
    col("Status", "string", "Phase, or the reason why it is not simply running"),
    col("Restarts", "string", "Restarts of all containers, and when the last was"),
    super::AGE,
    wide("IP", "string", "Address of the pod"),
    wide("Node", "string", "Node that the pod is bound to"),
    wide("Nominated Node", "string", "Node where room is being made for the pod"),
    wide("Readiness Gates", "string", "True gates of all readiness gates"),
];

pub(super) const PRINTER: Printer = Printer { columns: COLUMNS, row };

/// What is counted over a pod's containers.
#[derive(Default)]
struct Count {
    restarts: i64,
    last_restart: Option<Timestamp>,
}

impl Count {
    fn add(&mut self, status: &Value) {
        self.restarts += int(status, "restartCount").unwrap_or_default();
        self.last_restart = self.last_restart.max(time(status, "lastState.terminated.finishedAt"));
    }
}

/// Why a terminated container ended.
fn end_reason(terminated: &Value) -> String {
    match (text(terminated, "reason"), int(terminated, "signal").unwrap_or_default()) {
        ("", 0) => format!("ExitCode:{}", int(terminated, "exitCode").unwrap_or_default()),
        ("", signal) => format!("Signal:{signal}"),
        (reason, _) => reason.to_owned(),
    }
}

/// How a pod presents itself in a list.
struct Summary {
    ready: usize,
    containers: usize,
    status: String,
    count: Count,
}

fn summarise(pod: &Value) -> Summary {
    let restartable = |name: &str| {
        list(pod, "spec.initContainers").any(|container| text(container, "name") == name && text(container, "restartPolicy") == "Always")
    };
    let sidecars = list(pod, "spec.initContainers").filter(|container| text(container, "restartPolicy") == "Always").count();
    let phase = text(pod, "status.phase");
    let mut summary = Summary {
        ready: 0,
        containers: list(pod, "spec.containers").len() + sidecars,
        status: match text(pod, "status.reason") {
            "" => phase.to_owned(),
            reason => reason.to_owned(),
        },
        count: Count::default(),
    };
    if list(pod, "status.conditions").any(|c| text(c, "type") == "PodScheduled" && text(c, "reason") == "SchedulingGated") {
        "SchedulingGated".clone_into(&mut summary.status);
    }

    let mut sidecar_count = Count::default();
    let initializing = init_status(pod, &restartable, &mut summary, &mut sidecar_count);
    if let Some(status) = &initializing {
        summary.status.clone_from(status);
    }
    if initializing.is_none() || condition_true(pod, "Initialized") {
        summary.count = sidecar_count;
        main_status(pod, &mut summary);
    }

    if at(pod, "metadata.deletionTimestamp").is_some() {
        if text(pod, "status.reason") == "NodeLost" {
            "Unknown".clone_into(&mut summary.status);
        } else if phase != "Succeeded" && phase != "Failed" {
            "Terminating".clone_into(&mut summary.status);
        }
    }
    summary
}

/// Goes through the init containers up to the first that is not done; its state, if there is one.
fn init_status(pod: &Value, restartable: &dyn Fn(&str) -> bool, summary: &mut Summary, sidecar_count: &mut Count) -> Option<String> {
    let total = list(pod, "spec.initContainers").len();
    for (number, status) in list(pod, "status.initContainerStatuses").enumerate() {
        summary.count.add(status);
        let sidecar = restartable(text(status, "name"));
        if sidecar {
            sidecar_count.add(status);
        }
        let terminated = at(status, "state.terminated");
        let waiting = text(status, "state.waiting.reason");
        if terminated.is_some_and(|end| int(end, "exitCode").unwrap_or_default() == 0) {
            continue;
        }
        if sidecar && flag(status, "started") {
            summary.ready += usize::from(flag(status, "ready"));
            continue;
        }
        return Some(match terminated {
            Some(end) => format!("Init:{}", end_reason(end)),
            None if !waiting.is_empty() && waiting != "PodInitializing" => format!("Init:{waiting}"),
            None => format!("Init:{number}/{total}"),
        });
    }
    None
}

fn main_status(pod: &Value, summary: &mut Summary) {
    let mut running = false;
    for status in list(pod, "status.containerStatuses").rev() {
        summary.count.add(status);
        let waiting = text(status, "state.waiting.reason");
        if !waiting.is_empty() {
            waiting.clone_into(&mut summary.status);
        } else if let Some(end) = at(status, "state.terminated") {
            summary.status = end_reason(end);
        } else if flag(status, "ready") && at(status, "state.running").is_some() {
            running = true;
            summary.ready += 1;
        }
    }
    if summary.status == "Completed" && running {
        let ready = condition_true(pod, "Ready");
        (if ready { "Running" } else { "NotReady" }).clone_into(&mut summary.status);
    }
}

fn row(pod: &Value, now: Timestamp) -> Vec<Cell> {
    let summary = summarise(pod);
    let restarts = match (summary.count.restarts, summary.count.last_restart) {
        (count @ 1.., last @ Some(_)) => format!("{count} ({} ago)", since(last, now)),
        (count, _) => count.to_string(),
    };
    let gates = list(pod, "spec.readinessGates").len();
    let open = list(pod, "spec.readinessGates").filter(|gate| condition_true(pod, text(gate, "conditionType"))).count();
    vec![
        super::name(pod),
        format!("{}/{}", summary.ready, summary.containers).into(),
        summary.status.into(),
        restarts.into(),
        age(pod, now).into(),
        super::or_none(list(pod, "status.podIPs").next().map_or("", |ip| text(ip, "ip"))),
        super::or_none(text(pod, "spec.nodeName")),
        super::or_none(text(pod, "status.nominatedNodeName")),
        if gates == 0 { "<none>".into() } else { format!("{open}/{gates}").into() },
    ]
}
