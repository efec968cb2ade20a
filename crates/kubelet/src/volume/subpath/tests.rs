use std::os::unix::fs::symlink;

use super::*;

#[test]
fn links_inside_the_volume_are_followed_and_others_are_not() {
    let dir = tempfile::tempdir().unwrap();
    let volume = dir.path();
    fs::create_dir(volume.join("..1")).unwrap();
    fs::write(volume.join("..1/key"), "value").unwrap();
    symlink("..1", volume.join("..data")).unwrap();
    symlink("..data/key", volume.join("key")).unwrap();
    symlink("/etc", volume.join("out")).unwrap();
    symlink("../..", volume.join("up")).unwrap();

    let opened = open_beneath(volume, "key").unwrap();
    let link = format!("/proc/self/fd/{}", opened.as_raw_fd());
    assert_eq!(fs::read_to_string(link).unwrap(), "value");
    for path in ["out/passwd", "up", "../x", "/etc/passwd", "out/new"] {
        assert!(open_beneath(volume, path).is_err(), "{path}");
    }
}

#[test]
fn what_is_missing_becomes_a_directory() {
    let dir = tempfile::tempdir().unwrap();
    open_beneath(dir.path(), "a/b").unwrap();
    assert!(dir.path().join("a/b").is_dir());
}
