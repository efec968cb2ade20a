use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::testing::{cluster, node, outcome, pod, refusal, requesting};

fn on(name: &str, mut with: Value) -> Value {
    with["spec"]["nodeName"] = json!(name);
    if with["spec"]["containers"].is_null() {
        with["spec"]["containers"] = json!([{"name": "main", "image": "nginx"}]);
    }
    with
}

fn one(with: Value) -> Cluster {
    cluster([node("n1", with)], [])
}

#[test]
fn without_nodes() {
    assert_eq!(outcome(&pod("p", json!({})), &cluster([], [])).unwrap_err(), "no nodes available to schedule pods");
}

#[test]
fn the_message_counts_and_sorts_reasons() {
    let nodes = [
        node("n1", json!({"spec": {"unschedulable": true}})),
        node("n2", json!({"spec": {"taints": [{"key": "k", "effect": "NoSchedule"}]}})),
        node("n3", json!({"status": {"allocatable": {"cpu": "1", "memory": "1Gi"}}})),
        node("n4", json!({})),
    ];
    let full = pod("full", on("n4", requesting(json!({"cpu": "3"}))));
    let cluster = cluster(nodes, [full]);
    let wants = requesting(json!({"cpu": "2", "memory": "2Gi"}));
    assert_eq!(
        outcome(&pod("p", wants.clone()), &cluster).unwrap_err(),
        "0/4 nodes are available: 1 Insufficient memory, 1 node(s) had untolerated taint(s), \
         1 node(s) were unschedulable, 2 Insufficient cpu. no new claims to deallocate, preemption: \
         0/4 nodes are available: 1 No preemption victims found for incoming pod, \
         3 Preemption is not helpful for scheduling."
    );
    let mut never = wants;
    never["spec"]["preemptionPolicy"] = json!("Never");
    let message = outcome(&pod("p", never), &cluster).unwrap_err();
    assert!(message.ends_with("preemption: not eligible due to preemptionPolicy=Never."), "{message}");
}

#[test]
fn cordoned_nodes_take_only_who_tolerates_it() {
    let cluster = one(json!({"spec": {"unschedulable": true}}));
    assert_eq!(refusal(&pod("p", json!({})), &cluster).as_deref(), Some("node(s) were unschedulable"));
    let tolerant = json!({"spec": {"tolerations": [{"key": "node.kubernetes.io/unschedulable", "operator": "Exists"}]}});
    assert_eq!(outcome(&pod("p", tolerant), &cluster).unwrap(), "n1");
}

#[test]
fn taints_and_tolerations() {
    let taint = |effect: &str| json!({"spec": {"taints": [{"key": "k", "value": "v", "effect": effect}]}});
    let cases = [
        (json!([]), "NoSchedule", false),
        (json!([]), "NoExecute", false),
        (json!([]), "PreferNoSchedule", true),
        (json!([{"key": "k", "operator": "Equal", "value": "v", "effect": "NoSchedule"}]), "NoSchedule", true),
        (json!([{"key": "k", "value": "v"}]), "NoSchedule", true),
        (json!([{"key": "k", "value": "other"}]), "NoSchedule", false),
        (json!([{"key": "k", "operator": "Exists"}]), "NoExecute", true),
        (json!([{"key": "k", "operator": "Exists", "effect": "NoExecute"}]), "NoSchedule", false),
        (json!([{"key": "other", "operator": "Exists"}]), "NoSchedule", false),
        (json!([{"operator": "Exists"}]), "NoSchedule", true),
    ];
    for (tolerations, effect, fits) in cases {
        let pod = pod("p", json!({"spec": {"tolerations": tolerations}}));
        let refusal = refusal(&pod, &one(taint(effect)));
        let expected = (!fits).then_some("node(s) had untolerated taint(s)");
        assert_eq!(refusal.as_deref(), expected, "{tolerations} against {effect}");
    }
}

