//! On a machine that systemd manages: containers' cgroups are its units, and stopping the service that Corten is stops no pod.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop where it is")]

use std::fs;
use std::path::{Path, PathBuf};

use corten_testkit::containerd::{self, Containerd, Version};
use corten_testkit::systemd::Machine;
use corten_testkit::{CALM, Outcome, PATIENCE, images, packages, run, tools, wait};
use serde_json::Value;
use tempfile::TempDir;

const CORTEN: &str = env!("CARGO_BIN_EXE_corten");

/// A server on such a machine, as a service.
struct Server {
    machine: Machine,
    /// Of the server, and of containerd; seen in the machine by the same name.
    data: TempDir,
}

/// What a pod's cgroups are called.
struct Units {
    /// The pod's slice, and the container's scope in it.
    slice: String,
    scope: String,
}

impl Server {
    fn boot() -> Self {
        let data = tempfile::Builder::new().prefix("systemd-").tempdir_in(packages::cache().unwrap()).unwrap();
        let machine = Machine::boot(&[packages::cache().unwrap(), Path::new(CORTEN).parent().unwrap()]).unwrap();
        Self { machine, data }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.data.path().join(name)
    }

    /// Starts the service, whose kubelet has `settings` beside its names of cgroups.
    fn start(&self, settings: &str) {
        fs::write(self.file("kubelet.yaml"), format!("{CALM}cgroupDriver: systemd\n{settings}")).unwrap();
        let (data, config) = (self.file("data").display().to_string(), self.file("kubelet.yaml").display().to_string());
        self.machine.start("corten", &[CORTEN, "server", "--data-dir", &data, "--kubelet-config", &config]).unwrap();
    }

    fn ready(&self) {
        wait::until("the node is ready", PATIENCE, || {
            let nodes = self.kubectl(&["get", "nodes"]);
            if nodes.stdout.contains(" Ready") { Ok(()) } else { Err((nodes.stdout, nodes.stderr)) }
        });
    }

    fn kubectl(&self, words: &[&str]) -> Outcome {
        let mut kubectl = self.machine.command(tools::kubectl().unwrap());
        kubectl.arg("--kubeconfig").arg(self.file("data/kubeconfig")).arg("--cache-dir").arg(self.file("cache")).args(words);
        run(kubectl).unwrap()
    }

    fn says(&self, words: &[&str]) -> String {
        self.kubectl(words).check().unwrap()
    }

    /// Runs a pod that may have 48 MiB, and waits until it is ready.
    fn run(&self, name: &str) {
        let limits = r#"{"spec":{"terminationGracePeriodSeconds":1,"containers":[{"name":"NAME","image":"corten.local/hello","imagePullPolicy":"IfNotPresent","resources":{"limits":{"memory":"48Mi"}}}]}}"#;
        let overrides = format!("--overrides={}", limits.replace("NAME", name));
        wait::until("the pod is taken", PATIENCE, || self.kubectl(&["run", name, "--image=corten.local/hello", &overrides]).check());
        self.says(&["wait", "--for=condition=Ready", &format!("pod/{name}"), "--timeout=90s"]);
    }

    fn pod(&self, name: &str) -> Value {
        serde_json::from_str(&self.says(&["get", "pod", name, "-o", "json"])).unwrap()
    }

    /// Where a pod's container is, by the kernel's word; its limit is set there.
    fn units(&self, pod: &Value) -> Units {
        let id = pod["status"]["containerStatuses"][0]["containerID"].as_str().unwrap();
        let id = id.split_once("://").unwrap().1;
        let root = self.machine.path("/sys/fs/cgroup/memory");
        let found = scope(&root, id).unwrap_or_else(|| panic!("no scope of {id} below {}", root.display()));
        assert_eq!(fs::read_to_string(found.join("memory.limit_in_bytes")).unwrap().trim(), (48u64 << 20).to_string());
        let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
        Units { slice: name(found.parent().unwrap()), scope: name(&found) }
    }
}

