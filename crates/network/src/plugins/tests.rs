//! Against the plugins of Debian, in network namespaces of the test.

use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::{Map, Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::unix::pipe;

use super::list::List;
use super::{Directories, PluginError, Plugins, Pod, result};
use crate::tests::{Namespaces, in_node};
use crate::{links, netns};

fn list(value: Value) -> Result<List, String> {
    List::of(value.as_object().unwrap().clone())
}

#[test]
fn a_network_is_a_list_or_a_single_plugin() {
    let one = list(json!({"cniVersion": "0.3.1", "name": "n", "type": "bridge", "bridge": "b"})).unwrap();
    assert_eq!((one.version.as_str(), one.plugins.len()), ("0.3.1", 1));
    let newest = list(json!({"cniVersion": "0.4.0", "cniVersions": ["1.0.0", "1.1.0", "9.0.0"], "name": "n", "plugins": [{"type": "x"}]}));
    assert_eq!(newest.unwrap().version, "1.1.0");
    assert_eq!(list(json!({"name": "n", "type": "x"})).unwrap().version, "0.1.0");

    for (network, words) in [
        (json!({"cniVersion": "1.0.0", "plugins": [{"type": "x"}]}), "it has no name"),
        (json!({"cniVersion": "1.0.0", "name": "../n", "plugins": [{"type": "x"}]}), "\"../n\" is not a network's name"),
        (json!({"cniVersion": "3.0.0", "name": "n", "plugins": [{"type": "x"}]}), "CNI version 3.0.0 is not one of 0.1.0"),
        (json!({"cniVersion": "1.0.0", "name": "n", "plugins": []}), "it has no plugins"),
        (json!({"cniVersion": "1.0.0", "name": "n", "plugins": [{}]}), "a plugin has no type"),
        (json!({"cniVersion": "1.0.0", "name": "n", "plugins": [{"type": "../sh"}]}), "\"../sh\" is not a plugin's type"),
        (json!({"cniVersion": "1.0.0", "name": "n", "plugins": [3]}), "3 is not a plugin"),
        (json!({"cniVersion": "1.0.0", "name": "n"}), "it has neither plugins nor a type"),
        (json!({"cniVersion": "1.0.0", "name": "n", "disableGC": 1, "type": "x"}), "disableGC is 1, not true or false"),
    ] {
        let error = list(network).unwrap_err();
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn plugins_get_the_capabilities_that_they_ask_for() {
    let network = json!({"cniVersion": "1.0.0", "name": "n", "plugins": [
        {"type": "a", "capabilities": {"portMappings": true, "dns": false}, "x": 1}, {"type": "b"}]});
    let network = list(network).unwrap();
    let given = json!({"portMappings": [{"hostPort": 80}], "dns": {"servers": ["10.0.0.1"]}});
    let inputs: Vec<Value> =
        network.plugins.iter().map(|plugin| network.input(plugin, given.as_object().unwrap(), Some(&json!({"ips": []})))).collect();
    let common = json!({"name": "n", "cniVersion": "1.0.0", "prevResult": {"ips": []}});
    let with = |more: Value| {
        let mut all = common.clone();
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        all
    };
    assert_eq!(inputs[0], with(json!({"type": "a", "x": 1, "runtimeConfig": {"portMappings": [{"hostPort": 80}]}})));
    assert_eq!(inputs[1], with(json!({"type": "b"})));
}

fn addresses(version: &str, answer: Value) -> Result<Vec<IpAddr>, String> {
    result::addresses(&result::parse(answer.to_string().as_bytes(), version)?, "eth0")
}

#[test]
fn results_of_every_version_are_read_and_checked() {
    let ip = |text: &str| text.parse::<IpAddr>().unwrap();
    let old = json!({"cniVersion": "0.2.0", "ip4": {"ip": "10.1.0.5/16", "gateway": "10.1.0.1"}, "ip6": {"ip": "fd00::5/64"}});
    assert_eq!(addresses("0.2.0", old).unwrap(), [ip("10.1.0.5"), ip("fd00::5")]);
    let interfaces = json!([{"name": "br0"}, {"name": "eth0", "sandbox": "/ns"}, {"name": "eth1", "sandbox": "/ns"}]);
    let several = json!({"cniVersion": "1.0.0", "interfaces": interfaces, "ips": [
        {"address": "10.9.0.1/24", "interface": 0}, {"address": "fd00::7/64", "interface": 1},
        {"address": "10.1.0.7/24", "interface": 1}, {"address": "10.2.0.7/24", "interface": 2}]});
    assert_eq!(addresses("1.0.0", several).unwrap(), [ip("10.1.0.7"), ip("fd00::7")]);
    let bare = json!({"cniVersion": "0.3.1", "ips": [{"version": "4", "address": "10.1.0.9/24"}], "dns": {}});
    assert_eq!(addresses("0.3.1", bare).unwrap(), [ip("10.1.0.9")]);

    for (answer, words) in [
        (json!([]), "not an object"),
        (json!({"cniVersion": "0.4.0"}), "has version \"0.4.0\", and \"1.0.0\" was asked for"),
        (json!({"ips": [{"address": "10.1.0.5"}]}), "ips[0].address \"10.1.0.5\" is not an address with its prefix length"),
        (json!({"ips": [{}]}), "ips[0] has no address"),
        (json!({"ips": {}}), "ips is {}, not a list"),
        (json!({"ips": [{"address": "10.1.0.5/24", "interface": 0}]}), "ips[0].interface is 0, and there are 0 interfaces"),
        (json!({"ips": [{"address": "10.1.0.5/24", "gateway": "there"}]}), "ips[0].gateway \"there\" is not an address"),
        (json!({"interfaces": [{}]}), "interfaces[0] has no name"),
        (json!({"ips": [{"address": "10.1.0.5/24"}], "routes": [{"dst": "x"}]}), "routes[0].dst \"x\""),
        (json!({"ips": []}), "it has no address for eth0"),
    ] {
        let error = addresses("1.0.0", answer).unwrap_err();
        assert!(error.contains(words), "{error}");
    }
    assert_eq!(result::parse(b" ", "1.0.0").unwrap_err(), "it is empty");
}

/// A node with a network of plugins.
struct Node {
    namespaces: Namespaces,
    node: PathBuf,
    dir: tempfile::TempDir,
    programs: Vec<PathBuf>,
}

impl Node {
    fn new() -> Self {
        let namespaces = Namespaces::new();
        let (node, dir) = (namespaces.create("node"), tempfile::tempdir().unwrap());
        for name in ["records", "conf", "bin"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        let programs = vec![dir.path().join("bin"), corten_testkit::debs::cni_plugins().unwrap()];
        Self { namespaces, node, dir, programs }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn configure(&self, file: &str, network: &Value) {
        fs::write(self.path("conf").join(file), network.to_string()).unwrap();
    }

    /// A plugin of the test: a script.
    fn plugin(&self, name: &str, script: &str) {
        let path = self.path("bin").join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Does something with the network, as a daemon that was just started.
    fn with<T: Send + 'static>(&self, work: impl AsyncFnOnce(Plugins) -> T + Send + 'static) -> T {
        let directories = Directories { configurations: self.path("conf"), programs: self.programs.clone() };
        let plugins = Plugins::new(self.path("records"), Some(directories));
        in_node(&self.node, async move || work(plugins).await)
    }

    fn pod(&self, id: &str) -> Pod {
        let netns = self.namespaces.create(id);
        let capabilities = json!({"portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]});
        let Value::Object(capabilities) = capabilities else { unreachable!() };
        Pod { id: id.to_owned(), namespace: "default".into(), name: format!("pod-{id}"), uid: format!("uid-{id}"), netns, capabilities }
    }

    fn attach(&self, pod: &Pod) -> Result<Vec<IpAddr>, PluginError> {
        let pod = pod.clone();
        self.with(async move |plugins| plugins.attach(&pod).await.map(|attachment| attachment.addresses))
    }

    fn detach(&self, id: &str) -> Result<(), PluginError> {
        let id = id.to_owned();
        self.with(async move |plugins| plugins.detach(&id).await)
    }

    fn ready(&self) -> Result<(), PluginError> {
        self.with(async move |plugins| plugins.ready().await)
    }

    fn records(&self) -> usize {
        fs::read_dir(self.path("records")).unwrap().count()
    }

    fn leases(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path("leases/test")).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().into_string().ok()).filter(|name| name.starts_with("10.")).collect()
    }

    fn bridge(&self) -> Value {
        let ipam =
            json!({"type": "host-local", "subnet": "10.77.0.0/24", "dataDir": self.path("leases"), "routes": [{"dst": "0.0.0.0/0"}]});
        json!({"type": "bridge", "bridge": "br-test", "isGateway": true, "ipam": ipam})
    }
}

fn has_link(namespace: &Path, name: &'static str) -> bool {
    let path = namespace.to_owned();
    let inside = in_node(namespace, async move || netns::within(&path, async move |handle| links::index(&handle, name).await).await);
    inside.unwrap().is_some()
}

/// A plugin that notes what it was called with and answers with a result of its own.
const NOTE: &str = r#"
case $CNI_COMMAND in VERSION) echo '{"cniVersion":"1.1.0","supportedVersions":["0.4.0","1.0.0","1.1.0"]}'; exit;; esac
dir=$(dirname "$0"); input=$(cat)
printf '%s %s %s %s\n' "$CNI_COMMAND" "$CNI_CONTAINERID" "$CNI_IFNAME" "$CNI_ARGS" >> "$dir/calls"
printf '%s\n' "$input" > "$dir/input.$CNI_COMMAND"
if [ -e "$dir/fail.$CNI_COMMAND" ]; then cat "$dir/fail.$CNI_COMMAND"; exit 1; fi
if [ "$CNI_COMMAND" = ADD ]; then cat "$dir/result" 2>/dev/null || printf '{"cniVersion":"1.0.0","interfaces":[{"name":"eth0","sandbox":"%s"}],"ips":[{"address":"10.77.0.200/24","interface":0}]}' "$CNI_NETNS"; fi
"#;

#[test]
fn bridge_and_host_local_attach_pods_and_let_them_go() {
    let node = Node::new();
    node.plugin("note", NOTE);
    assert!(matches!(node.ready(), Err(PluginError::NoNetwork(_))));
    node.configure("00-broken.conflist", &json!({"name": "broken"}));
    assert!(node.ready().unwrap_err().to_string().ends_with("00-broken.conflist: it has neither plugins nor a type"));
    let note = json!({"type": "note", "capabilities": {"portMappings": true}});
    node.configure("10-test.conflist", &json!({"cniVersion": "1.0.0", "name": "test", "plugins": [note, node.bridge()]}));
    node.ready().unwrap();

    let (one, two) = (node.pod("one"), node.pod("two"));
    assert_eq!(node.attach(&one).unwrap(), ["10.77.0.2".parse::<IpAddr>().unwrap()]);
    assert_eq!(node.attach(&two).unwrap(), ["10.77.0.3".parse::<IpAddr>().unwrap()]);
    assert!(has_link(&node.node, "br-test") && has_link(&one.netns, "eth0") && has_link(&two.netns, "eth0"));
    // A pod reaches the other over the bridge, and itself over its loopback.
    for (from, target) in [(&one.netns, "10.77.0.3:80"), (&two.netns, "127.0.0.1:80")] {
        let listening = netns::run(&two.netns, || std::net::TcpListener::bind("0.0.0.0:80").unwrap()).unwrap();
        netns::run(from, move || std::net::TcpStream::connect(target).unwrap()).unwrap();
        drop(listening);
    }
    let input: Value = serde_json::from_slice(&fs::read(node.path("bin/input.ADD")).unwrap()).unwrap();
    assert_eq!(input["runtimeConfig"]["portMappings"][0]["hostPort"], 8080);
    assert_eq!((&input["name"], &input["cniVersion"], input.get("capabilities")), (&json!("test"), &json!("1.0.0"), None));
    assert_eq!(input.get("prevResult"), None, "it is the first");

    // The next daemon finds what was attached, checks it, and drops what no pod has any more.
    node.with(async |plugins| {
        let live = std::collections::HashSet::from(["one".to_owned()]);
        plugins.check("one").await.unwrap();
        // The other is still attached then, and not looked at.
        plugins.check_all(&live).await.unwrap();
        plugins.retain(&live).await.unwrap();
    });
    assert_eq!((node.leases(), node.records()), (vec!["10.77.0.2".to_owned()], 1));
    let calls = fs::read_to_string(node.path("bin/calls")).unwrap();
    let args = "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=pod-two;K8S_POD_INFRA_CONTAINER_ID=two;K8S_POD_UID=uid-two";
    assert!(calls.contains(&format!("DEL two eth0 {args}\n")), "{calls}");
    assert_eq!((calls.matches("CHECK one eth0").count(), calls.matches("CHECK two").count()), (2, 0), "{calls}");
    let deleted: Value = serde_json::from_slice(&fs::read(node.path("bin/input.DEL")).unwrap()).unwrap();
    assert_eq!(deleted["prevResult"]["ips"][0]["address"], "10.77.0.3/24");

    // What was attached is taken away by the plugins that did it, whatever is configured by then, and without its namespace.
    fs::remove_file(node.path("conf/10-test.conflist")).unwrap();
    netns::remove(&one.netns).unwrap();
    for _ in 0..2 {
        node.detach("one").unwrap();
    }
    assert_eq!((node.leases(), node.records()), (vec![], 0));
}

#[test]
fn ports_of_the_node_lead_to_the_pod() {
    corten_testkit::packages::install(&["iptables"], "what the CNI plugin portmap drives").unwrap();
    let node = Node::new();
    let portmap = json!({"type": "portmap", "capabilities": {"portMappings": true}, "snat": true});
    node.configure("10.conflist", &json!({"cniVersion": "0.4.0", "name": "test", "plugins": [node.bridge(), portmap]}));
    let pod = node.pod("one");
    node.attach(&pod).unwrap();
    let listening = netns::run(&pod.netns, || std::net::TcpListener::bind("0.0.0.0:80").unwrap()).unwrap();
    let connect = || std::net::TcpStream::connect("10.77.0.1:8080").map(drop).map_err(|error| error.kind());
    netns::run(&node.node, connect).unwrap().unwrap();
    drop(listening);
    node.detach("one").unwrap();
    assert_eq!(netns::run(&node.node, connect).unwrap(), Err(std::io::ErrorKind::ConnectionRefused));
}

#[test]
fn what_fails_is_said_and_undone() {
    let node = Node::new();
    node.plugin("note", NOTE);
    let network = |version: &str, last: &str| json!({"cniVersion": version, "name": "test", "plugins": [node.bridge(), {"type": last}]});
    let pod = node.pod("one");

    node.configure("10.conflist", &network("1.0.0", "absent"));
    let words = node.ready().unwrap_err().to_string();
    assert!(words.starts_with("failed to find plugin \"absent\" in path ["), "{words}");
    assert_eq!(node.attach(&pod).unwrap_err().to_string(), words);
    assert_eq!(node.records(), 0);

    node.configure("10.conflist", &network("1.1.0", "note"));
    let words = node.ready().unwrap_err().to_string();
    assert!(words.starts_with("plugin type=\"bridge\" does not support CNI version \"1.1.0\"; it supports 0.1.0, "), "{words}");

    node.configure("10.conflist", &network("1.0.0", "note"));
    let told = json!({"cniVersion": "1.0.0", "code": 11, "msg": "no room", "details": "all 254 are taken"});
    fs::write(node.path("bin/fail.ADD"), told.to_string()).unwrap();
    assert_eq!(node.attach(&pod).unwrap_err().to_string(), "plugin type=\"note\" failed (add): no room; all 254 are taken");
    let input: Value = serde_json::from_slice(&fs::read(node.path("bin/input.ADD")).unwrap()).unwrap();
    assert_eq!(input["prevResult"]["ips"][0]["address"], "10.77.0.2/24", "the next plugin gets the result");
    assert_eq!((node.leases(), node.records()), (vec![], 0), "what the plugins before it did is undone");
    assert!(!has_link(&pod.netns, "eth0"));

    fs::write(node.path("bin/fail.ADD"), "").unwrap();
    assert_eq!(node.attach(&pod).unwrap_err().to_string(), "plugin type=\"note\" failed (add): it ended with exit status: 1");
    node.plugin("odd", "case $CNI_COMMAND in VERSION) echo '{}';; *) echo hello;; esac");
    node.configure("10.conflist", &network("1.0.0", "odd"));
    assert_eq!(node.ready().unwrap_err().to_string(), "plugin type=\"odd\" gave an invalid result: VERSION was answered with \"{}\"");
    let words = node.attach(&pod).unwrap_err().to_string();
    assert!(words.starts_with("plugin type=\"odd\" gave an invalid result: expected value"), "{words}");

    // One that writes without end is not read without end.
    node.plugin("odd", "case $CNI_COMMAND in VERSION) echo '{}';; *) exec yes >&2;; esac");
    node.configure("10.conflist", &network("1.0.0", "odd"));
    let words = node.attach(&pod).unwrap_err().to_string();
    assert!(words.starts_with("plugin type=\"odd\" failed (add): y\ny\n") && words.len() < 8 << 10, "{}", words.len());
    assert_eq!((node.leases().len(), node.records()), (1, 1), "it cannot delete either");
    node.plugin("odd", "");
    node.detach("one").unwrap();

    // One that cannot delete keeps its pod, and is asked again.
    fs::remove_file(node.path("bin/fail.ADD")).unwrap();
    node.configure("10.conflist", &network("1.0.0", "note"));
    node.attach(&pod).unwrap();
    fs::write(node.path("bin/fail.DEL"), "out of order").unwrap();
    assert_eq!(node.detach("one").unwrap_err().to_string(), "plugin type=\"note\" failed (del): out of order");
    // What a daemon finds left behind keeps it from nothing else.
    node.with(async |plugins| plugins.retain(&std::collections::HashSet::new()).await.unwrap());
    assert_eq!((node.leases().len(), node.records()), (1, 1));
    fs::remove_file(node.path("bin/fail.DEL")).unwrap();
    node.detach("one").unwrap();
    assert_eq!((node.leases(), node.records()), (vec![], 0));
}

#[test]
fn plugins_of_the_newest_version_are_asked_for_their_status_and_to_collect() {
    let node = Node::new();
    node.plugin("note", NOTE);
    node.plugin("first", NOTE);
    fs::write(node.path("bin/result"), json!({"cniVersion": "1.1.0", "ips": [{"address": "10.1.0.2/24"}]}).to_string()).unwrap();
    node.configure("10.conflist", &json!({"cniVersion": "1.1.0", "name": "test", "plugins": [{"type": "first"}, {"type": "note"}]}));
    node.ready().unwrap();
    fs::write(node.path("bin/fail.STATUS"), json!({"code": 50, "msg": "no uplink"}).to_string()).unwrap();
    assert_eq!(node.ready().unwrap_err().to_string(), "plugin type=\"first\" failed (status): no uplink");
    let pod = node.pod("one");
    node.attach(&pod).unwrap();
    node.with(async |plugins| plugins.retain(&["one".to_owned()].into()).await.unwrap());
    let input: Map<String, Value> = serde_json::from_slice(&fs::read(node.path("bin/input.GC")).unwrap()).unwrap();
    assert_eq!(input["cni.dev/valid-attachments"], json!([{"containerID": "one", "ifname": "eth0"}]));
    // A network may go without.
    fs::remove_file(node.path("bin/input.GC")).unwrap();
    let quiet = json!({"cniVersion": "1.1.0", "name": "test", "disableGC": true, "plugins": [{"type": "first"}]});
    node.configure("10.conflist", &quiet);
    node.with(async |plugins| plugins.retain(&["one".to_owned()].into()).await.unwrap());
    assert!(!node.path("bin/input.GC").exists());
    node.detach("one").unwrap();
}

#[test]
fn a_plugin_that_nobody_waits_for_ends_with_all_that_it_has_started() {
    let node = Node::new();
    let told = node.path("told");
    mknodat(CWD, &told, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    node.plugin("slow", &format!("sleep 1000 & echo $! > {}; wait", told.display()));
    node.configure("10.conflist", &json!({"cniVersion": "1.0.0", "name": "test", "plugins": [{"type": "slow"}]}));
    let pod = node.pod("one");
    let child = node.with(async move |plugins| {
        // Open for writing too, so that it does not end before somebody writes.
        let mut told = BufReader::new(pipe::OpenOptions::new().read_write(true).open_receiver(told).unwrap());
        let mut child = String::new();
        tokio::select! {
            ended = plugins.attach(&pod) => panic!("it has ended: {ended:?}"),
            told = told.read_line(&mut child) => assert!(told.is_ok(), "{told:?}"),
        }
        child
    });
    let stat = format!("/proc/{}/stat", child.trim());
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    // Killed, and gone or waiting for whoever is its parent now.
    while fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z ")) {
        assert!(std::time::Instant::now() < deadline, "{stat} is still there");
        std::thread::yield_now();
    }
}
