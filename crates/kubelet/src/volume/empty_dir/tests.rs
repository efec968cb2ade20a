use serde_json::{Value, json};

use super::*;

fn pod(requests: &[Value]) -> Pod {
    let containers: Vec<Value> = requests.iter().map(|r| json!({"name": "c", "resources": {"requests": r, "limits": r}})).collect();
    serde_json::from_value(json!({"spec": {"containers": containers}})).unwrap()
}

#[test]
fn pages_have_the_size_that_is_asked_for() {
    let (two, one) = (json!({"hugepages-2Mi": "4Mi"}), json!({"hugepages-1Gi": "1Gi"}));
    let none = json!({"memory": "1Gi"});
    for (medium, requests, expected) in [
        ("HugePages", vec![two.clone(), none.clone()], Ok(2 << 20)),
        ("HugePages", vec![one.clone()], Ok(1 << 30)),
        ("HugePages", vec![two.clone(), one.clone()], Err("medium HugePages can't be used if container requests multiple huge page sizes")),
        ("HugePages", vec![none.clone()], Err("medium HugePages: no container requests huge pages of this size")),
        ("HugePages-2Mi", vec![two.clone(), one.clone()], Ok(2 << 20)),
        ("HugePages-1Gi", vec![two.clone()], Err("medium HugePages-1Gi: no container requests huge pages of this size")),
        ("HugePages-many", vec![two.clone()], Err("medium HugePages-many names no size of a page")),
    ] {
        assert_eq!(page_size(medium, &pod(&requests)), expected.map_err(str::to_owned), "{medium}");
    }
}

#[test]
fn memory_is_bounded_by_whatever_bounds_the_pod() {
    let limit = |source: Value, requests: &[Value]| {
        let source: EmptyDirVolumeSource = serde_json::from_value(source).unwrap();
        match EmptyDir::new("/v".into(), &source, &pod(requests), None).medium {
            Medium::Memory(limit) => limit,
            _ => panic!("not in memory"),
        }
    };
    let memory = json!({"medium": "Memory"});
    assert_eq!(limit(memory.clone(), &[json!({})]), None);
    assert_eq!(limit(memory, &[json!({"memory": "64Mi"})]), Some(64 << 20));
    let small = json!({"medium": "Memory", "sizeLimit": "1Mi"});
    assert_eq!(limit(small.clone(), &[json!({"memory": "64Mi"})]), Some(1 << 20));
    assert_eq!(limit(small, &[json!({})]), Some(1 << 20));
}

/// Only root may mount: elsewhere there is nothing to try.
#[test]
fn huge_pages_are_a_file_system_of_their_own() {
    if !rustix::process::geteuid().is_root() || !Path::new("/sys/kernel/mm/hugepages/hugepages-2048kB").is_dir() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("volumes/kubernetes.io~empty-dir/v");
    let source: EmptyDirVolumeSource = serde_json::from_value(json!({"medium": "HugePages"})).unwrap();
    let volume = EmptyDir::new(path.clone(), &source, &pod(&[json!({"hugepages-2Mi": "2Mi"})]), None);
    volume.make(0).unwrap();
    let found = rustix::fs::statvfs(&path).unwrap();
    assert_eq!(found.f_bsize, 2 << 20, "the size of a block is that of a page");
    // Once more, as after a restart of the kubelet.
    fs::create_dir(path.join("kept")).unwrap();
    volume.make(0).unwrap();
    assert!(path.join("kept").is_dir());
    volume.unmount().unwrap();
    assert!(!path.exists());
}

#[test]
fn one_that_a_crash_left_half_made_is_made_whole_and_a_whole_one_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("volumes/kubernetes.io~empty-dir/v");
    let mode = || fs::metadata(&path).unwrap().permissions().mode() & 0o7777;
    let volume = EmptyDir::new(path.clone(), &EmptyDirVolumeSource::default(), &pod(&[]), None);
    fs::create_dir_all(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
    volume.make(0).unwrap();
    assert_eq!(mode(), 0o777);
    // A container's own doing, which the next kubelet does not undo.
    fs::set_permissions(&path, fs::Permissions::from_mode(0o750)).unwrap();
    fs::write(path.join("kept"), "").unwrap();
    volume.make(0).unwrap();
    assert_eq!(mode(), 0o750);
    volume.unmount().unwrap();
    volume.make(0).unwrap();
    assert_eq!(mode(), 0o777);
    assert!(!path.join("kept").exists());
}
