//! Sandboxes and containers from the first call to the last.

use std::time::{Duration, Instant};

use bytes::Bytes;
use corten_cri::v1::{self, ContainerEventType, ContainerState, PodSandboxState};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use tonic::Code;

use crate::support::reference::everywhere;
use crate::support::{Node, eventually, log, shell};

everywhere!(
    a_pod_lives_ends_and_leaves_nothing,
    stopping_and_removing_may_be_repeated,
    names_are_taken_until_removal,
    a_container_is_asked_to_end_and_then_killed,
    long_lines_are_split_and_logs_can_be_rotated,
    lists_are_filtered,
    events_tell_what_happens,
    the_runtime_describes_itself,
);

async fn a_pod_lives_ends_and_leaves_nothing(mut node: Node) {
    let sandbox = node.run(node.pod("web")).await;
    let request = v1::PodSandboxStatusRequest { pod_sandbox_id: sandbox.clone(), verbose: true };
    let status = node.cri.runtime.pod_sandbox_status(request.clone()).await.unwrap().into_inner().status.unwrap();
    assert_eq!(status.state, PodSandboxState::SandboxReady as i32);
    assert!(status.network.unwrap().ip.starts_with("10.99.0."));

    let id = node.create(&sandbox, shell("main", "echo out; echo err >&2; hostname; printf unfinished; exit 3")).await.unwrap();
    assert_eq!(node.status(&id).await.state, ContainerState::ContainerCreated as i32);
    node.start_container(&id).await.unwrap();
    let ended = node.exited(&id).await;
    assert_eq!((ended.exit_code, ended.reason.as_str()), (3, "Error"));
    // The reference notes a start when its call returns: a container that ends at once has ended by then.
    assert!(ended.created_at < ended.started_at && (ended.started_at < ended.finished_at || node.is_reference()));
    let mut lines = log(&node, "web", "main");
    lines.sort();
    assert_eq!(lines, ["stderr F err", "stdout F out", "stdout F web", "stdout P unfinished"]);
    assert_eq!(node.start_container(&id).await.unwrap_err().code(), node.code(Code::FailedPrecondition), "an ended container stays ended");

    let running = node.launch(&sandbox, shell("other", "sleep 1000")).await;
    node.remove(&sandbox).await;
    let request = v1::ContainerStatusRequest { container_id: running, verbose: false };
    assert_eq!(node.cri.runtime.container_status(request).await.unwrap_err().code(), Code::NotFound);
    node.assert_empty().await;
}

async fn stopping_and_removing_may_be_repeated(mut node: Node) {
    let sandbox = node.run(node.pod("p")).await;
    let id = node.launch(&sandbox, shell("c", "sleep 1000")).await;
    for _ in 0..2 {
        node.cri.runtime.stop_container(v1::StopContainerRequest { container_id: id.clone(), timeout: 0 }).await.unwrap();
    }
    assert_eq!(node.status(&id).await.exit_code, 137);
    for _ in 0..2 {
        node.cri.runtime.remove_container(v1::RemoveContainerRequest { container_id: id.clone() }).await.unwrap();
    }
    node.remove(&sandbox).await;
    // CRI wants this of every runtime; containerd 1.6 says NotFound.
    if !node.is_reference() {
        node.remove(&sandbox).await;
        node.remove("no-such-sandbox").await;
    }
    let request = v1::PodSandboxStatusRequest { pod_sandbox_id: sandbox, verbose: false };
    assert_eq!(node.cri.runtime.pod_sandbox_status(request).await.unwrap_err().code(), Code::NotFound);
}

