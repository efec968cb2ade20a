use serde_json::json;

use super::*;

fn pod() -> Pod {
    serde_json::from_value(json!({
        "metadata": {
            "name": "p", "namespace": "ns", "uid": "u",
            "labels": {"b": "2", "a": "say \"hi\"\n"},
            "annotations": {"example.com/x": "y"},
        },
        "spec": {"nodeName": "n", "serviceAccountName": "sa", "containers": [{
            "name": "c",
            "resources": {"limits": {"memory": "65Mi"}, "requests": {"cpu": "1500m"}},
        }]},
    }))
    .unwrap()
}

fn around() -> Surroundings {
    Surroundings {
        pod_addresses: vec!["10.42.0.9".into()],
        node_addresses: vec!["192.0.2.1".into()],
        allocatable_cpu_millis: 4000,
        allocatable_memory: 8 << 30,
        allocatable_storage: 1 << 30,
    }
}

#[test]
fn fields_have_their_values() {
    for (path, value) in [
        ("metadata.name", "p"),
        ("metadata.labels['b']", "2"),
        ("metadata.annotations['example.com/x']", "y"),
        ("metadata.labels['none']", ""),
        ("metadata.labels", "a=\"say \\\"hi\\\"\\n\"\nb=\"2\""),
        ("spec.nodeName", "n"),
        ("status.podIP", "10.42.0.9"),
        ("status.hostIP", "192.0.2.1"),
    ] {
        assert_eq!(field(&pod(), &around(), path).as_deref(), Ok(value), "{path}");
    }
    assert!(field(&pod(), &around(), "spec.containers").is_err());
}

#[test]
fn resources_are_divided_and_rounded_up() {
    for (selector, value) in [
        (json!({"resource": "requests.cpu"}), "2"),
        (json!({"resource": "requests.cpu", "divisor": "1m"}), "1500"),
        (json!({"resource": "limits.memory", "divisor": "1Mi"}), "65"),
        (json!({"resource": "limits.memory", "divisor": "0"}), "68157440"),
        (json!({"resource": "limits.cpu"}), "4"),
    ] {
        let pod = pod();
        let own = &pod.spec.as_ref().unwrap().containers[0];
        let parsed: ResourceFieldSelector = serde_json::from_value(selector.clone()).unwrap();
        let result = resource(&pod, Some(own), &parsed, &around());
        assert_eq!(result.as_deref(), Ok(value), "{selector}");
    }
}
