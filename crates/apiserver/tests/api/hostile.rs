//! Input that means harm, and clients that are slow or gone: a clear Status, bounded memory, nothing lost for others.

use std::time::Instant;

use corten_pki::Identity;
use corten_testkit::hostile::memory;
use http::{Method, StatusCode};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::client::TlsStream;

use crate::{
    common::{Api, CONFIG_MAPS, DEADLINE, DEPLOYMENTS, PODS, config_map, deployment, pod},
    listener::listen,
};

#[tokio::test]
async fn deep_nesting_is_refused() {
    let api = Api::start().await;
    let deep = |open: &str, close: &str, times: usize| format!("{}{}", open.repeat(times), close.repeat(times));
    for times in [200, 20_000, 400_000] {
        for inner in [deep("[", "]", times), deep("{\"a\":", "}", times), "[".repeat(times)] {
            for (media_type, body) in [
                ("application/json", format!("{{\"kind\":\"ConfigMap\",\"apiVersion\":\"v1\",\"unknown\":{inner}")),
                ("application/json", inner.clone()),
                ("application/yaml", format!("kind: ConfigMap\nunknown: {inner}")),
                ("application/json-patch+json", format!("[{{\"op\":\"add\",\"path\":\"/data\",\"value\":{inner}")),
                ("application/merge-patch+json", format!("{{\"data\":{inner}")),
                ("application/strategic-merge-patch+json", format!("{{\"data\":{inner}")),
            ] {
                let began = Instant::now();
                let patch = media_type.contains("patch");
                let call = if patch { api.call(Method::PATCH, &format!("{CONFIG_MAPS}/x")) } else { api.call(Method::POST, CONFIG_MAPS) };
                let answer = call.body(media_type, body).send().await;
                assert!(answer.code.is_client_error(), "{media_type}, {times}: {}", answer.code);
                assert_eq!(answer.json()["kind"], "Status");
                assert!(began.elapsed() < DEADLINE, "{media_type}, {times}: {:?}", began.elapsed());
            }
        }
    }
    // A schema may nest itself, in protobuf too.
    let mut message = Vec::new();
    for _ in 0..100_000 {
        let length = message.len();
        let mut outer = vec![0x0a];
        prost::encoding::encode_varint(length as u64, &mut outer);
        outer.extend_from_slice(&message);
        message = outer;
        if message.len() > 200_000 {
            break;
        }
    }
    let body = corten_schema::proto::seal("apiextensions.k8s.io/v1", "CustomResourceDefinition", &message);
    let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    let answer = api.call(Method::POST, path).body("application/vnd.kubernetes.protobuf", body).send().await;
    assert!(answer.code.is_client_error(), "{}", answer.text());
    api.created(CONFIG_MAPS, config_map("after")).await;
}

