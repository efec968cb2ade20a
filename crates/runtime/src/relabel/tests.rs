use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use rustix::fs::lgetxattr;

use super::{LABEL, all, volume};

/// A kernel without SELinux takes any label.
fn label(path: &Path) -> String {
    let mut label = [0; 64];
    let length = lgetxattr(path, LABEL, &mut label).unwrap_or_default();
    String::from_utf8_lossy(&label[..length]).into_owned()
}

#[test]
fn all_of_a_directory_is_labelled_and_nothing_beside_it() {
    let work = tempfile::tempdir().unwrap();
    let (inside, outside) = (work.path().join("inside"), work.path().join("outside"));
    fs::create_dir_all(inside.join("a/b")).unwrap();
    fs::create_dir(&outside).unwrap();
    for file in [inside.join("a/b/file"), outside.join("file")] {
        fs::write(file, "").unwrap();
    }
    symlink(&outside, inside.join("a/link")).unwrap();
    all(&inside, "u:r:t:s0").unwrap();
    for path in ["", "a", "a/b", "a/b/file", "a/link"] {
        assert_eq!(label(&inside.join(path)), "u:r:t:s0", "{path}");
    }
    for path in [&outside, &outside.join("file")] {
        assert_eq!(label(path), "", "{}", path.display());
    }
    all(&inside.join("a/b/file"), "u:r:other:s0").unwrap();
    assert_eq!(label(&inside.join("a/b/file")), "u:r:other:s0");
}

#[test]
fn what_is_the_systems_stays_so() {
    for path in ["/", "/etc", "/etc/ssl", "/usr/lib", "/var/lib", "/tmp"] {
        let error = volume(Path::new(path), "u:r:t:s0").unwrap_err();
        assert_eq!(error.to_string(), format!("SELinux relabeling of {path} is not allowed"));
    }
}
