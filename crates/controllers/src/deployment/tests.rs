//! Rollouts step by step against a model of the ReplicaSet controller.

use std::collections::HashMap;

use k8s_openapi::{
    api::apps::v1::{Deployment, DeploymentStatus, ReplicaSet, ReplicaSetStatus},
    apimachinery::pkg::apis::meta::v1::Time,
    jiff::Timestamp,
};
use serde_json::{Value, json};

use super::{
    conditions,
    plan::{Action, Observed, Plan, name, plan, size},
    revision,
};

/// A cluster with one deployment: writes what plans say, and lets pods become ready when asked.
struct World {
    deployment: Deployment,
    sets: Vec<ReplicaSet>,
    running: HashMap<String, usize>,
    now: i64,
    events: Vec<String>,
}

fn world(replicas: i32, strategy: &Value) -> World {
    let deployment = serde_json::from_value(json!({
        "metadata": {"name": "web", "namespace": "shop", "uid": "d", "generation": 1},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "c", "image": "v1"}]}},
            "strategy": strategy,
            "progressDeadlineSeconds": 600,
            "revisionHistoryLimit": 2,
        },
    }));
    World { deployment: deployment.unwrap(), sets: Vec::new(), running: HashMap::new(), now: 1000, events: Vec::new() }
}

fn rolling(surge: Value, unavailable: Value) -> Value {
    json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}})
}

impl World {
    fn time(&self) -> Timestamp {
        Timestamp::from_second(self.now).unwrap()
    }

    fn plan(&self) -> Plan {
        plan(&Observed { deployment: self.deployment.clone(), sets: self.sets.clone(), running: self.running.clone(), now: self.time() })
    }

    /// One reconciliation; true if it wrote anything.
    fn step(&mut self) -> bool {
        self.now += 1;
        let plan = self.plan();
        let mut wrote = !plan.actions.is_empty();
        for action in plan.actions {
            match action {
                Action::Create(mut set) => {
                    set.metadata.uid = set.metadata.name.clone();
                    set.metadata.creation_timestamp = Some(Time(self.time()));
                    set.status = Some(ReplicaSetStatus::default());
                    self.events.push(format!("{} 0→{}", self.alias(&set), size(&set)));
                    self.sets.push(*set);
                }
                Action::Update { set, from } => {
                    if size(&set) != from {
                        self.events.push(format!("{} {from}→{}", self.alias(&set), size(&set)));
                    }
                    let known = self.sets.iter_mut().find(|known| name(known) == name(&set));
                    *known.unwrap() = *set;
                }
                Action::Delete(set) => {
                    self.events.push(format!("{} deleted", self.alias(&set)));
                    self.sets.retain(|known| name(known) != name(&set));
                }
                Action::Revision(revision) => {
                    let annotations = self.deployment.metadata.annotations.get_or_insert_default();
                    annotations.insert(revision::REVISION.into(), revision);
                }
            }
        }
        wrote |= self.deployment.status.as_ref() != Some(&plan.status);
        self.deployment.status = Some(plan.status);
        wrote
    }

    /// The image of a set's template.
    fn alias(&self, set: &ReplicaSet) -> String {
        let template = set.spec.as_ref().unwrap().template.as_ref().unwrap();
        template.spec.as_ref().unwrap().containers[0].image.clone().unwrap()
    }

    /// Pods follow the sets' sizes; those of images in `healthy` are available.
    fn settle_pods(&mut self, healthy: &[&str]) -> bool {
        let mut changed = false;
        let aliases: Vec<_> = self.sets.iter().map(|set| self.alias(set)).collect();
        for (set, alias) in self.sets.iter_mut().zip(aliases) {
            let count = size(set);
            let available = healthy.contains(&alias.as_str()).then_some(count).filter(|count| *count > 0);
            let status = ReplicaSetStatus {
                replicas: count,
                ready_replicas: available,
                available_replicas: available,
                ..ReplicaSetStatus::default()
            };
            changed |= set.status.as_ref() != Some(&status);
            set.status = Some(status);
        }
        changed
    }

    fn settle(&mut self, healthy: &[&str]) {
        for _ in 0..100 {
            let wrote = self.step();
            if !self.settle_pods(healthy) && !wrote {
                return;
            }
        }
        panic!("never settles: {:?}", self.events);
    }

    fn set_image(&mut self, image: &str) {
        let spec = self.deployment.spec.as_mut().unwrap();
        spec.template.spec.as_mut().unwrap().containers[0].image = Some(image.into());
        *self.deployment.metadata.generation.get_or_insert_default() += 1;
    }

