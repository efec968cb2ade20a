use libcontainer::oci_spec::runtime::Spec;
use serde_json::{Value, json};

use super::plain;

fn spec(change: impl FnOnce(&mut Value)) -> Spec {
    let mut spec = json!({
        "ociVersion": "1.2.0",
        "root": {"path": "rootfs"},
        "process": {"cwd": "/", "args": ["true"], "user": {"uid": 0, "gid": 0}},
        "mounts": [{"destination": "/data", "type": "bind", "source": "/srv", "options": ["rbind", "ro"]}],
        "linux": {
            "cgroupsPath": "/pod/c",
            "namespaces": [{"type": "mount"}, {"type": "pid"}, {"type": "network", "path": "/run/ns"}],
            "resources": {"memory": {"limit": 1_000_000}, "cpu": {"shares": 2}},
            "seccomp": {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO"}]},
        },
    });
    change(&mut spec);
    serde_json::from_value(spec).unwrap()
}

/// A change to a spec.
type Change = fn(&mut Value);

/// What makes of a plain container one that is not.
type Spoil = Box<dyn FnOnce(&mut Value)>;

#[test]
fn what_most_containers_ask_for_is_plain() {
    let cases: [(&str, Change); 4] = [
        ("as it is", |_| ()),
        ("without limits", |spec| drop(spec["linux"]["resources"].take())),
        ("with the node's processes", |spec| spec["linux"]["namespaces"] = json!([{"type": "mount"}])),
        ("privileged", |spec| spec["linux"]["resources"] = json!({"devices": [{"allow": true, "access": "rwm"}]})),
    ];
    for (name, change) in cases {
        assert!(plain(&spec(change)), "{name}");
    }
}

#[test]
fn what_only_the_whole_of_libcontainer_does_or_refuses_is_not_plain() {
    let map = || json!([{"containerID": 0, "hostID": 1000, "size": 1}]);
    let cases: [(&str, Spoil); 19] = [
        ("hooks", Box::new(|spec| spec["hooks"] = json!({"poststop": [{"path": "/bin/true"}]}))),
        ("a user namespace", Box::new(|spec| spec["linux"]["namespaces"] = json!([{"type": "mount"}, {"type": "user"}]))),
        ("a time namespace", Box::new(|spec| spec["linux"]["namespaces"] = json!([{"type": "mount"}, {"type": "time"}]))),
        ("a cgroup namespace", Box::new(|spec| spec["linux"]["namespaces"] = json!([{"type": "mount"}, {"type": "cgroup"}]))),
        ("another's mount namespace", Box::new(|spec| spec["linux"]["namespaces"] = json!([{"type": "mount", "path": "/run/mnt"}]))),
        ("no mount namespace", Box::new(|spec| spec["linux"]["namespaces"] = json!([{"type": "pid"}]))),
        ("a filter that asks", Box::new(|spec| spec["linux"]["seccomp"]["syscalls"][0]["action"] = json!("SCMP_ACT_NOTIFY"))),
        ("network devices", Box::new(|spec| spec["linux"]["netDevices"] = json!({"eth1": {"name": "eth0"}}))),
        ("cache allocation", Box::new(|spec| spec["linux"]["intelRdt"] = json!({"closID": "group"}))),
        ("mapped users", Box::new(move |spec| spec["linux"]["uidMappings"] = map())),
        ("mapped groups", Box::new(move |spec| spec["linux"]["gidMappings"] = map())),
        ("a mount of mapped users", Box::new(move |spec| spec["mounts"][0]["uidMappings"] = map())),
        ("a mount of mapped groups", Box::new(move |spec| spec["mounts"][0]["gidMappings"] = map())),
        ("an idmapped mount", Box::new(|spec| spec["mounts"][0]["options"] = json!(["bind", "idmap"]))),
        ("a recursive idmapped mount", Box::new(|spec| spec["mounts"][0]["options"] = json!(["rbind", "ridmap"]))),
        ("huge pages", Box::new(|spec| spec["linux"]["resources"]["hugepageLimits"] = json!([{"pageSize": "2MB", "limit": 1}]))),
        ("limits of v2 by name", Box::new(|spec| spec["linux"]["resources"]["unified"] = json!({"pids.max": "5"}))),
        ("another version", Box::new(|spec| spec["ociVersion"] = json!("2.0.0"))),
        ("nothing of Linux", Box::new(|spec| drop(spec.as_object_mut().unwrap().remove("linux")))),
    ];
    for (name, change) in cases {
        assert!(!plain(&spec(change)), "{name}");
    }
}

/// What the kernel has not, libcontainer refuses.
#[test]
fn a_profile_is_plain_where_the_kernel_has_apparmor() {
    let confined = spec(|spec| spec["process"]["apparmorProfile"] = json!("mine"));
    let enabled = std::fs::read_to_string("/sys/module/apparmor/parameters/enabled").is_ok_and(|text| text.starts_with('Y'));
    assert_eq!(plain(&confined), enabled);
}
