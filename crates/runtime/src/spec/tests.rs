use std::path::{Path, PathBuf};

use corten_cri::v1::{self, LinuxContainerConfig, LinuxContainerSecurityContext, NamespaceMode, NamespaceOption};
use corten_image::ContainerConfig as ImageConfig;
use serde_json::Value;

use super::{Labels, Profiles, Source, User, make};
use crate::cgroup::Layout;
use crate::container::Volumes;
use crate::paths::Paths;

/// Makes a spec from what differs from the defaults.
fn spec(config: v1::ContainerConfig, image: &ImageConfig) -> Result<Value, String> {
    labelled(config, image, None, false)
}

fn labelled(config: v1::ContainerConfig, image: &ImageConfig, labels: Option<&Labels>, foreign: bool) -> Result<Value, String> {
    let paths = Paths::new(Path::new("/state"), Path::new("/run"));
    let sandbox_config = v1::PodSandboxConfig::default();
    let layout = Layout::Separate([("memory".to_owned(), PathBuf::from("/sys/fs/cgroup/memory"))].into());
    let mut config = config;
    let security = config.linux.get_or_insert_default().security_context.get_or_insert_default();
    security.namespace_options.get_or_insert(NamespaceOption { pid: NamespaceMode::Container as i32, ..NamespaceOption::default() });
    make(&Source {
        config: &config,
        sandbox_config: &sandbox_config,
        sandbox: &paths.sandbox("s"),
        container: &paths.container("c"),
        hostname: "pod",
        image,
        user: &User { uid: 5, gid: 6, groups: vec![6, 7], home: Some("/home/x".to_owned()) },
        cgroup: "/corten/pod/c",
        layout: &layout,
        mapping: None,
        volumes: &Volumes::new(),
        profiles: &Profiles::default(),
        labels,
        foreign,
        pause: None,
        target: None,
    })
    .map_err(|error| error.to_string())
}

fn strings(list: &[&str]) -> Vec<String> {
    list.iter().map(|item| (*item).to_owned()).collect()
}

fn image() -> ImageConfig {
    ImageConfig {
        entrypoint: strings(&["/entry"]),
        cmd: strings(&["default"]),
        env: strings(&["A=image", "B=image"]),
        working_dir: "/srv".to_owned(),
        ..ImageConfig::default()
    }
}

#[test]
fn command_and_arguments_replace_what_the_image_says() {
    let args = |command: &[&str], args: &[&str]| {
        let config = v1::ContainerConfig { command: strings(command), args: strings(args), ..v1::ContainerConfig::default() };
        spec(config, &image()).unwrap()["process"]["args"].clone()
    };
    assert_eq!(args(&[], &[]), serde_json::json!(["/entry", "default"]));
    assert_eq!(args(&[], &["mine"]), serde_json::json!(["/entry", "mine"]));
    assert_eq!(args(&["/own"], &[]), serde_json::json!(["/own"]));
    assert_eq!(args(&["/own"], &["mine"]), serde_json::json!(["/own", "mine"]));
    assert_eq!(spec(v1::ContainerConfig::default(), &ImageConfig::default()).unwrap_err(), "no command specified");
}

#[test]
fn the_environment_is_merged_by_name() {
    let pair = |key: &str, value: &str| v1::KeyValue { key: key.to_owned(), value: value.to_owned() };
    let config = v1::ContainerConfig { envs: vec![pair("A", "pod"), pair("C", "x=y")], tty: true, ..v1::ContainerConfig::default() };
    let made = spec(config, &image()).unwrap();
    let env: Vec<&str> = made["process"]["env"].as_array().unwrap().iter().map(|entry| entry.as_str().unwrap()).collect();
    for expected in ["A=pod", "B=image", "C=x=y", "HOSTNAME=pod", "TERM=xterm", "HOME=/home/x"] {
        assert!(env.contains(&expected), "{expected} in {env:?}");
    }
    assert_eq!(env.iter().filter(|entry| entry.starts_with("A=")).count(), 1);
    assert_eq!(made["process"]["cwd"], "/srv");
    assert_eq!(made["process"]["user"]["additionalGids"], serde_json::json!([6, 7]));
}