/// The scope whose name has this in it.
fn scope(below: &Path, id: &str) -> Option<PathBuf> {
    let mut dirs = fs::read_dir(below).ok()?.flatten().map(|entry| entry.path()).filter(|path| path.is_dir());
    dirs.find_map(|dir| {
        let name = dir.file_name()?.to_str()?;
        if name.contains(id) && name.ends_with(".scope") { Some(dir) } else { scope(&dir, id) }
    })
}

/// The reference's driver asks systemd: every container is a unit that it knows, in the slices that our kubelet names.
fn containers_are_units_of_systemd(version: Version) {
    let server = Server::boot();
    let (plugins, networks) = (server.file("data/cni/bin"), server.file("data/cni/net.d"));
    let state = PathBuf::from("/run/containerd");
    let endpoint = containerd::socket(&state);
    server.start(&format!("containerRuntimeEndpoint: unix://{}\n", endpoint.display()));
    let containerd = Containerd::start(containerd::Options {
        version,
        root: server.file("containerd"),
        state,
        cni: (plugins, networks),
        enter: server.machine.entering(),
        systemd_cgroups: true,
        runtimes: Vec::new(),
    })
    .unwrap();
    for archive in images::built_in_archives(server.data.path()).unwrap() {
        containerd.load(&archive).unwrap();
    }
    server.ready();
    server.run("web");
    let pod = server.pod("web");
    let units = server.units(&pod);
    assert!(units.scope.starts_with("cri-containerd-"), "{}", units.scope);
    let uid = pod["metadata"]["uid"].as_str().unwrap().replace('-', "_");
    assert!(units.slice.ends_with(&format!("-kubepods-burstable-pod{uid}.slice")), "{}", units.slice);
    let shown = server.machine.systemctl(&["show", &units.scope, "--property=ActiveState,Slice"]).unwrap();
    assert!(shown.contains("ActiveState=active") && shown.contains(&format!("Slice={}", units.slice)), "{shown}");

    server.says(&["delete", "pod", "web", "--timeout=60s"]);
    wait::until("systemd has let go of the container", PATIENCE, || {
        let listed = server.machine.systemctl(&["list-units", "--type=scope", "--all", "--plain"]).unwrap();
        if listed.contains(&units.scope) { Err(listed) } else { Ok(()) }
    });
    drop(containerd);
}

#[test]
fn containerd_1_6_makes_units_of_systemd() {
    containers_are_units_of_systemd(Version::V1_6);
}

#[test]
fn containerd_1_7_makes_units_of_systemd() {
    containers_are_units_of_systemd(Version::V1_7);
}

/// Our own runtime makes the directories itself. What systemd does with its units leaves them, and what runs in them, alone.
#[test]
fn systemd_stops_and_restarts_the_service_and_no_pod() {
    let server = Server::boot();
    server.start("");
    server.ready();
    server.run("web");
    let before = server.pod("web")["status"]["containerStatuses"][0].clone();
    let units = server.units(&server.pod("web"));
    assert!(units.scope.starts_with("corten-") && units.slice.contains("-kubepods-burstable-pod"), "{} in {}", units.scope, units.slice);

    // It kills what is in the service's cgroup, and looks at all units anew.
    server.machine.systemctl(&["stop", "corten"]).unwrap();
    server.machine.systemctl(&["daemon-reload"]).unwrap();
    server.machine.systemctl(&["daemon-reexec"]).unwrap();
    server.machine.systemctl(&["start", "corten"]).unwrap();
    server.ready();
    wait::until("the pod is as it was", PATIENCE, || {
        let now = server.pod("web")["status"]["containerStatuses"][0].clone();
        if now == before { Ok(()) } else { Err(now) }
    });
    server.units(&server.pod("web"));
    server.says(&["delete", "pod", "web", "--timeout=60s"]);
    assert!(scope(&server.machine.path("/sys/fs/cgroup/memory"), &units.scope).is_none());
}
