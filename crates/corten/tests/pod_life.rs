//! A pod's life from its first container to its last: order, restarts, hooks, signals, deadlines, and what is said of all that.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop where it is")]

use std::fs;
use std::path::Path;

use corten_testkit::{Cluster, Options, PATIENCE, Pod, on_every_runtime, wait};
use serde_json::{Value, json};

const CORTEN: &str = env!("CARGO_BIN_EXE_corten");

on_every_runtime!(containers_begin_and_end_in_order, containers_are_restarted_by_their_rules, pods_end_as_they_are_told_to);

/// Nobody waits long for a restart.
const KUBELET: &str = "crashLoopBackOff: {maxContainerRestartPeriod: 1s}";

/// A cluster, and a directory of the node that its pods write to.
struct Scene {
    cluster: Cluster,
    directory: tempfile::TempDir,
}

impl Scene {
    fn new(runtime: Options) -> Self {
        let options = Options { busybox: true, kubelet: KUBELET.to_owned(), ..runtime };
        Self { cluster: Cluster::up(CORTEN, options), directory: tempfile::tempdir().unwrap() }
    }

    /// A pod with the directory at `/out` in every container.
    fn writing(&self, pod: Pod) -> String {
        let mut pod: Value = serde_json::from_str(&pod.to_string()).unwrap();
        let path = self.directory.path().display().to_string();
        pod["spec"]["volumes"] = json!([{"name": "out", "hostPath": {"path": path}}]);
        for list in ["containers", "initContainers"] {
            for container in pod["spec"][list].as_array_mut().into_iter().flatten() {
                container["volumeMounts"] = json!([{"name": "out", "mountPath": "/out"}]);
            }
        }
        pod.to_string()
    }

