use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

use super::{busybox_archive, nginx_archive};
use crate::debs::dependencies;
use crate::packages::cache;

/// The image's root, assembled by the store, runs its own programs.
async fn unpacked(archive: &Path, name: &str, into: &Path) -> corten_image::Image {
    let store = corten_image::Store::open(corten_image::Options { dir: into.to_owned(), ..Default::default() }).await.unwrap();
    let names = store.load_archive(File::open(archive).unwrap()).await.unwrap();
    assert_eq!(names, [format!("docker.io/library/{name}")]);
    store.get(name).await.unwrap().unwrap()
}

#[tokio::test]
async fn nginx_runs_in_its_own_root() {
    let directory = tempfile::tempdir().unwrap();
    let archive = nginx_archive(cache().unwrap(), "nginx:1.14.2").unwrap();
    let image = unpacked(&archive, "nginx:1.14.2", directory.path()).await;
    assert_eq!(image.config.config.cmd, ["nginx", "-g", "daemon off;"]);
    let store = corten_image::Store::open(corten_image::Options { dir: directory.path().to_owned(), ..Default::default() }).await.unwrap();
    let lower = store.rootfs(&image).await.unwrap().remove(0);
    let output = Command::new("chroot").arg(&lower).args(["/usr/sbin/nginx", "-V"]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let shell = Command::new("chroot").arg(&lower).args(["/bin/sh", "-c", "echo from the image"]).output().unwrap();
    assert_eq!(shell.stdout, b"from the image\n");
}

#[tokio::test]
async fn another_tag_is_another_image_and_both_are_kept() {
    let directory = tempfile::tempdir().unwrap();
    let (old, new) = (nginx_archive(cache().unwrap(), "nginx:1.14.2").unwrap(), nginx_archive(cache().unwrap(), "nginx:1.16.1").unwrap());
    let written = fs::metadata(&old).unwrap().modified().unwrap();
    let old = unpacked(&old, "nginx:1.14.2", directory.path()).await;
    let new = unpacked(&new, "nginx:1.16.1", directory.path()).await;
    assert_ne!(old.id, new.id);
    let again = nginx_archive(cache().unwrap(), "nginx:1.14.2").unwrap();
    assert_eq!(fs::metadata(again).unwrap().modified().unwrap(), written, "made once");
}

#[tokio::test]
async fn busybox_has_its_applets() {
    let directory = tempfile::tempdir().unwrap();
    let archive = busybox_archive(cache().unwrap()).unwrap();
    let image = unpacked(&archive, "busybox:1.36", directory.path()).await;
    assert_eq!(image.config.config.cmd, ["sh"]);
}

#[test]
fn dependencies_are_read_from_control_fields() {
    let fields = "Depends: libc6 (>= 2.34), libnginx-mod-http-echo (>= 1:0.63-4~), a:any | b\nPre-Depends: init\n";
    assert_eq!(dependencies(fields), ["libc6", "libnginx-mod-http-echo", "a", "b", "init"]);
}
