//! Containers as their user sees them: logs, exec, restarts, images that cannot be had.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop where it is")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::Stdio;

use corten_testkit::streams::exchange;
use corten_testkit::{Cluster, Options, PATIENCE, Pod, Spawned, cgroup, memory_limit_file, on_every_runtime, wait};

const CORTEN: &str = env!("CARGO_BIN_EXE_corten");

on_every_runtime!(
    logs_and_exec,
    attach_and_port_forward,
    a_killed_container_comes_back_and_a_dying_one_backs_off,
    an_image_that_cannot_be_pulled_says_why,
);

fn logs_and_exec(runtime: Options) {
    let cluster = Cluster::up(CORTEN, Options { busybox: true, ..runtime });
    cluster.run(&Pod::new(
        "talker",
        "echo one; echo two >&2; while read line; do echo got $line; done < /tmp/pipe & mkfifo /tmp/pipe 2>/dev/null; sleep 1000",
    ));
    wait::until("both lines are logged", PATIENCE, || {
        let logs = cluster.kubectl(&["logs", "talker"]);
        if logs.contains("one\n") && logs.contains("two\n") { Ok(()) } else { Err(logs) }
    });
    assert_eq!(cluster.kubectl(&["logs", "talker", "--tail=1"]).lines().count(), 1);

    let exec = |arguments: &[&str]| {
        let all: Vec<&str> = ["exec", "talker", "--"].iter().chain(arguments).copied().collect();
        cluster.kubectl_outcome(&all)
    };
    let outcome = exec(&["sh", "-c", "echo out; echo err >&2; exit 7"]);
    assert_eq!((outcome.code, &*outcome.stdout), (Some(7), "out\n"));
    assert!(outcome.stderr.starts_with("err\n"), "{}", outcome.stderr);
    assert_eq!(exec(&["hostname"]).stdout, "talker\n");
    let outcome = cluster.kubectl_input(&["exec", "-i", "talker", "--", "cat"], "through and back");
    assert_eq!((outcome.code, &*outcome.stdout), (Some(0), "through and back"));

    // With a terminal: `script` gives kubectl one. Its size comes after the program has started; containerd does not wait for it.
    let kubectl = cluster.kubectl_command(&[
        "exec",
        "-it",
        "talker",
        "--",
        "sh",
        "-c",
        "tty; until stty size 2>/dev/null | grep 77; do sleep 0.05; done",
    ]);
    let words: Vec<String> =
        [kubectl.get_program()].into_iter().chain(kubectl.get_args()).map(|word| format!("'{}'", word.to_string_lossy())).collect();
    let mut script = std::process::Command::new("script");
    script.args(["-qec", &format!("stty rows 33 cols 77; {}", words.join(" ")), "/dev/null"]);
    let seen = corten_testkit::run(script).unwrap().check().unwrap();
    assert!(seen.contains("/dev/pts/") || seen.contains("/dev/console"), "{seen:?}");
    assert!(seen.contains("33 77"), "{seen:?}");

    // -f shows what comes, until it is ended. The shell stays, for it holds the exec's stdout: containerd closes stdin when that ends.
    let mut follow = cluster.kubectl_command(&["logs", "-f", "talker"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(follow.stdout.take().unwrap()).lines();
    let outcome = cluster.kubectl_input(&["exec", "-i", "talker", "--", "sh", "-c", "cat > /proc/1/fd/1; exit $?"], "late line\n");
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert!(lines.any(|line| line.unwrap() == "late line"));
    follow.kill().unwrap();
    follow.wait().unwrap();
}

fn attach_and_port_forward(runtime: Options) {
    let cluster = Cluster::up(CORTEN, Options { busybox: true, ..runtime });
    let script = "nc -ll -p 8080 -e cat & while read line; do echo got $line; echo also $line >&2; done; echo input is over; sleep 1000";
    cluster.run(&Pod::new("talker", script).main("stdin", true));

    let mut listener = Spawned::start(cluster.kubectl_command(&["attach", "talker"]));
    let mut speaker = Spawned::start(cluster.kubectl_command(&["attach", "-i", "talker"]));
    let mut stdin = speaker.stdin().unwrap();
    // What was said before one was attached is not repeated: it is said until both are.
    wait::until("both hear both", PATIENCE, || {
        stdin.write_all(b"hello\n").unwrap();
        let heard = [&mut listener, &mut speaker].map(|one| one.has_said("got hello") && one.has_said("also hello"));
        if heard == [true; 2] { Ok(()) } else { Err((heard, listener.said(), speaker.said())) }
    });
    listener.kill();
    speaker.kill();

    cluster.listens("talker", 8080);
    let (mut forwarding, address) = cluster.forward("pod/talker", "8080");
    for size in [5, 100_000, 3_000_000] {
        let sent: Vec<u8> = (0..size).map(|index: usize| (index % 251) as u8).collect();
        assert!(exchange(address, &sent) == sent, "{size} bytes there and back");
    }
    let (_nobody, address) = cluster.forward("pod/talker", "9");
    let mut refused = TcpStream::connect(address).unwrap();
    refused.set_read_timeout(Some(PATIENCE)).unwrap();
    assert!(!matches!(refused.read(&mut [0; 1]), Ok(1..)));
    assert!(!forwarding.has_said("error"), "{}", forwarding.said());
}

fn a_killed_container_comes_back_and_a_dying_one_backs_off(runtime: Options) {
    let cluster = Cluster::up(CORTEN, Options { busybox: true, ..runtime });
    cluster.apply(&Pod::new("dying", "echo last words; exit 1").to_string());
    cluster.run(&Pod::new("steady", "trap 'exit 3' TERM; while :; do sleep 0.1; done"));
    // With the first process all others of the container end, whether they have done their work or not.
    cluster.kubectl_outcome(&["exec", "steady", "--", "kill", "-TERM", "1"]);
    wait::until("the container is restarted", PATIENCE, || {
        let status = cluster.json(&["get", "pod", "steady"])["status"]["containerStatuses"][0].clone();
        if status["restartCount"] == 1 && status["ready"] == true { Ok(()) } else { Err(status) }
    });
    let status = &cluster.json(&["get", "pod", "steady"])["status"]["containerStatuses"][0];
    assert_eq!(status["lastState"]["terminated"]["exitCode"], 3, "{status}");

    wait::until("a container that keeps dying backs off", PATIENCE, || {
        let table = cluster.kubectl(&["get", "pod", "dying"]);
        if table.contains("CrashLoopBackOff") { Ok(()) } else { Err(table) }
    });
    assert_eq!(cluster.kubectl(&["logs", "dying", "--previous"]), "last words\n");
    let events = cluster.kubectl(&["get", "events", "--field-selector", "involvedObject.name=dying"]);
    assert!(events.contains("Back-off restarting failed container main in pod dying"), "{events}");
}

fn an_image_that_cannot_be_pulled_says_why(runtime: Options) {
    let cluster = Cluster::up(CORTEN, runtime);
    cluster.apply(
        "
apiVersion: v1
kind: Pod
metadata:
  name: nowhere
spec:
  containers:
  - name: main
    image: 127.0.0.1:1/no/such:image
",
    );
    for state in ["ErrImagePull", "ImagePullBackOff"] {
        wait::until(state, PATIENCE, || {
            let table = cluster.kubectl(&["get", "pod", "nowhere"]);
            let events = cluster.kubectl(&["get", "events"]);
            if table.contains(state) || events.contains(state) { Ok(()) } else { Err(table) }
        });
    }
    let events = cluster.kubectl(&["describe", "pod", "nowhere"]);
    assert!(events.contains("Failed to pull image \"127.0.0.1:1/no/such:image\""), "{events}");
    assert!(events.contains("refused"), "the reason is the network's: {events}");
}

#[test]
fn the_built_in_hello_answers_with_its_pod() {
    // No other runtime has it before it is pulled.
    let cluster = Cluster::up(CORTEN, Options { built_in: true, ..Options::default() });
    cluster.apply(
        "
apiVersion: v1
kind: Pod
metadata:
  name: greeter
spec:
  containers:
  - name: main
    image: corten.local/hello
    imagePullPolicy: Always
    resources:
      limits: {memory: 64Mi, cpu: 250m}
",
    );
    cluster.ready("greeter");
    let pod = cluster.json(&["get", "pod", "greeter"]);
    let address = cluster.address("greeter", 8080);
    let said = wait::until("hello answers", PATIENCE, || cluster.http_get(address));
    assert!(said.contains("greeter"), "{said}");

    // The limit is the kernel's, not only the API's.
    let uid = pod["metadata"]["uid"].as_str().unwrap();
    let limits: Vec<String> = find_files(cgroup(cluster.name()).to_str().unwrap(), memory_limit_file())
        .into_iter()
        .filter(|path| path.contains(uid))
        .map(|path| std::fs::read_to_string(path).unwrap().trim().to_owned())
        .collect();
    assert!(limits.contains(&(64 << 20).to_string()), "{limits:?}");
}

fn find_files(directory: &str, name: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(find_files(path.to_str().unwrap(), name));
        } else if path.ends_with(name) {
            found.push(path.to_str().unwrap().to_owned());
        }
    }
    found
}
