//! What a pod costs.

use std::fs;
use std::time::Instant;

use corten_cri::v1;
use rustix::fs::SealFlags;

use crate::support::{Node, shell};

/// The promise: at most this much memory that a shim does not share with all others, in kilobytes.
const SHIM_MEMORY: u64 = 1024;

#[tokio::test(flavor = "multi_thread")]
async fn a_shim_is_small_and_sealed() {
    let mut node = Node::start().await;
    let sandbox = node.run(node.pod("p")).await;
    let id = node.launch(&sandbox, shell("c", "yes | head -c 10000000; sleep 1000")).await;
    node.exec(&id, "true", 10).await.unwrap();
    let shim = node.shims()[0];
    let memory = fs::read_to_string(format!("/proc/{shim}/smaps_rollup")).unwrap();
    // Not `Private_Dirty`: pages of a memory file count as dirty, and as private while only one shim runs.
    let own = memory.lines().find_map(|line| line.strip_prefix("Anonymous:")).unwrap();
    let own: u64 = own.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(own <= SHIM_MEMORY, "{own} kB");
    assert!(fs::read_link(format!("/proc/{shim}/exe")).unwrap().to_string_lossy().starts_with("/memfd:corten-shim"));
    // To open it for writing fails for any program that runs; this holds also when none does.
    let program = fs::File::open(format!("/proc/{shim}/exe")).unwrap();
    let sealed = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
    assert!(rustix::fs::fcntl_get_seals(&program).unwrap().contains(sealed), "nobody can change what the node runs");
    let descriptors = fs::read_dir(format!("/proc/{shim}/fd")).unwrap().count();
    assert!(descriptors < 16, "{descriptors} descriptors");
    eprintln!("shim: {own} kB of its own, {descriptors} descriptors");
}

/// libcontainer's whole way leaves its records, the short one the socket that it starts a container with.
#[tokio::test(flavor = "multi_thread")]
async fn a_plain_container_is_made_the_short_way() {
    let mut node = Node::start().await;
    let sandbox = node.run(node.pod("p")).await;
    let id = node.launch(&sandbox, shell("c", "sleep 1000")).await;
    let state = node.path(&format!("state/containers/{id}/oci"));
    let left: Vec<_> = fs::read_dir(state).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["start"]);
}

/// Not asserted: prints how long the calls take on this machine.
#[tokio::test(flavor = "multi_thread")]
async fn how_long_calls_take() {
    let mut node = Node::start().await;
    let mut times: [Vec<u128>; 5] = Default::default();
    for round in 0..10 {
        let mut at = Instant::now();
        let mut lap = |of: &mut Vec<u128>| {
            of.push(at.elapsed().as_micros());
            at = Instant::now();
        };
        let sandbox = node.run(node.pod(&format!("p{round}"))).await;
        lap(&mut times[0]);
        let id = node.create(&sandbox, shell("c", "sleep 1000")).await.unwrap();
        lap(&mut times[1]);
        node.start_container(&id).await.unwrap();
        lap(&mut times[2]);
        node.exec(&id, "true", 10).await.unwrap();
        lap(&mut times[3]);
        node.cri.runtime.stop_pod_sandbox(v1::StopPodSandboxRequest { pod_sandbox_id: sandbox.clone() }).await.unwrap();
        node.cri.runtime.remove_pod_sandbox(v1::RemovePodSandboxRequest { pod_sandbox_id: sandbox }).await.unwrap();
        lap(&mut times[4]);
    }
    for (what, mut of) in ["sandbox", "create", "start", "exec", "stop and remove"].into_iter().zip(times) {
        of.sort_unstable();
        eprintln!("{what}: median {} µs, worst {} µs", of[of.len() / 2], of[of.len() - 1]);
    }
}
