use std::os::unix::fs::symlink;

use serde_json::json;

use super::*;

fn pod(policy: serde_json::Value, group: u32) -> Pod {
    let context = json!({"fsGroup": group, "fsGroupChangePolicy": policy});
    serde_json::from_value(json!({"spec": {"containers": [], "securityContext": context}})).unwrap()
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

fn gid(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().gid()
}

/// A group that whoever runs the tests may give files to.
fn own_group() -> u32 {
    if rustix::process::geteuid().is_root() { 4242 } else { rustix::process::getegid().as_raw() }
}

#[test]
fn everything_in_a_volume_becomes_the_groups_and_nothing_outside() {
    let dir = tempfile::tempdir().unwrap();
    let (volume, outside) = (dir.path().join("v"), dir.path().join("outside"));
    fs::create_dir_all(volume.join("sub")).unwrap();
    fs::write(volume.join("sub/file"), "").unwrap();
    fs::write(&outside, "").unwrap();
    for (path, bits) in [(volume.join("sub"), 0o700), (volume.join("sub/file"), 0o600), (outside.clone(), 0o600), (volume.clone(), 0o755)] {
        fs::set_permissions(path, fs::Permissions::from_mode(bits)).unwrap();
    }
    symlink(&outside, volume.join("link")).unwrap();
    let group = own_group();
    FsGroup::of(&pod(json!(null), group)).unwrap().apply(&volume, false).unwrap();
    assert_eq!([gid(&volume), gid(&volume.join("sub/file")), gid(&volume.join("link"))], [group; 3]);
    assert_eq!(mode(&volume), 0o2775);
    assert_eq!(mode(&volume.join("sub")), 0o2770);
    assert_eq!(mode(&volume.join("sub/file")), 0o660);
    assert_eq!(mode(&outside), 0o600);
}

#[test]
fn with_on_root_mismatch_a_fitting_volume_is_not_walked() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let closed = || fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    closed();
    let group = own_group();
    let (eager, trusting) =
        (FsGroup::of(&pod(json!("Always"), group)).unwrap(), FsGroup::of(&pod(json!("OnRootMismatch"), group)).unwrap());
    // Its directory does not fit yet.
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
    trusting.apply(dir.path(), false).unwrap();
    assert_eq!(mode(&file), 0o660);
    closed();
    trusting.apply(dir.path(), false).unwrap();
    assert_eq!(mode(&file), 0o600, "the directory fits");
    eager.apply(dir.path(), true).unwrap();
    assert_eq!(mode(&file), 0o640, "only to be read");
}
