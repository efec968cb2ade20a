//! What a pod finds around it: names, hosts, resolver, environment, processes; when it counts as ready; what it may use.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop where it is")]

use corten_testkit::{Cluster, Options, PATIENCE, Pod, on_every_runtime, wait};
use serde_json::{Value, json};

const CORTEN: &str = env!("CARGO_BIN_EXE_corten");

on_every_runtime!(pods_find_what_their_definition_says);

fn sh(cluster: &Cluster, pod: &str, script: &str) -> String {
    cluster.kubectl(&["exec", pod, "--", "sh", "-c", script])
}

fn condition(status: &Value, name: &str) -> Value {
    let conditions = status["conditions"].as_array().cloned().unwrap_or_default();
    conditions.into_iter().find(|condition| condition["type"] == name).unwrap_or_default()
}

fn pods_find_what_their_definition_says(runtime: Options) {
    let cluster = Cluster::up(CORTEN, Options { busybox: true, ..runtime });
    let named = Pod::new("named", "sleep 1000")
        .spec("hostname", "me")
        .spec("subdomain", "us")
        .spec("setHostnameAsFQDN", true)
        .spec("hostAliases", json!([{"ip": "192.0.2.7", "hostnames": ["far", "away"]}]))
        .spec("dnsPolicy", "None")
        .spec(
            "dnsConfig",
            json!({"nameservers": ["192.0.2.53"], "searches": ["corten.test"], "options": [{"name": "ndots", "value": "2"}, {"name": "rotate"}]}),
        );
    cluster.apply(&named.to_string());
    let field = |path: &str| json!({"valueFrom": {"fieldRef": {"fieldPath": path}}});
    let env = [("NAME", "metadata.name"), ("IP", "status.podIP"), ("HOST", "status.hostIP"), ("NODE", "spec.nodeName")];
    let mut env: Vec<Value> = env
        .iter()
        .map(|(name, path)| {
            let mut variable = field(path);
            variable["name"] = json!(name);
            variable
        })
        .collect();
    env.push(json!({"name": "LIMIT", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}}}));
    env.push(json!({"name": "GREETING", "value": "$(NAME) on $(NODE) $$(NODE)"}));
    let learned = Pod::new("learned", "sleep 1000").main("env", env).main("resources", json!({"limits": {"memory": "32Mi", "cpu": "1"}}));
    cluster.apply(&learned.to_string());
    cluster.apply(&Pod::new("unlinked", "sleep 1000").spec("enableServiceLinks", false).to_string());
    cluster.apply(&Pod::new("shared", "sleep 54321").and("other", "sleep 12345").spec("shareProcessNamespace", true).to_string());
    cluster.apply(&Pod::new("gated", "sleep 1000").spec("readinessGates", json!([{"conditionType": "corten.dev/open"}])).to_string());
    cluster.apply(&Pod::new("hosted", "sleep 1000").spec("hostNetwork", true).spec("dnsPolicy", "Default").to_string());

    cluster.ready("named");
    assert_eq!(sh(&cluster, "named", "hostname"), "me.us.default.svc.cluster.local\n");
    let hosts = sh(&cluster, "named", "cat /etc/hosts");
    let address = cluster.address("named", 0).ip().to_string();
    assert!(hosts.starts_with("# Kubernetes-managed hosts file"), "{hosts}");
    assert!(hosts.contains(&format!("{address}\tme.us.default.svc.cluster.local\tme\n")), "{hosts}");
    assert!(hosts.contains("192.0.2.7\tfar\taway\n"), "{hosts}");
    let resolver = sh(&cluster, "named", "cat /etc/resolv.conf");
    let mut lines: Vec<&str> = resolver.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["nameserver 192.0.2.53", "options ndots:2 rotate", "search corten.test"]);

    cluster.ready("learned");
    let seen =
        sh(&cluster, "learned", "echo $NAME,$IP,$NODE,$LIMIT,$GREETING; echo $KUBERNETES_SERVICE_HOST $KUBERNETES_PORT_443_TCP_PROTO");
    let (address, node) = (cluster.address("learned", 0).ip().to_string(), cluster.node());
    let service = cluster.kubectl(&["get", "service", "kubernetes", "-o", "jsonpath={.spec.clusterIP}"]);
    assert_eq!(seen, format!("learned,{address},{node},32,learned on {node} $(NODE)\n{service} tcp\n"));
    assert_eq!(cluster.json(&["get", "pod", "learned"])["status"]["qosClass"], "Guaranteed");
    cluster.ready("unlinked");
    // Those of the API itself are there in any case.
    assert!(sh(&cluster, "unlinked", "env").contains("KUBERNETES_SERVICE_HOST="));
    assert_eq!(cluster.json(&["get", "pod", "unlinked"])["status"]["qosClass"], "BestEffort");

    cluster.ready("shared");
    let processes = sh(&cluster, "shared", "ps -o args");
    assert!(processes.contains("sleep 54321") && processes.contains("sleep 12345"), "{processes}");
    cluster.ready("hosted");
    let status = cluster.json(&["get", "pod", "hosted"])["status"].clone();
    assert_eq!(status["podIP"], status["hostIP"], "{status}");

    // Its containers are ready, and it is when somebody says so.
    let gate = |status: &str| {
        let patch = json!({"status": {"conditions": [{"type": "corten.dev/open", "status": status}]}}).to_string();
        cluster.kubectl(&["patch", "pod", "gated", "--subresource=status", "--type=strategic", "-p", &patch]);
    };
    let is = |what: &str, holds: &dyn Fn(&Value) -> bool| {
        wait::until(what, PATIENCE, || {
            let status = cluster.json(&["get", "pod", "gated"])["status"].clone();
            if holds(&status) { Ok(()) } else { Err(status) }
        });
    };
    is("the gate is shut", &|status| {
        let ready = condition(status, "Ready");
        condition(status, "ContainersReady")["status"] == "True"
            && ready["status"] == "False"
            && ready["reason"] == "ReadinessGatesNotReady"
    });
    gate("True");
    is("the gate is open", &|status| {
        condition(status, "Ready")["status"] == "True" && condition(status, "corten.dev/open")["status"] == "True"
    });
    gate("False");
    is("the gate is shut again", &|status| condition(status, "Ready")["status"] == "False");

    resized(&cluster);
}

