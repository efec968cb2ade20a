//! Workloads: what makes pods, and what limits their disruption.

use corten_schema::Value;
use jiff::Timestamp;
use serde_json::Value as Cell;

use super::age::{age, human, since, time};
use super::{AGE, Column, NAME, Printer, col, labels, name, pick, selector, wide};
use crate::view::{at, condition_true, entries, flag, int, list, text};

const CONTAINERS: Column = wide("Containers", "string", "Names of the template's containers");
const IMAGES: Column = wide("Images", "string", "Images of the template's containers");
const SELECTOR: Column = wide("Selector", "string", "Labels of the pods");
const DESIRED: Column = col("Desired", "integer", "Pods wanted");
const CURRENT: Column = col("Current", "integer", "Pods that exist");
const READY: Column = col("Ready", "integer", "Pods that are ready");

static PRINTERS: &[(&str, &str, Printer)] = &[
    ("", "replicationcontrollers", Printer { columns: REPLICAS, row: replication_controller }),
    ("", "podtemplates", Printer { columns: POD_TEMPLATE, row: pod_template }),
    ("apps", "replicasets", Printer { columns: REPLICAS, row: replica_set }),
    ("apps", "deployments", Printer { columns: DEPLOYMENT, row: deployment }),
    ("apps", "daemonsets", Printer { columns: DAEMON_SET, row: daemon_set }),
    ("apps", "statefulsets", Printer { columns: STATEFUL_SET, row: stateful_set }),
    ("apps", "controllerrevisions", Printer { columns: REVISION, row: revision }),
    ("batch", "jobs", Printer { columns: JOB, row: job }),
    ("batch", "cronjobs", Printer { columns: CRON_JOB, row: cron_job }),
    ("autoscaling", "horizontalpodautoscalers", Printer { columns: AUTOSCALER, row: autoscaler }),
    ("policy", "poddisruptionbudgets", Printer { columns: BUDGET, row: budget }),
];

pub(super) fn find(group: &str, plural: &str) -> Option<&'static Printer> {
    pick(PRINTERS, group, plural)
}

fn count(object: &Value, path: &str) -> Cell {
    int(object, path).unwrap_or_default().into()
}

fn containers(object: &Value, template: &str) -> [Cell; 2] {
    let join = |field: &str| {
        let items: Vec<&str> = list(object, &format!("{template}.spec.containers")).map(|container| text(container, field)).collect();
        Cell::from(items.join(","))
    };
    [join("name"), join("image")]
}

fn with_containers(mut cells: Vec<Cell>, object: &Value) -> Vec<Cell> {
    cells.extend(containers(object, "spec.template"));
    cells
}

const REPLICAS: &[Column] = &[NAME, DESIRED, CURRENT, READY, AGE, CONTAINERS, IMAGES, SELECTOR];

fn replicas(object: &Value, now: Timestamp, selector: String) -> Vec<Cell> {
    let cells = vec![
        name(object),
        count(object, "spec.replicas"),
        count(object, "status.replicas"),
        count(object, "status.readyReplicas"),
        age(object, now).into(),
    ];
    let mut cells = with_containers(cells, object);
    cells.push(selector.into());
    cells
}

fn replication_controller(object: &Value, now: Timestamp) -> Vec<Cell> {
    replicas(object, now, labels(object, "spec.selector"))
}

fn replica_set(object: &Value, now: Timestamp) -> Vec<Cell> {
    replicas(object, now, selector(object, "spec.selector"))
}

const DEPLOYMENT: &[Column] = &[
    NAME,
    col("Ready", "string", "Ready pods of the pods wanted"),
    col("Up-to-date", "string", "Pods made from the current template"),
    col("Available", "string", "Pods that have been ready for long enough"),
    AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
];

fn ready_of(object: &Value) -> Cell {
    let number = |path| int(object, path).unwrap_or_default();
    format!("{}/{}", number("status.readyReplicas"), number("spec.replicas")).into()
}

fn deployment(object: &Value, now: Timestamp) -> Vec<Cell> {
    let cells = vec![
        name(object),
        ready_of(object),
        count(object, "status.updatedReplicas"),
        count(object, "status.availableReplicas"),
        age(object, now).into(),
    ];
    let mut cells = with_containers(cells, object);
    cells.push(selector(object, "spec.selector").into());
    cells
}