async fn names_are_taken_until_removal(mut node: Node) {
    let sandbox = node.run(node.pod("p")).await;
    let again = v1::RunPodSandboxRequest { config: Some(node.pod("p")), runtime_handler: String::new() };
    let error = node.cri.runtime.run_pod_sandbox(again).await.unwrap_err();
    assert_eq!(error.code(), node.code(Code::AlreadyExists));
    assert!(error.message().contains("is reserved for") && error.message().contains(&sandbox), "{error}");
    node.create(&sandbox, shell("c", "true")).await.unwrap();
    assert_eq!(node.create(&sandbox, shell("c", "true")).await.unwrap_err().code(), node.code(Code::AlreadyExists));
    node.remove(&sandbox).await;
    node.run(node.pod("p")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_run_is_refused_and_leaves_nothing_half_made() {
    let mut node = Node::start().await;
    let sandbox = node.run(node.pod("p")).await;
    let mut config = shell("missing", "");
    config.command = vec!["/no/such/program".to_owned()];
    let id = node.create(&sandbox, config).await.unwrap();
    let error = node.start_container(&id).await.unwrap_err();
    assert!(error.message().contains("/no/such/program"), "{error}");
    let status = node.status(&id).await;
    assert_eq!((status.exit_code, status.reason.as_str()), (128, "StartError"));
    assert!(status.message.contains("/no/such/program"));

    let mut config = shell("image", "");
    config.image = Some(v1::ImageSpec { image: "no/such:image".to_owned(), ..v1::ImageSpec::default() });
    assert_eq!(node.create(&sandbox, config).await.unwrap_err().code(), Code::NotFound);
    let mut config = shell("user", "true");
    let security = config.linux.as_mut().unwrap().security_context.as_mut().unwrap();
    security.run_as_username = "nobody-knows".to_owned();
    assert_eq!(node.create(&sandbox, config).await.unwrap_err().code(), Code::InvalidArgument);
    assert_eq!(node.create("no-such-sandbox", shell("x", "true")).await.unwrap_err().code(), Code::NotFound);
    let request = v1::RunPodSandboxRequest { config: Some(node.pod("h")), runtime_handler: "other".to_owned() };
    assert!(node.cri.runtime.run_pod_sandbox(request).await.is_err());
    let mut bad = node.pod("sysctl");
    bad.linux.as_mut().unwrap().sysctls.insert("kernel.panic".to_owned(), "1".to_owned());
    let request = v1::RunPodSandboxRequest { config: Some(bad), runtime_handler: String::new() };
    assert_eq!(node.cri.runtime.run_pod_sandbox(request).await.unwrap_err().code(), Code::InvalidArgument);
    node.remove(&sandbox).await;
    node.assert_empty().await;
}

async fn a_container_is_asked_to_end_and_then_killed(mut node: Node) {
    let sandbox = node.run(node.pod("p")).await;
    let polite = node.launch(&sandbox, shell("polite", "trap 'echo bye; exit 7' TERM; echo up; while :; do sleep 0.1; done")).await;
    eventually("the trap is set", async || (!log(&node, "p", "polite").is_empty()).then_some(())).await;
    node.cri.runtime.stop_container(v1::StopContainerRequest { container_id: polite.clone(), timeout: 30 }).await.unwrap();
    assert_eq!(node.status(&polite).await.exit_code, 7);
    assert_eq!(log(&node, "p", "polite"), ["stdout F up", "stdout F bye"]);

    let deaf = node.launch(&sandbox, shell("deaf", "trap '' TERM; while :; do sleep 0.1; done")).await;
    node.cri.runtime.stop_container(v1::StopContainerRequest { container_id: deaf.clone(), timeout: 1 }).await.unwrap();
    assert_eq!(node.status(&deaf).await.exit_code, 137);
}

async fn long_lines_are_split_and_logs_can_be_rotated(mut node: Node) {
    let sandbox = node.run(node.pod("p")).await;
    let script = "head -c 40000 /dev/zero | tr '\\0' x; echo; while ! test -e /tmp/go; do sleep 0.05; done; echo rotated; sleep 1000";
    let script = script.replace("tr ", "busybox tr ");
    let id = node.launch(&sandbox, shell("c", &script)).await;
    eventually("all is logged", async || (log(&node, "p", "c").len() == 3).then_some(())).await;
    let lengths: Vec<usize> = log(&node, "p", "c").iter().map(String::len).collect();
    let prefix = "stdout P ".len();
    assert_eq!(lengths, [prefix + 16384, prefix + 16384, prefix + 40000 - 2 * 16384]);
    std::fs::rename(node.path("logs/p/c.log"), node.path("logs/p/c.log.1")).unwrap();
    node.cri.runtime.reopen_container_log(v1::ReopenContainerLogRequest { container_id: id.clone() }).await.unwrap();
    node.exec(&id, "touch /tmp/go", 10).await.unwrap();
    eventually("the new file has the new line", async || (log(&node, "p", "c") == ["stdout F rotated"]).then_some(())).await;
}

async fn events_tell_what_happens(mut node: Node) {
    let mut client = node.cri.runtime.clone();
    let subscription = tokio::spawn(async move { client.get_container_events(v1::GetEventsRequest {}).await });
    // The reference answers with its first event, so something has to happen until it does.
    let deadline = Instant::now() + Duration::from_secs(60);
    for attempt in 0.. {
        let sandbox = node.run(node.pod(&format!("before{attempt}"))).await;
        node.remove(&sandbox).await;
        if subscription.is_finished() {
            break;
        }
        assert!(Instant::now() < deadline, "the subscription to events was never answered; pods that came and went: {}", attempt + 1);
    }
    let mut events = match subscription.await.unwrap() {
        Ok(events) => events.into_inner(),
        // They came with containerd 1.7.
        Err(status) if node.is_reference() && status.code() == Code::Unimplemented => return,
        Err(status) => panic!("{status}"),
    };
    let sandbox = node.run(node.pod("p")).await;
    let id = node.launch(&sandbox, shell("c", "exit 4")).await;
    node.exited(&id).await;
    node.remove(&sandbox).await;
    let mut seen = Vec::new();
    while seen.len() < 8 {
        let event = tokio::time::timeout(Duration::from_secs(30), events.message()).await.expect("an event").unwrap().unwrap();
        if event.container_id != sandbox && event.container_id != id {
            continue;
        }
        let kind = ContainerEventType::try_from(event.container_event_type).unwrap();
        if kind == ContainerEventType::ContainerStoppedEvent && event.container_id == id {
            assert_eq!(event.containers_statuses[0].exit_code, 4);
        }
        seen.push((event.container_id == sandbox, kind));
    }
    use ContainerEventType::{
        ContainerCreatedEvent as C, ContainerDeletedEvent as D, ContainerStartedEvent as A, ContainerStoppedEvent as O,
    };
    assert_eq!(seen, [(true, C), (true, A), (false, C), (false, A), (false, O), (true, O), (false, D), (true, D)]);
}

async fn lists_are_filtered(mut node: Node) {
    let mut config = node.pod("a");
    config.labels.insert("app".to_owned(), "x".to_owned());
    let first = node.run(config).await;
    node.run(node.pod("b")).await;
    let id = node.launch(&first, shell("c", "sleep 1000")).await;
    let filter = v1::PodSandboxFilter { label_selector: [("app".to_owned(), "x".to_owned())].into(), ..v1::PodSandboxFilter::default() };
    let items = node.cri.runtime.list_pod_sandbox(v1::ListPodSandboxRequest { filter: Some(filter) }).await.unwrap().into_inner().items;
    assert_eq!(items.iter().map(|item| &item.id).collect::<Vec<_>>(), [&first]);
    let all = node.cri.runtime.list_pod_sandbox(v1::ListPodSandboxRequest { filter: None }).await.unwrap().into_inner().items;
    assert_eq!(all.len(), 2);
    let by_state = |state: ContainerState| v1::ListContainersRequest {
        filter: Some(v1::ContainerFilter {
            state: Some(v1::ContainerStateValue { state: state as i32 }),
            ..v1::ContainerFilter::default()
        }),
    };
    let running = node.cri.runtime.list_containers(by_state(ContainerState::ContainerRunning)).await.unwrap().into_inner().containers;
    assert_eq!(running.iter().map(|item| &item.id).collect::<Vec<_>>(), [&id]);
    assert!(node.cri.runtime.list_containers(by_state(ContainerState::ContainerExited)).await.unwrap().into_inner().containers.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_range_of_pods_is_set_from_outside() {
    let mut node = Node::start().await;
    let request = |ranges: &str| v1::UpdateRuntimeConfigRequest {
        runtime_config: Some(v1::RuntimeConfig { network_config: Some(v1::NetworkConfig { pod_cidr: ranges.to_owned() }) }),
    };
    node.cri.runtime.update_runtime_config(request("fd00:98::/64, 10.98.0.0/24")).await.unwrap();
    let sandbox = node.run(node.pod("p")).await;
    let status = v1::PodSandboxStatusRequest { pod_sandbox_id: sandbox.clone(), verbose: false };
    let address = node.cri.runtime.pod_sandbox_status(status).await.unwrap().into_inner().status.unwrap().network.unwrap().ip;
    assert!(address.starts_with("10.98.0."), "{address}");
    for (ranges, words) in [("fd00:98::/64", "fd00:98::/64"), ("10.98.0.0", "\"10.98.0.0\" is not a network")] {
        let error = node.cri.runtime.update_runtime_config(request(ranges)).await.unwrap_err();
        assert!(error.code() == Code::InvalidArgument && error.message().contains(words), "{error}");
    }
    node.remove(&sandbox).await;
    node.assert_empty().await;
}

async fn the_runtime_describes_itself(mut node: Node) {
    let version = node.cri.runtime.version(v1::VersionRequest::default()).await.unwrap().into_inner();
    let name = if node.is_reference() { "containerd" } else { "corten" };
    assert_eq!((version.runtime_name.as_str(), version.runtime_api_version.as_str()), (name, "v1"));
    let status = node.cri.runtime.status(v1::StatusRequest { verbose: false }).await.unwrap().into_inner().status.unwrap();
    assert!(status.conditions.iter().all(|condition| condition.status), "{status:?}");
    match node.cri.runtime.runtime_config(v1::RuntimeConfigRequest {}).await {
        Ok(config) => assert_eq!(config.into_inner().linux.unwrap().cgroup_driver, v1::CgroupDriver::Cgroupfs as i32),
        // Newer than the reference.
        Err(status) => assert!(node.is_reference() && status.code() == Code::Unimplemented, "{status}"),
    }
    let images = node.cri.image.list_images(v1::ListImagesRequest { filter: None }).await.unwrap().into_inner().images;
    assert!(images.iter().any(|image| image.repo_tags.iter().any(|tag| tag == crate::support::daemon::IMAGE)));
    let info = node.cri.image.image_fs_info(v1::ImageFsInfoRequest {}).await.unwrap().into_inner();
    // The reference measures it now and then.
    assert!(info.image_filesystems[0].used_bytes.unwrap().value > 0 || node.is_reference());
    if !node.is_reference() {
        assert_eq!(version_by_the_older_name(&node).await, version);
    }
}

/// Asks for the version as clients of CRI v1alpha2 do. There are no types of that name to do it with, and none are needed.
async fn version_by_the_older_name(node: &Node) -> v1::VersionResponse {
    let stream = tokio::net::UnixStream::connect(node.path("cri.sock")).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    // Five bytes go before a message: it is not compressed, and so long. This one is empty.
    let request = http::Request::post("http://localhost/runtime.v1alpha2.RuntimeService/Version")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Full::new(Bytes::from_static(&[0; 5])))
        .unwrap();
    let answer = sender.send_request(request).await.unwrap().into_body().collect().await.unwrap().to_bytes();
    v1::VersionResponse::decode(answer.get(5..).expect("a message")).unwrap()
}
