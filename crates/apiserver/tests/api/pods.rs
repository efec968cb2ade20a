//! Pods: what admission gives them, binding, ending, eviction; scale; namespaces around them.

use serde_json::{Value, json};

use crate::common::{Api, DEPLOYMENTS, PODS, deployment, pod};

async fn bound(api: &Api, name: &str) -> Value {
    let made = api.created(PODS, pod(name)).await;
    let binding = json!({
        "apiVersion": "v1", "kind": "Binding", "metadata": {"name": name},
        "target": {"apiVersion": "v1", "kind": "Node", "name": "n1"},
    });
    let done = api.post(&format!("{PODS}/{name}/binding"), binding).send().await;
    assert_eq!(done.code, 201, "{}", done.text());
    assert_eq!(done.json()["status"], "Success");
    made
}

#[tokio::test]
async fn a_new_pod_is_complete() {
    let api = Api::start().await;
    let made = api.created(PODS, pod("web")).await;
    let spec = &made["spec"];
    assert_eq!((&made["status"]["phase"], &made["status"]["qosClass"]), (&json!("Pending"), &json!("BestEffort")));
    assert_eq!((&spec["serviceAccountName"], &spec["serviceAccount"]), (&json!("default"), &json!("default")));
    assert_eq!((&spec["priority"], &spec["preemptionPolicy"]), (&json!(0), &json!("PreemptLowerPriority")));
    assert_eq!(spec["tolerations"].as_array().unwrap().len(), 2);
    assert_eq!(spec["tolerations"][0]["tolerationSeconds"], 300);
    let volume = &spec["volumes"][0];
    let name = volume["name"].as_str().unwrap();
    assert!(name.starts_with("kube-api-access-") && name.len() == "kube-api-access-".len() + 5, "{name}");
    assert_eq!(volume["projected"]["sources"][0]["serviceAccountToken"], json!({"expirationSeconds": 3607, "path": "token"}));
    assert_eq!(
        spec["containers"][0]["volumeMounts"][0],
        json!({"name": name, "readOnly": true, "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"})
    );
    let again = api.get(&format!("{PODS}/web")).ok().await;
    assert_eq!(again, made);

    let mut alone = pod("alone");
    alone["spec"]["automountServiceAccountToken"] = json!(false);
    let alone = api.created(PODS, alone).await;
    assert_eq!(alone["spec"].get("volumes"), None, "{alone}");

    let mut lost = pod("lost");
    lost["spec"]["serviceAccountName"] = json!("nobody");
    let refused = api.post(PODS, lost).fails(403).await;
    assert_eq!(
        refused["message"],
        "pods \"lost\" is forbidden: error looking up service account default/nobody: serviceaccount \"nobody\" not found"
    );
    let mut urgent = pod("urgent");
    urgent["spec"]["priorityClassName"] = json!("system-node-critical");
    assert_eq!(api.created(PODS, urgent).await["spec"]["priority"], 2_000_001_000);
    let mut unknown = pod("unknown");
    unknown["spec"]["priorityClassName"] = json!("high");
    let refused = api.post(PODS, unknown).fails(403).await;
    assert_eq!(refused["message"], "pods \"unknown\" is forbidden: no PriorityClass with name high was found");
}