    fn set_replicas(&mut self, replicas: i32) {
        self.deployment.spec.as_mut().unwrap().replicas = Some(replicas);
        *self.deployment.metadata.generation.get_or_insert_default() += 1;
    }

    fn pause(&mut self, paused: bool) {
        self.deployment.spec.as_mut().unwrap().paused = Some(paused);
        *self.deployment.metadata.generation.get_or_insert_default() += 1;
    }

    fn events(&mut self) -> Vec<String> {
        std::mem::take(&mut self.events)
    }

    fn status(&self) -> &DeploymentStatus {
        self.deployment.status.as_ref().unwrap()
    }

    fn condition(&self, type_: &str) -> Option<(&str, &str)> {
        let condition = conditions::get(self.status(), type_)?;
        Some((condition.status.as_str(), condition.reason.as_deref()?))
    }

    fn revisions(&self) -> Vec<(String, i64)> {
        let all = self.sets.iter().map(|set| (self.alias(set), revision::revision(set)));
        all.collect()
    }
}

#[test]
fn a_first_rollout_makes_one_set_and_completes() {
    let mut world = world(3, &json!({}));
    world.step();
    assert_eq!(world.condition("Progressing"), Some(("True", "NewReplicaSetCreated")));
    assert_eq!(world.condition("Available"), Some(("False", "MinimumReplicasUnavailable")));
    world.settle(&["v1"]);
    assert_eq!(world.events(), ["v1 0→3"]);
    assert_eq!(world.condition("Progressing"), Some(("True", "NewReplicaSetAvailable")));
    assert_eq!(world.condition("Available"), Some(("True", "MinimumReplicasAvailable")));
    let status = world.status();
    assert_eq!(status.available_replicas, Some(3));
    assert_eq!(status.observed_generation, Some(1));
    assert_eq!(status.unavailable_replicas, None);
    let set = &world.sets[0];
    assert!(name(set).starts_with("web-"));
    let spec = set.spec.as_ref().unwrap();
    let hash = &spec.selector.match_labels.as_ref().unwrap()[revision::TEMPLATE_HASH];
    assert_eq!(name(set), format!("web-{hash}"));
    let annotations = set.metadata.annotations.as_ref().unwrap();
    assert_eq!(annotations["deployment.kubernetes.io/desired-replicas"], "3");
    assert_eq!(annotations["deployment.kubernetes.io/max-replicas"], "4");
    assert_eq!(annotations[revision::REVISION], "1");
    assert_eq!(world.deployment.metadata.annotations.as_ref().unwrap()[revision::REVISION], "1");
    assert_eq!(set.metadata.owner_references.as_ref().unwrap()[0].uid, "d");
    assert!(!world.step(), "a settled deployment is left alone");
}

#[test]
fn a_rolling_update_stays_within_its_bounds() {
    let cases = [
        (3, rolling(json!("25%"), json!("25%")), vec!["v2 0→1", "v1 3→2", "v2 1→2", "v1 2→1", "v2 2→3", "v1 1→0"]),
        (4, rolling(json!(4), json!(0)), vec!["v2 0→4", "v1 4→0"]),
        (4, rolling(json!(0), json!(2)), vec!["v2 0→0", "v1 4→2", "v2 0→2", "v1 2→0", "v2 2→4"]),
        (2, rolling(json!(0), json!(0)), vec!["v2 0→0", "v1 2→1", "v2 0→1", "v1 1→0", "v2 1→2"]),
    ];
    for (replicas, strategy, expected) in cases {
        let mut world = world(replicas, &strategy);
        world.settle(&["v1"]);
        world.events();
        world.set_image("v2");
        world.settle(&["v1", "v2"]);
        assert_eq!(world.events(), expected, "{strategy}");
        assert_eq!(world.status().updated_replicas, Some(replicas));
        assert_eq!(world.revisions(), [("v1".into(), 1), ("v2".into(), 2)]);
    }
}

