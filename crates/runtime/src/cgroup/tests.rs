use super::Layout;

#[test]
fn a_hybrid_machine_counts_as_v1() {
    let layout = Layout::parse(
        "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n\
         32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct\n\
         35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n\
         40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd\n\
         41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n",
    );
    let Some(layout @ Layout::Separate(_)) = layout else { panic!("{layout:?}") };
    assert_eq!(layout.file("cpuacct", "/a/b", "cpuacct.usage").unwrap().to_str().unwrap(), "/sys/fs/cgroup/cpu,cpuacct/a/b/cpuacct.usage");
    assert!(layout.file("pids", "/a", "x").is_none());
    assert_eq!(layout.dirs("/a").len(), 2, "one directory for controllers that share a hierarchy");
    assert!(layout.writable_mounts().contains(&"/sys/fs/cgroup/memory".to_owned()));
}

#[test]
fn a_v2_machine_has_one_directory() {
    let layout = Layout::parse("31 23 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n").unwrap();
    assert!(layout.is_unified());
    assert_eq!(layout.oom_counter("/a").unwrap().to_str().unwrap(), "/sys/fs/cgroup/a/memory.events");
    assert!(layout.writable_mounts().is_empty());
}