#[tokio::test]
async fn a_pod_is_bound_once() {
    let api = Api::start().await;
    bound(&api, "web").await;
    let pod = api.get(&format!("{PODS}/web")).ok().await;
    assert_eq!(pod["spec"]["nodeName"], "n1");
    assert_eq!(pod["status"]["conditions"][0]["type"], "PodScheduled");
    assert_eq!(pod["status"]["conditions"][0]["status"], "True");
    let again = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "web"}, "target": {"kind": "Node", "name": "n2"}});
    let refused = api.post(&format!("{PODS}/web/binding"), again.clone()).fails(409).await;
    assert_eq!(refused["message"], "Operation cannot be fulfilled on pods/binding \"web\": pod web is already assigned to node \"n1\"");
    let mut nowhere = again;
    nowhere["target"]["name"] = json!("");
    api.post(&format!("{PODS}/web/binding"), nowhere).fails(422).await;
    let on_node = api.get(&format!("{PODS}?fieldSelector=spec.nodeName%3Dn1")).ok().await;
    assert_eq!(on_node["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn little_of_a_pod_can_be_changed() {
    let api = Api::start().await;
    api.created(PODS, pod("web")).await;
    let path = format!("{PODS}/web");
    let image = api.patch(&path, "strategic", json!({"spec": {"containers": [{"name": "main", "image": "other"}]}})).ok().await;
    assert_eq!((&image["spec"]["containers"][0]["image"], &image["metadata"]["generation"]), (&json!("other"), &json!(2)));
    let command = json!({"spec": {"containers": [{"name": "main", "command": ["x"]}]}});
    let refused = api.patch(&path, "strategic", command).fails(422).await;
    assert!(
        refused["message"].as_str().unwrap().starts_with(
            "Pod \"web\" is invalid: spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`,"
        ),
        "{refused}"
    );
    let more = json!({"spec": {"containers": [{"name": "second", "image": "x"}]}});
    let refused = api.patch(&path, "strategic", more).fails(422).await;
    assert!(refused["message"].as_str().unwrap().contains("pod updates may not add or remove containers"), "{refused}");
    api.patch(&path, "merge", json!({"metadata": {"labels": {"a": "b"}}})).ok().await;
}

#[tokio::test]
async fn a_running_pod_is_given_time_and_others_go_at_once() {
    let api = Api::start().await;
    api.created(PODS, pod("unbound")).await;
    api.delete(&format!("{PODS}/unbound")).ok().await;
    api.get(&format!("{PODS}/unbound")).fails(404).await;

    bound(&api, "web").await;
    let path = format!("{PODS}/web");
    let marked = api.delete(&path).ok().await;
    assert_eq!(marked["metadata"]["deletionGracePeriodSeconds"], 30);
    assert!(marked["metadata"]["deletionTimestamp"].is_string());
    let still = api.get(&path).ok().await;
    assert_eq!(still["metadata"]["deletionGracePeriodSeconds"], 30);
    // The kubelet's word that it has ended.
    api.delete(&format!("{path}?gracePeriodSeconds=0")).ok().await;
    api.get(&path).fails(404).await;
}

#[tokio::test]
async fn evictions_keep_to_the_budget() {
    let api = Api::start().await;
    for name in ["a", "b"] {
        let mut labelled = pod(name);
        labelled["metadata"]["labels"] = json!({"app": "web"});
        labelled["spec"]["nodeName"] = json!("n1");
        api.created(PODS, labelled).await;
        let running = json!({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}});
        api.patch(&format!("{PODS}/{name}/status"), "strategic", running).ok().await;
    }
    let budgets = "/apis/policy/v1/namespaces/default/poddisruptionbudgets";
    let budget = json!({
        "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "web"},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}},
    });
    api.created(budgets, budget).await;
    let evict = |name: &str| {
        let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": "default"}});
        api.post(&format!("{PODS}/{name}/eviction"), eviction)
    };
    let early = evict("a").fails(429).await;
    assert_eq!(early["details"]["causes"][0]["message"], "The disruption budget web is still being processed by the server.");

    let status = json!({"status": {
        "observedGeneration": 1, "disruptionsAllowed": 1, "currentHealthy": 2, "desiredHealthy": 1, "expectedPods": 2}});
    api.patch(&format!("{budgets}/web/status"), "merge", status).ok().await;
    let done = evict("a").send().await;
    assert_eq!(done.code, 201, "{}", done.text());
    let after = api.get(&format!("{budgets}/web")).ok().await;
    assert_eq!(after["status"]["disruptionsAllowed"], 0);
    assert!(after["status"]["disruptedPods"]["a"].is_string(), "{after}");
    assert!(api.get(&format!("{PODS}/a")).ok().await["metadata"]["deletionTimestamp"].is_string());

    let refused = evict("b").fails(429).await;
    assert_eq!(refused["message"], "Cannot evict pod as it would violate the pod's disruption budget.");
    assert_eq!(refused["details"]["causes"][0]["reason"], "DisruptionBudget");
    assert_eq!(refused["details"]["causes"][0]["message"], "The disruption budget web needs 1 healthy pods and has 2 currently");
}

#[tokio::test]
async fn workloads_scale() {
    let api = Api::start().await;
    let made = api.created(DEPLOYMENTS, deployment("web")).await;
    let path = format!("{DEPLOYMENTS}/web/scale");
    let mut scale = api.get(&path).ok().await;
    assert_eq!((&scale["kind"], &scale["apiVersion"]), (&json!("Scale"), &json!("autoscaling/v1")));
    assert_eq!(scale["spec"]["replicas"], 3);
    assert_eq!(scale["status"]["selector"], "app=web");
    assert_eq!(scale["metadata"]["uid"], made["metadata"]["uid"]);
    scale["spec"]["replicas"] = json!(5);
    let scaled = api.put(&path, scale.clone()).ok().await;
    assert_eq!(scaled["spec"]["replicas"], 5);
    let object = api.get(&format!("{DEPLOYMENTS}/web")).ok().await;
    assert_eq!((&object["spec"]["replicas"], &object["metadata"]["generation"]), (&json!(5), &json!(2)));
    api.put(&path, scale).fails(409).await;
    let patched = api.patch(&path, "merge", json!({"spec": {"replicas": 0}})).ok().await;
    assert_eq!(patched["spec"], json!({}));
    let refused = api.patch(&path, "merge", json!({"spec": {"replicas": -1}})).fails(422).await;
    assert!(refused["message"].as_str().unwrap().contains("must be greater than or equal to 0"), "{refused}");
}

