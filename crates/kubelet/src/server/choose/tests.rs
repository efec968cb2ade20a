use serde_json::{Value, json};

use super::*;

fn pod(state: &Value) -> Pod {
    serde_json::from_value(json!({
        "metadata": {"name": "web", "namespace": "ns"},
        "spec": {
            "containers": [{"name": "nginx"}],
            "initContainers": [{"name": "prepare"}],
            "ephemeralContainers": [{"name": "debugger"}],
        },
        "status": {"containerStatuses": [{"name": "nginx", "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": state}]},
    }))
    .unwrap()
}

/// Containers named `nginx`, newest first, with their number as id.
fn view(states: &[State]) -> PodView {
    let container = |(number, state): (usize, &State)| ContainerView {
        id: number.to_string(),
        name: "nginx".to_owned(),
        state: *state,
        ..ContainerView::default()
    };
    PodView { containers: states.iter().enumerate().map(container).collect(), ..PodView::default() }
}

fn check(state: &Value, states: &[State], previous: bool, expected: Result<&str, &str>) {
    let (pod, view) = (pod(state), view(states));
    let chosen = with_log(&pod, &view, "nginx", previous);
    let chosen = chosen.map(|container| container.id.as_str()).map_err(|error| error.to_string());
    assert_eq!(chosen, expected.map_err(str::to_owned), "{state} {states:?} previous: {previous}");
}

#[test]
fn the_present_container_has_the_log() {
    let running = json!({"running": {}});
    let backing_off = json!({"waiting": {"reason": "CrashLoopBackOff"}});
    check(&running, &[State::Running], false, Ok("0"));
    check(&running, &[State::Running, State::Exited], false, Ok("0"));
    check(&json!({"terminated": {"exitCode": 0}}), &[State::Exited], false, Ok("0"));
    check(&backing_off, &[State::Exited, State::Exited], false, Ok("0"));
    check(&backing_off, &[State::Created, State::Exited], false, Ok("1"));
}

#[test]
fn the_previous_container_is_the_one_that_ended_last() {
    let (running, none) = (json!({"running": {}}), Err(r#"previous terminated container "nginx" in pod "web" not found"#));
    check(&running, &[State::Running, State::Exited, State::Exited], true, Ok("1"));
    check(&running, &[State::Running], true, none);
    check(&running, &[], true, none);
    check(&json!({"waiting": {"reason": "CrashLoopBackOff"}}), &[State::Exited, State::Exited], true, Ok("0"));
    check(&json!({"terminated": {"exitCode": 1}}), &[State::Exited], true, none);
}

#[test]
fn without_a_log_the_reason_is_said() {
    let waiting = |reason: &str| json!({"waiting": {"reason": reason}});
    let cases = [
        (waiting("ContainerCreating"), r#"container "nginx" in pod "web" is waiting to start: ContainerCreating"#),
        (waiting("ErrImagePull"), r#"container "nginx" in pod "web" is waiting to start: image can't be pulled"#),
        (waiting("ImagePullBackOff"), r#"container "nginx" in pod "web" is waiting to start: trying and failing to pull image"#),
        (json!({"terminated": {"exitCode": 0}}), r#"container "nginx" in pod "web" is terminated"#),
        (json!({}), r#"container "nginx" in pod "web" is not available"#),
    ];
    for (state, words) in cases {
        check(&state, &[], false, Err(words));
    }
    check(&json!({}), &[State::Created], false, Err(r#"container "nginx" in pod "web" is waiting to start: ContainerCreating"#));
}

#[test]
fn only_what_is_defined_is_found() {
    let pod = pod(&json!({}));
    for (name, expected) in [("nginx", true), ("prepare", true), ("debugger", true), ("other", false)] {
        assert_eq!(is_defined(&pod, name), expected, "{name}");
    }
}
