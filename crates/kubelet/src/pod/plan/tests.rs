use jiff::SignedDuration;
use serde_json::{Value, json};

use super::*;

const NOW: i64 = 1_000_000;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(NOW + seconds).unwrap()
}

/// One situation, built step by step.
struct Case {
    pod: Pod,
    view: PodView,
    memory: Memory,
    health: HashMap<String, Health>,
}

impl Case {
    fn new(spec: Value) -> Self {
        let pod = json!({
            "metadata": {"name": "p", "namespace": "ns", "uid": "u"},
            "spec": spec,
        });
        Self { pod: serde_json::from_value(pod).unwrap(), view: PodView::default(), memory: Memory::default(), health: HashMap::new() }
    }

    fn sandbox(mut self) -> Self {
        self.view.sandboxes.insert(0, Sandbox { id: "s0".into(), ready: true, addresses: vec!["10.42.0.2".into()], ..Sandbox::default() });
        self
    }

    fn container(mut self, name: &str, state: State, exit_code: i32) -> Self {
        let count = self.view.containers.iter().filter(|c| c.name == name).count();
        let spec = self.pod.spec.as_ref().unwrap();
        self.view.containers.insert(
            0,
            ContainerView {
                id: format!("{name}-{count}"),
                name: name.into(),
                sandbox: "s0".into(),
                state,
                exit_code,
                restart_count: u32::try_from(count).unwrap(),
                created_at: i64::try_from(self.view.containers.len()).unwrap() + 1,
                hash: find(spec, name).map(labels::hash).unwrap_or_default(),
                finished_at: (state == State::Exited).then(|| at(0)),
                ..ContainerView::default()
            },
        );
        self
    }

    fn running(self, name: &str) -> Self {
        self.container(name, State::Running, 0)
    }

    fn exited(self, name: &str, code: i32) -> Self {
        self.container(name, State::Exited, code)
    }

    fn plan(&self) -> Plan {
        plan(&Facts { pod: &self.pod, view: &self.view, memory: &self.memory, health: &self.health, now: at(0) })
    }

    /// The plan's actions in short form.
    fn steps(&self) -> Vec<String> {
        self.plan().actions.iter().map(short).collect()
    }
}

fn short(action: &Action) -> String {
    match action {
        Action::CreateSandbox { attempt } => format!("sandbox {attempt}"),
        Action::Start { name, restart_count, .. } => match restart_count {
            None => format!("start {name}"),
            Some(count) => format!("start {name} {count}"),
        },
        Action::Stop { id, why, .. } => format!("stop {id} {why:?}"),
        Action::StopSandbox { id } => format!("stop sandbox {id}"),
        Action::Resize { id, resources, .. } => format!("resize {id} {}", resources.cpu_quota),
    }
}

fn one() -> Value {
    json!({"containers": [{"name": "c", "image": "i"}]})
}

fn with_policy(policy: &str) -> Value {
    json!({"restartPolicy": policy, "containers": [{"name": "c", "image": "i"}]})
}

fn with_init() -> Value {
    json!({
        "initContainers": [
            {"name": "i", "image": "i"},
            {"name": "s", "image": "i", "restartPolicy": "Always"},
        ],
        "containers": [{"name": "a", "image": "i"}, {"name": "b", "image": "i"}],
    })
}

#[test]
fn a_new_pod_gets_a_sandbox_then_its_container() {
    assert_eq!(Case::new(one()).steps(), ["sandbox 0"]);
    assert_eq!(Case::new(one()).sandbox().steps(), ["start c"]);
    let running = Case::new(one()).sandbox().running("c");
    assert_eq!(running.plan(), Plan::default());
}

#[test]
fn containers_start_one_at_a_time_in_order() {
    let spec = json!({"containers": [{"name": "a", "image": "i"}, {"name": "b", "image": "i"}]});
    let mut case = Case::new(spec).sandbox();
    assert_eq!(case.steps(), ["start a"]);
    case.memory.starting = Some("a".into());
    assert!(case.steps().is_empty());
    case.memory.starting = None;
    assert_eq!(case.running("a").steps(), ["start b"]);
}

