//! The main job: a Deployment of three nginx containers, driven by the real `kubectl`.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop where it is")]

use corten_testkit::{Cluster, Options, PATIENCE, on_every_runtime, wait};

const CORTEN: &str = env!("CARGO_BIN_EXE_corten");

on_every_runtime!(nginx_is_deployed_scaled_updated_and_deleted);

const DEPLOYMENT: &str = "
apiVersion: apps/v1
kind: Deployment
metadata:
  name: nginx-deployment
spec:
  replicas: 3
  selector:
    matchLabels: {app: nginx}
  template:
    metadata:
      labels: {app: nginx}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: nginx
        image: nginx:1.14.2
        ports: [{containerPort: 80}]
";

fn addresses(cluster: &Cluster) -> Vec<String> {
    let text = cluster.kubectl(&["get", "pods", "-l", "app=nginx", "-o", "jsonpath={range .items[*]}{.status.podIP}{\"\\n\"}{end}"]);
    text.lines().map(str::to_owned).collect()
}

fn images(cluster: &Cluster) -> String {
    cluster.kubectl(&["get", "pods", "-l", "app=nginx", "-o", "jsonpath={.items[*].spec.containers[0].image}"])
}

fn nginx_is_deployed_scaled_updated_and_deleted(runtime: Options) {
    let cluster = Cluster::up(CORTEN, Options { nginx: vec!["1.14.2", "1.16.1"], ..runtime });
    assert_eq!(cluster.apply(DEPLOYMENT).trim(), "deployment.apps/nginx-deployment created");
    let said = cluster.kubectl(&["rollout", "status", "deployment/nginx-deployment", "--timeout=90s"]);
    assert!(said.contains("deployment \"nginx-deployment\" successfully rolled out"), "{said}");
    cluster.kubectl(&["wait", "--for=condition=Available", "deployment/nginx-deployment", "--timeout=30s"]);
    assert_eq!(cluster.apply(DEPLOYMENT).trim(), "deployment.apps/nginx-deployment unchanged");

    let wide = cluster.kubectl(&["get", "pods", "-o", "wide"]);
    assert_eq!(wide.lines().filter(|line| line.contains("1/1") && line.contains("Running")).count(), 3, "{wide}");
    let addresses = addresses(&cluster);
    assert_eq!(addresses.len(), 3);
    for address in &addresses {
        let page = cluster.http_get(format!("{address}:80").parse().unwrap()).unwrap();
        assert!(page.to_lowercase().contains("nginx"), "{page}");
    }
    let deployment = cluster.kubectl(&["get", "deployment", "nginx-deployment"]);
    assert!(deployment.contains("3/3"), "{deployment}");
    let yaml = cluster.kubectl(&["get", "deployment", "nginx-deployment", "-o", "yaml"]);
    assert!(yaml.contains("maxSurge: 25%") && yaml.contains("progressDeadlineSeconds: 600"), "defaults: {yaml}");

    // What the controllers of the same process have done is told with the API server's metrics.
    let metrics = cluster.kubectl(&["get", "--raw", "/metrics"]);
    for queue in ["deployment", "replicaset"] {
        let done = format!("workqueue_work_duration_seconds_count{{name=\"{queue}\"}} ");
        let done: Option<u64> = metrics.lines().find_map(|line| line.strip_prefix(&done)?.parse().ok());
        assert!(done > Some(0), "{queue}: {done:?}");
    }

    cluster.kubectl(&["scale", "deployment/nginx-deployment", "--replicas=5"]);
    cluster.kubectl(&["rollout", "status", "deployment/nginx-deployment", "--timeout=90s"]);
    assert_eq!(cluster.json(&["get", "deployment", "nginx-deployment"])["status"]["readyReplicas"], 5);
    cluster.kubectl(&["scale", "deployment/nginx-deployment", "--replicas=2"]);
    wait::until("two pods are left", PATIENCE, || {
        let pods = cluster.kubectl(&["get", "pods", "-o", "name"]);
        if pods.lines().count() == 2 { Ok(()) } else { Err(pods) }
    });

    cluster.kubectl(&["set", "image", "deployment/nginx-deployment", "nginx=nginx:1.16.1"]);
    cluster.kubectl(&["rollout", "status", "deployment/nginx-deployment", "--timeout=90s"]);
    wait::until("only the new image runs", PATIENCE, || {
        let images = images(&cluster);
        if images == "nginx:1.16.1 nginx:1.16.1" { Ok(()) } else { Err(images) }
    });
    let history = cluster.kubectl(&["rollout", "history", "deployment/nginx-deployment"]);
    assert!(history.contains('1') && history.contains('2'), "{history}");
    assert_eq!(cluster.json(&["get", "replicasets"])["items"].as_array().unwrap().len(), 2);

    cluster.kubectl(&["rollout", "undo", "deployment/nginx-deployment"]);
    cluster.kubectl(&["rollout", "status", "deployment/nginx-deployment", "--timeout=90s"]);
    wait::until("the old image is back", PATIENCE, || {
        let images = images(&cluster);
        if images == "nginx:1.14.2 nginx:1.14.2" { Ok(()) } else { Err(images) }
    });

    let described = cluster.kubectl(&["describe", "deployment", "nginx-deployment"]);
    assert!(described.contains("ScalingReplicaSet"), "{described}");
    let events = cluster.kubectl(&["get", "events"]);
    for reason in ["Scheduled", "Pulled", "Created", "Started", "SuccessfulCreate", "ScalingReplicaSet"] {
        assert!(events.contains(reason), "no {reason} in {events}");
    }

    cluster.kubectl(&["delete", "deployment", "nginx-deployment"]);
    wait::until("everything of the Deployment is gone", PATIENCE, || {
        let left = cluster.kubectl(&["get", "deployments,replicasets,pods", "-o", "name"]);
        if left.is_empty() { Ok(()) } else { Err(left) }
    });
}

