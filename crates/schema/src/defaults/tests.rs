use super::*;
use crate::json::{Strictness, decode};
use crate::value;

/// Decodes, applies defaults twice, and compares what lies under `path`.
#[track_caller]
fn check(api_version: &str, kind: &str, object: Value, path: &[&str], expected: Value) {
    let resource = table().kind_of(api_version, kind).unwrap();
    let mut value = decode(&resource.schema, &json::encode(&object), Strictness::Strict).unwrap().value;
    apply_defaults(resource, &mut value);
    let found = value.at(path).cloned().unwrap_or_default();
    assert_eq!(found, expected, "\nfound    {}\nexpected {}", text_of(&found), text_of(&expected));
    let once = value.clone();
    apply_defaults(resource, &mut value);
    assert_eq!(value, once, "twice");
    let canonical = decode(&resource.schema, &json::encode(&once), Strictness::Strict).unwrap().value;
    assert_eq!(canonical, once, "canonical");
}

fn text_of(value: &Value) -> String {
    String::from_utf8(json::encode(value)).unwrap()
}

#[test]
fn pod() {
    check(
        "v1",
        "Pod",
        value!({"spec": {"containers": [{"name": "a", "image": "nginx", "ports": [{"containerPort": 80}],
            "resources": {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "100u"}},
            "livenessProbe": {"httpGet": {"port": 80}}}]}}),
        &["spec"],
        value!({
            "containers": [{"name": "a", "image": "nginx", "imagePullPolicy": "Always",
                "ports": [{"containerPort": 80, "protocol": "TCP"}],
                "resources": {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1m", "memory": "1Gi"}},
                "livenessProbe": {"httpGet": {"port": 80, "path": "/", "scheme": "HTTP"}, "timeoutSeconds": 1, "periodSeconds": 10,
                    "successThreshold": 1, "failureThreshold": 3},
                "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File"}],
            "dnsPolicy": "ClusterFirst", "restartPolicy": "Always", "securityContext": {}, "terminationGracePeriodSeconds": 30,
            "schedulerName": "default-scheduler", "enableServiceLinks": true
        }),
    );
}

#[test]
fn pull_policy_follows_the_tag() {
    for (image, policy) in [
        ("nginx", "Always"),
        ("nginx:latest", "Always"),
        ("nginx:1.14.2", "IfNotPresent"),
        ("registry:5000/nginx", "Always"),
        ("registry:5000/nginx:1", "IfNotPresent"),
        ("nginx@sha256:00", "IfNotPresent"),
        ("nginx:latest@sha256:00", "Always"),
        ("", "IfNotPresent"),
    ] {
        let object = value!({"spec": {"initContainers": [{"name": "a", "image": (image)}], "containers": []}});
        let resource = table().kind_of("v1", "Pod").unwrap();
        let mut value = object;
        apply_defaults(resource, &mut value);
        assert_eq!(value.pointer("/spec/initContainers/0/imagePullPolicy").and_then(Value::as_str), Some(policy), "{image}");
    }
}

#[test]
fn templates_leave_to_the_pod_what_is_the_pods() {
    check(
        "apps/v1",
        "Deployment",
        value!({"spec": {"selector": {"matchLabels": {"app": "nginx"}}, "template": {"metadata": {"labels": {"app": "nginx"}},
            "spec": {"hostNetwork": true, "serviceAccount": "sa", "volumes": [{"name": "v"}, {"name": "c", "configMap": {"name": "m"}}],
                     "containers": [{"name": "nginx", "image": "nginx:1.14.2", "ports": [{"containerPort": 80}], "resources": {"limits": {"cpu": "1"}}}]}}}}),
        &["spec"],
        value!({
            "replicas": 1, "revisionHistoryLimit": 10, "progressDeadlineSeconds": 600,
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"}},
            "selector": {"matchLabels": {"app": "nginx"}},
            "template": {"metadata": {"labels": {"app": "nginx"}}, "spec": {
                "hostNetwork": true, "serviceAccount": "sa", "serviceAccountName": "sa",
                "volumes": [{"name": "v", "emptyDir": {}}, {"name": "c", "configMap": {"name": "m", "defaultMode": 420}}],
                "containers": [{"name": "nginx", "image": "nginx:1.14.2", "imagePullPolicy": "IfNotPresent",
                    "ports": [{"containerPort": 80, "protocol": "TCP"}], "resources": {"limits": {"cpu": "1"}},
                    "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File"}],
                "dnsPolicy": "ClusterFirst", "restartPolicy": "Always", "securityContext": {}, "terminationGracePeriodSeconds": 30,
                "schedulerName": "default-scheduler"}}
        }),
    );
    check(
        "apps/v1",
        "Deployment",
        value!({"spec": {"strategy": {"type": "Recreate"}}}),
        &["spec", "strategy"],
        value!({"type": "Recreate"}),
    );
}

