use std::path::Path;

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
    assert_eq!(config.static_pods.path.as_deref(), Some(Path::new("/etc/pods")));
    let classes: Vec<_> = config.shutdown.iter().map(|class| (class.priority, class.grace.as_secs())).collect();
    assert_eq!(classes, [(0, 20), (2_000_000_000, 10)]);
    let silent: [&str; 0] = [];
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
        ("cgroupDriver: openrc", "cgroupDriver: must be \"cgroupfs\" or \"systemd\", not \"openrc\""),
        ("staticPodPath: here", "staticPodPath: must be an absolute path"),
        ("systemReserved: {gpu: '1'}", "systemReserved[gpu]: unknown resource"),
        ("featureGates: {A: maybe}", "featureGates[A]: must be true or false, not \"maybe\""),
        ("readOnlyPort: 10255", "readOnlyPort: Corten supports 0 only, not 10255"),
        ("cpuManagerPolicy: static", "cpuManagerPolicy: Corten supports \"none\" only, not \"static\""),
        (
            "enforceNodeAllocatable: [system-reserved]",
            "enforceNodeAllocatable: Corten supports \"pods\" and \"none\" only, not \"system-reserved\"",
        ),
        ("enforceNodeAllocatable: [pods, none]", "enforceNodeAllocatable: \"none\" excludes everything else"),
        (
            "serializeImagePulls: true\nmaxParallelImagePulls: 2",
            "maxParallelImagePulls: must not be above 1 if serializeImagePulls is true, not 2",
        ),
        ("containerLogMaxFiles: 1", "containerLogMaxFiles: must be at least 2, not 1"),
        ("containerLogMaxSize: '0'", "containerLogMaxSize: must be positive"),
        ("containerLogMonitorInterval: 1s", "containerLogMonitorInterval: must be at least 3s"),
        ("nodeStatusMaxImages: -2", "nodeStatusMaxImages: must be at least -1, not -2"),
        ("port: 70000", "port: must be at most 65535, not 70000"),
        ("address: here", "address: \"here\" is not an IP address"),
        ("reservedSystemCPUs: 3-1", "reservedSystemCPUs: must be a list of CPUs such as \"0-1,4\", not \"3-1\""),
        ("authentication: {anonymous: {enabled: true}}", "authentication.anonymous.enabled: Corten supports false only, not true"),
        ("authentication: {webhook: {cacheTTL: 5}}", "authentication.webhook.cacheTTL: must be a duration such as \"1m30s\", not 5"),
        ("authentication: {x509: {caFile: /a}}", "authentication.x509.caFile: unknown setting"),
        ("authorization: {mode: AlwaysAllow}", "authorization.mode: Corten supports \"Webhook\" only, not \"AlwaysAllow\""),
        ("healthzPort: 70000", "healthzPort: must be between 0 and 65535, not 70000"),
        ("fileCheckFrequency: 1ns", "fileCheckFrequency: must be at least 100ms, not 1ns"),
        ("nodeStatusUpdateFrequency: 1ms", "nodeStatusUpdateFrequency: must be at least 100ms, not 1ms"),
        ("enableSystemLogHandler: false\nenableSystemLogQuery: true", "enableSystemLogQuery: needs enableSystemLogHandler"),
        ("imageServiceEndpoint: tcp://x:1", "imageServiceEndpoint: must be the path of a unix socket, not \"tcp://x:1\""),
        ("podLogsDir: logs", "podLogsDir: pod logs path \"logs\" must be absolute path"),
        ("podLogsDir: /a/../b", "podLogsDir: \"/a/../b\" is not a plain path"),
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
fn who_is_known_and_for_how_long() {
    let text = "
authentication: {anonymous: {enabled: false}, webhook: {enabled: false, cacheTTL: 1m}, x509: {clientCAFile: /etc/ca.crt}}
authorization: {mode: Webhook, webhook: {cacheAuthorizedTTL: 7s, cacheUnauthorizedTTL: 0s}}
healthzPort: 10248
";
    let config = load(text).unwrap();
    let seconds = Duration::from_secs;
    let expected = Access { tokens: false, token_ttl: seconds(60), allowed_ttl: seconds(7), denied_ttl: seconds(30) };
    assert_eq!((config.access, config.healthz), (expected, Some("127.0.0.1:10248".parse().unwrap())));
    assert_eq!(load("healthzPort: 0").unwrap().healthz, None);
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

#[test]
fn numbers_come_to_what_they_mean() {
    let text = "
serializeImagePulls: true
registryPullQPS: 3
registryBurst: 4
containerLogMaxSize: 1Mi
containerLogMaxFiles: 3
reservedSystemCPUs: 0-1,4,1
nodeStatusMaxImages: -1
podPidsLimit: 100
enforceNodeAllocatable: [none]
port: 10350
readOnlyPort: 0
";
    let config = load(text).unwrap();
    assert_eq!((config.parallel_pulls, config.pull_rate), (Some(1), Some((3.0, 4))));
    assert_eq!((config.log_max_size, config.log_max_files), (1 << 20, 3));
    assert_eq!((config.reserved_cpus, config.pod_pids_limit, config.status_max_images), (Some(3), Some(100), None));
    assert_eq!((config.enforce_allocatable, config.address, config.port), (false, None, Some(10350)));
    assert!(config.without_effect().is_empty(), "{:?}", config.without_effect());
    let config = load("registryPullQPS: 0\nmaxParallelImagePulls: 4\npodPidsLimit: -1\nreservedSystemCPUs: ''").unwrap();
    assert_eq!((config.pull_rate, config.parallel_pulls, config.pod_pids_limit, config.reserved_cpus), (None, Some(4), None, None));
    assert_eq!(load("").unwrap().status_max_images, Some(50));
}

#[test]
fn what_is_in_vain_is_said() {
    let silent = |text: &str| load(text).unwrap().without_effect().into_iter().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(
        silent("maxPods: 5\nauthentication: {x509: {clientCAFile: /ca.crt}}\ncgroupRoot: /"),
        ["cgroupRoot", "authentication.x509.clientCAFile"]
    );
    assert!(silent("authentication: {x509: {}, webhook: {enabled: true}}").is_empty());
    let wrong = load("authentication: {x509: {clientCAFile: 5}}").unwrap_err();
    assert_eq!(wrong, "authentication.x509.clientCAFile: must be a text, not 5");
}

/// What `docs/kubelet-configuration.md` says of every setting is what happens to it.
#[test]
fn the_table_of_settings_is_true() {
    use super::fields::{Effect, FIELDS};
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/kubelet-configuration.md")).unwrap();
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | "));
    let rows: BTreeMap<&str, &str> = rows.map(|(name, rest)| (name, rest.split(" |").next().unwrap_or_default())).collect();
    for (name, _, effect) in FIELDS {
        let expected = match effect {
            Effect::Yes => "acts".to_owned(),
            Effect::Only(values) => format!("only `{}`", values[0]),
            Effect::No => "no effect".to_owned(),
        };
        assert_eq!(rows.get(name).copied(), Some(expected.as_str()), "{name}");
    }
    assert_eq!(rows.len(), FIELDS.len());
}
