//! `kubectl debug`: a container beside a running one, a copy of a pod, a node.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop where it is")]

use corten_testkit::{Cluster, PATIENCE, Pod, Terminal, tools, wait};
use serde_json::json;

const CORTEN: &str = env!("CARGO_BIN_EXE_corten");

fn cluster() -> Cluster {
    let cluster = Cluster::with_busybox(CORTEN);
    let colour = json!([{"name": "COLOUR", "value": "green"}]);
    cluster.run(&Pod::new("patient", "exec sleep 100000").main("env", colour));
    cluster
}

#[test]
fn a_container_beside_a_running_one() {
    let mut cluster = cluster();
    for minor in tools::kubectls(&[28, 35]) {
        cluster.use_kubectl(tools::kubectl_version(minor).unwrap());
        let name = format!("doctor-{minor}");
        let debug =
            ["debug", "-it", "patient", "--image=busybox:1.36", "--image-pull-policy=Never", "--target=main", "-c", &name, "--", "sh"];
        let mut shell = Terminal::start(&cluster.kubectl_command(&debug), 24, 80).unwrap();
        shell.expect("If you don't see a command prompt, try pressing enter.");
        // It has a file system of its own, and sees the processes of its target.
        shell.type_in("\nps -o pid,args; echo 'seen'-them\n").unwrap();
        let seen = shell.expect("seen-them\r\n");
        assert!(seen.contains("sleep 100000"), "{minor}: {seen}");
        shell.type_in("exit\n").unwrap();
        shell.end();
        let status = wait::until("the container has ended", PATIENCE, || {
            let statuses = cluster.json(&["get", "pod", "patient"])["status"]["ephemeralContainerStatuses"].clone();
            let own = statuses.as_array().into_iter().flatten().find(|status| status["name"] == *name).cloned();
            own.filter(|status| status["state"]["terminated"].is_object()).ok_or(statuses)
        });
        assert_eq!(status["state"]["terminated"]["exitCode"], 0, "{status}");
        assert!(cluster.kubectl(&["logs", "patient", "-c", &name]).contains("seen-them"));
    }
    let pod = cluster.json(&["get", "pod", "patient"]);
    assert_eq!(pod["status"]["containerStatuses"][0]["restartCount"], 0, "the patient is not disturbed");
}

#[test]
fn a_copy_of_a_pod() {
    let cluster = cluster();
    let copy = [
        "debug",
        "patient",
        "--copy-to=copy",
        "--container=main",
        "--set-image=*=busybox:1.36",
        "--",
        "sh",
        "-c",
        "echo copied $COLOUR; sleep 100000",
    ];
    cluster.kubectl(&copy);
    let said = wait::until("the copy speaks", PATIENCE, || {
        let outcome = cluster.kubectl_outcome(&["logs", "copy"]);
        if outcome.stdout.is_empty() { Err(outcome) } else { Ok(outcome.stdout) }
    });
    assert_eq!(said, "copied green\n");
    let added = [
        "debug",
        "patient",
        "--copy-to=shared",
        "--share-processes",
        "--image=busybox:1.36",
        "--image-pull-policy=Never",
        "-c",
        "doctor",
        "--",
    ];
    let added: Vec<&str> = added.into_iter().chain(["sh", "-c", "until pgrep -f 'sleep 100000'; do sleep 0.1; done; echo found"]).collect();
    cluster.kubectl(&added);
    wait::until("the copy's doctor sees its patient", PATIENCE, || {
        let outcome = cluster.kubectl_outcome(&["logs", "shared", "-c", "doctor"]);
        if outcome.stdout.contains("found\n") { Ok(()) } else { Err(outcome) }
    });
}

#[test]
fn a_node() {
    let cluster = cluster();
    let node = cluster.node();
    let debug =
        ["debug", "--quiet", &format!("node/{node}"), "--image=busybox:1.36", "--image-pull-policy=Never", "--profile=general", "--"];
    let debug: Vec<&str> = debug.into_iter().chain(["sh", "-c", "ls /host/proc/1/status && hostname && echo looked"]).collect();
    let said = cluster.kubectl_outcome(&debug);
    assert!(said.succeeded(), "{said:?}");
    let pod = wait::until("the debugging pod is there", PATIENCE, || {
        let pods = cluster.kubectl(&["get", "pods", "-o", "name"]);
        pods.lines().find(|name| name.starts_with("pod/node-debugger-")).map(str::to_owned).ok_or(pods)
    });
    let looked = wait::until("it has looked at the node", PATIENCE, || {
        let outcome = cluster.kubectl_outcome(&["logs", &pod]);
        if outcome.stdout.contains("looked\n") { Ok(outcome.stdout) } else { Err(outcome) }
    });
    assert!(looked.contains("/host/proc/1/status\n") && looked.contains(&format!("{node}\n")), "{looked}");
}
