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
    let mounts = volumes.mounts(container, &Environment::default(), &Means::default()).unwrap();
    let read_only: Vec<bool> = mounts.iter().map(|m| m.readonly).collect();
    assert_eq!(read_only, [true, true, true, true, false, false, true]);
}

#[test]
fn images_and_recursion_depend_on_the_runtime() {
    let pod: Pod = serde_json::from_value(json!({
        "metadata": {"name": "p", "namespace": "ns", "uid": "u"},
        "spec": {
            "volumes": [{"name": "image", "image": {"reference": "tools:1"}}, {"name": "host", "hostPath": {"path": "/srv"}}],
            "containers": [
                {"name": "image", "volumeMounts": [{"name": "image", "mountPath": "tools", "subPath": "bin"}]},
                {"name": "all", "volumeMounts": [{"name": "host", "mountPath": "/1", "readOnly": true, "recursiveReadOnly": "Enabled"}]},
                {"name": "may", "volumeMounts": [{"name": "host", "mountPath": "/1", "readOnly": true, "recursiveReadOnly": "IfPossible"}]},
                {"name": "not", "volumeMounts": [{"name": "host", "mountPath": "/1", "readOnly": true, "recursiveReadOnly": "Disabled"}]},
                {"name": "unset", "volumeMounts": [{"name": "host", "mountPath": "/1", "subPathExpr": "$(NOBODY)"}]},
                {"name": "out", "volumeMounts": [{"name": "host", "mountPath": "/1", "subPath": "/etc"}]},
            ],
        },
    }))
    .unwrap();
    let volumes = Volumes::new(&pod, Path::new("/nowhere"));
    let mount = |name: &str, recursive: bool| {
        let container = pod.spec.as_ref().unwrap().containers.iter().find(|c| c.name == name).unwrap();
        let means = Means { images: [("image".to_owned(), "sha256:1".to_owned())].into(), recursive };
        volumes.mounts(container, &Environment::default(), &means).map(|mut m| m.remove(0)).map_err(|e| e.to_string())
    };
    let image = mount("image", false).unwrap();
    let spec = image.image.unwrap();
    assert_eq!((spec.image.as_str(), spec.user_specified_image.as_str()), ("sha256:1", "tools:1"));
    assert_eq!((image.container_path.as_str(), image.image_sub_path.as_str(), image.readonly), ("/tools", "bin", true));
    let recursive = |name: &str, can: bool| mount(name, can).map(|m| m.recursive_read_only);
    assert_eq!([recursive("all", true), recursive("may", true), recursive("not", true)], [Ok(true), Ok(true), Ok(false)]);
    assert_eq!(recursive("may", false), Ok(false));
    assert_eq!(
        recursive("all", false),
        Err("volume \"host\" requested recursive read-only mode, but it is not supported by the runtime".to_owned())
    );
    let prepare = |name: &str, words: &str| format!("failed to prepare subPath for volumeMount \"host\" of container \"{name}\": {words}");
    assert_eq!(mount("unset", true).unwrap_err(), prepare("unset", "missing value for \"NOBODY\""));
    assert_eq!(mount("out", true).unwrap_err(), prepare("out", "error SubPath `/etc` must not be an absolute path"));
}
