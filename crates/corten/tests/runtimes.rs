//! A node that is told to use other programs than its own: OCI runtimes, CNI plugins, systemd's names of cgroups.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop where it is")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use corten_testkit::containerd::Version;
use corten_testkit::{Cluster, Options, PATIENCE, Pod, cgroup, debs, on_every_runtime, packages, wait};
use serde_json::json;

const CORTEN: &str = env!("CARGO_BIN_EXE_corten");

on_every_runtime!(a_runtime_class_picks_the_program_that_makes_the_containers);

/// Handlers, and OCI runtimes of Debian for them.
const PROGRAMS: [(&str, &str); 2] = [("first", "/usr/sbin/runc"), ("second", "/usr/bin/crun")];

fn class(name: &str) -> String {
    json!({"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": name}, "handler": name}).to_string()
}

/// A program that notes how it is called before it is the other one.
fn noting(dir: &Path, name: &str, program: &str) -> PathBuf {
    let path = dir.join(name);
    let log = dir.join(format!("{name}.log"));
    fs::write(&path, format!("#!/bin/sh\necho \"$*\" >> {}\nexec {program} \"$@\"\n", log.display())).unwrap();
    fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    path
}

/// crun does not work with v1 controllers where v2 is mounted too.
fn hide_unified(cluster: &Cluster) {
    if Path::new("/sys/fs/cgroup/unified").is_dir() {
        cluster.in_node(&["umount", "/sys/fs/cgroup/unified"]);
    }
}

/// The id of a pod's container, as the runtime has it.
fn container(cluster: &Cluster, pod: &str) -> String {
    let id = cluster.kubectl(&["get", "pod", pod, "-o", "jsonpath={.status.containerStatuses[0].containerID}"]);
    id.split_once("://").unwrap().1.to_owned()
}

fn a_runtime_class_picks_the_program_that_makes_the_containers(runtime: Options) {
    packages::install(&["runc", "crun"], "OCI runtimes to be driven").unwrap();
    let dir = tempfile::tempdir_in(packages::cache().unwrap()).unwrap();
    // containerd of Debian 13 writes a newer version into its specs than the crun of Debian 12 takes.
    let newer = runtime.runtime().unwrap() == Some(Version::V1_7);
    let program = |name: &str, program| noting(dir.path(), name, if newer { PROGRAMS[0].1 } else { program });
    let handlers = PROGRAMS.map(|(name, of_debian)| (name, program(name, of_debian)));
    let cluster = Cluster::up(CORTEN, Options { busybox: true, handlers: handlers.to_vec(), ..runtime });
    hide_unified(&cluster);
    for name in ["first", "second", "kata"] {
        cluster.apply(&class(name));
    }
    let script = "trap 'exit 3' TERM; echo up; while :; do sleep 0.1; done";
    let of = |name: &str| Pod::new(name, script).spec("runtimeClassName", name);
    cluster.apply(&Pod::new("plain", script).to_string());
    cluster.apply(&of("kata").to_string());
    for (name, _) in PROGRAMS {
        let limits = json!({"limits": {"memory": "48Mi"}});
        cluster.apply(&of(name).main("resources", limits).to_string());
    }
    for pod in ["plain", "first", "second"] {
        cluster.ready(pod);
        assert_eq!(cluster.kubectl(&["exec", pod, "--", "hostname"]), format!("{pod}\n"));
        assert_eq!(cluster.kubectl(&["logs", pod]), "up\n");
    }
    // Each program has made the container of its class, and no other one.
    for (name, _) in PROGRAMS {
        let calls = fs::read_to_string(dir.path().join(format!("{name}.log"))).unwrap();
        let creates: Vec<&str> = calls.lines().filter(|line| line.contains("create ")).collect();
        assert!(creates.iter().any(|line| line.contains(&container(&cluster, name))), "{calls}");
        for other in ["plain", "first", "second"].iter().filter(|other| **other != name) {
            assert!(!calls.contains(&container(&cluster, other)), "{other} was made by {name}: {calls}");
        }
    }
    // The end of one is seen, and it is started again by the same program.
    let before = container(&cluster, "second");
    cluster.kubectl_outcome(&["exec", "second", "--", "kill", "-TERM", "1"]);
    wait::until("the container is restarted", PATIENCE, || {
        let status = cluster.json(&["get", "pod", "second"])["status"]["containerStatuses"][0].clone();
        if status["restartCount"] == 1 && status["lastState"]["terminated"]["exitCode"] == 3 { Ok(()) } else { Err(status) }
    });
    wait::until("it runs again", PATIENCE, || {
        let (now, calls) = (container(&cluster, "second"), fs::read_to_string(dir.path().join("second.log")).unwrap());
        if now != before && calls.contains(&now) { Ok(()) } else { Err(calls) }
    });

    // A class that no runtime stands behind, and one that does not exist.
    wait::until("the missing handler is named", PATIENCE, || {
        let events = cluster.kubectl(&["get", "events", "--field-selector", "involvedObject.name=kata"]);
        if events.contains("no runtime for \"kata\" is configured") { Ok(()) } else { Err(events) }
    });
    let refused = cluster.kubectl_input(&["apply", "-f", "-"], &of("absent").to_string());
    assert!(refused.stderr.contains("RuntimeClass \"absent\" not found"), "{}", refused.stderr);

    cluster.kubectl(&["delete", "pods", "--all", "--timeout=90s"]);
}

