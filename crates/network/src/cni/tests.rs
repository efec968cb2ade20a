use std::path::Path;

use serde_json::{Value, json};

use super::{Failure, Invocation, VERSIONS, run};
use crate::tests::{Namespaces, in_node};

/// One call of the plugin in a node's namespace.
fn call(node: &Path, command: &str, id: &str, netns: Option<&Path>, configuration: &Value) -> Result<Option<Value>, Failure> {
    let invocation = Invocation {
        command: command.to_owned(),
        container_id: id.to_owned(),
        netns: netns.map(Path::to_owned),
        interface: "eth0".to_owned(),
    };
    let input = configuration.to_string();
    in_node(node, async move || run(&invocation, input.as_bytes()).await)
}

fn configuration(dir: &Path, more: Value) -> Value {
    let mut all = json!({"cniVersion": "1.0.0", "name": "corten", "type": "corten-cni", "dir": dir, "podCIDR": "10.42.0.0/24"});
    all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    all
}

fn code(answer: Result<Option<Value>, Failure>) -> u64 {
    let failure = answer.unwrap_err().to_json();
    assert!(!failure["msg"].as_str().unwrap().is_empty());
    failure["code"].as_u64().unwrap()
}

#[test]
fn a_pod_is_added_checked_and_deleted_as_often_as_asked() {
    let namespaces = Namespaces::new();
    let node = namespaces.create_node();
    let (first, second) = (namespaces.create("first"), namespaces.create("second"));
    let dir = tempfile::tempdir().unwrap();
    let plain = configuration(dir.path(), json!({}));

    let added = call(&node, "ADD", "one", Some(&first), &plain).unwrap().unwrap();
    assert_eq!(added["ips"][0]["address"], "10.42.0.1/32");
    assert_eq!(added["interfaces"][1]["name"], "eth0");
    assert_eq!(added["interfaces"][1]["sandbox"], first.to_str().unwrap());
    assert_eq!(call(&node, "ADD", "one", Some(&first), &plain).unwrap().unwrap(), added, "again gives the same");
    let other = call(&node, "ADD", "two", Some(&second), &configuration(dir.path(), json!({"cniVersion": "0.3.1"}))).unwrap().unwrap();
    assert_eq!((&other["ips"][0]["address"], &other["ips"][0]["version"]), (&json!("10.42.0.2/32"), &json!("4")));

    let with_result = configuration(dir.path(), json!({"prevResult": added}));
    assert_eq!(call(&node, "CHECK", "one", Some(&first), &with_result).unwrap(), None);
    assert_eq!(code(call(&node, "CHECK", "unknown", Some(&first), &with_result)), 100);
    assert_eq!(code(call(&node, "CHECK", "two", Some(&second), &with_result)), 100, "another pod's address");

    for _ in 0..2 {
        assert_eq!(call(&node, "DEL", "one", None, &plain).unwrap(), None);
    }
    assert_eq!(code(call(&node, "CHECK", "one", Some(&first), &with_result)), 100);
    let valid = json!({"cniVersion": "1.1.0", "cni.dev/valid-attachments": []});
    assert_eq!(call(&node, "GC", "", None, &configuration(dir.path(), valid)).unwrap(), None);
    assert_eq!(
        std::fs::read_dir(dir.path())
            .unwrap()
            .filter(|entry| entry.as_ref().unwrap().path().extension().is_some_and(|e| e == "json"))
            .count(),
        0
    );
}

#[test]
fn wrong_calls_get_the_codes_of_the_specification() {
    let namespaces = Namespaces::new();
    let node = namespaces.create_node();
    let pod = namespaces.create("pod");
    let dir = tempfile::tempdir().unwrap();
    let plain = configuration(dir.path(), json!({}));
    let without_range = configuration(dir.path(), json!({"podCIDR": null}));

    let version = call(&node, "VERSION", "", None, &plain).unwrap().unwrap();
    assert_eq!(version["supportedVersions"], json!(VERSIONS));
    assert_eq!(call(&node, "STATUS", "", None, &plain).unwrap(), None);
    assert_eq!(code(call(&node, "STATUS", "", None, &without_range)), 50);
    assert_eq!(code(call(&node, "ADD", "one", Some(&pod), &without_range)), 7);
    assert_eq!(code(call(&node, "ADD", "one", None, &plain)), 4);
    assert_eq!(code(call(&node, "ADD", "../../etc/one", Some(&pod), &plain)), 4);
    assert_eq!(code(call(&node, "ADD", "", Some(&pod), &plain)), 4);
    assert_eq!(code(call(&node, "FETCH", "one", Some(&pod), &plain)), 4);
    assert_eq!(code(call(&node, "ADD", "one", Some(&pod), &json!("no object"))), 6);
    assert_eq!(code(call(&node, "ADD", "one", Some(&pod), &configuration(dir.path(), json!({"cniVersion": "9.0.0"})))), 1);
    assert_eq!(code(call(&node, "ADD", "one", Some(&pod), &configuration(Path::new("relative"), json!({})))), 7);
    // A range of four has two addresses for pods.
    let narrow = configuration(dir.path(), json!({"podCIDR": "10.42.9.0/30"}));
    let more = namespaces.create("more");
    let third = namespaces.create("third");
    call(&node, "ADD", "a", Some(&pod), &narrow).unwrap();
    call(&node, "ADD", "b", Some(&more), &narrow).unwrap();
    assert_eq!(code(call(&node, "ADD", "c", Some(&third), &narrow)), 11);
}

#[test]
fn the_loopback_interface_is_set_up() {
    let namespaces = Namespaces::new();
    let node = namespaces.create_node();
    let pod = namespaces.create("pod");
    let loopback = json!({"cniVersion": "0.3.1", "name": "cni-loopback", "type": "loopback"});
    let ip = |arguments: &'static [&'static str]| {
        let output = crate::netns::run(&pod, move || std::process::Command::new("ip").args(arguments).output().unwrap()).unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    ip(&["link", "set", "lo", "down"]);
    assert!(!ip(&["link", "show", "lo"]).contains("UP"), "it is down before");
    let added = call(&node, "ADD", "one", Some(&pod), &loopback).unwrap().unwrap();
    assert_eq!(added["ips"][0]["address"], "127.0.0.1/8");
    assert!(ip(&["link", "show", "lo"]).contains("LOOPBACK,UP"));
    assert_eq!(call(&node, "DEL", "one", Some(&pod), &loopback).unwrap(), None);
}
