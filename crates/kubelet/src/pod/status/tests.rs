use std::collections::HashMap;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::*;
use crate::pod::plan::{Health, Memory, plan};
use crate::runtime::view::{ContainerView, PodView, Sandbox, State};

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_000_000 + seconds).unwrap()
}

/// The status, as JSON, for a pod with these containers in the runtime.
struct Case {
    spec: Value,
    given: Value,
    view: PodView,
    health: HashMap<String, Health>,
    memory: Memory,
    previous: PodStatus,
}

impl Case {
    fn new(spec: Value) -> Self {
        let sandbox = Sandbox { id: "s".into(), ready: true, addresses: vec!["10.42.0.5".into()], ..Sandbox::default() };
        Self {
            spec,
            given: json!({}),
            view: PodView { sandboxes: vec![sandbox], containers: Vec::new() },
            health: HashMap::new(),
            memory: Memory::default(),
            previous: PodStatus::default(),
        }
    }

    fn container(mut self, name: &str, state: State, exit_code: i32) -> Self {
        let count = self.view.containers.iter().filter(|c| c.name == name).count();
        self.view.containers.insert(
            0,
            ContainerView {
                id: format!("{name}{count}"),
                name: name.into(),
                sandbox: "s".into(),
                state,
                exit_code,
                restart_count: u32::try_from(count).unwrap(),
                started_at: Some(at(1)),
                finished_at: (state == State::Exited).then(|| at(2)),
                ..ContainerView::default()
            },
        );
        self
    }

    fn status(&self) -> PodStatus {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "p", "namespace": "ns", "uid": "u", "generation": 3},
            "spec": self.spec,
            "status": self.given,
        }))
        .unwrap();
        let facts = Facts { pod: &pod, view: &self.view, memory: &self.memory, health: &self.health, now: at(5) };
        status(&Inputs {
            facts,
            plan: &plan(&facts),
            previous: &self.previous,
            node_addresses: &["192.0.2.7".to_owned()],
            runtime: "corten",
        })
    }

    fn summary(&self) -> (String, Vec<(String, String)>) {
        let status = self.status();
        let conditions = status.conditions.unwrap().into_iter();
        let conditions = conditions.map(|c| {
            let short: String = c.type_.chars().filter(char::is_ascii_uppercase).collect();
            (format!("{short}={}", c.status), c.reason.unwrap_or_default())
        });
        (status.phase.unwrap(), conditions.collect())
    }
}

fn one() -> Value {
    json!({"containers": [{"name": "c", "image": "i"}]})
}

#[test]
fn a_running_pod_is_ready() {
    let case = Case::new(one()).container("c", State::Running, 0);
    let status = case.status();
    assert_eq!(status.phase.as_deref(), Some("Running"));
    assert_eq!(status.pod_ip.as_deref(), Some("10.42.0.5"));
    assert_eq!(status.host_ip.as_deref(), Some("192.0.2.7"));
    assert_eq!(status.observed_generation, Some(3));
    let container = &status.container_statuses.as_ref().unwrap()[0];
    assert!(container.ready);
    assert_eq!(container.started, Some(true));
    assert_eq!(container.container_id.as_deref(), Some("corten://c0"));
    assert!(container.resources.is_some());
    let (_, conditions) = case.summary();
    assert!(conditions.iter().all(|(c, _)| c.ends_with("=True")));
}

#[test]
fn a_pod_that_is_being_made_says_so() {
    let case = Case::new(one());
    let status = case.status();
    assert_eq!(status.phase.as_deref(), Some("Pending"));
    let state = status.container_statuses.unwrap()[0].state.clone().unwrap();
    assert_eq!(state.waiting.unwrap().reason.as_deref(), Some("ContainerCreating"));
    let (_, conditions) = case.summary();
    assert!(conditions.contains(&("CR=False".into(), "ContainersNotReady".into())));
    assert!(conditions.contains(&("PRTSC=True".into(), String::new())));
}

#[test]
fn unready_containers_are_named() {
    let mut case = Case::new(one()).container("c", State::Running, 0);
    let health = Health { started: true, ready: false, failure: None };
    case.health.insert("c0".into(), health);
    let status = case.status();
    let ready = status.conditions.unwrap().into_iter().find(|c| c.type_ == "Ready").unwrap();
    assert_eq!(ready.status, "False");
    assert_eq!(ready.message.as_deref(), Some("containers with unready status: [c]"));
}

#[test]
fn the_end_follows_from_exit_codes() {
    for (policy, code, phase) in [
        ("Never", 0, "Succeeded"),
        ("Never", 1, "Failed"),
        ("OnFailure", 0, "Succeeded"),
        ("OnFailure", 1, "Running"),
        ("Always", 0, "Running"),
    ] {
        let mut spec = one();
        spec["restartPolicy"] = json!(policy);
        let mut case = Case::new(spec).container("c", State::Exited, code);
        case.memory.stopped_sandboxes.insert("s".into());
        assert_eq!(case.summary().0, phase, "{policy} {code}");
    }
}

#[test]
fn a_restarted_container_remembers_its_last_end() {
    let case = Case::new(one()).container("c", State::Exited, 137).container("c", State::Running, 0);
    let status = case.status();
    let container = &status.container_statuses.unwrap()[0];
    assert_eq!(container.restart_count, 1);
    let last = container.last_state.clone().unwrap().terminated.unwrap();
    assert_eq!((last.exit_code, last.reason.as_deref()), (137, Some("Error")));
}