/// The names in a directory.
fn names(dir: &Path) -> Vec<String> {
    fs::read_dir(dir).into_iter().flatten().flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

#[test]
fn a_node_uses_the_network_and_the_names_of_cgroups_that_it_is_told_to() {
    let dir = tempfile::tempdir_in(packages::cache().unwrap()).unwrap();
    let leases = dir.path().join("leases");
    let ipam = json!({"type": "host-local", "subnet": "10.88.0.0/24", "dataDir": leases, "routes": [{"dst": "0.0.0.0/0"}]});
    let bridge = json!({"type": "bridge", "bridge": "br0", "isGateway": true, "ipam": ipam});
    let network = json!({"cniVersion": "1.0.0", "name": "test", "plugins": [bridge]});
    fs::create_dir(dir.path().join("net.d")).unwrap();
    fs::write(dir.path().join("net.d/10-test.conflist"), network.to_string()).unwrap();
    let arguments = vec![
        format!("--cni-conf-dir={}", dir.path().join("net.d").display()),
        format!("--cni-bin-dir={}", debs::cni_plugins().unwrap().display()),
    ];
    let kubelet = "cgroupDriver: systemd".to_owned();
    let cluster = Cluster::up(CORTEN, Options { busybox: true, built_in: true, arguments, kubelet, ..Options::default() });
    cluster.run(&Pod::new("server", "while echo hello | nc -l -p 80; do :; done"));
    cluster.run(&Pod::new("client", "while :; do sleep 1; done"));

    // Both are on the plugins' network, and reach each other.
    let address = cluster.address("server", 80).ip().to_string();
    assert!(address.starts_with("10.88.0."), "{address}");
    let fetch = format!("until nc {address} 80 </dev/null | grep hello; do sleep 0.05; done");
    assert_eq!(cluster.kubectl(&["exec", "client", "--", "sh", "-c", &fetch]), "hello\n");

    // Cgroups are slices, and a container's is a scope.
    let root = cluster.name().replace('-', "_");
    let class = cgroup(&format!("{root}.slice/{root}-kubepods.slice/{root}-kubepods-besteffort.slice"));
    let uid = cluster.json(&["get", "pod", "client"])["metadata"]["uid"].as_str().unwrap().replace('-', "_");
    let slice = class.join(format!("{root}-kubepods-besteffort-pod{uid}.slice"));
    let scope = slice.join(format!("corten-{}.scope", container(&cluster, "client")));
    assert!(scope.is_dir(), "{} has {:?}", slice.display(), names(&slice));

    cluster.kubectl(&["delete", "pod", "client", "--timeout=60s"]);
    wait::until("its address is given back", PATIENCE, || {
        let left = names(&leases.join("test"));
        if left.iter().filter(|name| name.starts_with("10.")).count() == 1 { Ok(()) } else { Err(left) }
    });
    cluster.down().unwrap();
    let left = names(&leases.join("test"));
    assert!(!left.iter().any(|name| name.starts_with("10.")), "plugins have been told that all pods are gone: {left:?}");
    assert!(!cgroup(&format!("{root}.slice")).exists());
}