#[tokio::test]
async fn huge_and_odd_numbers_are_told_apart() {
    let api = Api::start().await;
    for (number, words) in [
        (
            "123456789012345678901234567890",
            "cannot unmarshal number 123456789012345678901234567890 into Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
        ("1e400", "cannot unmarshal number 1e400 into Go struct field DeploymentSpec.spec.replicas of type int32"),
        ("1.5", "cannot unmarshal number 1.5 into Go struct field DeploymentSpec.spec.replicas of type int32"),
        ("2147483648", "cannot unmarshal number 2147483648 into Go struct field DeploymentSpec.spec.replicas of type int32"),
        ("-1", "spec.replicas: Invalid value: -1: must be greater than or equal to 0"),
        ("\"3\"", "cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32"),
        ("01", "invalid character"),
        ("+1", "invalid character"),
        ("NaN", "invalid character"),
    ] {
        let text = deployment("web").to_string().replace("\"replicas\":3", &format!("\"replicas\":{number}"));
        assert!(text.contains(number));
        let answer = api.call(Method::POST, DEPLOYMENTS).body("application/json", text).send().await;
        assert!(answer.code.is_client_error(), "{number}: {}", answer.code);
        let message = answer.json()["message"].as_str().unwrap().to_owned();
        assert!(message.contains(words), "{number}: {message}");
    }
}

#[tokio::test]
async fn what_is_not_utf_8_is_replaced_or_refused() {
    let api = Api::start().await;
    let body = b"{\"metadata\":{\"name\":\"odd\"},\"data\":{\"a\":\"\xff\xed\xa0\x80\"}}".to_vec();
    let made = api.call(Method::POST, CONFIG_MAPS).body("application/json", body).send().await;
    assert_eq!(made.code, StatusCode::CREATED, "{}", made.text());
    let text = made.json()["data"]["a"].as_str().unwrap().to_owned();
    assert!(text.chars().all(|c| c == '\u{fffd}'), "{text:?}");
    assert_eq!(api.get(&format!("{CONFIG_MAPS}/odd")).ok().await["data"]["a"], text);
    for body in [&b"{\"metadata\":{\"name\":\"\xff\"}}"[..], b"{\"metadata\":{\"name\":\"a\",\"labels\":{\"\xff\":\"\"}}}"] {
        api.call(Method::POST, CONFIG_MAPS).body("application/json", body.to_vec()).fails(422).await;
    }
    for path in [&format!("{CONFIG_MAPS}/%ff"), &format!("{CONFIG_MAPS}/%00"), &format!("{CONFIG_MAPS}?labelSelector=%ff")] {
        assert!(api.get(path).send().await.code.is_client_error(), "{path}");
    }
}

#[tokio::test]
async fn bodies_up_to_the_limit_are_taken() {
    let api = Api::start().await;
    const LIMIT: usize = 3 << 20;
    let mut body = config_map("large").to_string();
    // ConfigMaps have a limit of their own; spaces have none.
    body.push_str(&" ".repeat(LIMIT - body.len()));
    let answer = api.call(Method::POST, CONFIG_MAPS).body("application/json", body.clone()).send().await;
    assert_eq!(answer.code, StatusCode::CREATED, "{}", answer.text());
    body.push(' ');
    let answer = api.call(Method::POST, CONFIG_MAPS).body("application/json", body).send().await;
    assert_eq!(answer.code, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn warnings_are_bounded() {
    let api = Api::start().await;
    let mut object = config_map("one");
    for index in 0..5000 {
        object[format!("unknown-{index}-{}", "x".repeat(200))] = json!(1);
    }
    let answer = api.post(&format!("{CONFIG_MAPS}?fieldValidation=Warn"), object).send().await;
    assert_eq!(answer.code, StatusCode::CREATED);
    let warnings: Vec<usize> = answer.headers.get_all("warning").iter().map(|value| value.len()).collect();
    assert!(!warnings.is_empty() && warnings.iter().sum::<usize>() < 16 * 1024, "{} warnings", warnings.len());
}

/// What this process had in memory at most so far, in bytes: after an answer the server has given back what it took for it.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// Waits for an answer that may take neither long nor more memory than a few copies of what was sent, here and in the server.
async fn bounded<T>(what: &str, answer: impl Future<Output = T>) -> T {
    let (before, began) = (memory(), Instant::now());
    let answer = answer.await;
    assert!(began.elapsed() < DEADLINE, "{what}: {:?}", began.elapsed());
    let grown = peak().saturating_sub(before);
    assert!(grown < 1 << 30, "{what}: grown by {} MiB", grown >> 20);
    answer
}

#[tokio::test]
async fn what_is_looked_up_for_each_item_is_bounded() {
    const CLAIMS: &str = "/apis/resource.k8s.io/v1/namespaces/default/resourceclaims";
    let api = Api::start().await;
    let claim = |devices: serde_json::Value| json!({"apiVersion": "resource.k8s.io/v1", "kind": "ResourceClaim", "metadata": {"name": "gpu"}, "spec": {"devices": devices}});
    let many = |count: usize, make: &dyn Fn(usize) -> serde_json::Value| (0..count).map(make).collect::<Vec<_>>();
    api.created(CLAIMS, claim(json!({"requests": [{"name": "gpu", "exactly": {"deviceClassName": "a"}}]}))).await;
    let names = many(120_000, &|number| json!(format!("c{number}")));
    let result = json!({"request": "gpu", "driver": "a.b", "pool": "p", "device": "d", "bindingConditions": names, "bindingFailureConditions": names});
    let results = many(25_000, &|number| json!({"request": "gpu", "driver": "a.b", "pool": "p", "device": format!("d{number}")}));
    let reports = many(25_000, &|number| json!({"driver": "a.b", "pool": "p", "device": format!("e{number}")}));
    let mut status = api.get(&format!("{CLAIMS}/gpu")).ok().await;
    for (of, words) in [
        (json!({"allocation": {"devices": {"results": [result]}}}), "bindingConditions: Too many: 120000: must have at most 4 items"),
        (json!({"allocation": {"devices": {"results": results}}, "devices": reports}), "must be an allocated device in the claim"),
    ] {
        status["status"] = of;
        let answer = bounded(words, api.put(&format!("{CLAIMS}/gpu/status"), status.clone()).fails(422)).await;
        assert!(answer["message"].as_str().unwrap().contains(words), "{words}");
    }
    // Every name of a request is as long as all that may refer to it.
    let choices = many(100_000, &|_| json!({"name": ""}));
    let asked = json!({"requests": [{"name": "x".repeat(1 << 20), "firstAvailable": choices}], "config": [{"requests": ["x/y"]}]});
    bounded("long names", api.post(CLAIMS, claim(asked)).fails(422)).await;
}

#[tokio::test]
async fn long_lists_are_looked_through_once() {
    let api = Api::start().await;
    let many = |make: &dyn Fn(usize) -> serde_json::Value| (0..10_000).map(make).collect::<Vec<_>>();
    let named = many(&|number| json!({"name": format!("n{number}")}));
    let mut large = pod("web");
    for field in ["env", "ports"] {
        large["spec"]["containers"][0][field] = json!(named);
    }
    for (field, target) in [("volumeMounts", "mountPath"), ("volumeDevices", "devicePath")] {
        large["spec"]["containers"][0][field] = many(&|number| json!({"name": format!("v{number}"), target: format!("/{number}")})).into();
    }
    large["spec"]["containers"][0]["resources"] = json!({"claims": named});
    for field in ["initContainers", "ephemeralContainers", "schedulingGates", "imagePullSecrets", "resourceClaims"] {
        large["spec"][field] = json!(named);
    }
    large["spec"]["securityContext"] = json!({"sysctls": named});
    let mut node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}, "spec": {}});
    node["spec"]["taints"] = many(&|number| json!({"key": format!("k{number}"), "effect": "Never"})).into();
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": {"ports": named}});
    for (path, object) in [(PODS, large), ("/api/v1/nodes", node), ("/api/v1/namespaces/default/services", service)] {
        bounded(path, api.post(path, object).fails(422)).await;
    }
}

