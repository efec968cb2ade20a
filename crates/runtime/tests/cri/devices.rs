//! Devices, by themselves and by the Container Device Interface.

use std::fs;

use corten_cri::v1;
use tonic::Code;

use crate::support::reference::everywhere;
use crate::support::{Node, eventually, shell};

everywhere!(a_device_of_the_node, a_device_of_the_container_device_interface,);

const SPEC: &str = r#"
cdiVersion: "0.6.0"
kind: vendor.com/gpu
containerEdits:
  env: ["DRIVER=loaded"]
devices:
- name: first
  containerEdits:
    env: ["GPU=first"]
    deviceNodes:
    - {path: /dev/gpu0, hostPath: /dev/zero, permissions: rw}
    mounts:
    - {hostPath: HOST, containerPath: /driver/lib, options: [ro, nosuid, bind]}
    hooks:
    - {hookName: createContainer, path: /bin/sh, args: [sh, -c, "touch HOST/hooked"]}
    - {hookName: poststop, path: /bin/sh, args: [sh, -c, "sleep 100"], timeout: 1}
    - {hookName: poststop, path: /bin/sh, args: [sh, -c, "cat > HOST/$NAME.new; mv HOST/$NAME.new HOST/$NAME"], env: [NAME=stopped, PATH=/bin]}
    additionalGids: [4444]
"#;

async fn a_device_of_the_container_device_interface(mut node: Node) {
    let version = node.cri.runtime.version(v1::VersionRequest::default()).await.unwrap().into_inner();
    if node.is_reference() && version.runtime_version.trim_start_matches('v').starts_with("1.6") {
        // It came with containerd 1.7.
        return;
    }
    let host = node.path("driver");
    fs::create_dir(&host).unwrap();
    fs::write(host.join("libgpu.so"), "library\n").unwrap();
    let dir = node.path(if node.is_reference() { "containerd/cdi" } else { "cdi" });
    fs::create_dir(&dir).unwrap();
    let mut spec = SPEC.replace("HOST", host.to_str().unwrap());
    if node.is_reference() {
        // Groups are newer, and a hook that fails keeps the next from running.
        spec = spec.replace("    additionalGids: [4444]\n", "").replace("sleep 100", "true");
    }
    fs::write(dir.join("gpu.yaml"), spec).unwrap();
    let mut config = shell("c", "echo $DRIVER $GPU; cat /driver/lib/libgpu.so; head -c 3 /dev/gpu0 | wc -c; id -G | grep -c 4444");
    config.cdi_devices = vec![v1::CdiDevice { name: "vendor.com/gpu=first".to_owned() }];
    let (status, lines) = node.outcome(config).await;
    let out: Vec<_> = lines.iter().filter_map(|line| line.strip_prefix("stdout F ")).collect();
    let groups = if node.is_reference() { ("0", 1) } else { ("1", 0) };
    assert_eq!((out, status.exit_code), (vec!["loaded first", "library", "3", groups.0], groups.1), "{lines:?}");
    assert!(host.join("hooked").exists(), "its hook ran");
    // Also those that run after its end, and none is kept from it by another that hangs.
    let state = eventually("the last hook has run", async || fs::read(host.join("stopped")).ok()).await;
    let state: serde_json::Value = serde_json::from_slice(&state).unwrap();
    assert_eq!((&state["id"], &state["status"]), (&status.id.as_str().into(), &"stopped".into()));
    let sandbox = node.run(node.pod("bad")).await;
    let mut config = shell("bad", "true");
    config.cdi_devices = vec![v1::CdiDevice { name: "vendor.com/gpu=second".to_owned() }];
    let error = node.create(&sandbox, config).await.unwrap_err();
    assert_eq!(error.code(), node.code(Code::InvalidArgument));
    assert!(error.message().contains("unresolvable CDI devices vendor.com/gpu=second"), "{error}");
    if node.is_reference() {
        return;
    }
    // Neither the end of the shim keeps the hooks from running, nor that of the daemon too.
    for with_daemon in [false, true] {
        fs::remove_file(host.join("stopped")).unwrap();
        let sandbox = node.run(node.pod(&format!("lost{with_daemon}"))).await;
        let shims = node.shims();
        let mut config = shell("lost", "sleep 1000");
        config.cdi_devices = vec![v1::CdiDevice { name: "vendor.com/gpu=first".to_owned() }];
        let id = node.launch(&sandbox, config).await;
        if with_daemon {
            node.kill();
        }
        for shim in shims {
            let shim = rustix::process::Pid::from_raw(shim).unwrap();
            rustix::process::kill_process(shim, rustix::process::Signal::KILL).unwrap();
        }
        if with_daemon {
            node.restart().await;
        }
        let state = eventually("the last hook has run", async || fs::read(host.join("stopped")).ok()).await;
        assert_eq!(serde_json::from_slice::<serde_json::Value>(&state).unwrap()["id"], id);
        assert_eq!(node.status(&id).await.reason, "Unknown");
    }
}

async fn a_device_of_the_node(mut node: Node) {
    let device = |host: &str| v1::Device { host_path: host.to_owned(), container_path: "/dev/own".to_owned(), permissions: "r".to_owned() };
    let mut config = shell("c", "(: < /dev/own) && echo opened; (: > /dev/own) || echo denied");
    config.devices = vec![device("/dev/fuse")];
    let (_, lines) = node.outcome(config).await;
    let out: Vec<_> = lines.iter().filter_map(|line| line.strip_prefix("stdout F ")).collect();
    assert_eq!(out, ["opened", "denied"]);
    let sandbox = node.run(node.pod("bad")).await;
    for bad in ["/no/such/device", "/etc/passwd"] {
        let mut config = shell("bad", "true");
        config.devices = vec![device(bad)];
        assert_eq!(node.create(&sandbox, config).await.unwrap_err().code(), node.code(Code::InvalidArgument));
    }
}