#[test]
fn host_network_pods_take_host_ports() {
    check(
        "v1",
        "Pod",
        value!({"spec": {"hostNetwork": true, "containers": [{"name": "a", "image": "a:1", "ports": [{"containerPort": 80}]}]}}),
        &["spec", "containers"],
        value!([{"name": "a", "image": "a:1", "imagePullPolicy": "IfNotPresent", "resources": {},
            "ports": [{"containerPort": 80, "hostPort": 80, "protocol": "TCP"}],
            "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File"}]),
    );
}

#[test]
fn requests_of_the_whole_pod() {
    check(
        "v1",
        "Pod",
        value!({"spec": {"resources": {"limits": {"cpu": "2", "memory": "1Gi"}},
            "initContainers": [{"name": "s", "image": "a:1", "restartPolicy": "Always", "resources": {"requests": {"cpu": "100m"}}},
                               {"name": "i", "image": "a:1", "resources": {"requests": {"cpu": "1"}}}],
            "containers": [{"name": "a", "image": "a:1", "resources": {"requests": {"cpu": "250m"}}}, {"name": "b", "image": "a:1"}]}}),
        &["spec", "resources"],
        value!({"limits": {"cpu": "2", "memory": "1Gi"}, "requests": {"cpu": "1100m", "memory": "1Gi"}}),
    );
}

#[test]
fn huge_pages_of_the_whole_pod() {
    let pod = |resources: Value| {
        value!({"spec": {"resources": (resources), "containers": [
            {"name": "a", "image": "a:1", "resources": {"limits": {"hugepages-2Mi": "4Mi", "memory": "1Gi"}}},
            {"name": "b", "image": "a:1", "resources": {"limits": {"hugepages-2Mi": "2Mi", "memory": "1Gi"}}}]}})
    };
    let own = |resources: Value, expected: Value| check("v1", "Pod", pod(resources), &["spec", "resources"], expected);
    own(
        value!({"requests": {"cpu": "1"}}),
        value!({"limits": {"hugepages-2Mi": "6Mi"}, "requests": {"cpu": "1", "memory": "2Gi", "hugepages-2Mi": "6Mi"}}),
    );
    own(
        value!({"limits": {"hugepages-2Mi": "8Mi", "memory": "4Gi"}}),
        value!({"limits": {"hugepages-2Mi": "8Mi", "memory": "4Gi"}, "requests": {"memory": "2Gi", "hugepages-2Mi": "8Mi"}}),
    );
    own(value!({"requests": {"hugepages-2Mi": "8Mi"}}), value!({"requests": {"hugepages-2Mi": "8Mi"}}));
}

#[test]
fn workloads() {
    check(
        "apps/v1",
        "StatefulSet",
        value!({"spec": {"volumeClaimTemplates": [{"metadata": {"name": "d"}, "spec": {}}]}}),
        &["spec", "volumeClaimTemplates"],
        value!([{"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "d"},
            "spec": {"resources": {}, "volumeMode": "Filesystem"}, "status": {"phase": "Pending"}}]),
    );
    check(
        "apps/v1",
        "StatefulSet",
        value!({}),
        &["spec", "updateStrategy"],
        value!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "partition": 0}}),
    );
    check(
        "apps/v1",
        "DaemonSet",
        value!({}),
        &["spec", "updateStrategy"],
        value!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}}),
    );
    let job = value!({"spec": {"template": {"metadata": {"labels": {"a": "b"}}}}});
    check("batch/v1", "Job", job.clone(), &["spec", "backoffLimit"], value!(6));
    check("batch/v1", "Job", job.clone(), &["spec", "completions"], value!(1));
    check("batch/v1", "Job", job, &["metadata", "labels"], value!({"a": "b"}));
    check("batch/v1", "Job", value!({"spec": {"parallelism": 2}}), &["spec", "completions"], Value::Null);
    check("batch/v1", "CronJob", value!({}), &["spec", "jobTemplate", "spec", "backoffLimit"], Value::Null);
    check("batch/v1", "CronJob", value!({}), &["spec", "concurrencyPolicy"], value!("Allow"));
}

