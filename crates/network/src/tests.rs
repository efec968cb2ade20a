use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};

use ipnet::IpNet;

use crate::ipam::Pool;
use crate::{NetworkError, Options, PodNetwork, fabric, links, netns, node};

#[test]
fn addresses_are_handed_out_in_turn() {
    let mut pool = Pool::default();
    assert_eq!(pool.allocate("a"), None, "no range yet");
    pool.set_range("10.42.0.0/29".parse().unwrap());
    let all: Vec<_> = (0..6).map(|n| pool.allocate(&n.to_string()).unwrap()).collect();
    assert_eq!(all.first(), Some(&Ipv4Addr::new(10, 42, 0, 1)));
    assert_eq!(all.last(), Some(&Ipv4Addr::new(10, 42, 0, 6)));
    assert_eq!(pool.allocate("full"), None);
    pool.release(Ipv4Addr::new(10, 42, 0, 2));
    pool.release(Ipv4Addr::new(10, 42, 0, 4));
    assert_eq!(pool.allocate("again"), Some(Ipv4Addr::new(10, 42, 0, 2)));
    pool.release(Ipv4Addr::new(10, 42, 0, 2));
    assert_eq!(pool.allocate("later"), Some(Ipv4Addr::new(10, 42, 0, 4)), "what was just released comes last");
}

/// Pinned namespaces that go away with the test, however it ends.
pub(crate) struct Namespaces(tempfile::TempDir);

impl Namespaces {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn create(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        netns::create(&path).unwrap();
        path
    }

    /// A node: a namespace with an address of its own, which it speaks to its pods from.
    pub(crate) fn create_node(&self) -> PathBuf {
        let path = self.create("node");
        let node = path.clone();
        in_node(&path, async move || {
            netns::within(&node, async |handle| {
                let lo = links::existing(&handle, "lo").await?;
                links::add_address(&handle, lo, Ipv4Addr::new(10, 41, 0, 1), 32).await
            })
            .await
            .unwrap();
        });
        path
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        for entry in std::fs::read_dir(self.0.path()).unwrap() {
            let path = entry.unwrap().path();
            if netns::is_pinned(&path) {
                netns::remove(&path).unwrap();
            }
        }
    }
}

/// Runs async work on a runtime whose only thread is in the namespace, as a node's is.
pub(crate) fn in_node<T: Send + 'static>(node: &Path, work: impl AsyncFnOnce() -> T + Send + 'static) -> T {
    netns::run(node, move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(work())
    })
    .unwrap()
}

fn options(dir: &Path) -> Options {
    Options { dir: dir.to_owned(), node_address: None, mtu: 1500 }
}

/// Listens in one namespace, connects from another, and returns what came through and who the server saw.
fn talk(server: &Path, at: IpAddr, client: &Path) -> (String, IpAddr) {
    let address = SocketAddr::new(at, 8080);
    let listener = netns::run(server, move || TcpListener::bind(address).unwrap()).unwrap();
    let serving = std::thread::spawn(move || {
        let (mut stream, peer) = listener.accept().unwrap();
        stream.write_all(b"hello").unwrap();
        peer.ip()
    });
    let text = netns::run(client, move || {
        let mut text = String::new();
        TcpStream::connect(address).unwrap().read_to_string(&mut text).unwrap();
        text
    })
    .unwrap();
    (text, serving.join().unwrap())
}

#[test]
fn namespace_is_pinned_and_removed() {
    let namespaces = Namespaces::new();
    let path = namespaces.create("one");
    assert!(netns::is_pinned(&path));
    netns::create(&path).unwrap();
    let loopback = netns::run(&path, || TcpListener::bind("127.0.0.1:0").is_ok()).unwrap();
    assert!(loopback, "lo is up");
    netns::remove(&path).unwrap();
    assert!(!path.exists());
    netns::remove(&path).unwrap();
}

#[test]
fn pods_reach_each_other_and_the_node() {
    let namespaces = Namespaces::new();
    let (node, one, two) = (namespaces.create_node(), namespaces.create("one"), namespaces.create("two"));
    let dir = namespaces.path("records");
    let (first, second) = (one.clone(), two.clone());
    let addresses = in_node(&node, async move || {
        node::NodeNetwork::open().unwrap().enable_forwarding().unwrap();
        let network = PodNetwork::open(options(&dir)).await.unwrap();
        assert!(matches!(network.attach("one", &first).await, Err(NetworkError::NotReady)));
        network.set_pod_cidr("10.42.7.0/24".parse().unwrap()).unwrap();
        let one = network.attach("one", &first).await.unwrap();
        let two = network.attach("two", &second).await.unwrap();
        assert_eq!(network.attach("one", &first).await.unwrap(), one, "attaching again changes nothing");
        [one.addresses[0], two.addresses[0]]
    });
    assert_eq!(talk(&one, addresses[0], &two), ("hello".into(), addresses[1]));
    assert_eq!(talk(&two, addresses[1], &one), ("hello".into(), addresses[0]));
    assert_eq!(talk(&two, addresses[1], &node).0, "hello");
}

