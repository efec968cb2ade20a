//! `corten server`, the production form, in namespaces that stand for a machine.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop where it is")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use corten_testkit::{Outcome, PATIENCE, cgroup, packages, run, tools, wait};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

const CORTEN: &str = env!("CARGO_BIN_EXE_corten");
const ADDRESS: &str = "10.99.0.1";

/// Namespaces of a machine, held by a process that does nothing else.
struct Machine {
    holder: Child,
    data: TempDir,
}

impl Machine {
    fn new() -> Self {
        packages::install(&["iproute2", "util-linux"], "making a machine of namespaces").unwrap();
        let data = tempfile::Builder::new().prefix("server-").tempdir_in(packages::cache().unwrap()).unwrap();
        let furnish = format!(
            "ip link set lo up && ip address add {ADDRESS}/32 dev lo && mount -t tmpfs run /run && hostname machine && echo made && exec sleep infinity"
        );
        let mut holder =
            Command::new("unshare").args(["--mount", "--net", "--uts", "sh", "-c", &furnish]).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(holder.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "made\n");
        Self { holder, data }
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--mount", "--net", "--uts", "--target", &self.holder.id().to_string(), program]);
        command
    }

    fn corten(&self, command: &str) -> Command {
        let mut corten = self.command(CORTEN);
        corten.arg(command).arg("--data-dir").arg(self.data.path());
        corten
    }

    fn kubectl(&self, arguments: &[&str]) -> Outcome {
        let mut kubectl = self.command(tools::kubectl().unwrap().to_str().unwrap());
        kubectl
            .arg("--kubeconfig")
            .arg(self.data.path().join("kubeconfig"))
            .arg("--cache-dir")
            .arg(self.data.path().join("cache"))
            .args(arguments);
        run(kubectl).unwrap()
    }

    fn server(&self) -> Server {
        let log = fs::File::options().create(true).append(true).open(self.data.path().join("server.log")).unwrap();
        let mut child = self.corten("server").stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Server { child, lines }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", fs::read_to_string(self.data.path().join("server.log")).unwrap_or_default());
        }
        let down = run(self.corten("down")).and_then(Outcome::check);
        self.holder.kill().unwrap();
        self.holder.wait().unwrap();
        if let Err(error) = down {
            assert!(std::thread::panicking(), "cannot clean up: {error:#}");
        }
    }
}

struct Server {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Server {
    /// Reads the report until the server is ready.
    fn phases(&mut self) -> Vec<String> {
        let mut phases = Vec::new();
        loop {
            let mut line = String::new();
            assert_ne!(self.lines.read_line(&mut line).unwrap(), 0, "the server ended after {phases:?}");
            phases.push(line.trim().to_owned());
            if line.trim().ends_with("ready") {
                return phases;
            }
        }
    }

    /// nsenter does not fork, so its process is the server's.
    fn terminate(mut self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}");
    }
}

fn containers(directory: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(containers(&path));
        }
    }
    found.extend(fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default().lines().map(str::to_owned));
    found.sort();
    found
}

#[test]
fn terminating_the_server_leaves_the_pods_running() {
    let machine = Machine::new();
    let mut server = machine.server();
    let phases = server.phases();
    for name in ["store", "API server", "container runtime", "node"] {
        assert!(phases.iter().any(|phase| phase.ends_with(name)), "{name}: {phases:?}");
    }
    let run_dir = fs::read_link(machine.data.path().join("run")).unwrap();
    assert!(run_dir.starts_with("/run"), "{}", run_dir.display());
    assert!(machine.kubectl(&["get", "--raw", "/readyz"]).check().unwrap().contains("ok"));
    machine.kubectl(&["run", "web", "--image=corten.local/hello"]).check().unwrap();
    machine.kubectl(&["wait", "--for=condition=Ready", "pod/web", "--timeout=60s"]).check().unwrap();
    let before = machine.kubectl(&["get", "pod", "web", "-o", "jsonpath={.status.containerStatuses[0].containerID}"]).check().unwrap();
    let group = cgroup(run_dir.file_name().unwrap().to_str().unwrap()).join("kubepods");
    let running = containers(&group);
    assert!(!running.is_empty());

    server.terminate();
    assert_eq!(containers(&group), running);

    let mut server = machine.server();
    server.phases();
    let after = machine.kubectl(&["get", "pod", "web", "-o", "jsonpath={.status.containerStatuses[0].containerID}"]).check().unwrap();
    assert_eq!(after, before);
    assert_eq!(containers(&group), running);
    server.terminate();
}

#[test]
fn pods_start_anew_when_a_reboot_has_taken_them() {
    let machine = Machine::new();
    let mut server = machine.server();
    server.phases();
    machine.kubectl(&["run", "web", "--image=corten.local/hello"]).check().unwrap();
    machine.kubectl(&["wait", "--for=condition=Ready", "pod/web", "--timeout=60s"]).check().unwrap();
    server.terminate();
    // What a reboot takes: processes, mounts, namespaces, cgroups and /run.
    run(machine.corten("down")).unwrap().check().unwrap();
    let mut routes = machine.command("ip");
    routes.args(["route", "show", "table", "all"]);
    let routes = run(routes).unwrap().check().unwrap();
    assert!(!routes.contains("10.42.") && !routes.contains("10.43."), "{routes}");

    let mut server = machine.server();
    server.phases();
    wait::until("the pod runs again", PATIENCE, || {
        let pod = machine.kubectl(&["get", "pod", "web", "-o", "json"]).check().unwrap();
        let pod: serde_json::Value = serde_json::from_str(&pod).unwrap();
        let status = pod["status"]["containerStatuses"][0].clone();
        if status["ready"] == true && status["restartCount"] == 1 { Ok(()) } else { Err(status) }
    });
    server.terminate();
}

#[test]
fn a_second_server_on_the_same_data_is_refused() {
    let machine = Machine::new();
    let mut server = machine.server();
    server.phases();
    let second = run(machine.corten("server")).unwrap();
    assert_eq!(second.code, Some(1));
    assert!(second.stderr.contains("this data directory is in use"), "{}", second.stderr);
    server.terminate();
}