#[tokio::test]
async fn what_schemas_say_of_defaults_is_bounded() {
    const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    let api = Api::start().await;
    let pattern = |number: usize| json!({"pattern": format!("^((a{{99}}){{99}}){{9{number}}}$")});
    let refused = async |property: serde_json::Value, words: &str| {
        let schema = json!({"type": "object", "properties": {"a": property}});
        let version = json!({"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}});
        let names = json!({"plural": "pumps", "singular": "pump", "kind": "Pump", "listKind": "PumpList"});
        let spec = json!({"group": "example.com", "scope": "Namespaced", "names": names, "versions": [version]});
        let definition = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": "pumps.example.com"}, "spec": spec});
        let answer = bounded(words, api.post(DEFINITIONS, definition).fails(422)).await;
        assert!(answer["message"].as_str().unwrap().contains(words), "{:.1000}", answer["message"].as_str().unwrap());
    };
    const TOO_LONG: &str = "checking its defaults takes too long";
    let patterns: Vec<_> = (0..300).map(pattern).collect();
    refused(json!({"type": "string", "default": "a", "allOf": patterns}), TOO_LONG).await;
    let (strings, alternatives) = (vec!["a"; 50_000], vec![json!({"maxLength": 0}); 20_000]);
    refused(json!({"type": "array", "default": strings, "items": {"type": "string", "anyOf": alternatives}}), TOO_LONG).await;
    // A pattern that is too large to compile is none; what is small is checked.
    refused(json!({"type": "string", "default": "a", "allOf": [pattern(0), {"pattern": "^\\w\\d$"}]}), "should match '^\\w\\d$'").await;
}

/// Sends a request's head (and what follows) over TLS as an administrator.
async fn begin(listener: &crate::listener::Listener, text: &str) -> TlsStream<TcpStream> {
    let mut stream = listener.connect(Some(Identity::admin())).await;
    stream.write_all(text.as_bytes()).await.unwrap();
    stream
}

/// Reads until these words have come, or the end.
async fn read_until(stream: &mut TlsStream<TcpStream>, words: &str) -> String {
    let mut text = Vec::new();
    let reading = async {
        let (mut buffer, mut looked) = (vec![0; 64 * 1024], 0);
        while !text[looked..].windows(words.len()).any(|window| window == words.as_bytes()) {
            looked = text.len().saturating_sub(words.len());
            match stream.read(&mut buffer).await {
                Ok(0) | Err(_) => break,
                Ok(count) => text.extend_from_slice(&buffer[..count]),
            }
        }
    };
    tokio::time::timeout(DEADLINE, reading).await.expect("an answer in time");
    String::from_utf8_lossy(&text).into_owned()
}

#[tokio::test]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let listener = listen().await;
    let head =
        format!("POST {CONFIG_MAPS}?timeout=1s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{{\"da");
    let mut stream = begin(&listener, &head).await;
    let answer = read_until(&mut stream, "\"code\":504").await;
    assert!(answer.starts_with("HTTP/1.1 504") && answer.contains("\"reason\":\"Timeout\""), "{answer}");
    // Its place is free again.
    let metrics = listener.api.get("/metrics").send().await.text();
    assert!(metrics.contains("apiserver_current_inflight_requests{request_kind=\"mutating\"} 0\n"), "{metrics}");
}

#[tokio::test]
async fn a_watch_whose_client_is_gone_ends() {
    let listener = listen().await;
    let running = |text: &str| {
        let series = "{component=\"apiserver\",group=\"\",resource=\"configmaps\",scope=\"namespace\",subresource=\"\",verb=\"WATCH\",version=\"v1\"}";
        text.contains(&format!("apiserver_longrunning_requests{series} 1\n"))
    };
    let mut stream = begin(&listener, &format!("GET {CONFIG_MAPS}?watch=1 HTTP/1.1\r\nHost: x\r\n\r\n")).await;
    let head = read_until(&mut stream, "\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert!(running(&listener.api.get("/metrics").send().await.text()));
    // Gone without a word: the connection is reset.
    let (tcp, _) = stream.into_inner();
    tcp.set_zero_linger().unwrap();
    drop(tcp);
    let ended = async {
        while running(&listener.api.get("/metrics").send().await.text()) {
            // The server runs on this thread as well: it notices when it is let.
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, ended).await.expect("the watch ends");
}

#[tokio::test]
async fn a_client_that_does_not_read_holds_up_nobody_and_loses_nothing() {
    const UPDATES: usize = 400;
    let listener = listen().await;
    let api = &listener.api;
    let mut object = config_map("busy");
    // More in all than the buffers of both ends take.
    object["data"]["a"] = json!("x".repeat(64 * 1024));
    let made = api.created(CONFIG_MAPS, object).await;
    let from = made["metadata"]["resourceVersion"].as_str().unwrap();
    let mut stream = begin(&listener, &format!("GET {CONFIG_MAPS}?watch=1&resourceVersion={from} HTTP/1.1\r\nHost: x\r\n\r\n")).await;
    read_until(&mut stream, "\r\n\r\n").await;
    for update in 0..UPDATES {
        let change = json!({"data": {"n": format!("update-{update}-")}});
        api.patch(&format!("{CONFIG_MAPS}/busy"), "merge", change).ok().await;
    }
    // Now it reads: every event is there, in order.
    let (mut next, mut rest, mut buffer) = (0, String::new(), vec![0; 256 * 1024]);
    while next < UPDATES {
        let count = tokio::time::timeout(DEADLINE, stream.read(&mut buffer)).await.expect("events in time").unwrap();
        assert!(count > 0, "the stream ended after {next} events");
        rest.push_str(std::str::from_utf8(&buffer[..count]).unwrap());
        while let Some(at) = rest.find("update-") {
            let Some(end) = rest[at + 7..].find('-') else { break };
            assert_eq!(rest[at + 7..at + 7 + end].parse::<usize>().unwrap(), next);
            next += 1;
            rest.drain(..at + 7 + end);
        }
        let keep = rest.len().saturating_sub(20);
        rest.drain(..keep);
    }
}

/// A list is made while it is read: a client that stops reading holds no copy of it.
#[tokio::test]
async fn a_list_that_is_not_read_waits() {
    let listener = listen().await;
    let api = &listener.api;
    for index in 0..80 {
        let mut object = config_map(&format!("large-{index:02}"));
        object["data"]["a"] = json!("x".repeat(128 * 1024));
        api.created(CONFIG_MAPS, object).await;
    }
    let mut stream = begin(&listener, &format!("GET {CONFIG_MAPS} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")).await;
    let head = read_until(&mut stream, "\"items\":[").await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    api.created(CONFIG_MAPS, config_map("meanwhile")).await;
    let text = head + &read_until(&mut stream, "\"name\":\"large-79\"").await;
    assert!(text.contains("large-00") && !text.contains("\"meanwhile\""), "the list is of one revision");
}
