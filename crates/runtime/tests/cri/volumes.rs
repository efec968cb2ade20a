//! Mounts of all kinds.

use std::path::Path;

use corten_cri::v1::{self, MountPropagation};

use crate::support::daemon::IMAGE;
use crate::support::reference::everywhere;
use crate::support::{Node, eventually, shell};

everywhere!(mounts_propagate_as_far_as_asked, read_only_reaches_submounts_only_when_recursive,);

fn output(lines: &[String]) -> Vec<&str> {
    lines.iter().filter_map(|line| line.strip_prefix("stdout F ")).collect()
}

fn image(path: &str, image: &str, sub_path: &str) -> v1::Mount {
    v1::Mount {
        container_path: path.to_owned(),
        image: Some(v1::ImageSpec { image: image.to_owned(), ..Default::default() }),
        image_sub_path: sub_path.to_owned(),
        readonly: true,
        ..Default::default()
    }
}

fn bind(node: &Node, path: &str, host: &str) -> v1::Mount {
    v1::Mount { container_path: path.to_owned(), host_path: node.path(host).display().to_string(), ..Default::default() }
}

/// Makes a tmpfs in the node's mount namespace.
fn mount_tmpfs(node: &Node, path: &Path) {
    node.run_inside(&["mkdir", "-p", path.to_str().unwrap()]);
    node.run_inside(&["mount", "-t", "tmpfs", "tmpfs", path.to_str().unwrap()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_can_be_mounted_as_a_volume() {
    let mut node = Node::start().await;
    let sandbox = node.run(node.pod("p")).await;
    let script = "cat /image/etc/group | head -n 1; ls /image/bin | grep -x busybox; cat /sub/passwd | head -n 1; \
                  touch /image/x || echo ro; /image/bin/busybox true || echo noexec; sleep 1000";
    let mut config = shell("c", script);
    config.mounts = vec![image("/image", IMAGE, ""), image("/sub", IMAGE, "etc")];
    let id = node.launch(&sandbox, config).await;
    let lines = eventually("it has looked", async || {
        let lines = crate::support::log(&node, "p", "c");
        (output(&lines).len() == 5).then_some(lines)
    })
    .await;
    assert_eq!(output(&lines), ["root:x:0:", "busybox", "root:x:0:0::/root:/bin/sh", "ro", "noexec"]);
    // A restart of the daemon changes nothing about it.
    node.kill();
    node.restart().await;
    let seen = node.exec(&id, "head -n 1 /sub/passwd", 10).await.unwrap();
    assert_eq!(seen.stdout, b"root:x:0:0::/root:/bin/sh\n");

    for (mount, said) in [
        (image("/i", "no/such:image", ""), "not on the node"),
        (image("/i", IMAGE, "no/such/dir"), "no/such/dir"),
        (image("/i", IMAGE, "../../.."), "lead upwards"),
    ] {
        let mut config = shell("bad", "true");
        config.mounts = vec![mount];
        let error = node.create(&sandbox, config).await.unwrap_err();
        assert!(error.message().contains("ImageVolumeMountFailed") && error.message().contains(said), "{error}");
    }
    node.remove(&sandbox).await;
    node.assert_empty().await;
}

async fn read_only_reaches_submounts_only_when_recursive(mut node: Node) {
    let dir = node.path("volume");
    mount_tmpfs(&node, &dir.join("below"));
    let plain = v1::Mount { readonly: true, ..bind(&node, "/ro", "volume") };
    let mut config = shell("plain", "echo x > /ro/below/a && echo below; echo x > /ro/a || echo top");
    config.mounts = vec![plain.clone()];
    let (_, lines) = node.outcome(config).await;
    assert_eq!(output(&lines), ["below", "top"]);
    if node.is_reference() {
        // Newer than the reference.
        return;
    }
    let mut config = shell("m", "echo x > /ro/below/a && echo plain; echo x > /rro/below/a || echo recursive; echo x > /rro/a || echo top");
    let recursive = v1::Mount { readonly: true, recursive_read_only: true, ..bind(&node, "/rro", "volume") };
    config.mounts = vec![plain, recursive.clone()];
    let (_, lines) = node.outcome(config).await;
    assert_eq!(output(&lines), ["plain", "recursive", "top"]);
    let sandbox = node.run(node.pod("bad")).await;
    for bad in [
        v1::Mount { readonly: false, ..recursive.clone() },
        v1::Mount { propagation: MountPropagation::PropagationHostToContainer as i32, ..recursive },
    ] {
        let mut config = shell("bad", "true");
        config.mounts = vec![bad];
        let error = node.create(&sandbox, config).await.unwrap_err();
        assert_eq!(error.code(), tonic::Code::InvalidArgument, "{error}");
    }
}

async fn mounts_propagate_as_far_as_asked(mut node: Node) {
    let dir = node.path("shared");
    mount_tmpfs(&node, &dir);
    node.run_inside(&["mount", "--make-shared", dir.to_str().unwrap()]);
    let mut pod = node.pod("p");
    pod.linux.as_mut().unwrap().security_context.as_mut().unwrap().privileged = true;
    let sandbox = node.run(pod).await;
    let with = |name: &str, propagation: MountPropagation, privileged| {
        let mut config = shell(name, "sleep 1000");
        config.mounts = vec![v1::Mount { propagation: propagation as i32, ..bind(&node, "/shared", "shared") }];
        config.linux.as_mut().unwrap().security_context.as_mut().unwrap().privileged = privileged;
        config
    };
    let configs = [
        with("private", MountPropagation::PropagationPrivate, false),
        with("slave", MountPropagation::PropagationHostToContainer, false),
        with("both", MountPropagation::PropagationBidirectional, true),
    ];
    let mut ids = Vec::new();
    for config in configs {
        ids.push(node.launch(&sandbox, config).await);
    }
    mount_tmpfs(&node, &dir.join("late"));
    node.run_inside(&["touch", dir.join("late/file").to_str().unwrap()]);
    let mut seen = Vec::new();
    for id in &ids {
        seen.push(node.exec(id, "ls /shared/late", 10).await.unwrap().stdout);
    }
    assert_eq!(seen, [b"".as_slice(), b"file\n", b"file\n"]);
    node.exec(&ids[2], "mkdir /shared/own && mount -t tmpfs tmpfs /shared/own", 10).await.unwrap();
    let own = dir.join("own").display().to_string();
    assert!(node.mounts().contains(&own), "a bidirectional mount is seen on the node");
    assert_eq!(node.exec(&ids[1], "mount | grep -c /shared/own", 10).await.unwrap().stdout, b"1\n");
}