const DAEMON_SET: &[Column] = &[
    NAME,
    col("Desired", "integer", "Nodes that should run a pod"),
    col("Current", "integer", "Nodes that run a pod"),
    READY,
    col("Up-to-date", "integer", "Nodes whose pod is made from the current template"),
    col("Available", "integer", "Nodes whose pod is available"),
    col("Node Selector", "string", "Labels of the nodes meant"),
    AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
];

fn daemon_set(object: &Value, now: Timestamp) -> Vec<Cell> {
    let cells = vec![
        name(object),
        count(object, "status.desiredNumberScheduled"),
        count(object, "status.currentNumberScheduled"),
        count(object, "status.numberReady"),
        count(object, "status.updatedNumberScheduled"),
        count(object, "status.numberAvailable"),
        labels(object, "spec.template.spec.nodeSelector").into(),
        age(object, now).into(),
    ];
    let mut cells = with_containers(cells, object);
    cells.push(selector(object, "spec.selector").into());
    cells
}

const STATEFUL_SET: &[Column] = &[NAME, col("Ready", "string", "Ready pods of the pods wanted"), AGE, CONTAINERS, IMAGES];

fn stateful_set(object: &Value, now: Timestamp) -> Vec<Cell> {
    with_containers(vec![name(object), ready_of(object), age(object, now).into()], object)
}

const REVISION: &[Column] =
    &[NAME, col("Controller", "string", "Controller that owns the revision"), col("Revision", "string", "Number of the revision"), AGE];

fn revision(object: &Value, now: Timestamp) -> Vec<Cell> {
    let owner = list(object, "metadata.ownerReferences").find(|owner| flag(owner, "controller"));
    let controller = owner.map(|owner| {
        let group = text(owner, "apiVersion").split_once('/').map_or(String::new(), |(group, _)| format!(".{group}"));
        format!("{}{group}/{}", text(owner, "kind").to_lowercase(), text(owner, "name"))
    });
    vec![
        name(object),
        controller.unwrap_or_else(|| "<none>".to_owned()).into(),
        int(object, "revision").unwrap_or_default().into(),
        age(object, now).into(),
    ]
}

const POD_TEMPLATE: &[Column] = &[
    NAME,
    col("Containers", "string", "Names of the containers"),
    col("Images", "string", "Images of the containers"),
    col("Pod Labels", "string", "Labels of the pods"),
];

fn pod_template(object: &Value, _: Timestamp) -> Vec<Cell> {
    let [names, images] = containers(object, "template");
    vec![name(object), names, images, labels(object, "template.metadata.labels").into()]
}

const JOB: &[Column] = &[
    NAME,
    col("Status", "string", "What has become of the job"),
    col("Completions", "string", "Pods that succeeded of the pods that should"),
    col("Duration", "string", "Time from start to completion"),
    AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
];

fn job_status(job: &Value) -> &'static str {
    let is = |kind| condition_true(job, kind);
    match () {
        () if is("Complete") => "Complete",
        () if is("Failed") => "Failed",
        () if at(job, "metadata.deletionTimestamp").is_some() => "Terminating",
        () if is("Suspended") => "Suspended",
        () if is("FailureTarget") => "FailureTarget",
        () if is("SuccessCriteriaMet") => "SuccessCriteriaMet",
        () => "Running",
    }
}

fn job(object: &Value, now: Timestamp) -> Vec<Cell> {
    let succeeded = int(object, "status.succeeded").unwrap_or_default();
    let parallelism = int(object, "spec.parallelism").unwrap_or_default();
    let completions = match int(object, "spec.completions") {
        Some(wanted) => format!("{succeeded}/{wanted}"),
        None if parallelism > 1 => format!("{succeeded}/1 of {parallelism}"),
        None => format!("{succeeded}/1"),
    };
    let duration = time(object, "status.startTime").map(|start| {
        let end = time(object, "status.completionTime").unwrap_or(now);
        human(end.as_second() - start.as_second())
    });
    let cells =
        vec![name(object), job_status(object).into(), completions.into(), duration.unwrap_or_default().into(), age(object, now).into()];
    let mut cells = with_containers(cells, object);
    cells.push(selector(object, "spec.selector").into());
    cells
}

const CRON_JOB: &[Column] = &[
    NAME,
    col("Schedule", "string", "When it runs, in cron's notation"),
    col("Timezone", "string", "Time zone of the schedule"),
    col("Suspend", "boolean", "Whether it is suspended"),
    col("Active", "integer", "Jobs that run now"),
    col("Last Schedule", "string", "Time since the last job was made"),
    AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
];

