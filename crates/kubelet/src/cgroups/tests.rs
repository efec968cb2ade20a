use super::*;

const HYBRID: &str = "\
30 24 0:26 / /sys/fs/cgroup rw,nosuid - tmpfs tmpfs rw,mode=755
31 30 0:27 / /sys/fs/cgroup/unified rw,nosuid - cgroup2 cgroup2 rw
32 30 0:28 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid - cgroup cgroup rw,cpu,cpuacct
33 30 0:29 / /sys/fs/cgroup/memory rw,nosuid - cgroup cgroup rw,memory
34 30 0:30 / /sys/fs/cgroup/devices rw,nosuid - cgroup cgroup rw,devices
35 30 0:28 / /mnt/again rw,nosuid - cgroup cgroup rw,cpu,cpuacct
";

#[test]
fn hierarchies_are_found_once_each() {
    let found = parse_mounts(HYBRID);
    let mounts: Vec<_> = found.iter().map(|h| h.mount().to_owned()).collect();
    assert_eq!(mounts, ["unified", "cpu,cpuacct", "memory", "devices"].map(|m| PathBuf::from("/sys/fs/cgroup").join(m)));
    assert_eq!(found.iter().map(Hierarchy::limits).collect::<Vec<_>>(), [true, true, true, false]);
}

#[test]
fn weights_span_the_range() {
    assert_eq!(cpu_weight(2), 1);
    assert_eq!(cpu_weight(1024), 39);
    assert_eq!(cpu_weight(262_144), 10_000);
}

/// On the machine's real hierarchies, below a cgroup of its own.
#[test]
fn a_pods_cgroup_is_made_with_its_limits_and_removed() {
    let root = format!("/corten-test-{}", std::process::id());
    let Ok(cgroups) = Cgroups::open(&root, CgroupDriver::Cgroupfs, Limits::default()) else {
        return; // Not root, or no cgroups here: nothing to test.
    };
    let limits = Limits { cpu_shares: 512, cpu_quota: 20_000, memory: 64 << 20 };
    let path = cgroups.ensure(Qos::Burstable, "u1", limits).unwrap();
    assert_eq!(path, format!("{root}/kubepods/burstable/podu1"));
    for hierarchy in &cgroups.hierarchies {
        let directory = join(hierarchy.mount(), &path);
        if let Hierarchy::V1 { controllers, .. } = hierarchy
            && controllers.iter().any(|c| c == "memory")
        {
            let limit = fs::read_to_string(directory.join("memory.limit_in_bytes")).unwrap();
            assert_eq!(limit.trim(), (64 << 20).to_string());
        }
    }
    cgroups.ensure(Qos::BestEffort, "u2", limits).unwrap();
    assert_eq!(cgroups.uids(), HashSet::from(["u1".to_owned(), "u2".to_owned()]));
    cgroups.remove("u2");
    let exists = |path: &str| cgroups.hierarchies.iter().any(|h| join(h.mount(), path).exists());
    assert!(exists(&path));
    assert!(!exists(&cgroups.path(Qos::BestEffort, "u2")));
    cgroups.remove("u1");
    assert!(!exists(&path));
    for hierarchy in &cgroups.hierarchies {
        remove_tree(&join(hierarchy.mount(), &root));
    }
}

#[test]
fn systemds_names_say_where_a_slice_is() {
    let systemd = CgroupDriver::Systemd;
    assert_eq!(
        systemd.path(["kubepods", "besteffort", "pod5a-6b"]),
        "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod5a_6b.slice"
    );
    assert_eq!(systemd.path(["corten-1a"]), "/corten_1a.slice");
    assert_eq!(systemd.last_part("kubepods-besteffort-pod5a_6b.slice").unwrap(), "pod5a-6b");
    assert_eq!(systemd.last_part("corten-abc.scope"), None);
    assert_eq!(CgroupDriver::Cgroupfs.path(["kubepods", "pod5a-6b"]), "/kubepods/pod5a-6b");
    assert_eq!((CgroupDriver::named("systemd"), CgroupDriver::named("other")), (Some(systemd), None));
}

/// The same as the one before with systemd's names.
#[test]
fn pods_have_slices_with_systemd() {
    let root = format!("/corten-slices-{}", std::process::id());
    let Ok(cgroups) = Cgroups::open(&root, CgroupDriver::Systemd, Limits::default()) else {
        return; // Not root, or no cgroups here: nothing to test.
    };
    let name = root.trim_start_matches('/').replace('-', "_");
    let limits = Limits { cpu_shares: 512, cpu_quota: 20_000, memory: 64 << 20 };
    let path = cgroups.ensure(Qos::Burstable, "u-1", limits).unwrap();
    let burstable = format!("/{name}.slice/{name}-kubepods.slice/{name}-kubepods-burstable.slice");
    assert_eq!(path, format!("{burstable}/{name}-kubepods-burstable-podu_1.slice"));
    cgroups.ensure(Qos::Guaranteed, "u-2", limits).unwrap();
    assert_eq!(cgroups.uids(), HashSet::from(["u-1".to_owned(), "u-2".to_owned()]));
    for uid in ["u-1", "u-2"] {
        cgroups.remove(uid);
    }
    assert_eq!(cgroups.uids(), HashSet::new());
    for hierarchy in &cgroups.hierarchies {
        remove_tree(&join(hierarchy.mount(), &format!("{name}.slice")));
    }
}
