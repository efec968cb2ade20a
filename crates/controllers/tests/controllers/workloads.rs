//! Deployments, ReplicaSets and the garbage collector against the real API server.

use crate::support::Cluster;
use corten_client::{controller_of, is_deleting};
use k8s_openapi::api::{
    apps::v1::{Deployment, ReplicaSet},
    core::v1::{Event, Pod},
};
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, Patch, PatchParams},
};
use serde_json::{Value, json};

fn web(replicas: i32) -> Value {
    json!({
        "metadata": {"name": "web"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "web", "image": "web:1", "ports": [{"containerPort": 80}]}]},
            },
        },
    })
}

impl Cluster {
    fn deployments(&self) -> Api<Deployment> {
        Api::namespaced(self.admin.clone(), "default")
    }

    fn sets(&self) -> Api<ReplicaSet> {
        Api::namespaced(self.admin.clone(), "default")
    }

    fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.admin.clone(), "default")
    }

    async fn set_image(&self, image: &str) {
        let patch = json!({"spec": {"template": {"spec": {"containers": [{"name": "web", "image": image}]}}}});
        self.deployments().patch("web", &PatchParams::default(), &Patch::Strategic(patch)).await.unwrap();
    }

    /// Waits until the deployment is completely rolled out with this image.
    async fn rolled_out(&self, image: &str, replicas: i32) {
        self.wait(self.deployments(), "rolled out", |deployments| {
            deployments.list().iter().any(|deployment| {
                let status = deployment.status.clone().unwrap_or_default();
                status.observed_generation == deployment.metadata.generation
                    && status.updated_replicas.unwrap_or(0) == replicas
                    && status.replicas.unwrap_or(0) == replicas
                    && status.available_replicas.unwrap_or(0) == replicas
            })
        })
        .await;
        self.wait(self.pods(), "pods of the image", |pods| {
            let pods = pods.list();
            let images: Vec<_> = pods.iter().map(|pod| pod.spec.as_ref().unwrap().containers[0].image.clone()).collect();
            images.len() == usize::try_from(replicas).unwrap() && images.iter().all(|own| own.as_deref() == Some(image))
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deployment_is_rolled_out_updated_scaled_and_rolled_back() {
    let cluster = Cluster::start().await;
    cluster.add_node("worker").await;
    let created: Deployment = cluster.create(web(3)).await;
    cluster.rolled_out("web:1", 3).await;
    cluster.set_image("web:2").await;
    cluster.rolled_out("web:2", 3).await;
    let scale = json!({"spec": {"replicas": 5}});
    cluster.deployments().patch("web", &PatchParams::default(), &Patch::Merge(scale)).await.unwrap();
    cluster.rolled_out("web:2", 5).await;
    cluster.set_image("web:1").await;
    cluster.rolled_out("web:1", 5).await;

    let sets = cluster.sets().list(&Default::default()).await.unwrap().items;
    let mut revisions: Vec<_> = sets
        .iter()
        .map(|set| {
            assert!(set.name_any().starts_with("web-"));
            assert_eq!(controller_of(set).unwrap().uid, created.uid().unwrap());
            (set.annotations()["deployment.kubernetes.io/revision"].clone(), set.spec.as_ref().unwrap().replicas)
        })
        .collect();
    revisions.sort();
    assert_eq!(revisions, [("2".into(), Some(0)), ("3".into(), Some(5))]);
    let deployment = cluster.deployments().get("web").await.unwrap();
    assert_eq!(deployment.annotations()["deployment.kubernetes.io/revision"], "3");

    let events: Api<Event> = Api::namespaced(cluster.admin.clone(), "default");
    let first = sets.iter().find(|set| set.annotations()["deployment.kubernetes.io/revision"] == "3").unwrap();
    let message = format!("Scaled up replica set {} from 0 to 3", first.name_any());
    cluster
        .wait(events, &message, |events| {
            events.list().iter().any(|event| {
                event.reason.as_deref() == Some("ScalingReplicaSet")
                    && event.message.as_ref() == Some(&message)
                    && event.involved_object.uid == created.uid()
            })
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_that_is_deleted_is_replaced() {
    let cluster = Cluster::start().await;
    cluster.add_node("worker").await;
    let _: Deployment = cluster.create(web(2)).await;
    cluster.rolled_out("web:1", 2).await;
    let victim = cluster.pods().list(&Default::default()).await.unwrap().items.remove(0);
    cluster.pods().delete(&victim.name_any(), &DeleteParams::default()).await.unwrap();
    cluster
        .wait(cluster.pods(), "two pods, the victim not among them", |pods| {
            let pods = pods.list();
            pods.len() == 2 && pods.iter().all(|pod| pod.uid() != victim.uid() && !is_deleting(pod.as_ref()))
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_are_released_and_adopted_by_their_labels() {
    let cluster = Cluster::start().await;
    cluster.add_node("worker").await;
    let _: Deployment = cluster.create(web(1)).await;
    cluster.rolled_out("web:1", 1).await;
    let pod = cluster.pods().list(&Default::default()).await.unwrap().items.remove(0);
    let label = |app: &str| json!({"metadata": {"labels": {"app": app}}});
    let params = PatchParams::default();
    cluster.pods().patch(&pod.name_any(), &params, &Patch::Merge(label("debug"))).await.unwrap();
    cluster
        .wait(cluster.pods(), "the pod is released and replaced", |pods| {
            let pods = pods.list();
            let released = pods.iter().any(|other| other.uid() == pod.uid() && controller_of(other.as_ref()).is_none());
            released && pods.len() == 2
        })
        .await;
    cluster.pods().patch(&pod.name_any(), &params, &Patch::Merge(label("web"))).await.unwrap();
    cluster.wait(cluster.pods(), "one of the two is too many", |pods| pods.len() == 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deleting_a_deployment_takes_or_leaves_what_it_owns() {
    let cluster = Cluster::start().await;
    cluster.add_node("worker").await;
    for params in [DeleteParams::background(), DeleteParams::foreground()] {
        let _: Deployment = cluster.create(web(3)).await;
        cluster.rolled_out("web:1", 3).await;
        cluster.deployments().delete("web", &params).await.unwrap();
        let what = format!("everything is gone after {params:?}");
        cluster.wait(cluster.deployments(), &what, |all| all.is_empty()).await;
        cluster.wait(cluster.sets(), &what, |all| all.is_empty()).await;
        cluster.wait(cluster.pods(), &what, |all| all.is_empty()).await;
    }

    let _: Deployment = cluster.create(web(2)).await;
    cluster.rolled_out("web:1", 2).await;
    cluster.deployments().delete("web", &DeleteParams::orphan()).await.unwrap();
    cluster.wait(cluster.deployments(), "the deployment is gone", |all| all.is_empty()).await;
    let set = cluster.sets().list(&Default::default()).await.unwrap().items.remove(0);
    assert!(set.owner_references().is_empty());
    assert_eq!(cluster.pods().list(&Default::default()).await.unwrap().items.len(), 2);

    let adopter: Deployment = cluster.create(web(2)).await;
    cluster
        .wait(cluster.sets(), "a new deployment adopts the set", |sets| {
            let sets = sets.list();
            sets.len() == 1 && controller_of(sets[0].as_ref()).is_some_and(|owner| Some(&owner.uid) == adopter.uid().as_ref())
        })
        .await;
}