#[test]
fn an_ordinary_container_is_confined() {
    let made = spec(v1::ContainerConfig::default(), &image()).unwrap();
    let linux = &made["linux"];
    let kinds: Vec<&str> = linux["namespaces"].as_array().unwrap().iter().map(|ns| ns["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["mount", "network", "uts", "ipc", "pid"]);
    let read_only = linux["readonlyPaths"].as_array().unwrap();
    assert!(read_only.iter().any(|path| path == "/sys/fs/cgroup/memory") && read_only.iter().any(|path| path == "/proc/sys"));
    assert!(linux["maskedPaths"].as_array().unwrap().iter().any(|path| path == "/proc/kcore"));
    assert_eq!(linux["resources"]["devices"][0]["allow"], false);
    assert!(made["process"].get("noNewPrivileges").is_none(), "its mere presence means something");
}

#[test]
fn a_privileged_container_is_not() {
    let security = LinuxContainerSecurityContext { privileged: true, ..LinuxContainerSecurityContext::default() };
    let linux = LinuxContainerConfig { security_context: Some(security), resources: None };
    let made = spec(v1::ContainerConfig { linux: Some(linux), ..v1::ContainerConfig::default() }, &image()).unwrap();
    assert!(made["linux"].get("seccomp").is_none());
    assert_eq!(made["linux"]["maskedPaths"], serde_json::json!([]));
    assert_eq!(made["linux"]["resources"]["devices"][0]["allow"], true);
}

#[test]
fn mounts_replace_the_usual_ones_and_deeper_ones_come_later() {
    let dir = tempfile::tempdir().unwrap();
    let mount = |path: &str, readonly| v1::Mount {
        container_path: path.to_owned(),
        host_path: dir.path().display().to_string(),
        readonly,
        ..v1::Mount::default()
    };
    let mounts = vec![mount("/data/deep/down", false), mount("/etc/hosts", true), mount("/data", false)];
    let made = spec(v1::ContainerConfig { mounts, ..v1::ContainerConfig::default() }, &image()).unwrap();
    let all = made["mounts"].as_array().unwrap();
    let at = |path: &str| all.iter().position(|mount| mount["destination"] == path).unwrap();
    assert_eq!(all.iter().filter(|mount| mount["destination"] == "/etc/hosts").count(), 1);
    assert_eq!(all[at("/etc/hosts")]["source"], dir.path().to_str().unwrap());
    assert_eq!(all[at("/etc/hosts")]["options"], serde_json::json!(["rbind", "rprivate", "ro"]));
    assert!(at("/data") < at("/data/deep/down"));
}

#[test]
fn the_default_seccomp_profile_follows_the_capabilities() {
    let profile = |add: &[&str]| {
        let security = LinuxContainerSecurityContext {
            capabilities: Some(v1::Capability { add_capabilities: strings(add), ..v1::Capability::default() }),
            seccomp: Some(v1::SecurityProfile::default()),
            ..LinuxContainerSecurityContext::default()
        };
        let linux = LinuxContainerConfig { security_context: Some(security), resources: None };
        spec(v1::ContainerConfig { linux: Some(linux), ..v1::ContainerConfig::default() }, &image()).unwrap()["linux"]["seccomp"].clone()
    };
    let allows = |profile: &Value, name: &str| profile["syscalls"][0]["names"].as_array().unwrap().iter().any(|known| known == name);
    let plain = profile(&[]);
    assert_eq!(plain["defaultAction"], "SCMP_ACT_ERRNO");
    assert!(allows(&plain, "openat") && allows(&plain, "chroot") && !allows(&plain, "mount") && !allows(&plain, "init_module"));
    assert!(allows(&profile(&["SYS_ADMIN"]), "mount"));
}

#[test]
fn bad_configuration_is_refused() {
    let with = |security: LinuxContainerSecurityContext| {
        let linux = LinuxContainerConfig { security_context: Some(security), resources: None };
        spec(v1::ContainerConfig { linux: Some(linux), ..v1::ContainerConfig::default() }, &image())
    };
    let seccomp = v1::SecurityProfile { profile_type: 2, localhost_ref: "/no/such/profile".to_owned() };
    let error = with(LinuxContainerSecurityContext { seccomp: Some(seccomp), ..LinuxContainerSecurityContext::default() });
    assert!(error.unwrap_err().contains("/no/such/profile"));
    let relative = v1::ContainerConfig { working_dir: "here".to_owned(), ..v1::ContainerConfig::default() };
    assert!(spec(relative, &image()).unwrap_err().contains("not absolute"));
}

#[test]
fn only_mounts_of_the_containers_own_are_labelled() {
    let labels = Labels { process: "u:r:p:s0".to_owned(), files: "u:r:f:s0".to_owned() };
    let made = |labels, foreign| labelled(v1::ContainerConfig::default(), &image(), labels, foreign).unwrap();
    let own = made(Some(&labels), false);
    assert_eq!((&own["process"]["selinuxLabel"], &own["linux"]["mountLabel"]), (&"u:r:p:s0".into(), &Value::Null));
    let with_label = |spec: &Value| -> Vec<String> {
        let mounts = spec["mounts"].as_array().unwrap().iter();
        let labelled = mounts.filter(|mount| mount["options"].as_array().unwrap().contains(&"context=u:r:f:s0".into()));
        labelled.map(|mount| mount["destination"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(with_label(&own), ["/dev", "/dev/pts"]);
    // Other programs know themselves what can have one.
    let foreign = made(Some(&labels), true);
    assert_eq!((&foreign["process"]["selinuxLabel"], &foreign["linux"]["mountLabel"]), (&"u:r:p:s0".into(), &"u:r:f:s0".into()));
    assert!(with_label(&foreign).is_empty());
    assert_eq!(made(None, false)["process"]["selinuxLabel"], Value::Null);
}