#[test]
fn deletion_follows_the_propagation_policy() {
    let cluster = Cluster::up(CORTEN, Options { nginx: vec!["1.14.2"], ..Options::default() });
    let count = |kinds: &str| cluster.kubectl(&["get", kinds, "-o", "name"]).lines().count();
    let deploy = || {
        cluster.apply(DEPLOYMENT);
        cluster.kubectl(&["rollout", "status", "deployment/nginx-deployment", "--timeout=90s"]);
    };

    deploy();
    cluster.kubectl(&["delete", "deployment", "nginx-deployment", "--cascade=orphan"]);
    assert_eq!(count("deployments"), 0);
    let orphan = &cluster.json(&["get", "replicasets"])["items"][0];
    assert_eq!(orphan["metadata"]["ownerReferences"], serde_json::Value::Null, "{orphan}");
    assert_eq!(count("pods"), 3, "an orphaned ReplicaSet keeps its pods");
    let name = orphan["metadata"]["name"].as_str().unwrap().to_owned();

    // The same Deployment adopts what it left.
    deploy();
    assert_eq!(cluster.json(&["get", "replicasets"])["items"][0]["metadata"]["name"], name.as_str());
    assert_eq!(count("pods"), 3);

    cluster.kubectl(&["delete", "deployment", "nginx-deployment", "--cascade=foreground"]);
    assert_eq!(count("deployments,replicasets,pods"), 0, "foreground deletion ends last");

    deploy();
    let pod = cluster.kubectl(&["get", "pods", "-o", "name"]).lines().next().unwrap().to_owned();
    cluster.kubectl(&["delete", &pod]);
    wait::until("a deleted pod is replaced", PATIENCE, || {
        let ready = cluster.json(&["get", "deployment", "nginx-deployment"])["status"]["readyReplicas"].clone();
        let names = cluster.kubectl(&["get", "pods", "-o", "name"]);
        if ready == 3 && !names.contains(&pod) { Ok(()) } else { Err(names) }
    });
    cluster.kubectl(&["delete", "deployment", "nginx-deployment", "--cascade=background"]);
    wait::until("background deletion reaches the pods", PATIENCE, || match count("deployments,replicasets,pods") {
        0 => Ok(()),
        left => Err(left),
    });
}
