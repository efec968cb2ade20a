//! The reference: the same tests against Debian's containerd, so that a wrong expectation of ours shows.

use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use corten_network::cni::{Invocation, run};
use corten_testkit::containerd::{Containerd, Options, Version};
use corten_testkit::images::built_in_archives;

use super::daemon::{IMAGE, busybox};

/// Makes each function a test on every runtime. A function gets a node.
macro_rules! everywhere {
    ($($test:ident),+ $(,)?) => {
        mod corten {
            $(#[tokio::test(flavor = "multi_thread")] async fn $test() { super::$test(crate::support::Node::start().await).await; })+
        }
        mod containerd_1_6 {
            use corten_testkit::containerd::Version::V1_6;
            $(#[tokio::test(flavor = "multi_thread")] async fn $test() { super::$test(crate::support::Node::on(V1_6).await).await; })+
        }
        mod containerd_1_7 {
            use corten_testkit::containerd::Version::V1_7;
            $(#[tokio::test(flavor = "multi_thread")] async fn $test() { super::$test(crate::support::Node::on(V1_7).await).await; })+
        }
    };
}
pub(crate) use everywhere;

/// Starts it in the namespaces of `holder`, with this project's CNI plugin and the image of all tests.
pub(crate) fn start(version: Version, dir: &Path, holder: u32) -> Containerd {
    let plugins = dir.join("cni/bin");
    let networks = dir.join("cni/net.d");
    for dir in [&plugins, &networks] {
        fs::create_dir_all(dir).expect("a directory");
    }
    // A test's program writes to its standard output what no plugin may: the answer goes another way.
    let program = std::env::current_exe().expect("this program");
    let script = format!("#!/bin/sh\nexec 3>&1 >/dev/null\nexec {} --exact cni --ignored --nocapture\n", program.display());
    for name in ["corten-cni", "loopback"] {
        let path = plugins.join(name);
        fs::write(&path, &script).expect("a plugin");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("it can be run");
    }
    let plugin = serde_json::json!({ "type": "corten-cni", "dir": dir.join("network"), "podCIDR": "10.99.0.0/24", "mtu": 1500 });
    let list = serde_json::json!({ "cniVersion": "1.0.0", "name": "corten", "plugins": [plugin] });
    fs::write(networks.join("10-corten.conflist"), list.to_string()).expect("a network");
    let containerd = Containerd::start(Options {
        version,
        root: dir.join("containerd"),
        state: dir.join("c"),
        cni: (plugins, networks),
        enter: Some((format!("/proc/{holder}/ns/mnt").into(), format!("/proc/{holder}/ns/net").into())),
        runtimes: Vec::new(),
    });
    let containerd = containerd.expect("containerd starts");
    let archive = dir.join("busybox.tar");
    let image = busybox().expect("an image");
    image.write_docker_archive(&[IMAGE.parse().expect("a name")], fs::File::create(&archive).expect("a file")).expect("an archive");
    let archives: Vec<PathBuf> = built_in_archives(dir).expect("archives");
    for archive in archives.iter().chain([&archive]) {
        containerd.load(archive).expect("it takes the image");
    }
    containerd
}

/// This project's CNI plugin, as a program of its own.
pub(crate) fn plugin() {
    let invocation = Invocation::from_variables(|name| std::env::var_os(name));
    let mut input = Vec::new();
    std::io::stdin().read_to_end(&mut input).expect("a configuration");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a tokio runtime");
    let (answer, code) = match runtime.block_on(run(&invocation, &input)) {
        Ok(answer) => (answer, 0),
        Err(failure) => (Some(failure.to_json()), 1),
    };
    if let Some(answer) = answer {
        fs::write("/proc/self/fd/3", answer.to_string()).expect("the answer is written");
    }
    std::process::exit(code);
}

/// The shims of a containerd whose sockets lie in `dir`: they outlive it.
pub(crate) fn shims(dir: &Path) -> Vec<i32> {
    let socket = corten_testkit::containerd::socket(&dir.join("c")).display().to_string();
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| {
        let words = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        words.contains("containerd-shim") && words.contains(&socket)
    })
    .collect()
}
