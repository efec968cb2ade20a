//! The runtime as a kubelet meets it: a daemon of its own for every test, in network and mount namespaces of its own, driven over
//! its gRPC socket. Needs root, and `busybox-static`, which it installs from Debian if it is absent.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests fail the test")]

mod attaching;
mod checkpoint;
mod crash;
mod devices;
mod exec;
mod footprint;
mod handlers;
mod hostile;
mod idle;
mod images;
mod launching;
mod lifecycle;
mod limits;
mod machine;
mod metrics;
mod network;
mod refused;
mod restart;
mod security;
mod selinux;
mod streaming;
mod support;
mod upstream;
mod userns;
mod vm;
mod volumes;

/// Not a test: the daemon that the tests start, as a process of its own so that it can be killed.
#[test]
#[ignore = "the daemon that the other tests start"]
fn daemon() {
    support::daemon::main();
}

/// Not a test either: the CNI plugin that the reference calls.
#[test]
#[ignore = "the CNI plugin that containerd calls"]
fn cni() {
    support::reference::plugin();
}