#[test]
fn node_selectors_and_affinity() {
    let labels = json!({"metadata": {"labels": {"disk": "ssd", "cores": "16"}}});
    let required = |terms: Value| json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}});
    let expression = |key: &str, operator: &str, values: Value| {
        required(json!([{"matchExpressions": [{"key": key, "operator": operator, "values": values}]}]))
    };
    let cases = [
        (json!({"nodeSelector": {"disk": "ssd"}}), true),
        (json!({"nodeSelector": {"disk": "hdd"}}), false),
        (json!({"nodeSelector": {"disk": "ssd", "missing": ""}}), false),
        (expression("disk", "In", json!(["hdd", "ssd"])), true),
        (expression("disk", "In", json!(["hdd"])), false),
        (expression("disk", "NotIn", json!(["hdd"])), true),
        (expression("missing", "NotIn", json!(["hdd"])), true),
        (expression("disk", "Exists", json!(null)), true),
        (expression("disk", "DoesNotExist", json!(null)), false),
        (expression("cores", "Gt", json!(["8"])), true),
        (expression("cores", "Lt", json!(["8"])), false),
        (expression("disk", "Gt", json!(["8"])), false),
        (required(json!([{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n1"]}]}])), true),
        (required(json!([{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n2"]}]}])), false),
        (required(json!([{}])), false),
        (
            required(json!([
                {"matchExpressions": [{"key": "disk", "operator": "In", "values": ["hdd"]}]},
                {"matchExpressions": [{"key": "cores", "operator": "Exists"}]},
            ])),
            true,
        ),
    ];
    for (spec, fits) in cases {
        let refusal = refusal(&pod("p", json!({"spec": spec})), &one(labels.clone()));
        let expected = (!fits).then_some("node(s) didn't match Pod's node affinity/selector");
        assert_eq!(refusal.as_deref(), expected, "{spec}");
    }
}

#[test]
fn preferred_nodes_are_preferred() {
    let nodes = ["a", "b", "c"].map(|name| node(name, json!({"metadata": {"labels": {"tier": name}}})));
    let prefer = |value: &str, weight: i32| json!({"weight": weight, "preference": {"matchExpressions": [{"key": "tier", "operator": "In", "values": [value]}]}});
    let affinity = json!({"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [prefer("b", 10), prefer("c", 90)]}});
    let pod = pod("p", json!({"spec": {"affinity": affinity}}));
    assert_eq!(outcome(&pod, &cluster(nodes, [])).unwrap(), "c");
}

#[test]
fn resources_must_fit() {
    let full = on("n1", requesting(json!({"cpu": "3", "memory": "4Gi", "example.com/gpu": "1"})));
    let allocatable = json!({"status": {"allocatable": {"pods": "2", "example.com/gpu": "2"}}});
    let cluster = cluster([node("n1", allocatable)], [pod("full", full)]);
    let cases = [
        (json!({"cpu": "1", "memory": "4Gi", "example.com/gpu": "1"}), None),
        (json!({"cpu": "1001m"}), Some("Insufficient cpu")),
        (json!({"memory": "5Gi"}), Some("Insufficient memory")),
        (json!({"example.com/gpu": "2"}), Some("Insufficient example.com/gpu")),
        (json!({"example.com/other": "1"}), Some("Insufficient example.com/other")),
        (json!({"example.com/other": "0"}), None),
        (json!({"cpu": "2", "memory": "5Gi"}), Some("Insufficient cpu, 1 Insufficient memory")),
    ];
    for (requests, expected) in cases {
        let refusal = refusal(&pod("p", requesting(requests.clone())), &cluster);
        assert_eq!(refusal.as_deref(), expected, "{requests}");
    }
}

#[test]
fn nodes_have_room_for_so_many_pods() {
    let mut cluster = one(json!({"status": {"allocatable": {"pods": "2"}}}));
    let first = pod("first", on("n1", json!({})));
    cluster.set_pod(first.clone());
    // The assumed pod counts, and only once when it is seen on its node.
    let second = pod("second", json!({}));
    cluster.assume(second.clone(), "n1");
    assert_eq!(refusal(&pod("p", json!({})), &cluster).as_deref(), Some("Too many pods"));
    cluster.set_pod(pod("second", on("n1", json!({}))));
    assert_eq!(cluster.forget(&second), None, "it is bound");
    assert_eq!(refusal(&pod("p", json!({})), &cluster).as_deref(), Some("Too many pods"));
    assert_eq!(cluster.remove_pod(&first.key).as_deref(), Some("n1"));
    assert_eq!(outcome(&pod("p", json!({})), &cluster).unwrap(), "n1");
}

#[test]
fn host_ports_clash() {
    let port = |spec: Value| json!({"spec": {"containers": [{"name": "c", "ports": [spec]}]}});
    let taken = port(json!({"containerPort": 80, "hostPort": 80}));
    let bound = port(json!({"containerPort": 80, "hostPort": 8080, "hostIP": "127.0.0.1"}));
    let cluster = cluster([node("n1", json!({}))], [pod("a", on("n1", taken)), pod("b", on("n1", bound))]);
    let cases = [
        (json!({"containerPort": 80, "hostPort": 80}), false),
        (json!({"containerPort": 80, "hostPort": 80, "hostIP": "127.0.0.1"}), false),
        (json!({"containerPort": 80, "hostPort": 80, "protocol": "UDP"}), true),
        (json!({"containerPort": 80}), true),
        (json!({"containerPort": 80, "hostPort": 8080}), false),
        (json!({"containerPort": 80, "hostPort": 8080, "hostIP": "10.0.0.1"}), true),
    ];
    for (wanted, fits) in cases {
        let expected = (!fits).then_some("node(s) didn't have free ports for the requested pod ports");
        assert_eq!(refusal(&pod("p", port(wanted.clone())), &cluster).as_deref(), expected, "{wanted}");
    }
}

#[test]
fn pods_go_where_most_is_left() {
    let busy = pod("busy", on("a", requesting(json!({"cpu": "2", "memory": "4Gi"}))));
    let cluster = cluster([node("a", json!({})), node("b", json!({}))], [busy]);
    assert_eq!(outcome(&pod("p", requesting(json!({"cpu": "1", "memory": "1Gi"}))), &cluster).unwrap(), "b");
}

#[test]
fn pods_go_where_their_image_is() {
    let with_image = json!({"status": {"images": [{"names": ["nginx:latest"], "sizeBytes": 800_000_000}]}});
    let cluster = cluster([node("a", json!({})), node("b", with_image), node("c", json!({}))], []);
    assert_eq!(outcome(&pod("p", json!({})), &cluster).unwrap(), "b");
}

#[test]
fn replicas_spread_over_nodes() {
    let replica = |name: &str| {
        json!({"metadata": {"name": name, "labels": {"app": "web"}, "ownerReferences": [
            {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": "owner", "controller": true}]}})
    };
    let mut cluster = cluster(["a", "b", "c"].map(|name| node(name, json!({}))), []);
    let mut nodes: Vec<String> = (0..6)
        .map(|n| {
            let pod = pod(&format!("web-{n}"), replica(&format!("web-{n}")));
            let node = outcome(&pod, &cluster).unwrap();
            cluster.assume(pod, &node);
            node
        })
        .collect();
    nodes.sort();
    assert_eq!(nodes, ["a", "a", "b", "b", "c", "c"]);
}

fn labelled(app: &str) -> Value {
    json!({"metadata": {"labels": {"app": app}}})
}

fn zoned(name: &str, zone: &str) -> std::sync::Arc<k8s_openapi::api::core::v1::Node> {
    node(name, json!({"metadata": {"labels": {"zone": zone}}}))
}

#[test]
fn hard_spread_constraints() {
    let mut cluster = cluster([zoned("a1", "a"), zoned("b1", "b"), node("none", json!({}))], []);
    let constrained = |skew: i32| {
        let mut pod = labelled("web");
        pod["spec"] = json!({"topologySpreadConstraints": [{"maxSkew": skew, "topologyKey": "zone",
            "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {"matchLabels": {"app": "web"}}}]});
        pod
    };
    cluster.set_pod(pod("1", on("a1", labelled("web"))));
    assert_eq!(outcome(&pod("2", constrained(1)), &cluster).unwrap(), "b1");
    cluster.remove_node("b1");
    cluster.set_node(zoned("b1", "b"));
    cluster.set_node(node("b1", json!({"metadata": {"labels": {"zone": "b"}}, "spec": {"unschedulable": true}})));
    assert_eq!(
        outcome(&pod("2", constrained(1)), &cluster).unwrap_err(),
        "0/3 nodes are available: 1 node(s) didn't match pod topology spread constraints, \
         1 node(s) didn't match pod topology spread constraints (missing required label), \
         1 node(s) were unschedulable. no new claims to deallocate, preemption: 0/3 nodes are available: \
         1 No preemption victims found for incoming pod, 2 Preemption is not helpful for scheduling."
    );
    assert_eq!(outcome(&pod("2", constrained(2)), &cluster).unwrap(), "a1");
}

#[test]
fn affinity_between_pods() {
    let near = |kind: &str, app: &str| {
        json!({"spec": {"affinity": {kind: {"requiredDuringSchedulingIgnoredDuringExecution": [
            {"topologyKey": "zone", "labelSelector": {"matchLabels": {"app": app}}}]}}}})
    };
    let nodes = || [zoned("a1", "a"), zoned("a2", "a"), zoned("b1", "b")];
    let db = || pod("db", on("b1", labelled("db")));

    let with_db = cluster(nodes(), [db()]);
    assert_eq!(outcome(&pod("p", near("podAffinity", "db")), &with_db).unwrap(), "b1");
    let away = outcome(&pod("p", near("podAntiAffinity", "db")), &with_db).unwrap();
    assert!(away.starts_with('a'), "{away}");

    // Nobody is there to be near to; but the first of a group may begin somewhere.
    let message = outcome(&pod("p", near("podAffinity", "cache")), &with_db).unwrap_err();
    assert!(message.starts_with("0/3 nodes are available: 3 node(s) didn't match pod affinity rules."), "{message}");
    let mut first = near("podAffinity", "cache");
    first["metadata"] = json!({"labels": {"app": "cache"}});
    assert!(outcome(&pod("p", first), &with_db).is_ok());

    // Another namespace is meant only if it is named or selected.
    let mut elsewhere = near("podAffinity", "db");
    elsewhere["metadata"] = json!({"namespace": "other"});
    assert!(outcome(&pod("p", elsewhere.clone()), &with_db).is_err());
    let term = "/spec/affinity/podAffinity/requiredDuringSchedulingIgnoredDuringExecution/0";
    elsewhere.pointer_mut(term).unwrap()["namespaces"] = json!(["default"]);
    assert_eq!(outcome(&pod("p", elsewhere), &with_db).unwrap(), "b1");
    let mut selecting = near("podAffinity", "db");
    selecting["metadata"] = json!({"namespace": "other"});
    selecting.pointer_mut(term).unwrap()["namespaceSelector"] = json!({"matchLabels": {"team": "x"}});
    let mut with_namespace = cluster(nodes(), [db()]);
    assert!(outcome(&pod("p", selecting.clone()), &with_namespace).is_err());
    with_namespace.set_namespace("default", [("team".to_owned(), "x".to_owned())].into());
    assert_eq!(outcome(&pod("p", selecting), &with_namespace).unwrap(), "b1");

    // Who is there already may object.
    let mut shy = near("podAntiAffinity", "web");
    shy["metadata"] = json!({"labels": {"app": "shy"}});
    let with_shy = cluster([zoned("a1", "a")], [pod("shy", on("a1", shy))]);
    let web = pod("web", labelled("web"));
    assert_eq!(refusal(&web, &with_shy).as_deref(), Some("node(s) didn't satisfy existing pods anti-affinity rules"));
    assert_eq!(outcome(&pod("other", labelled("other")), &with_shy).unwrap(), "a1");
}

#[test]
fn preferred_company_is_preferred() {
    let nodes = [zoned("a1", "a"), zoned("b1", "b"), zoned("c1", "c")];
    let friend = pod("friend", on("b1", labelled("db")));
    let prefer = json!({"spec": {"affinity": {"podAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
        {"weight": 100, "podAffinityTerm": {"topologyKey": "zone", "labelSelector": {"matchLabels": {"app": "db"}}}}]}}}});
    assert_eq!(outcome(&pod("p", prefer), &cluster(nodes, [friend])).unwrap(), "b1");
}