fn cron_job(object: &Value, now: Timestamp) -> Vec<Cell> {
    let suspend = match at(object, "spec.suspend").and_then(Value::as_bool) {
        Some(true) => "True",
        Some(false) => "False",
        None => "<unset>",
    };
    let last = time(object, "status.lastScheduleTime");
    let mut cells = vec![
        name(object),
        text(object, "spec.schedule").into(),
        super::or_none(text(object, "spec.timeZone")),
        suspend.into(),
        list(object, "status.active").len().into(),
        if last.is_some() { since(last, now).into() } else { "<none>".into() },
        age(object, now).into(),
    ];
    cells.extend(containers(object, "spec.jobTemplate.spec.template"));
    cells.push(selector(object, "spec.jobTemplate.spec.selector").into());
    cells
}

const AUTOSCALER: &[Column] = &[
    NAME,
    col("Reference", "string", "What it scales"),
    col("Targets", "string", "Current and wanted values of its metrics"),
    col("MinPods", "string", "Fewest pods"),
    col("MaxPods", "string", "Most pods"),
    col("Replicas", "string", "Pods at present"),
    AGE,
];

fn autoscaler(object: &Value, now: Timestamp) -> Vec<Cell> {
    let minimum = int(object, "spec.minReplicas").map_or_else(|| "<unset>".to_owned(), |count| count.to_string());
    vec![
        name(object),
        format!("{}/{}", text(object, "spec.scaleTargetRef.kind"), text(object, "spec.scaleTargetRef.name")).into(),
        metrics(object).into(),
        minimum.into(),
        count(object, "spec.maxReplicas"),
        count(object, "status.currentReplicas"),
        age(object, now).into(),
    ]
}

/// The metrics of an autoscaler (autoscaling/v2), at most two of them.
fn metrics(object: &Value) -> String {
    let current: Vec<&Value> = list(object, "status.currentMetrics").collect();
    let one = |number: usize, spec: &Value| {
        let kind = text(spec, "type");
        let field = format!("{}{}", kind.get(..1).unwrap_or_default().to_lowercase(), kind.get(1..).unwrap_or_default());
        let target = at(spec, &format!("{field}.target"))?;
        let now = current.get(number).and_then(|status| at(status, &format!("{field}.current")));
        let value = |of: Option<&Value>, utilization: &str| {
            let of = of?;
            int(of, utilization)
                .map(|percent| format!("{percent}%"))
                .or_else(|| ["averageValue", "value"].iter().map(|key| text(of, key)).find(|text| !text.is_empty()).map(str::to_owned))
        };
        let unknown = || "<unknown>".to_owned();
        let text_of = format!(
            "{}/{}",
            value(now, "averageUtilization").unwrap_or_else(unknown),
            value(Some(target), "averageUtilization").unwrap_or_else(unknown)
        );
        Some(if kind == "Resource" || kind == "ContainerResource" {
            format!("{}: {text_of}", text(spec, &format!("{field}.name")))
        } else {
            text_of
        })
    };
    let all: Vec<String> = list(object, "spec.metrics").enumerate().filter_map(|(number, spec)| one(number, spec)).collect();
    match all.as_slice() {
        [] => "<none>".to_owned(),
        [first, second, rest @ ..] if !rest.is_empty() => format!("{first}, {second} + {} more...", rest.len()),
        all => all.join(", "),
    }
}

const BUDGET: &[Column] = &[
    NAME,
    col("Min Available", "string", "Pods that must stay available"),
    col("Max Unavailable", "string", "Pods that may be unavailable"),
    col("Allowed Disruptions", "integer", "Pods that may be evicted now"),
    AGE,
];

fn budget(object: &Value, now: Timestamp) -> Vec<Cell> {
    let limit = |field: &str| {
        let found = entries(object, "spec").find(|(key, _)| *key == field).map(|(_, value)| value);
        Cell::from(match found {
            Some(value) => {
                value.as_str().map(str::to_owned).or_else(|| value.as_i64().map(|number| number.to_string())).unwrap_or_default()
            }
            None => "N/A".to_owned(),
        })
    };
    vec![name(object), limit("minAvailable"), limit("maxUnavailable"), count(object, "status.disruptionsAllowed"), age(object, now).into()]
}