/// A running container gets more, and less, without a restart; one that wants it otherwise is restarted.
fn resized(cluster: &Cluster) {
    let policy =
        json!([{"resourceName": "cpu", "restartPolicy": "NotRequired"}, {"resourceName": "memory", "restartPolicy": "RestartContainer"}]);
    let resources = json!({"requests": {"cpu": "100m", "memory": "32Mi"}, "limits": {"cpu": "200m", "memory": "64Mi"}});
    cluster.run(&Pod::new("elastic", "sleep 1000").main("resources", resources).main("resizePolicy", policy));
    let resize = |resources: Value| {
        let patch = json!({"spec": {"containers": [{"name": "main", "resources": resources}]}}).to_string();
        cluster.kubectl(&["patch", "pod", "elastic", "--subresource=resize", "-p", &patch]);
    };
    let until = |what: &str, restarts: i64, cpu: &str, memory: &str| {
        wait::until(what, PATIENCE, || {
            let main = cluster.json(&["get", "pod", "elastic"])["status"]["containerStatuses"][0].clone();
            let limits = &main["resources"]["limits"];
            let done = limits["cpu"] == cpu && limits["memory"] == memory && main["restartCount"] == restarts && main["ready"] == true;
            if done { Ok(()) } else { Err(main) }
        });
    };
    until("it has what it asked for", 0, "200m", "64Mi");
    resize(json!({"limits": {"cpu": "400m"}}));
    until("it has more of a processor", 0, "400m", "64Mi");
    let quota = "cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us 2>/dev/null || cut -d' ' -f1 /sys/fs/cgroup/cpu.max";
    assert_eq!(sh(cluster, "elastic", quota), "40000\n");
    resize(json!({"limits": {"memory": "96Mi"}}));
    until("it has more memory, and was restarted for it", 1, "400m", "96Mi");
    // What the node will never have is said so, and changes nothing.
    resize(json!({"requests": {"cpu": "900"}, "limits": {"cpu": "900"}}));
    wait::until("the resize is infeasible", PATIENCE, || {
        let status = cluster.json(&["get", "pod", "elastic"])["status"].clone();
        let pending = condition(&status, "PodResizePending");
        if pending["reason"] == "Infeasible" { Ok(()) } else { Err(status) }
    });
    assert_eq!(sh(cluster, "elastic", quota), "40000\n");
}
