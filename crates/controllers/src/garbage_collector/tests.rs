use corten_client::ObjectKey;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::api::PropagationPolicy;

use super::{
    decide::{Decision, OwnerState, decide},
    graph::{Graph, Object, Work},
};

fn reference(uid: &str, blocks: bool) -> OwnerReference {
    OwnerReference { uid: uid.into(), block_owner_deletion: Some(blocks), ..OwnerReference::default() }
}

fn object(uid: &str, owners: &[&str]) -> Object {
    Object {
        uid: uid.into(),
        kind: Some(0),
        key: ObjectKey::new("n", uid),
        owners: owners.iter().map(|owner| reference(owner, true)).collect(),
        ..Object::default()
    }
}

fn examine(uids: &[&str]) -> Vec<Work> {
    uids.iter().map(|uid| Work::Examine((*uid).into())).collect()
}

#[test]
fn an_unseen_owner_is_looked_for_once() {
    let mut graph = Graph::default();
    assert_eq!(graph.observe(object("pod", &["set"])), examine(&["set"]));
    assert_eq!(graph.observe(object("pod2", &["set"])), []);
    assert!(graph.get("set").unwrap().kind.is_none());
    assert_eq!(graph.reference_to("set").unwrap().1, ObjectKey::new("n", "pod"));
    // It is seen after all.
    assert_eq!(graph.observe(object("set", &[])), []);
    assert_eq!(graph.dependents("set").len(), 2);
}

#[test]
fn an_owner_that_nobody_speaks_of_any_more_is_forgotten() {
    let mut graph = Graph::default();
    graph.observe(object("pod", &["set"]));
    graph.observe(object("pod", &[]));
    assert!(graph.get("set").is_none());
}

#[test]
fn dependents_are_examined_when_the_owner_goes() {
    let mut graph = Graph::default();
    graph.observe(object("set", &[]));
    graph.observe(object("a", &["set"]));
    graph.observe(object("b", &["set"]));
    assert_eq!(graph.remove("set"), examine(&["a", "b"]));
    assert_eq!(graph.remove("set"), []);
    // They still speak of it: whoever comes later finds that it is gone.
    assert_eq!(graph.observe(object("c", &["set"])), examine(&["set"]));
}

#[test]
fn a_foreground_deletion_waits_for_those_that_block_it() {
    let mut graph = Graph::default();
    graph.observe(object("set", &[]));
    graph.observe(object("a", &["set"]));
    let mut loose = object("b", &["set"]);
    loose.owners = vec![reference("set", false)];
    graph.observe(loose);
    let mut deleting = object("set", &[]);
    deleting.deleting = true;
    deleting.foreground = true;
    assert_eq!(graph.observe(deleting.clone()), examine(&["a", "b", "set"]));
    assert_eq!(graph.observe(deleting), [], "said once");
    let blocking: Vec<_> = graph.blocking_dependents("set").into_iter().map(|object| object.uid).collect();
    assert_eq!(blocking, ["a"]);
    assert_eq!(graph.observe(object("late", &["set"])), examine(&["late"]));
    assert_eq!(graph.remove("a"), examine(&["set"]), "the owner may go now");
}

#[test]
fn an_orphaning_deletion_releases_the_dependents() {
    let mut graph = Graph::default();
    graph.observe(object("set", &[]));
    let mut deleting = object("set", &[]);
    deleting.deleting = true;
    deleting.orphaning = true;
    assert_eq!(graph.observe(deleting), [Work::Orphan("set".into())]);
}

#[test]
fn an_object_goes_only_if_no_owner_is_left() {
    use OwnerState::{Absent, Solid, Waiting};
    let meta = |finalizers: &[&str]| ObjectMeta {
        finalizers: Some(finalizers.iter().map(|name| (*name).to_owned()).collect()),
        ..ObjectMeta::default()
    };
    let owners = |states: &[OwnerState]| -> Vec<_> {
        let named = states.iter().enumerate();
        named.map(|(index, state)| (reference(&index.to_string(), true), *state)).collect()
    };
    let check = |states: &[OwnerState], finalizers: &[&str], dependents: bool| decide(&meta(finalizers), &owners(states), dependents);
    let dropped = |uid: &str| Decision::DropOwners(vec![uid.to_owned()]);
    assert_eq!(check(&[], &[], true), Decision::Keep);
    assert_eq!(check(&[Solid], &[], false), Decision::Keep);
    assert_eq!(check(&[Absent, Solid], &[], false), dropped("0"));
    assert_eq!(check(&[Solid, Waiting], &[], true), dropped("1"));
    assert_eq!(check(&[Absent], &[], true), Decision::Delete(PropagationPolicy::Background));
    assert_eq!(check(&[Absent], &["orphan"], true), Decision::Delete(PropagationPolicy::Orphan));
    assert_eq!(check(&[Absent], &["foregroundDeletion"], true), Decision::Delete(PropagationPolicy::Foreground));
    assert_eq!(check(&[Waiting], &[], true), Decision::Delete(PropagationPolicy::Foreground));
    assert_eq!(check(&[Absent, Waiting], &[], true), Decision::Delete(PropagationPolicy::Foreground));
    assert_eq!(check(&[Waiting], &[], false), Decision::Delete(PropagationPolicy::Background));
}
