//! `kubectl logs`: following, rotation, several containers, containers that are not there yet or not any more.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop where it is")]

use std::time::Duration;

use corten_testkit::{Cluster, PATIENCE, Pod, Spawned, tools, wait};

const CORTEN: &str = env!("CARGO_BIN_EXE_corten");

#[test]
fn nothing_is_lost_or_repeated_over_a_rotation() {
    let cluster = Cluster::with_busybox(CORTEN);
    // More than a log file may hold at once; then slowly on, over the rotation that follows within seconds.
    let command = "awk 'BEGIN { for (i = 1; i <= 110000; i++) \
                   printf \"line %020d of a log that is rotated while somebody reads it, with some more text to fill it up\\n\", i }'; \
                   n=110000; while [ $n -lt 110040 ]; do n=$((n+1)); echo line $n; sleep 0.5; done";
    cluster.run(&Pod::new("writer", command).once());
    let mut follow = Spawned::start(cluster.kubectl_command(&["logs", "-f", "writer"]));
    let (code, said) = follow.end_within(Duration::from_secs(240));
    assert_eq!(code, Some(0));
    let text = String::from_utf8(said).unwrap();
    let number = |line: &str| line.split(' ').nth(1)?.parse::<u32>().ok();
    let numbers = text.lines().map(|line| number(line).unwrap_or_else(|| panic!("not a line of the log: {line:?}")));
    let mut expected = 1;
    for number in numbers {
        assert_eq!(number, expected, "after {}", expected - 1);
        expected += 1;
    }
    assert_eq!(expected, 110_041, "the follow ends with the container, and not before its last line");
    // It was rotated: the present file does not begin at the beginning.
    let now = cluster.kubectl(&["logs", "writer"]);
    assert!(now.starts_with("line 110") && now.ends_with("line 110040\n"), "{:.200}", now);
}

#[test]
fn options_choose_what_is_shown() {
    let mut cluster = Cluster::with_busybox(CORTEN);
    // The pause keeps the second stream out of the long line, which is written in several pieces.
    let command = "echo one; echo two >&2; sleep 1; head -c 40000 /dev/zero | tr '\\0' x; echo; printf '\\001\\377end'";
    cluster.apply(&Pod::new("talker", command).once().to_string());
    cluster.succeeded("talker");
    for minor in tools::kubectls(&[28, 35]) {
        cluster.use_kubectl(tools::kubectl_version(minor).unwrap());
        let logs = |arguments: &[&str]| {
            let all: Vec<&str> = ["logs", "talker"].iter().chain(arguments).copied().collect();
            let (code, bytes) = Spawned::start(cluster.kubectl_command(&all)).end();
            assert_eq!(code, Some(0), "{arguments:?}: {}", String::from_utf8_lossy(&bytes));
            bytes
        };
        let all = logs(&[]);
        let mut lines: Vec<&[u8]> = all.split(|byte| *byte == b'\n').collect();
        // Which of two streams came first is not said.
        lines[..2].sort_unstable();
        assert_eq!(lines, [b"one".as_slice(), b"two", &b"x".repeat(40_000), b"\x01\xffend"], "{minor}");
        assert_eq!(logs(&["--tail=1"]), b"\x01\xffend");
        assert_eq!(logs(&["--tail=2"]).len(), 40_001 + 5, "a line of several records is one");
        assert_eq!(logs(&["--limit-bytes=2"]).len(), 2);
        assert!(logs(&["--since=1h"]).len() > 40_000 && logs(&["--since-time=2100-01-01T00:00:00Z"]).is_empty());
        let timed = logs(&["--timestamps", "--limit-bytes=64"]);
        let first = String::from_utf8_lossy(&timed).into_owned();
        assert!(first.split(' ').next().is_some_and(|time| time.len() == 30 && time.ends_with('Z')), "{first}");
        let streams =
            |stream: &str| cluster.kubectl(&["get", "--raw", &format!("/api/v1/namespaces/default/pods/talker/log?stream={stream}")]);
        assert_eq!(streams("Stderr"), "two\n");
    }
}

#[test]
fn several_containers_and_those_that_are_not_there() {
    let cluster = Cluster::with_busybox(CORTEN);
    let three = Pod::new("three", "echo from a").main("name", "a").and("b", "echo from b").first("first", "echo from first").once();
    cluster.apply(&three.to_string());
    cluster.succeeded("three");
    let which = cluster.kubectl_outcome(&["get", "--raw", "/api/v1/namespaces/default/pods/three/log"]);
    let words = "a container name must be specified for pod three, choose one of: [a b] or one of the init containers: [first]";
    assert!(which.stderr.contains(words), "{which:?}");
    for (name, said) in [("a", "from a\n"), ("b", "from b\n"), ("first", "from first\n")] {
        assert_eq!(cluster.kubectl(&["logs", "three", "-c", name]), said);
    }
    let all = cluster.kubectl(&["logs", "three", "--all-containers", "--prefix"]);
    for line in ["[pod/three/a] from a", "[pod/three/b] from b", "[pod/three/first] from first"] {
        assert!(all.lines().any(|found| found == line), "{all}");
    }
    let unknown = cluster.kubectl_outcome(&["logs", "three", "-c", "d"]);
    assert!(unknown.stderr.contains("container d is not valid for pod three"), "{unknown:?}");
    let previous = cluster.kubectl_outcome(&["logs", "three", "-c", "a", "--previous"]);
    assert!(previous.stderr.contains("previous terminated container \"a\" in pod \"three\" not found"), "{previous:?}");

    // Waits behind an init container.
    let later = Pod::new("later", "echo late").first("gate", "until [ -e /tmp/go ]; do sleep 0.1; done").once();
    cluster.apply(&later.to_string());
    let refused = wait::until("the pod waits", PATIENCE, || {
        let outcome = cluster.kubectl_outcome(&["logs", "later"]);
        if outcome.stderr.contains("PodInitializing") { Ok(outcome) } else { Err(outcome) }
    });
    let words = "Error from server (BadRequest): container \"main\" in pod \"later\" is waiting to start: PodInitializing\n";
    assert!(refused.stderr.ends_with(words), "{refused:?}");
    wait::until("the gate is open", PATIENCE, || {
        cluster.kubectl_outcome(&["exec", "later", "-c", "gate", "--", "touch", "/tmp/go"]).check()
    });
    cluster.succeeded("later");
    assert_eq!(cluster.kubectl(&["logs", "later"]), "late\n");
    let absent = cluster.kubectl_outcome(&["logs", "absent"]);
    assert!(absent.stderr.contains("pods \"absent\" not found"), "{absent:?}");
}