#[test]
fn records_survive_a_restart_and_dead_sandboxes_are_forgotten() {
    let namespaces = Namespaces::new();
    let (node, one) = (namespaces.create_node(), namespaces.create("one"));
    let dir = namespaces.path("records");
    in_node(&node, async move || {
        let range = "10.42.7.0/24".parse().unwrap();
        let network = PodNetwork::open(options(&dir)).await.unwrap();
        network.set_pod_cidr(range).unwrap();
        let before = network.attach("one", &one).await.unwrap();
        drop(network);
        // What a process that is killed while it writes a record leaves behind.
        std::fs::write(dir.join("two.tmp"), "{").unwrap();

        let network = PodNetwork::open(options(&dir)).await.unwrap();
        network.set_pod_cidr(range).unwrap();
        assert_eq!(network.attachment("one"), Some(before.clone()));
        assert_eq!(network.attach("one", &one).await.unwrap(), before);
        network.retain(&HashSet::new()).await.unwrap();
        assert_eq!(network.attachment("one"), None);
        assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 0);
        network.detach("one").await.unwrap();
    });
}

#[test]
fn guarded_ranges_are_unreachable_but_pods_in_them_are_not() {
    let namespaces = Namespaces::new();
    let (node, one) = (namespaces.create_node(), namespaces.create("one"));
    let dir = namespaces.path("records");
    let pod = one.clone();
    let address = in_node(&node, async move || {
        let routes = node::NodeNetwork::open().unwrap();
        let pods: IpNet = "10.42.0.0/16".parse().unwrap();
        let services: [IpNet; 2] = ["10.43.0.0/16", "fd00:43::/112"].map(|range| range.parse().unwrap());
        routes.guard(&[pods, services[0], services[1]]).await.unwrap();
        routes.guard(&[pods, services[1]]).await.unwrap();
        // Where the kernel has no IPv6 there is nothing to refuse.
        let ipv6 = Path::new("/proc/net/if_inet6").exists().then_some("[fd00:43::1]:443");
        let refused = |errno: rustix::io::Errno, why: &str| {
            for service in ["10.43.0.1:443"].into_iter().chain(ipv6) {
                let error = TcpStream::connect(service).unwrap_err();
                assert_eq!(error.raw_os_error(), Some(errno.raw_os_error()), "{service}: {why}");
            }
        };
        refused(rustix::io::Errno::HOSTUNREACH, "guarded");
        routes.unguard(&services).await.unwrap();
        routes.unguard(&services).await.unwrap();
        refused(rustix::io::Errno::NETUNREACH, "no route at all");
        let network = PodNetwork::open(options(&dir)).await.unwrap();
        network.set_pod_cidr("10.42.0.0/24".parse().unwrap()).unwrap();
        network.attach("one", &pod).await.unwrap().addresses[0]
    });
    assert_eq!(talk(&one, address, &node).0, "hello");
}

#[test]
fn nodes_of_one_machine_reach_each_others_pods() {
    let namespaces = Namespaces::new();
    let wire = namespaces.path("fabric");
    let network: ipnet::Ipv4Net = "10.41.0.0/24".parse().unwrap();
    let mut pods = Vec::new();
    for n in 1..=2_u8 {
        let (node, pod) = (namespaces.path(&format!("node{n}")), namespaces.create(&format!("pod{n}")));
        let dir = namespaces.path(&format!("records{n}"));
        let address = Ipv4Addr::new(10, 41, 0, n);
        let (inner, wire) = (node.clone(), wire.clone());
        in_node(&pod.clone(), async move || {
            fabric::connect(&wire, &inner, address, network).await.unwrap();
            fabric::connect(&wire, &inner, address, network).await.unwrap();
        });
        let inner = pod.clone();
        let ip = in_node(&node, async move || {
            let mut routes = node::NodeNetwork::open().unwrap();
            routes.enable_forwarding().unwrap();
            let other = 3 - n;
            let peer = (format!("10.42.{other}.0/24").parse().unwrap(), Ipv4Addr::new(10, 41, 0, other));
            let nowhere = ("10.42.9.0/24".parse().unwrap(), Ipv4Addr::new(192, 0, 2, 1));
            assert_eq!(routes.set_peers(&HashSet::from([nowhere, peer])).await.len(), 1, "a peer without a way to it");
            assert_eq!(node::primary_address().await.unwrap(), Some(address));
            let network = PodNetwork::open(options(&dir)).await.unwrap();
            network.set_pod_cidr(format!("10.42.{n}.0/24").parse().unwrap()).unwrap();
            network.attach("pod", &inner).await.unwrap().addresses[0]
        });
        pods.push((pod, ip));
    }
    let [(one, first), (two, second)] = &pods[..] else { panic!("two pods") };
    assert_eq!(talk(two, *second, one), ("hello".into(), *first));
}