#[test]
fn a_broken_revision_stops_and_times_out_and_is_rolled_back() {
    let mut world = world(4, &rolling(json!(1), json!(1)));
    world.settle(&["v1"]);
    world.events();
    world.set_image("bad");
    world.settle(&["v1"]);
    assert_eq!(world.events(), ["bad 0→1", "v1 4→3", "bad 1→2"]);
    assert_eq!(world.condition("Available"), Some(("True", "MinimumReplicasAvailable")));
    assert_eq!(world.condition("Progressing"), Some(("True", "ReplicaSetUpdated")));
    let wait = world.plan().look_again.unwrap().as_secs();
    assert!((595..=601).contains(&wait), "{wait}");
    world.now += 700;
    world.step();
    assert_eq!(world.condition("Progressing"), Some(("False", "ProgressDeadlineExceeded")));
    assert_eq!(world.plan().look_again, None);

    world.set_image("v1");
    world.settle(&["v1"]);
    assert_eq!(world.events(), ["bad 2→0", "v1 3→4"]);
    assert_eq!(world.condition("Progressing"), Some(("True", "NewReplicaSetAvailable")));
    assert_eq!(world.revisions(), [("v1".into(), 3), ("bad".into(), 2)]);
    let annotations = world.sets[0].metadata.annotations.as_ref().unwrap();
    assert_eq!(annotations["deployment.kubernetes.io/revision-history"], "1");
}

#[test]
fn recreate_waits_until_the_old_pods_are_gone() {
    let mut world = world(2, &json!({"type": "Recreate"}));
    world.settle(&["v1"]);
    world.events();
    let old = world.sets[0].metadata.uid.clone().unwrap();
    world.running.insert(old.clone(), 2);
    world.set_image("v2");
    world.settle(&["v1", "v2"]);
    assert_eq!(world.events(), ["v1 2→0"], "pods still run");
    world.running.insert(old, 0);
    world.settle(&["v1", "v2"]);
    assert_eq!(world.events(), ["v2 0→2"]);
    assert_eq!(world.condition("Progressing"), Some(("True", "NewReplicaSetAvailable")));
}

#[test]
fn scaling_in_the_middle_of_a_rollout_is_in_proportion() {
    let mut world = world(10, &rolling(json!(3), json!(2)));
    world.settle(&["v1"]);
    world.set_image("bad");
    world.settle(&["v1"]);
    let sizes = |world: &World| world.sets.iter().map(size).collect::<Vec<_>>();
    assert_eq!(sizes(&world), [8, 5]);
    world.set_replicas(15);
    world.settle(&["v1"]);
    // The documented example: 13 pods of 13 become 18 of 18, 8 of them grow to 11 and 5 to 7.
    assert_eq!(sizes(&world), [11, 7]);
}

#[test]
fn scaling_follows_the_spec() {
    let mut world = world(3, &json!({}));
    world.settle(&["v1"]);
    world.events();
    for (replicas, expected) in [(5, "v1 3→5"), (0, "v1 5→0"), (2, "v1 0→2")] {
        world.set_replicas(replicas);
        world.settle(&["v1"]);
        assert_eq!(world.events(), [expected]);
    }
    assert_eq!(world.condition("Available"), Some(("True", "MinimumReplicasAvailable")));
}

#[test]
fn a_paused_deployment_scales_but_does_not_roll() {
    let mut world = world(2, &json!({}));
    world.settle(&["v1"]);
    world.events();
    world.pause(true);
    world.set_image("v2");
    world.set_replicas(3);
    world.settle(&["v1", "v2"]);
    assert_eq!(world.events(), ["v1 2→3"]);
    assert_eq!(world.condition("Progressing"), Some(("Unknown", "DeploymentPaused")));
    world.pause(false);
    world.settle(&["v1", "v2"]);
    assert_eq!(world.condition("Progressing"), Some(("True", "NewReplicaSetAvailable")));
    assert_eq!(world.status().updated_replicas, Some(3));
}

#[test]
fn old_revisions_beyond_the_limit_are_deleted() {
    let mut world = world(1, &json!({}));
    for image in ["v1", "v2", "v3", "v4", "v5"] {
        world.set_image(image);
        world.settle(&["v1", "v2", "v3", "v4", "v5"]);
    }
    assert_eq!(world.revisions(), [("v3".into(), 3), ("v4".into(), 4), ("v5".into(), 5)], "the limit is 2 besides the newest");
}

#[test]
fn a_deployment_on_its_way_out_is_only_counted() {
    let mut world = world(3, &json!({}));
    world.settle(&["v1"]);
    world.events();
    world.set_image("v2");
    world.deployment.metadata.deletion_timestamp = Some(corten_client::now());
    world.settle(&["v1", "v2"]);
    assert!(world.events().is_empty());
}

#[test]
fn a_hash_names_a_template_and_its_collisions() {
    let template = &world(1, &json!({})).deployment.spec.unwrap().template;
    let hash = revision::template_hash(template, None);
    assert_eq!(hash, revision::template_hash(template, None));
    assert_ne!(hash, revision::template_hash(template, Some(1)));
    assert!((1..=10).contains(&hash.len()), "{hash}");
    assert!(hash.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit()));
}
