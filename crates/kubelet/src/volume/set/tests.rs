use serde_json::json;

use super::*;

#[test]
fn what_belongs_to_the_cluster_is_never_writable() {
    let pod: Pod = serde_json::from_value(json!({
        "metadata": {"name": "p", "namespace": "ns", "uid": "u"},
        "spec": {
            "volumes": [
                {"name": "secret", "secret": {"secretName": "s"}},
                {"name": "config", "configMap": {"name": "c"}},
                {"name": "projected", "projected": {"sources": []}},
                {"name": "downward", "downwardAPI": {"items": []}},
                {"name": "empty", "emptyDir": {}},
                {"name": "host", "hostPath": {"path": "/srv"}},
            ],
            "containers": [{"name": "c", "image": "i", "volumeMounts": [
                {"name": "secret", "mountPath": "/1"},
                {"name": "config", "mountPath": "/2", "readOnly": false},
                {"name": "projected", "mountPath": "/3"},
                {"name": "downward", "mountPath": "/4"},
                {"name": "empty", "mountPath": "/5"},
                {"name": "host", "mountPath": "/6"},
                {"name": "host", "mountPath": "/7", "readOnly": true},
            ]}],
        },
    }))
    .unwrap();
    let volumes = Volumes::new(&pod, Path::new("/nowhere"));
    let container = &pod.spec.as_ref().unwrap().containers[0];
    let mounts = volumes.mounts(container, &Environment::default()).unwrap();
    let read_only: Vec<bool> = mounts.iter().map(|m| m.readonly).collect();
    assert_eq!(read_only, [true, true, true, true, false, false, true]);
}