    fn lines(&self, file: &str) -> Vec<String> {
        let text = fs::read_to_string(self.directory.path().join(Path::new(file))).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Waits until the pods have written this.
    fn written(&self, file: &str, expected: &[&str]) {
        wait::until(&format!("{file} is written"), PATIENCE, || {
            let lines = self.lines(file);
            if lines == expected { Ok(()) } else { Err(lines) }
        });
    }

    fn status(&self, pod: &str) -> Value {
        self.cluster.json(&["get", "pod", pod])["status"].clone()
    }

    /// Waits until a pod's status is as it should be.
    fn until(&self, pod: &str, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        wait::until(&format!("{pod}: {what}"), PATIENCE, || {
            let status = self.status(pod);
            if holds(&status) { Ok(status) } else { Err(status) }
        })
    }

    fn said(&self, pod: &str, words: &str) {
        wait::until(&format!("an event of {pod} says {words}"), PATIENCE, || {
            let events = self.cluster.kubectl(&["get", "events", "--field-selector", &format!("involvedObject.name={pod}")]);
            if events.contains(words) { Ok(()) } else { Err(events) }
        });
    }

    fn gone(&self, pod: &str) {
        self.cluster.kubectl(&["wait", "--for=delete", &format!("pod/{pod}"), "--timeout=90s"]);
    }
}

/// Init containers one after the other, sidecars in their turn; at the end the sidecars go last, in reverse.
fn containers_begin_and_end_in_order(runtime: Options) {
    let scene = Scene::new(runtime);
    let sidecar = |name: &str| {
        let script = format!(
            "trap 'echo {name} ends >> /out/order; exit 0' TERM; echo {name} >> /out/order; touch /tmp/up; while :; do sleep 0.1; done"
        );
        json!({"name": name, "image": "busybox:1.36", "command": ["sh", "-c", script], "restartPolicy": "Always",
            "startupProbe": {"exec": {"command": ["cat", "/tmp/up"]}, "periodSeconds": 1, "failureThreshold": 60}})
    };
    let init = |name: &str| json!({"name": name, "image": "busybox:1.36", "command": ["sh", "-c", format!("echo {name} >> /out/order")]});
    let main = "echo main >> /out/order; trap 'echo main ends >> /out/order; exit 0' TERM; while :; do sleep 0.1; done";
    let pod = Pod::new("orderly", main)
        .spec("terminationGracePeriodSeconds", 30)
        .spec("initContainers", json!([init("first"), sidecar("left"), init("second"), sidecar("right")]));
    scene.cluster.apply(&scene.writing(pod));
    scene.cluster.ready("orderly");
    scene.written("order", &["first", "left", "second", "right", "main"]);
    let status = scene.status("orderly");
    let initial = status["initContainerStatuses"].as_array().unwrap();
    let states: Vec<bool> = initial.iter().map(|one| one["state"].get("running").is_some()).collect();
    assert_eq!(states, [false, true, false, true], "{status}");
    assert!(initial.iter().all(|one| one["ready"] == true && one["restartCount"] == 0), "{status}");

    // A sidecar that ends is started again, and nobody else.
    scene.cluster.kubectl(&["exec", "orderly", "-c", "left", "--", "sh", "-c", "kill -TERM 1"]);
    scene.until("orderly", "the sidecar is back", |status| {
        let left = &status["initContainerStatuses"][1];
        left["restartCount"] == 1 && left["ready"] == true
    });
    assert_eq!(scene.status("orderly")["containerStatuses"][0]["restartCount"], 0);
    scene.cluster.kubectl(&["delete", "pod", "orderly", "--wait=false"]);
    scene.gone("orderly");
    let all = ["first", "left", "second", "right", "main", "left ends", "left", "main ends", "right ends", "left ends"];
    assert_eq!(scene.lines("order"), all);

    // An init container that fails for good ends the pod, and what comes after it never begins.
    scene.cluster.apply(&scene.writing(Pod::new("stillborn", "echo never >> /out/never").once().first("bad", "exit 7")));
    let status = scene.until("stillborn", "it has failed", |status| status["phase"] == "Failed");
    assert_eq!(status["initContainerStatuses"][0]["state"]["terminated"]["exitCode"], 7);
    assert_eq!(status["containerStatuses"][0]["state"]["waiting"]["reason"], "PodInitializing");
    // One whose sidecars alone still run has ended: they are told to go.
    let helped = Pod::new("helped", "echo done").once().spec("initContainers", json!([sidecar("helper")]));
    scene.cluster.apply(&scene.writing(helped.spec("terminationGracePeriodSeconds", 30)));
    scene.cluster.succeeded("helped");
    assert!(scene.lines("never").is_empty());
}

/// By the pod's policy, by a container's own, by its rules; after a probe; and soon, where the back-off is short.
fn containers_are_restarted_by_their_rules(runtime: Options) {
    let scene = Scene::new(runtime);
    let rules = json!([{"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}}]);
    let ruled = Pod::new("ruled", "echo run >> /out/ruled; [ $(wc -l < /out/ruled) -lt 3 ] && exit 42; exit 3")
        .once()
        .main("restartPolicy", "Never")
        .main("restartPolicyRules", rules);
    scene.cluster.apply(&scene.writing(ruled));
    let own =
        Pod::new("own", "echo run >> /out/own; [ $(wc -l < /out/own) -lt 2 ] && exit 1; exit 0").once().main("restartPolicy", "OnFailure");
    scene.cluster.apply(&scene.writing(own));
    scene.cluster.apply(&Pod::new("dying", "exit 1").to_string());
    // It does not listen; the probe's own grace period is short, the pod's is not.
    let probe = json!({"exec": {"command": ["false"]}, "periodSeconds": 1, "failureThreshold": 1, "terminationGracePeriodSeconds": 1});
    let deaf = Pod::new("deaf", "trap '' TERM; while :; do sleep 1; done").spec("terminationGracePeriodSeconds", 600);
    scene.cluster.apply(&deaf.clone().main("livenessProbe", probe.clone()).to_string());
    scene.cluster.apply(&deaf.metadata("name", "slow").main("startupProbe", probe).to_string());

    let status = scene.until("ruled", "it has failed", |status| status["phase"] == "Failed");
    let main = &status["containerStatuses"][0];
    assert_eq!((&main["restartCount"], &main["state"]["terminated"]["exitCode"]), (&json!(2), &json!(3)), "{status}");
    let status = scene.until("own", "it has succeeded", |status| status["phase"] == "Succeeded");
    assert_eq!(status["containerStatuses"][0]["restartCount"], 1, "{status}");
    for (pod, words) in [("deaf", "failed liveness probe, will be restarted"), ("slow", "failed startup probe, will be restarted")] {
        let status = scene.until(pod, "it is restarted", |status| status["containerStatuses"][0]["restartCount"].as_i64() >= Some(1));
        assert_eq!(status["containerStatuses"][0]["lastState"]["terminated"]["exitCode"], 137, "{status}");
        scene.said(pod, words);
    }
    // With the usual back-off of 10 s, 20 s, 40 s it would not be there in time.
    scene.until("dying", "it is restarted often", |status| status["containerStatuses"][0]["restartCount"].as_i64() >= Some(6));
    scene.cluster.kubectl(&["delete", "pod", "deaf", "slow", "dying", "--now"]);
}

/// By deadline, by hook and signal, with their last words; and one that is deleted before it has begun.
fn pods_end_as_they_are_told_to(runtime: Options) {
    let scene = Scene::new(runtime);
    let built_in = scene.cluster.containerd().is_none();
    scene.cluster.apply(&Pod::new("late", "sleep 1000").spec("activeDeadlineSeconds", 3).to_string());
    let fallback = Pod::new("talker", "echo the last line; exit 1").once().main("terminationMessagePolicy", "FallbackToLogsOnError");
    scene.cluster.apply(&fallback.to_string());
    let file = Pod::new("writer", "echo -n last words > /tmp/said; echo noise").once().main("terminationMessagePath", "/tmp/said");
    scene.cluster.apply(&file.to_string());
    let hook = |script: &str| json!({"exec": {"command": ["sh", "-c", script]}});
    let hooked = Pod::new("hooked", "trap 'echo term >> /out/hooked; exit 0' TERM; while :; do sleep 0.1; done")
        .spec("terminationGracePeriodSeconds", 30)
        .main("lifecycle", json!({"postStart": hook("echo up >> /out/hooked"), "preStop": hook("echo stopping >> /out/hooked")}));
    scene.cluster.apply(&scene.writing(hooked));
    let unhooked = Pod::new("unhooked", "sleep 1000").main("lifecycle", json!({"postStart": hook("echo no; exit 9")}));
    scene.cluster.apply(&unhooked.to_string());
    let sleeping = Pod::new("sleeping", "trap 'date +%s >> /out/sleeping; exit 0' TERM; while :; do sleep 0.1; done")
        .spec("terminationGracePeriodSeconds", 30)
        .main("lifecycle", json!({"preStop": {"sleep": {"seconds": 3}}}));
    scene.cluster.apply(&scene.writing(sleeping));
    // Whatever is answered: it was told.
    let page = r#"#!/bin/sh\necho $QUERY_STRING >> /out/called\nprintf "HTTP/1.0 404 Not Found\r\n\r\n""#;
    let serves = format!("mkdir -p /www/cgi-bin; printf '{page}' > /www/cgi-bin/told; chmod +x /www/cgi-bin/told; httpd -p 8080 -h /www");
    let called = Pod::new("called", &format!("{serves}; trap 'echo term >> /out/called; exit 0' TERM; while :; do sleep 0.1; done"))
        .spec("terminationGracePeriodSeconds", 30)
        .main("readinessProbe", json!({"tcpSocket": {"port": 8080}, "periodSeconds": 1}))
        .main("lifecycle", json!({"preStop": {"httpGet": {"port": 8080, "path": "/cgi-bin/told?stopping"}}}));
    scene.cluster.apply(&scene.writing(called));
    let stubborn = Pod::new("stubborn", "trap '' TERM; while :; do sleep 1; done").spec("terminationGracePeriodSeconds", 2);
    scene.cluster.apply(&stubborn.metadata("finalizers", json!(["test.corten.dev/look"])).to_string());
    let signalled = Pod::new("signalled", "trap 'echo usr1 >> /out/signalled; exit 0' USR1; while :; do sleep 0.1; done")
        .spec("terminationGracePeriodSeconds", 30)
        .spec("os", json!({"name": "linux"}))
        .main("lifecycle", json!({"stopSignal": "SIGUSR1"}));
    // Containerd 1 knows nothing of it.
    if built_in {
        scene.cluster.apply(&scene.writing(signalled));
    }
    // It never begins: its init container waits for ever, and one that is deleted at once.
    scene.cluster.apply(&Pod::new("beginning", "sleep 1000").first("wait", "sleep 1000").to_string());
    scene.cluster.apply(&Pod::new("fleeting", "sleep 1000").to_string());
    scene.cluster.kubectl(&["delete", "pod", "fleeting", "--wait=false"]);

    let status = scene.until("late", "its time is over", |status| status["phase"] == "Failed");
    let words = "Pod was active on the node longer than the specified deadline";
    assert_eq!((&status["reason"], &status["message"]), (&json!("DeadlineExceeded"), &json!(words)), "{status}");
    let ended = |status: &Value| status["containerStatuses"][0]["state"].get("terminated").is_some();
    let message = |pod: &str| scene.until(pod, "it has ended", ended)["containerStatuses"][0]["state"]["terminated"]["message"].clone();
    assert_eq!(message("talker").as_str().map(str::trim_end), Some("the last line"));
    assert_eq!(message("writer"), "last words");
    scene.said("unhooked", "PostStartHook failed: command 'sh -c echo no; exit 9' exited with 9");

    for pod in ["hooked", "sleeping", "called", "stubborn"] {
        scene.cluster.ready(pod);
    }
    let begun: i64 = scene.cluster.kubectl(&["exec", "sleeping", "--", "date", "+%s"]).trim().parse().unwrap();
    scene.cluster.kubectl(&["delete", "pod", "hooked", "sleeping", "called", "stubborn", "beginning", "--wait=false"]);
    if built_in {
        scene.cluster.ready("signalled");
        assert_eq!(scene.status("signalled")["containerStatuses"][0]["stopSignal"], "SIGUSR1");
        scene.cluster.kubectl(&["delete", "pod", "signalled", "--wait=false"]);
        scene.gone("signalled");
        assert_eq!(scene.lines("signalled"), ["usr1"]);
    }
    for pod in ["hooked", "sleeping", "called", "beginning", "fleeting"] {
        scene.gone(pod);
    }
    assert_eq!(scene.lines("hooked"), ["up", "stopping", "term"]);
    assert_eq!(scene.lines("called"), ["stopping", "term"]);
    let signalled: i64 = scene.lines("sleeping")[0].parse().unwrap();
    assert!(signalled - begun >= 3, "the hook sleeps before the signal: {begun} {signalled}");
    // Whoever is kept in the API shows how it ended.
    let status = scene.until("stubborn", "it is killed", ended);
    assert_eq!(status["containerStatuses"][0]["state"]["terminated"]["exitCode"], 137, "{status}");
    scene.cluster.kubectl(&["patch", "pod", "stubborn", "--type=merge", "-p", r#"{"metadata":{"finalizers":null}}"#]);
    scene.gone("stubborn");
}
