//! Checkpoints of containers.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;

use corten_cri::v1;
use serde_json::Value;
use tonic::Code;

use crate::support::{Node, shell};

/// Puts a program where the runtime looks for CRIU first.
fn provide(node: &Node, words: &[String]) {
    let script = node.path("criu");
    fs::write(&script, format!("#!/bin/sh\nexec {} \"$@\"\n", words.join(" "))).unwrap();
    node.run_inside(&["chmod", "755", script.to_str().unwrap()]);
    node.run_inside(&["mount", "-t", "tmpfs", "tmpfs", "/usr/local/sbin"]);
    node.run_inside(&["cp", script.to_str().unwrap(), "/usr/local/sbin/criu"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_has_what_the_container_was() {
    let mut node = Node::start().await;
    provide(&node, &corten_testkit::debs::criu().unwrap());
    let sandbox = node.run(node.pod("p")).await;
    let script = "echo kept > /tmp/file; mkdir /tmp/dir; busybox rm /bin/yes; echo up; while :; do sleep 0.1; done";
    let id = node.launch(&sandbox, shell("c", script)).await;
    crate::support::eventually("it is up", async || (crate::support::log(&node, "p", "c") == ["stdout F up"]).then_some(())).await;
    let location = node.path("checkpoint.tar");
    let request =
        |id: &str| v1::CheckpointContainerRequest { container_id: id.to_owned(), location: location.display().to_string(), timeout: 60 };
    node.cri.runtime.checkpoint_container(request(&id)).await.unwrap();
    assert_eq!(fs::metadata(&location).unwrap().permissions().mode() & 0o777, 0o600, "it holds what the container knows");

    let mut files = BTreeMap::new();
    for entry in tar::Archive::new(fs::File::open(&location).unwrap()).entries().unwrap() {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().display().to_string();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        files.insert(name, bytes);
    }
    let names: Vec<&str> = files.keys().map(String::as_str).collect();
    for name in ["checkpoint/inventory.img", "config.dump", "spec.dump", "dump.log", "stats-dump", "rootfs-diff.tar", "deleted.files"] {
        assert!(files.contains_key(name), "{name} is not among {names:?}");
    }
    let json = |name: &str| serde_json::from_slice::<Value>(&files[name]).unwrap();
    assert_eq!((&json("config.dump")["id"], &json("config.dump")["name"]), (&Value::from(id.clone()), &Value::from("c")));
    assert_eq!(json("spec.dump")["process"]["args"][2], script);
    assert_eq!(json("deleted.files"), serde_json::json!(["bin/yes"]));
    let mut changed = tar::Archive::new(files["rootfs-diff.tar"].as_slice());
    let changed: Vec<String> = changed.entries().unwrap().map(|entry| entry.unwrap().path().unwrap().display().to_string()).collect();
    assert!(changed.iter().any(|name| name == "tmp/file") && changed.iter().any(|name| name.starts_with("tmp/dir")), "{changed:?}");

    // It goes on, and can be done again.
    assert_eq!(node.exec(&id, "cat /tmp/file", 10).await.unwrap().stdout, b"kept\n");
    // Also by two at once.
    let other = v1::CheckpointContainerRequest { location: node.path("other.tar").display().to_string(), ..request(&id) };
    let mut second = node.cri.runtime.clone();
    let (one, two) = tokio::join!(node.cri.runtime.checkpoint_container(request(&id)), second.checkpoint_container(other));
    one.unwrap();
    two.unwrap();
    for name in ["checkpoint.tar", "other.tar"] {
        let mut archive = tar::Archive::new(fs::File::open(node.path(name)).unwrap());
        let names = archive.entries().unwrap().map(|entry| entry.unwrap().path().unwrap().display().to_string());
        assert!(names.into_iter().any(|entry| entry == "checkpoint/inventory.img"), "{name}");
    }
    assert_eq!(node.cri.runtime.checkpoint_container(request("no-such")).await.unwrap_err().code(), Code::NotFound);
    let relative = v1::CheckpointContainerRequest { location: "here.tar".to_owned(), ..request(&id) };
    assert_eq!(node.cri.runtime.checkpoint_container(relative).await.unwrap_err().code(), Code::InvalidArgument);
    node.remove(&sandbox).await;
    node.assert_empty().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_there_can_be_none_it_is_refused_with_the_reason() {
    let mut node = Node::start().await;
    provide(&node, &["sh", "-c", "'echo Error: no such kernel >&2; exit 1'"].map(str::to_owned));
    let sandbox = node.run(node.pod("p")).await;
    let id = node.launch(&sandbox, shell("c", "while :; do sleep 0.1; done")).await;
    let location = node.path("checkpoint.tar");
    let request = v1::CheckpointContainerRequest { container_id: id.clone(), location: location.display().to_string(), timeout: 60 };
    let error = node.cri.runtime.checkpoint_container(request).await.unwrap_err();
    assert_eq!(error.code(), Code::Unimplemented, "{error}");
    assert_eq!(error.message(), "checkpoint is not supported by this kernel: Error: no such kernel");
    assert!(!location.exists());
    assert_eq!(node.exec(&id, "echo alive", 10).await.unwrap().stdout, b"alive\n");
}