#[test]
fn restart_policies_decide() {
    for (policy, code, steps, completed) in [
        ("Always", 0, vec!["start c 1"], false),
        ("Always", 1, vec!["start c 1"], false),
        ("OnFailure", 0, vec!["stop sandbox s0"], true),
        ("OnFailure", 1, vec!["start c 1"], false),
        ("Never", 0, vec!["stop sandbox s0"], true),
        ("Never", 1, vec!["stop sandbox s0"], true),
    ] {
        let case = Case::new(with_policy(policy)).sandbox().exited("c", code);
        assert_eq!(case.steps(), steps, "{policy} {code}");
        assert_eq!(case.plan().completed, completed, "{policy} {code}");
    }
}

#[test]
fn a_containers_own_rules_come_first() {
    let spec = json!({"restartPolicy": "Never", "containers": [{
        "name": "c", "image": "i", "restartPolicy": "Never",
        "restartPolicyRules": [{"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}}],
    }]});
    assert_eq!(Case::new(spec.clone()).sandbox().exited("c", 42).steps(), ["start c 1"]);
    assert!(Case::new(spec).sandbox().exited("c", 1).plan().completed);
}

#[test]
fn a_crash_loop_waits_and_says_so() {
    let mut case = Case::new(one()).sandbox().exited("c", 1);
    let backoff = Backoff::next(None, at(-5), at(-5), super::super::backoff::LONGEST);
    case.memory.backoff.insert("c".into(), backoff);
    let plan = case.plan();
    assert!(plan.actions.is_empty());
    assert_eq!(plan.wake_at, Some(at(10)));
    let waiting = &plan.waiting["c"];
    assert_eq!(waiting.reason, "CrashLoopBackOff");
    assert_eq!(waiting.message, "back-off 10s restarting failed container=c pod=p_ns(u)");
}

#[test]
fn a_failed_start_waits_for_its_time_and_lets_the_next_one_go() {
    let spec = json!({"containers": [{"name": "a", "image": "i"}, {"name": "b", "image": "i"}]});
    let mut case = Case::new(spec).sandbox();
    let waiting = Waiting { reason: "ErrImagePull".into(), message: "no".into() };
    let failed = FailedStart { waiting: waiting.clone(), retry_at: at(10) };
    case.memory.failed.insert("a".into(), failed);
    let plan = case.plan();
    assert_eq!(plan.waiting["a"], waiting);
    assert_eq!(plan.wake_at, Some(at(10)));
    assert_eq!(case.steps(), ["start b"]);
}

#[test]
fn initialisation_runs_in_order() {
    let case = || Case::new(with_init()).sandbox();
    assert_eq!(case().steps(), ["start i"]);
    assert!(case().running("i").steps().is_empty());
    assert_eq!(case().exited("i", 1).steps(), ["start i 1"]);
    assert_eq!(case().exited("i", 0).steps(), ["start s"]);
    assert_eq!(case().exited("i", 0).running("s").steps(), ["start a"]);
    let both = case().exited("i", 0).running("s").running("a").running("b");
    assert!(both.steps().is_empty());
}

#[test]
fn a_sidecar_holds_the_rest_back_until_it_has_started() {
    let mut case = Case::new(with_init()).sandbox().exited("i", 0).running("s");
    case.health.insert("s-0".into(), Health::default());
    assert!(case.steps().is_empty());
    case.health.insert("s-0".into(), Health { started: true, ..Health::default() });
    assert_eq!(case.steps(), ["start a"]);
}

#[test]
fn a_dead_sidecar_comes_back_beside_running_containers() {
    let case = Case::new(with_init()).sandbox().exited("s", 0).running("a").running("b");
    assert_eq!(case.steps(), ["start s 1"]);
}

#[test]
fn failed_initialisation_ends_a_pod_that_never_restarts() {
    let mut spec = with_init();
    spec["restartPolicy"] = json!("Never");
    let case = Case::new(spec).sandbox().exited("i", 3);
    assert!(case.plan().completed);
    assert_eq!(case.steps(), ["stop sandbox s0"]);
}

#[test]
fn sick_and_changed_containers_are_stopped() {
    let mut case = Case::new(one()).sandbox().running("c");
    let sick = |failure| Health { failure: Some(failure), ..Health::default() };
    case.health.insert("c-0".into(), sick(Failure::Liveness));
    assert_eq!(case.steps(), ["stop c-0 Liveness"]);
    case.memory.stopping.insert("c-0".into(), at(30));
    assert!(case.steps().is_empty());

    let mut case = Case::new(one()).sandbox().running("c");
    case.view.containers[0].hash = "other".into();
    assert_eq!(case.steps(), ["stop c-0 Changed"]);
}

#[test]
fn a_lost_sandbox_is_replaced_and_its_containers_with_it() {
    let mut case = Case::new(one()).sandbox().running("c");
    case.view.sandboxes[0].ready = false;
    assert_eq!(case.steps(), ["stop c-0 Sandbox"]);
    case.view.containers[0].state = State::Exited;
    case.view.containers[0].finished_at = Some(at(0));
    assert_eq!(case.steps(), ["stop sandbox s0"]);
    case.memory.stopped_sandboxes.insert("s0".into());
    assert_eq!(case.steps(), ["sandbox 1"]);
}

#[test]
fn ending_stops_containers_then_sidecars_then_the_sandbox() {
    let mut case = Case::new(with_init()).sandbox().exited("i", 0).running("s").running("a");
    case.memory.ending = Some(Ending { deadline: at(30), verdict: None });
    assert_eq!(case.steps(), ["stop a-0 Ending"]);
    case.memory.stopping.insert("a-0".into(), at(30));
    assert!(case.steps().is_empty());
    // A shorter grace period later on is passed to the runtime.
    case.memory.ending = Some(Ending { deadline: at(1), verdict: None });
    assert_eq!(case.steps(), ["stop a-0 Ending"]);
    case.memory.stopping.clear();
    case.view.containers[0].state = State::Exited;
    assert_eq!(case.steps(), ["stop s-0 Ending"]);
    for container in &mut case.view.containers {
        container.state = State::Exited;
    }
    assert_eq!(case.steps(), ["stop sandbox s0"]);
    case.memory.stopped_sandboxes.insert("s0".into());
    assert!(case.plan().ended);
}

#[test]
fn a_start_under_way_delays_the_end() {
    let mut case = Case::new(one()).sandbox();
    case.memory.ending = Some(Ending { deadline: at(0), verdict: None });
    case.memory.starting = Some("c".into());
    let plan = case.plan();
    assert!(plan.actions.is_empty() && !plan.ended);
}

#[test]
fn a_pod_that_is_over_in_the_api_is_not_started_again() {
    let mut case = Case::new(one());
    case.pod.status = serde_json::from_value(json!({"phase": "Failed"})).unwrap();
    let plan = case.plan();
    assert!(plan.completed && plan.ended && plan.actions.is_empty());
}

#[test]
fn a_sandbox_that_could_not_be_made_is_tried_later() {
    let mut case = Case::new(one());
    case.memory.sandbox_retry = Some(at(0).saturating_add(SignedDuration::from_secs(1)).unwrap());
    let plan = case.plan();
    assert!(plan.actions.is_empty());
    assert_eq!(plan.wake_at, Some(at(1)));
}

#[test]
fn a_new_sandbox_is_initialised_anew() {
    for (policy, code, steps) in [
        ("OnFailure", 0, vec!["start i 1"]),
        ("OnFailure", 1, vec!["start i 1"]),
        ("Always", 0, vec!["start i 1"]),
        ("Never", 0, vec!["start i 1"]),
        ("Never", 1, vec!["start i 1"]),
    ] {
        let spec = json!({
            "restartPolicy": policy,
            "initContainers": [{"name": "i", "image": "i"}],
            "containers": [{"name": "a", "image": "i"}],
        });
        let mut case = Case::new(spec).sandbox().exited("i", code);
        let lost = Sandbox { ready: false, ..case.view.sandboxes[0].clone() };
        case.memory.stopped_sandboxes.insert(lost.id.clone());
        case.view.sandboxes[0].id = "s1".into();
        case.view.sandboxes.push(lost);
        assert_eq!(case.steps(), steps, "{policy} {code}");
    }
}

#[test]
fn a_stop_that_failed_is_tried_later() {
    let retry = |seconds| Retry { failures: 1, at: at(seconds) };
    let mut case = Case::new(one()).sandbox().running("c");
    case.memory.ending = Some(Ending { deadline: at(30), verdict: None });
    case.memory.retries.insert("c-0".into(), retry(2));
    let plan = case.plan();
    assert!(plan.actions.is_empty() && !plan.ended);
    assert_eq!(plan.wake_at, Some(at(2)));
    case.memory.retries.insert("c-0".into(), retry(0));
    assert_eq!(case.steps(), ["stop c-0 Ending"]);

    case.view.containers[0].state = State::Exited;
    case.memory.retries.insert("s0".into(), retry(2));
    let plan = case.plan();
    assert!(plan.actions.is_empty() && !plan.ended);
    assert_eq!(plan.wake_at, Some(at(2)));
    // Nor is a lost sandbox replaced before it is stopped.
    case.memory.ending = None;
    case.view.sandboxes[0].ready = false;
    let plan = case.plan();
    assert!(plan.actions.is_empty());
    assert_eq!(plan.wake_at, Some(at(2)));
    case.memory.retries.clear();
    assert_eq!(case.steps(), ["stop sandbox s0"]);
}

#[test]
fn ephemeral_containers_start_once_and_wait_for_nobody() {
    let mut spec = with_init();
    spec["ephemeralContainers"] = json!([{"name": "d", "image": "i"}, {"name": "e", "image": "i"}]);
    let case = || Case::new(spec.clone()).sandbox();
    // Beside initialisation, one after another.
    assert_eq!(case().running("i").steps(), ["start d 0"]);
    assert_eq!(case().running("i").running("d").steps(), ["start e 0"]);
    // Never again, however they end; and they do not keep the others from starting.
    assert_eq!(case().exited("d", 1).exited("e", 0).steps(), ["start i"]);
    let mut failed = case().running("i").running("d");
    let waiting = Waiting { reason: "ErrImagePull".into(), message: "no".into() };
    failed.memory.failed.insert("e".into(), FailedStart { waiting: waiting.clone(), retry_at: at(10) });
    let plan = failed.plan();
    assert!(plan.actions.is_empty());
    assert_eq!((plan.wake_at, &plan.waiting["e"]), (Some(at(10)), &waiting));

    // They end with their pod, together with the others.
    let mut ending = case().exited("i", 0).running("s").running("a").running("b").running("d");
    ending.memory.ending = Some(Ending { deadline: at(30), verdict: None });
    assert_eq!(ending.steps(), ["stop d-0 Ending", "stop b-0 Ending", "stop a-0 Ending"]);
}

#[test]
fn a_pod_is_over_while_somebody_still_looks_into_it() {
    let spec = json!({"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}], "ephemeralContainers": [{"name": "d", "image": "i"}]});
    let case = Case::new(spec).sandbox().exited("c", 0).running("d");
    assert!(case.plan().completed);
    assert_eq!(case.steps(), ["stop d-0 Ending"]);
}

#[test]
fn a_container_gets_what_it_was_promised_live_or_by_a_restart() {
    let spec = |cpu: &str, policy: &str| json!({"containers": [{"name": "c", "image": "i", "resources": {"limits": {"cpu": cpu}}, "resizePolicy": [{"resourceName": "cpu", "restartPolicy": policy}]}]});
    let with = |cpu: &str, policy: &str| {
        let mut case = Case::new(spec(cpu, policy)).sandbox().running("c");
        let before = Case::new(spec("100m", policy));
        let container = &before.pod.spec.as_ref().unwrap().containers[0];
        case.view.containers[0].resources = Some(resources::for_container(&before.pod, container, 1 << 30));
        case
    };
    assert!(!with("100m", "NotRequired").plan().resizing);
    let mut live = with("200m", "NotRequired");
    assert_eq!((live.steps(), live.plan().resizing), (vec!["resize c-0 20000".to_owned()], true));
    live.memory.resizing.insert("c-0".into());
    assert_eq!((live.steps(), live.plan().resizing), (vec![], true));
    live.memory.resizing.clear();
    live.memory.resize_errors.insert("c".into(), ResizeError { message: "busy".into(), failures: 1, retry_at: at(5) });
    assert_eq!((live.steps(), live.plan().wake_at), (vec![], Some(at(5))));
    assert_eq!(with("200m", "RestartContainer").steps(), ["stop c-0 Resize"]);
}
