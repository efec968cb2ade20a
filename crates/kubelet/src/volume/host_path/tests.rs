use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;

use super::*;

/// Checks a path by a type; the error is what the event says.
fn check(path: &Path, kind: Option<&str>) -> Result<(), String> {
    let source = HostPathVolumeSource { path: path.display().to_string(), type_: kind.map(str::to_owned) };
    HostPath::new(&source).check().map_err(|error| error.to_string())
}

#[test]
fn every_type_takes_what_it_names() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::create_dir(at("directory")).unwrap();
    fs::write(at("file"), "content").unwrap();
    let _listener = UnixListener::bind(at("socket")).unwrap();
    symlink("file", at("link")).unwrap();
    symlink("nowhere", at("dangling")).unwrap();
    let (directory, file, socket, null) = (at("directory"), at("file"), at("socket"), PathBuf::from("/dev/null"));
    let (link, dangling, missing) = (at("link"), at("dangling"), at("missing"));
    // What a type takes; all others it refuses.
    let things = [&directory, &file, &socket, &null, &link, &dangling, &missing];
    let types: [(&str, &str, &[&PathBuf]); 5] = [
        ("Directory", "a directory", &[&directory]),
        ("File", "a file", &[&file, &link]),
        ("Socket", "a socket file", &[&socket]),
        ("CharDevice", "a character device", &[&null]),
        ("BlockDevice", "a block device", &[]),
    ];
    for (kind, wanted, taken) in types {
        for thing in things {
            let refused = format!("hostPath type check failed: {} is not {wanted}", thing.display());
            let expected = if taken.contains(&thing) { Ok(()) } else { Err(refused) };
            assert_eq!(check(thing, Some(kind)), expected, "{kind}");
        }
    }
    assert!(!missing.exists(), "nothing is made that was not asked for");
}

#[test]
fn what_may_be_made_is_made() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    fs::write(at("file"), "content").unwrap();
    check(&at("deep/directory"), Some("DirectoryOrCreate")).unwrap();
    assert!(at("deep/directory").is_dir());
    assert_eq!(mode(&at("deep/directory")), 0o755);
    check(&at("new"), Some("FileOrCreate")).unwrap();
    assert_eq!((fs::read(at("new")).unwrap(), mode(&at("new"))), (Vec::new(), 0o644));
    // What is there stays, or is of the wrong kind.
    check(&at("file"), Some("FileOrCreate")).unwrap();
    assert_eq!(fs::read(at("file")).unwrap(), b"content");
    let words = |name: &str, wanted: &str| Err(format!("hostPath type check failed: {} is not {wanted}", at(name).display()));
    assert_eq!(check(&at("file"), Some("DirectoryOrCreate")), words("file", "a directory"));
    assert_eq!(check(&at("deep"), Some("FileOrCreate")), words("deep", "a file"));
    // A file's directory is not made with it.
    assert!(check(&at("none/file"), Some("FileOrCreate")).is_err());
    // Without a type anything will do, and what is not there becomes a directory.
    for kind in [None, Some("")] {
        check(&at("file"), kind).unwrap();
        check(Path::new("/dev/null"), kind).unwrap();
    }
    check(&at("anything"), None).unwrap();
    assert!(at("anything").is_dir());
}
