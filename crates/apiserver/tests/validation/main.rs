//! What is refused, in which words, and what is filled in: tables of cases, YAML files for a kind, a part of one, or a group.
//!
//! ```yaml
//! path: /api/v1/namespaces/default/pods   # where objects are posted; a file may also be a list of such tables
//! object: {…}                             # one that is accepted
//! keepName: true                          # its name cannot be another (default: changed objects get one of their own)
//! nameless: true                          # it gets no name
//! inOrder: true                           # the order of the causes counts
//! create:                                 # creations (dry runs)
//! - set: {/spec/x: 1}                     # JSON pointers, changed in the object; null removes; `-` appends
//!   long: {/data/a: 300}                  # texts of so many bytes
//!   fails: ["spec.x: Invalid value: 1: …"]  # the causes; absent: it is accepted
//!   warns: ["…"]                          # the warnings; absent: not looked at
//!   gives: {/spec/y: 2}                   # what the answer has there (null: nothing)
//! update:                                 # changes of an object that exists (dry runs)
//! - from: {…}                             # changed in the object before it is created
//!   status: {…}                           # its status before the change, whole or by JSON pointers
//!   via: status                           # the subresource that is written
//!   send: {…}                             # what is sent, where it is another kind than the object's (Scale)
//!   set: {…}
//!   fails: […]
//! status: […]                             # changes via the subresource of that name
//! approval: […]
//! ```
//!
//! `{name}` in expectations is the object's name.

#![allow(unreachable_pub, dead_code, reason = "modules shared with another test program")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

#[path = "../api/common.rs"]
mod common;
mod generation;
mod manifests;
mod mutations;
mod tables;

use std::path::{Path, PathBuf};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(name)
}

macro_rules! tables {
    ($($name:ident)*) => {
        $(#[tokio::test] async fn $name() { tables::run(concat!(stringify!($name), ".yaml")).await; })*

        #[test]
        fn every_file_is_run() {
            let listed = [$(concat!(stringify!($name), ".yaml")),*];
            for entry in std::fs::read_dir(folder("validation")).unwrap() {
                let name = entry.unwrap().file_name().into_string().unwrap();
                assert!(!name.ends_with(".yaml") || listed.contains(&name.as_str()), "{name} is in no test");
            }
        }
    };
}

tables! {
    pods containers volumes placement pod_updates
    deployments replica_sets daemon_sets stateful_sets replication_controllers controller_revisions pod_templates
    jobs cron_jobs
    config_maps secrets namespaces nodes service_accounts limit_ranges resource_quotas events
    reviews access autoscaling certificates definitions devices ingresses network_policies service_objects storage
}
