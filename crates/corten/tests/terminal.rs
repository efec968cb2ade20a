//! `kubectl exec -it`, `attach`, `run -it --rm` at a real terminal.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop where it is")]

use std::io::Write;

use corten_testkit::{Cluster, PATIENCE, Pod, Spawned, Terminal, tools, wait};

const CORTEN: &str = env!("CARGO_BIN_EXE_corten");

#[test]
fn a_shell_at_a_terminal_behaves_like_one() {
    let mut cluster = Cluster::with_busybox(CORTEN);
    cluster.run(&Pod::new("host", "sleep 100000"));
    // SPDY, the first with WebSocket by default, the newest.
    for minor in tools::kubectls(&[28, 32, 35]) {
        cluster.use_kubectl(tools::kubectl_version(minor).unwrap());
        let mut shell = Terminal::start(&cluster.kubectl_command(&["exec", "-it", "host", "--", "sh"]), 31, 91).unwrap();
        shell.type_in("stty size; tty; echo $((6*7))=answer\n").unwrap();
        let seen = shell.expect("42=answer");
        assert!(seen.contains("31 91") && seen.contains("/dev/pts/"), "{minor}: {seen}");

        // kubectl is told of a new size, and the terminal in the container gets it.
        shell.resize(43, 123).unwrap();
        shell.type_in("until [ \"$(stty size)\" = '43 123' ]; do sleep 0.1; done; echo 'resize'd\n").unwrap();
        shell.expect("resized");

        // Ctrl-C ends the command, not the session.
        // What speaks is in the foreground already: before that, Ctrl-C is the shell's.
        shell.type_in("sh -c 'echo begi\"\"n; exec sleep 1000'\n").unwrap();
        shell.expect("begin\r\n");
        shell.type_in("\u{3}").unwrap();
        shell.type_in("echo \"st\"ill here\n").unwrap();
        shell.expect("still here");
        shell.type_in("exit 7\n").unwrap();
        let (code, rest) = shell.end();
        assert_eq!(code, Some(7), "{minor}: {rest}");
        assert!(rest.contains("command terminated with exit code 7"), "{minor}: {rest}");
    }
}

#[test]
fn input_output_and_exit_codes_without_a_terminal() {
    let mut cluster = Cluster::with_busybox(CORTEN);
    cluster.run(&Pod::new("host", "sleep 100000"));
    for minor in tools::kubectls(&[28, 30, 35]) {
        cluster.use_kubectl(tools::kubectl_version(minor).unwrap());
        let outcome = cluster.kubectl_outcome(&["exec", "host", "--", "sh", "-c", "echo out; echo err >&2; exit 7"]);
        assert_eq!((outcome.code, &*outcome.stdout), (Some(7), "out\n"), "{minor}");
        assert!(outcome.stderr.starts_with("err\n") && outcome.stderr.contains("exit code 7"), "{minor}: {}", outcome.stderr);
        // The end of the input arrives: wc and sort wait for it.
        let lines: String = (0..20_000).rev().map(|number| format!("{number:06}\n")).collect();
        let sorted = cluster.kubectl_input(&["exec", "-i", "host", "--", "sort"], &lines).check().unwrap();
        assert!(sorted.lines().eq((0..20_000).map(|number| format!("{number:06}"))), "{minor}");
        let missing = cluster.kubectl_outcome(&["exec", "host", "--", "no-such-program"]);
        assert!(!missing.succeeded() && missing.stderr.contains("no-such-program"), "{minor}: {missing:?}");
        let nobody = cluster.kubectl_outcome(&["exec", "nobody", "--", "true"]);
        assert_eq!(nobody.stderr, "Error from server (NotFound): pods \"nobody\" not found\n", "{minor}");
    }
}

#[test]
fn several_attach_at_once_and_what_they_type_arrives() {
    let mut cluster = Cluster::with_busybox(CORTEN);
    let script = "while read line; do echo got $line; echo also $line >&2; done; echo input is over; exit 3";
    cluster.run(&Pod::new("talker", script).main("stdin", true).once());
    for minor in tools::kubectls(&[28, 35]) {
        cluster.use_kubectl(tools::kubectl_version(minor).unwrap());
        let mut listener = Spawned::start(cluster.kubectl_command(&["attach", "talker"]));
        let mut speaker = Spawned::start(cluster.kubectl_command(&["attach", "-i", "talker"]));
        let mut stdin = speaker.stdin().unwrap();
        // What was said before one was attached is not repeated: it is said until both are.
        let (out, err) = (format!("got hello {minor}"), format!("also hello {minor}"));
        wait::until("both hear both", PATIENCE, || {
            stdin.write_all(format!("hello {minor}\n").as_bytes()).unwrap();
            let heard = [&mut listener, &mut speaker].map(|one| one.has_said(&out) && one.has_said(&err));
            if heard == [true; 2] { Ok(()) } else { Err(heard) }
        });
        // Leaving ends nothing but one's own session.
        speaker.kill();
        listener.kill();
    }
    assert_eq!(cluster.json(&["get", "pod", "talker"])["status"]["phase"], "Running");
}

#[test]
fn a_pod_is_run_at_a_terminal_and_goes_with_it() {
    let mut cluster = Cluster::with_busybox(CORTEN);
    for minor in tools::kubectls(&[30, 35]) {
        cluster.use_kubectl(tools::kubectl_version(minor).unwrap());
        let run = ["run", "visit", "-it", "--rm", "--image=busybox:1.36", "--restart=Never", "--image-pull-policy=Never", "--", "sh"];
        let mut shell = Terminal::start(&cluster.kubectl_command(&run), 24, 80).unwrap();
        // kubectl says so when the prompt has come before it was attached.
        shell.expect("If you don't see a command prompt, try pressing enter.");
        shell.type_in("\necho $HOSTNAME-is\"here\"\n").unwrap();
        shell.expect("visit-ishere");
        shell.type_in("exit 5\n").unwrap();
        let (code, rest) = shell.end();
        assert!(rest.contains("pod \"visit\" deleted"), "{minor}: {rest}");
        assert_eq!(code, Some(5), "{minor}: {rest}");
        wait::until("the pod is gone", PATIENCE, || {
            let pods = cluster.kubectl(&["get", "pods", "-o", "name"]);
            if pods.is_empty() { Ok(()) } else { Err(pods) }
        });
    }
    let piped =
        ["run", "once", "-i", "--rm", "--quiet", "--image=busybox:1.36", "--restart=Never", "--image-pull-policy=Never", "--", "cat"];
    let outcome = cluster.kubectl_input(&piped, "through a pod\n");
    assert!(outcome.stdout.contains("through a pod\n"), "{outcome:?}");
}