#[test]
fn initialisation_shows_in_status_and_conditions() {
    let spec = json!({
        "initContainers": [{"name": "i", "image": "i"}],
        "containers": [{"name": "c", "image": "i"}],
    });
    let case = Case::new(spec.clone()).container("i", State::Running, 0);
    let (phase, conditions) = case.summary();
    assert_eq!(phase, "Pending");
    assert!(conditions.contains(&("I=False".into(), "ContainersNotInitialized".into())));
    let waiting = case.status().container_statuses.unwrap()[0].state.clone().unwrap();
    assert_eq!(waiting.waiting.unwrap().reason.as_deref(), Some("PodInitializing"));

    let case = Case::new(spec).container("i", State::Exited, 0).container("c", State::Running, 0);
    assert_eq!(case.summary().0, "Running");
    assert!(case.status().init_container_statuses.unwrap()[0].ready);
}

#[test]
fn transitions_keep_their_time_and_foreign_conditions_stay() {
    let mut case = Case::new(one()).container("c", State::Running, 0);
    case.spec["readinessGates"] = json!([{"conditionType": "example.com/up"}]);
    case.given = json!({"conditions": [{"type": "example.com/up", "status": "False"}]});
    let mut first = case.status();
    for condition in first.conditions.iter_mut().flatten() {
        condition.last_transition_time = Some(Time(at(-100)));
    }
    case.previous = first;
    let second = case.status();
    let find = |kind: &str| {
        let all = second.conditions.as_ref().unwrap();
        all.iter().find(|c| c.type_ == kind).unwrap().clone()
    };
    assert_eq!(find("Ready").reason.as_deref(), Some("ReadinessGatesNotReady"));
    assert_eq!(find("Ready").last_transition_time, Some(Time(at(-100))));
    assert_eq!(find("example.com/up").status, "False");
}

#[test]
fn the_nodes_verdict_is_the_reason() {
    use crate::pod::plan::{Ending, Waiting};
    let mut case = Case::new(one()).container("c", State::Exited, 0);
    case.memory.stopped_sandboxes.insert("s".into());
    case.memory.ending =
        Some(Ending { deadline: at(0), verdict: Some(Waiting { reason: "DeadlineExceeded".into(), message: "late".into() }) });
    let status = case.status();
    assert_eq!(status.phase.as_deref(), Some("Failed"));
    assert_eq!(status.reason.as_deref(), Some("DeadlineExceeded"));
}

#[test]
fn read_only_mounts_say_how_far_down() {
    let case = Case::new(json!({"containers": [{"name": "c", "image": "i", "volumeMounts": [
        {"name": "v", "mountPath": "/1"},
        {"name": "v", "mountPath": "/2", "readOnly": true},
        {"name": "v", "mountPath": "/3", "readOnly": true, "recursiveReadOnly": "Enabled"},
        {"name": "v", "mountPath": "/4", "readOnly": true, "recursiveReadOnly": "IfPossible"},
    ]}]}));
    let status = case.status();
    let mounts = status.container_statuses.iter().flatten().flat_map(|c| c.volume_mounts.iter().flatten());
    let found: Vec<_> = mounts.map(|m| m.recursive_read_only.as_deref()).collect();
    assert_eq!(found, [None, Some("Disabled"), Some("Enabled"), Some("Disabled")]);
}

#[test]
fn ephemeral_containers_have_statuses_that_nothing_depends_on() {
    let mut spec = one();
    spec["ephemeralContainers"] = json!([{"name": "d", "image": "busybox"}, {"name": "e", "image": "busybox"}]);
    let case = Case::new(spec).container("c", State::Running, 0).container("d", State::Exited, 7);
    let status = case.status();
    let found = status.ephemeral_container_statuses.as_ref().unwrap();
    assert_eq!(found.iter().map(|s| (s.name.as_str(), s.ready, s.started)).collect::<Vec<_>>(), [("d", false, None), ("e", false, None)]);
    assert_eq!(found[0].state.as_ref().unwrap().terminated.as_ref().unwrap().exit_code, 7);
    assert_eq!(found[1].state.as_ref().unwrap().waiting.as_ref().unwrap().reason.as_deref(), Some("ContainerCreating"));
    let (phase, conditions) = case.summary();
    assert_eq!(phase, "Running");
    assert!(conditions.iter().all(|(c, _)| c.ends_with("=True")), "{conditions:?}");
}

#[test]
fn a_resize_shows_as_conditions_while_it_lasts() {
    use crate::pod::allocation::Pending;
    let mut case = Case::new(one()).container("c", State::Running, 0);
    let found = |case: &Case| -> Vec<(String, Option<String>)> {
        let conditions = case.status().conditions.unwrap().into_iter();
        conditions.filter(|c| c.type_.starts_with("PodResize")).map(|c| (c.type_, c.reason)).collect()
    };
    assert!(found(&case).is_empty());
    case.memory.pending = Some(Pending { reason: "Deferred", message: "later".into() });
    case.view.containers[0].resources = Some(corten_cri::v1::LinuxContainerResources { cpu_shares: 99, ..Default::default() });
    let expected = [("PodResizePending", Some("Deferred")), ("PodResizeInProgress", None)];
    assert_eq!(found(&case), expected.map(|(kind, reason)| (kind.to_owned(), reason.map(str::to_owned))));
}
