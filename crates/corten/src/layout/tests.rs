use super::*;

#[test]
fn the_default_directory_has_the_plain_name() {
    let layout = Layout::new(Path::new(DEFAULT_DATA_DIR)).unwrap();
    assert_eq!(layout.run(), Path::new("/run/corten"));
    assert_eq!(layout.cri_socket(), Path::new("/run/corten/cri.sock"));
    assert_eq!(layout.cgroup(), "/corten");
    assert_eq!(layout.kubelet(), Path::new("/var/lib/kubelet"));
}

#[test]
fn another_directory_has_a_name_of_its_own_however_it_is_spelled() {
    let directory = tempfile::tempdir().unwrap();
    let plain = Layout::new(directory.path()).unwrap();
    assert!(plain.run().to_str().unwrap().starts_with("/run/corten-"));
    assert_eq!(plain.kubelet(), plain.data().join("kubelet"));
    let link = directory.path().join("link");
    symlink(directory.path(), &link).unwrap();
    assert_eq!(Layout::new(&link).unwrap(), plain);
    assert_eq!(Layout::new(&directory.path().join(".")).unwrap(), plain);
    assert_ne!(Layout::new(&directory.path().join("other")).unwrap().run(), plain.run());
}
