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
fn what_is_missing_becomes_a_directory_that_is_as_open_as_the_volume() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o2777)).unwrap();
    fs::create_dir(dir.path().join("a")).unwrap();
    fs::set_permissions(dir.path().join("a"), fs::Permissions::from_mode(0o700)).unwrap();
    open_beneath(dir.path(), "a/b/c").unwrap();
    let mode = |path: &str| fs::metadata(dir.path().join(path)).unwrap().permissions().mode() & 0o7777;
    assert_eq!([mode("a"), mode("a/b"), mode("a/b/c")], [0o700, 0o2777, 0o2777]);
}

#[test]
fn paths_that_lead_out_are_named() {
    for (path, words) in
        [("/etc", "error SubPath `/etc` must not be an absolute path"), ("a/../../b", "error SubPath `a/../../b` must not contain '..'")]
    {
        assert_eq!(check(path).unwrap_err().to_string(), words);
    }
    assert!(check("a/..b/c..").is_ok());
}

/// Somebody swaps a directory for a link out of the volume, over and over, while parts of it are opened: whatever is
/// opened is inside.
#[test]
fn a_race_of_links_leads_nowhere() {
    use std::sync::atomic::{AtomicBool, Ordering};
    let dir = tempfile::tempdir().unwrap();
    let (volume, outside) = (dir.path().join("volume"), dir.path().join("outside"));
    for path in [volume.join("real/part"), outside.join("part")] {
        fs::create_dir_all(path).unwrap();
    }
    symlink(&outside, volume.join("link")).unwrap();
    let volume = volume.canonicalize().unwrap();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            use rustix::fs::{CWD, RenameFlags, renameat_with};
            while !over.load(Ordering::Relaxed) {
                renameat_with(CWD, volume.join("real"), CWD, volume.join("link"), RenameFlags::EXCHANGE).unwrap();
            }
        });
        // Nothing may panic before the other thread is told that it is over: it would be waited for without end.
        let (mut inside, mut escaped) = (0, Vec::new());
        // A quarter of the looks or more meet the link.
        for _ in 0..2000 {
            for name in ["real/part", "real/part/new", "link/part"] {
                let Ok(opened) = open_beneath(&volume, name) else { continue };
                let found = fs::read_link(format!("/proc/self/fd/{}", opened.as_raw_fd())).unwrap_or_default();
                if found.starts_with(&volume) {
                    inside += 1;
                } else {
                    escaped.push(found);
                }
            }
        }
        over.store(true, Ordering::Relaxed);
        assert_eq!(escaped, Vec::<PathBuf>::new());
        assert!(inside > 0);
    });
    assert!(!outside.join("part/new").exists());
}
