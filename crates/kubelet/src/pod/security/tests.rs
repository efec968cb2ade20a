use serde_json::{Value, json};

use super::*;

fn pod(outer: Value, inner: Value) -> Pod {
    serde_json::from_value(json!({
        "metadata": {"name": "p", "namespace": "ns", "uid": "u"},
        "spec": {
            "securityContext": outer,
            "containers": [{"name": "c", "securityContext": inner}],
        },
    }))
    .unwrap()
}

fn made(outer: Value, inner: Value, image: ImageUser) -> Result<v1::LinuxContainerSecurityContext, RootError> {
    let pod = pod(outer, inner);
    let first = &pod.spec.as_ref().unwrap().containers[0];
    container(&pod, first, &image, Seccomp { directory: Path::new("/kubelet/seccomp"), by_default: false })
}

fn image(uid: Option<i64>, name: &str) -> ImageUser {
    ImageUser { uid, name: name.into() }
}

#[test]
fn the_container_goes_before_the_pod_and_both_before_the_image() {
    let outer = json!({"runAsUser": 1, "runAsGroup": 2, "fsGroup": 3, "supplementalGroups": [4]});
    let made_ = made(outer.clone(), json!({"runAsUser": 9}), image(Some(5), "")).unwrap();
    assert_eq!(made_.run_as_user.unwrap().value, 9);
    assert_eq!(made_.run_as_group.unwrap().value, 2);
    assert_eq!(made_.supplemental_groups, [3, 4]);
    let from_image = made(json!({}), json!({}), image(None, "nginx")).unwrap();
    assert_eq!(from_image.run_as_user, None);
    assert_eq!(from_image.run_as_username, "nginx");
}

#[test]
fn root_is_refused_where_it_must_not_be() {
    let non_root = json!({"runAsNonRoot": true});
    for (user, image, words) in [
        (json!({"runAsUser": 0}), image(None, ""), "breaks non-root policy"),
        (json!({}), image(Some(0), ""), "image will run as root"),
        (json!({}), image(None, ""), "image will run as root"),
        (json!({}), image(None, "www"), "non-numeric user (www)"),
    ] {
        let error = made(non_root.clone(), user, image).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
    assert!(made(non_root, json!({}), image(Some(101), "")).is_ok());
}

#[test]
fn profiles_and_paths_follow_the_definition() {
    use v1::security_profile::ProfileType;
    let seccomp = |outer: Value, inner: Value| {
        let profile = made(outer, inner, ImageUser::default()).unwrap().seccomp.unwrap();
        (profile.profile_type(), profile.localhost_ref)
    };
    let profile = json!({"seccompProfile": {"type": "RuntimeDefault"}});
    assert_eq!(seccomp(json!({}), json!({})).0, ProfileType::Unconfined);
    assert_eq!(seccomp(profile.clone(), json!({})).0, ProfileType::RuntimeDefault);
    assert_eq!(seccomp(profile, json!({"privileged": true})).0, ProfileType::Unconfined);
    let local = json!({"seccompProfile": {"type": "Localhost", "localhostProfile": "a.json"}});
    assert_eq!(seccomp(json!({}), local), (ProfileType::Localhost, "/kubelet/seccomp/a.json".into()));
    let plain = made(json!({}), json!({}), ImageUser::default()).unwrap();
    assert!(plain.masked_paths.contains(&"/proc/kcore".to_owned()));
    let open = made(json!({}), json!({"procMount": "Unmasked"}), ImageUser::default()).unwrap();
    assert!(open.masked_paths.is_empty() && open.readonly_paths.is_empty());
    let locked = json!({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}});
    let locked = made(json!({}), locked, ImageUser::default()).unwrap();
    assert!(locked.no_new_privs);
    assert_eq!(locked.capabilities.unwrap().drop_capabilities, ["ALL"]);
}

#[test]
fn namespaces_are_the_pods_or_the_nodes() {
    let modes = |spec: Value| {
        let pod = json!({"metadata": {"name": "p"}, "spec": spec});
        let option = namespaces(&serde_json::from_value(pod).unwrap());
        (option.network(), option.pid(), option.ipc())
    };
    use v1::NamespaceMode::{Container, Node, Pod};
    assert_eq!(modes(json!({"containers": []})), (Pod, Container, Pod));
    assert_eq!(modes(json!({"containers": [], "shareProcessNamespace": true})), (Pod, Pod, Pod));
    assert_eq!(modes(json!({"containers": [], "hostNetwork": true, "hostPID": true, "hostIPC": true})), (Node, Node, Node));
}
