use serde_json::{Value, json};

use super::*;
use crate::testing::pod;

fn prioritized(name: &str, priority: i32) -> Arc<PodInfo> {
    pod(name, json!({"spec": {"priority": priority}}))
}

fn take(queue: &mut Queue, now: Instant) -> Option<String> {
    queue.next(now).map(|pod| pod.key.name.clone())
}

fn by(plugin: &'static str) -> RejectedBy {
    [plugin].into()
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn the_order_is_priority_then_arrival() {
    let now = Instant::now();
    let mut queue = Queue::default();
    for (name, priority) in [("a", 0), ("b", 10), ("c", 0), ("d", 10)] {
        queue.set(prioritized(name, priority), now);
    }
    queue.set(prioritized("c", 20), now);
    let order: Vec<_> = std::iter::from_fn(|| take(&mut queue, now)).collect();
    assert_eq!(order, ["c", "b", "d", "a"]);
}

#[test]
fn the_rejected_wait_for_a_change_that_helps() {
    let now = Instant::now();
    let mut queue = Queue::default();
    let (fit, taint) = (pod("fit", json!({})), pod("taint", json!({})));
    queue.set(fit.clone(), now);
    queue.set(taint.clone(), now);
    while queue.next(now).is_some() {}
    queue.reject(&fit, by("NodeResourcesFit"), now);
    queue.reject(&taint, by("TaintToleration"), now);
    assert_eq!(take(&mut queue, now + secs(3600)), None);
    let later = now + secs(2);
    queue.reconsider(later, |_, rejected_by| rejected_by.contains("TaintToleration"));
    assert_eq!(take(&mut queue, later).as_deref(), Some("taint"));
    assert_eq!(take(&mut queue, later), None);
}

#[test]
fn those_that_fail_let_others_go_first() {
    let now = Instant::now();
    let mut queue = Queue::default();
    let failing = prioritized("failing", 100);
    queue.set(failing.clone(), now);
    queue.next(now);
    queue.reject(&failing, by("x"), now);
    queue.reconsider(now, |_, _| true);
    queue.set(prioritized("other", 0), now);
    assert_eq!(queue.next_due(), Some(now + secs(1)));
    assert_eq!(take(&mut queue, now).as_deref(), Some("other"), "it backs off though its priority is higher");
    assert_eq!(take(&mut queue, now).as_deref(), Some("failing"), "but not when nobody else is there");
    assert_eq!(queue.next_due(), None);
}

#[test]
fn errors_are_waited_out() {
    let now = Instant::now();
    let mut queue = Queue::default();
    let failing = pod("p", json!({}));
    queue.set(failing.clone(), now);
    let mut at = now;
    for wait in [1, 2, 4, 8, 10, 10] {
        assert_eq!(take(&mut queue, at).as_deref(), Some("p"));
        queue.retry(&failing, at);
        assert_eq!(queue.next_due(), Some(at + secs(wait)));
        assert_eq!(take(&mut queue, at + secs(wait) - Duration::from_millis(1)), None);
        at += secs(wait);
    }
}

#[test]
fn gated_pods_wait_for_their_gates() {
    let now = Instant::now();
    let mut queue = Queue::default();
    queue.set(pod("p", json!({"spec": {"schedulingGates": [{"name": "g"}]}})), now);
    queue.reconsider(now, |_, _| true);
    assert_eq!(take(&mut queue, now), None);
    queue.set(pod("p", json!({})), now);
    assert_eq!(take(&mut queue, now).as_deref(), Some("p"));
}

#[test]
fn a_change_of_its_own_brings_a_pod_back_but_not_one_of_its_status() {
    let now = Instant::now();
    let mut queue = Queue::default();
    let original = pod("p", json!({}));
    queue.set(original.clone(), now);
    queue.next(now);
    queue.reject(&original, by("x"), now);
    queue.set(pod("p", json!({"status": {"phase": "Pending"}})), now);
    assert_eq!(take(&mut queue, now + secs(60)), None);
    queue.set(pod("p", json!({"spec": {"nodeSelector": {"a": "b"}}})), now);
    assert_eq!(take(&mut queue, now + secs(60)).as_deref(), Some("p"));
}

#[test]
fn a_name_may_belong_to_another_pod_meanwhile() {
    let now = Instant::now();
    let mut queue = Queue::default();
    let with_uid = |uid: &str| -> Value { json!({"metadata": {"uid": uid}}) };
    let (old, new) = (pod("p", with_uid("old")), pod("p", with_uid("new")));
    queue.set(old.clone(), now);
    queue.next(now);
    queue.set(new, now);
    queue.done(&old);
    queue.retry(&old, now);
    assert_eq!(queue.next(now).map(|pod| pod.uid().to_owned()).as_deref(), Some("new"));
}

#[test]
fn what_is_removed_is_gone_from_everywhere() {
    let now = Instant::now();
    let mut queue = Queue::default();
    let [a, b, c] = ["a", "b", "c"].map(|name| pod(name, json!({})));
    for pod in [&a, &b, &c] {
        queue.set(Arc::clone(pod), now);
    }
    queue.next(now);
    queue.retry(&a, now);
    queue.next(now);
    queue.reject(&b, by("x"), now);
    for pod in [&a, &b, &c] {
        queue.remove(&pod.key);
        assert!(!queue.contains(&pod.key));
    }
    queue.reconsider(now + secs(60), |_, _| true);
    assert_eq!(take(&mut queue, now + secs(60)), None);
    assert_eq!(queue.next_due(), None);
}