#[tokio::test]
async fn deployments_are_refused_in_known_words() {
    let api = Api::start().await;
    let mut wrong = deployment("web");
    wrong["spec"]["template"]["metadata"]["labels"] = json!({"app": "other"});
    let refused = api.post(DEPLOYMENTS, wrong).fails(422).await;
    assert_eq!(
        refused["message"],
        "Deployment.apps \"web\" is invalid: spec.template.metadata.labels: Invalid value: {\"app\":\"other\"}: `selector` does not \
         match template `labels`"
    );
    let mut bare = deployment("web");
    bare["spec"].as_object_mut().unwrap().remove("selector");
    let refused = api.post(DEPLOYMENTS, bare).fails(422).await;
    assert!(refused["message"].as_str().unwrap().contains("spec.selector: Required value"), "{refused}");
    let mut image = deployment("web");
    image["spec"]["template"]["spec"]["containers"][0]["image"] = json!("");
    let refused = api.post(DEPLOYMENTS, image).fails(422).await;
    assert_eq!(refused["details"]["causes"][0]["field"], "spec.template.spec.containers[0].image");

    api.created(DEPLOYMENTS, deployment("web")).await;
    let mut moved = deployment("web");
    moved["spec"]["selector"]["matchLabels"] = json!({"app": "new"});
    moved["spec"]["template"]["metadata"]["labels"] = json!({"app": "new"});
    let refused = api.put(&format!("{DEPLOYMENTS}/web"), moved).fails(422).await;
    assert_eq!(
        refused["message"],
        "Deployment.apps \"web\" is invalid: spec.selector: Invalid value: {\"matchLabels\":{\"app\":\"new\"}}: field is immutable"
    );
}

#[tokio::test]
async fn a_namespace_ends_when_its_content_has() {
    let api = Api::start().await;
    let namespace = |name: &str| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
    let made = api.created("/api/v1/namespaces", namespace("dev")).await;
    assert_eq!(made["status"]["phase"], "Active");
    assert_eq!(made["spec"]["finalizers"], json!(["kubernetes"]));
    assert_eq!(made["metadata"]["labels"]["kubernetes.io/metadata.name"], "dev");
    api.created("/api/v1/namespaces/dev/pods", pod("at-once")).await;

    let missing = api.post("/api/v1/namespaces/nowhere/pods", pod("x")).fails(404).await;
    assert_eq!(missing["message"], "namespaces \"nowhere\" not found");
    let lasting = api.delete("/api/v1/namespaces/kube-system").fails(403).await;
    assert_eq!(lasting["message"], "namespaces \"kube-system\" is forbidden: this namespace may not be deleted");

    let ending = api.delete("/api/v1/namespaces/dev").ok().await;
    assert_eq!(ending["status"]["phase"], "Terminating");
    let refused = api.post("/api/v1/namespaces/dev/pods", pod("late")).fails(403).await;
    assert_eq!(
        refused["message"],
        "pods \"late\" is forbidden: unable to create new content in namespace dev because it is being terminated"
    );
    assert_eq!(refused["details"]["causes"][0]["reason"], "NamespaceTerminating");

    let mut empty = api.get("/api/v1/namespaces/dev").ok().await;
    empty["spec"]["finalizers"] = json!([]);
    api.put("/api/v1/namespaces/dev/finalize", empty).ok().await;
    api.get("/api/v1/namespaces/dev").fails(404).await;
}

#[tokio::test]
async fn what_cannot_be_reached_is_said_plainly() {
    let api = Api::start().await;
    let mut two = pod("two");
    two["spec"]["containers"] = json!([{"name": "a", "image": "x"}, {"name": "b", "image": "x"}]);
    api.created(PODS, two).await;
    let which = api.get(&format!("{PODS}/two/log")).fails(400).await;
    assert_eq!(which["message"], "a container name must be specified for pod two, choose one of: [a b]");
    let none = api.get(&format!("{PODS}/two/log?container=nginx")).fails(400).await;
    assert_eq!(none["message"], "container nginx is not valid for pod two");
    let empty = api.get(&format!("{PODS}/two/log?container=a")).send().await;
    assert_eq!((empty.code.as_u16(), empty.text().as_str()), (204, ""));
    let homeless = api.post(&format!("{PODS}/two/exec?container=a&command=ls&stdout=true"), json!({})).fails(400).await;
    assert_eq!(homeless["message"], "pod two does not have a host assigned");
    let gone = api.get(&format!("{PODS}/gone/log")).fails(404).await;
    assert_eq!(gone["message"], "pods \"gone\" not found");
}
