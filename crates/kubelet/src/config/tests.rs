use super::*;

const HEAD: &str = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n";

fn load(text: &str) -> Result<Configuration, String> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("config.yaml");
    std::fs::write(&file, format!("{HEAD}{text}")).unwrap();
    let prefix = format!("{}: ", file.display());
    Configuration::load(Some(&file), None).map_err(|e| e.to_string().trim_start_matches(&prefix).to_owned())
}

#[test]
fn settings_arrive() {
    let text = "
maxPods: 50
allowedUnsafeSysctls: [kernel.msg*]
evictionHard: {memory.available: 200Mi, nodefs.available: '5%'}
evictionSoft: {memory.available: 500Mi}
evictionSoftGracePeriod: {memory.available: 1m30s}
evictionPressureTransitionPeriod: 30s
shutdownGracePeriod: 30s
shutdownGracePeriodCriticalPods: 10s
clusterDNS: [10.43.0.10]
crashLoopBackOff: {maxContainerRestartPeriod: 20s}
staticPodPath: /etc/pods
kubeReserved: {cpu: 100m, memory: 50Mi}
serializeImagePulls: false
";
    let config = load(text).unwrap();
    assert_eq!(config.max_pods, Some(50));
    assert_eq!(config.longest_backoff, Duration::from_secs(20));
    assert_eq!(config.eviction.transition, Duration::from_secs(30));
    assert_eq!(config.eviction.list.len(), 3);
    assert_eq!(config.cluster_dns, Some(vec!["10.43.0.10".parse().unwrap()]));
    assert_eq!(config.kube_reserved["cpu"].0, "100m");
    let silent = ["serializeImagePulls", "shutdownGracePeriod", "shutdownGracePeriodCriticalPods", "staticPodPath"];
    assert_eq!(config.without_effect(), silent);
    assert_eq!(config.given["maxPods"], 50);
}

#[test]
fn what_is_wrong_is_said_with_its_path() {
    for (text, words) in [
        ("maxPod: 5", "maxPod: unknown setting"),
        ("maxPods: many", "maxPods: must be a whole number, not \"many\""),
        ("maxPods: -1", "maxPods: must not be negative: -1"),
        ("clusterDNS: [a]", "clusterDNS[0]: \"a\" is not an IP address"),
        ("clusterDNS: [1]", "clusterDNS[0]: must be a text, not 1"),
        ("syncFrequency: 5", "syncFrequency: must be a duration such as \"1m30s\", not 5"),
        ("imageGCHighThresholdPercent: 101", "imageGCHighThresholdPercent: must be between 0 and 100, not 101"),
        ("imageGCLowThresholdPercent: 90", "imageGCLowThresholdPercent: must be less than imageGCHighThresholdPercent 85, not 90"),
        ("imageMaximumGCAge: 1m", "imageMaximumGCAge: must be greater than imageMinimumGCAge"),
        ("evictionHard: {memory: 5Mi}", "evictionHard[memory]: unknown signal"),
        (
            "evictionHard: {memory.available: 110%}",
            "evictionHard[memory.available]: must be a quantity or a percentage from 0% to 100%, not \"110%\"",
        ),
        ("evictionSoft: {memory.available: 5Mi}", "evictionSoft[memory.available]: needs a grace period in evictionSoftGracePeriod"),
        ("evictionSoftGracePeriod: {memory.available: 5s}", "evictionSoftGracePeriod[memory.available]: has no threshold in evictionSoft"),
        ("shutdownGracePeriodCriticalPods: 5s", "shutdownGracePeriodCriticalPods: must be at most shutdownGracePeriod 0ns, not 5s"),
        (
            "shutdownGracePeriod: 5s\nshutdownGracePeriodByPodPriority: [{priority: 1, shutdownGracePeriodSeconds: 1}]",
            "shutdownGracePeriodByPodPriority: cannot be set together with shutdownGracePeriod and shutdownGracePeriodCriticalPods",
        ),
        (
            "shutdownGracePeriodByPodPriority: [{priority: 1}]",
            "shutdownGracePeriodByPodPriority[0].shutdownGracePeriodSeconds: must be a number",
        ),
        ("crashLoopBackOff: {maxContainerRestartPeriod: 10m}", "crashLoopBackOff.maxContainerRestartPeriod: must be between 1s and 300s"),
        ("staticPodPath: here", "staticPodPath: must be an absolute path"),
        ("systemReserved: {gpu: '1'}", "systemReserved[gpu]: unknown resource"),
        ("featureGates: {A: maybe}", "featureGates[A]: must be true or false, not \"maybe\""),
        ("kind: Other", "kind"),
    ] {
        let error = load(text).unwrap_err();
        assert!(error == words || (words == "kind" && error.contains("kind")), "{text}: {error}");
    }
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("c.yaml");
    std::fs::write(&file, "kind: KubeletConfiguration\n").unwrap();
    let error = Configuration::load(Some(&file), None).unwrap_err().to_string();
    assert_eq!(error, format!("{}: apiVersion: is missing, must be \"kubelet.config.k8s.io/v1beta1\"", file.display()));
}

#[test]
fn drop_ins_are_laid_over_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let (file, drop_ins) = (dir.path().join("config.yaml"), dir.path().join("conf.d"));
    std::fs::create_dir(&drop_ins).unwrap();
    std::fs::write(&file, format!("{HEAD}maxPods: 1\nevictionHard: {{memory.available: 1Mi}}\nallowedUnsafeSysctls: [a]\n")).unwrap();
    std::fs::write(drop_ins.join("20.conf"), format!("{HEAD}maxPods: 3\n")).unwrap();
    std::fs::write(
        drop_ins.join("10.conf"),
        format!("{HEAD}maxPods: 2\nevictionHard: {{nodefs.available: 1Mi}}\nallowedUnsafeSysctls: [b]\n"),
    )
    .unwrap();
    std::fs::write(drop_ins.join("99.yaml"), "not read").unwrap();
    let config = Configuration::load(Some(&file), Some(&drop_ins)).unwrap();
    assert_eq!((config.max_pods, config.eviction.list.len()), (Some(3), 2));
    assert_eq!(config.allowed_unsafe_sysctls, ["b"]);
    std::fs::write(drop_ins.join("30.conf"), format!("{HEAD}nothing: 1\n")).unwrap();
    let error = Configuration::load(Some(&file), Some(&drop_ins)).unwrap_err().to_string();
    assert_eq!(error, format!("{}: nothing: unknown setting", drop_ins.join("30.conf").display()));
}