#[test]
fn services() {
    check(
        "v1",
        "Service",
        value!({"spec": {"ports": [{"port": 80}, {"name": "b", "port": 81, "targetPort": "web"}], "sessionAffinity": "ClientIP"}}),
        &["spec"],
        value!({"type": "ClusterIP", "sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 10800}},
            "internalTrafficPolicy": "Cluster", "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80},
            {"name": "b", "port": 81, "protocol": "TCP", "targetPort": "web"}]}),
    );
    check("v1", "Service", value!({"spec": {"type": "NodePort"}}), &["spec", "externalTrafficPolicy"], value!("Cluster"));
    check("v1", "Service", value!({"spec": {"type": "ExternalName"}}), &["spec", "internalTrafficPolicy"], Value::Null);
    check("v1", "Service", value!({"spec": {"type": "LoadBalancer"}}), &["spec", "allocateLoadBalancerNodePorts"], value!(true));
}

#[test]
fn the_rest() {
    check("v1", "Namespace", value!({"metadata": {"name": "a"}}), &["metadata", "labels"], value!({"kubernetes.io/metadata.name": "a"}));
    check("v1", "Secret", value!({"data": {"a": "eA=="}, "stringData": {"a": "hi", "b": ""}}), &["data"], value!({"a": "aGk=", "b": ""}));
    check("v1", "Secret", value!({}), &["type"], value!("Opaque"));
    check(
        "rbac.authorization.k8s.io/v1",
        "ClusterRoleBinding",
        value!({"roleRef": {"kind": "ClusterRole", "name": "x"}, "subjects": [{"kind": "User", "name": "u"}, {"kind": "ServiceAccount", "name": "s"}]}),
        &["subjects"],
        value!([{"kind": "User", "name": "u", "apiGroup": "rbac.authorization.k8s.io"}, {"kind": "ServiceAccount", "name": "s"}]),
    );
    check(
        "rbac.authorization.k8s.io/v1",
        "RoleBinding",
        value!({"roleRef": {"kind": "Role", "name": "x"}}),
        &["roleRef", "apiGroup"],
        value!("rbac.authorization.k8s.io"),
    );
    check(
        "networking.k8s.io/v1",
        "NetworkPolicy",
        value!({"spec": {"egress": [{"ports": [{"port": 1}]}]}}),
        &["spec", "policyTypes"],
        value!(["Ingress", "Egress"]),
    );
    check("v1", "Node", value!({"spec": {"podCIDR": "10.0.0.0/24"}}), &["spec", "podCIDRs"], value!(["10.0.0.0/24"]));
    check(
        "v1",
        "LimitRange",
        value!({"spec": {"limits": [{"type": "Container", "max": {"cpu": "2"}, "min": {"memory": "1"}}]}}),
        &["spec", "limits"],
        value!([{"type": "Container", "max": {"cpu": "2"}, "min": {"memory": "1"}, "default": {"cpu": "2"}, "defaultRequest": {"cpu": "2", "memory": "1"}}]),
    );
    check(
        "autoscaling/v2",
        "HorizontalPodAutoscaler",
        value!({"spec": {"behavior": {}}}),
        &["spec", "behavior", "scaleDown"],
        value!({"selectPolicy": "Max", "policies": [{"type": "Percent", "value": 100, "periodSeconds": 15}]}),
    );
    check(
        "apiextensions.k8s.io/v1",
        "CustomResourceDefinition",
        value!({"spec": {"names": {"kind": "Foo"}}}),
        &["spec", "names"],
        value!({"kind": "Foo", "singular": "foo", "listKind": "FooList", "plural": ""}),
    );
}

#[test]
fn every_line_names_a_type_and_its_fields() {
    for line in TEXT.lines().filter(|line| !line.starts_with('#')) {
        let mut words = line.split(' ');
        let name = words.next().unwrap();
        let structure =
            table().types().structs().iter().find(|s| s.name.ends_with(&format!(".{name}"))).unwrap_or_else(|| panic!("{name}"));
        for word in words {
            let (field, _) = assignment(word, table().types()).unwrap_or_else(|| panic!("{word}"));
            assert!(structure.field(&field).is_some(), "{name}.{field}");
        }
    }
    for (name, _) in RULES.iter().flat_map(|rules| rules.iter()) {
        assert!(table().types().structs().iter().any(|s| s.name.ends_with(&format!(".{name}"))), "{name}");
    }
}
