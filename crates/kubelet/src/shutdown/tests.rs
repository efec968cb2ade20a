//! The protocol with logind, over a real bus: `dbus-daemon`, and a logind that this test plays.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::AtomicU32;

use parking_lot::Mutex;
use serde_json::json;
use tokio::sync::mpsc;

use super::bus::Bus;
use super::bus::message::{Arg, Kind, Message};
use super::*;
use crate::admit::NodeFacts;
use crate::inbox::Inbox;

const PATIENCE: Duration = Duration::from_secs(60);

/// A bus of our own; it ends with the test.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start_bus(directory: &Path) -> Daemon {
    let config = directory.join("bus.conf");
    let text = format!(
        "<busconfig><type>system</type><listen>unix:path={}</listen><auth>EXTERNAL</auth>\
         <policy context=\"default\"><allow user=\"*\"/><allow own=\"*\"/><allow send_destination=\"*\"/>\
         <allow send_type=\"signal\"/><allow receive_sender=\"*\"/></policy></busconfig>",
        directory.join("bus").display()
    );
    fs::write(&config, text).unwrap();
    let mut daemon = Command::new("dbus-daemon");
    daemon.args(["--nofork", "--nopidfile", "--print-address=1", "--config-file"]).arg(&config).stdout(Stdio::piped());
    let mut child = daemon.spawn().expect("this test needs the program dbus-daemon (Debian: dbus-daemon)");
    // It says where it listens as soon as it does.
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut String::new()).unwrap();
    Daemon(child)
}

/// That the machine goes down, or not after all.
fn signal(begins: bool) -> Message {
    Message {
        kind: Kind::Signal,
        path: "/org/freedesktop/login1".into(),
        interface: "org.freedesktop.login1.Manager".into(),
        member: "PrepareForShutdown".into(),
        body: vec![Arg::Bool(begins)],
        ..Message::default()
    }
}

/// Plays systemd-logind (and systemd, which hands out signals) until the test ends: says when the machine goes down, also
/// just before it is asked, and notes the locks that it has given out by the end of each that can be read once the lock is closed.
async fn play(socket: PathBuf, drop_in: PathBuf, mut told: mpsc::Receiver<bool>, locks: mpsc::Sender<OwnedFd>) {
    let mut bus = Bus::connect(&socket).await.unwrap();
    for name in ["org.freedesktop.login1", "org.freedesktop.systemd1"] {
        bus.bus_call("RequestName", &[name.into(), Arg::Uint(0)]).await.unwrap();
    }
    locks.send(rustix::pipe::pipe().unwrap().0).await.unwrap();
    let (mut microseconds, mut going) = (5_000_000_u64, false);
    loop {
        let message = tokio::select! {
            Some(begins) = told.recv() => {
                going = begins;
                bus.send(signal(begins), None).await.unwrap();
                continue;
            }
            next = bus.next() => next.unwrap().0,
        };
        if message.kind != Kind::Call {
            continue;
        }
        let mut answer =
            Message { kind: Kind::Return, reply_to: Some(message.serial), destination: message.sender.clone(), ..Message::default() };
        match message.member.as_str() {
            "Get" if message.body.get(1) == Some(&"PreparingForShutdown".into()) => {
                bus.send(signal(true), None).await.unwrap();
                if !going {
                    bus.send(signal(false), None).await.unwrap();
                }
                answer.body = vec![Arg::Bool(going)];
            }
            "Get" => answer.body = vec![Arg::Number(microseconds)],
            "KillUnit" => {
                assert_eq!(message.body, ["systemd-logind.service".into(), "all".into(), Arg::Int(1)]);
                let text = fs::read_to_string(&drop_in).unwrap();
                let seconds: u64 = text.lines().find_map(|line| line.strip_prefix("InhibitDelayMaxSec=")).unwrap().parse().unwrap();
                microseconds = seconds * 1_000_000;
            }
            "Inhibit" => {
                assert_eq!((&message.body[0], &message.body[3]), (&"shutdown".into(), &"delay".into()));
                let (ours, theirs) = rustix::pipe::pipe().unwrap();
                answer.body = vec![Arg::Fd(0)];
                bus.send(answer, Some(theirs.as_fd())).await.unwrap();
                drop(theirs);
                locks.send(ours).await.unwrap();
                continue;
            }
            other => panic!("logind has no {other}"),
        }
        bus.send(answer, None).await.unwrap();
    }
}

async fn next(locks: &mut mpsc::Receiver<OwnedFd>) -> OwnedFd {
    tokio::time::timeout(PATIENCE, locks.recv()).await.unwrap().unwrap()
}

/// Waits until the holder of a lock has closed it.
async fn released(lock: OwnedFd) {
    let waited = tokio::task::spawn_blocking(move || rustix::io::read(&lock, &mut [0_u8; 1]));
    assert_eq!(tokio::time::timeout(PATIENCE, waited).await.unwrap().unwrap(), Ok(0));
}

fn pod(uid: &str, priority: i32) -> Arc<k8s_openapi::api::core::v1::Pod> {
    let spec = json!({"containers": [{"name": "c"}], "priority": priority, "terminationGracePeriodSeconds": 30});
    Arc::new(serde_json::from_value(json!({"metadata": {"name": uid, "namespace": "ns", "uid": uid}, "spec": spec})).unwrap())
}

/// Pods of an ordinary and of a critical priority, which have their places.
fn placed(registry: &Registry) -> [Arc<Inbox>; 2] {
    [("web", 0), ("critical", 2_000_000_000)].map(|(uid, priority)| {
        let pod = pod(uid, priority);
        let inbox = Arc::new(Inbox::new(Arc::clone(&pod)));
        registry.keep(&pod, &inbox);
        inbox
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_end_by_priority_while_logind_waits() {
    let directory = tempfile::tempdir().unwrap();
    let _daemon = start_bus(directory.path());
    let places = Places { bus: directory.path().join("bus"), drop_ins: directory.path().join("logind.conf.d") };
    let (tell, told) = mpsc::channel(4);
    let (locks, mut held) = mpsc::channel(4);
    let logind = tokio::spawn(play(places.bus.clone(), places.drop_ins.join("99-kubelet.conf"), told, locks));
    // It has its name.
    next(&mut held).await;

    let registry = Registry::default();
    let [web, critical] = placed(&registry);
    // Pods that end when they are told to, and note the order.
    let order = Mutex::new(Vec::new());
    let ends = async |inbox: &Inbox, name: &'static str| {
        while inbox.eviction().is_none() {
            inbox.woken().await;
        }
        order.lock().push(name);
        registry.release(name);
    };
    let state = Shutdown::default();
    let classes = Class::simple(Duration::from_secs(40), Duration::from_secs(10));
    let manager = Manager { classes: &classes, state: &state, pods: &registry, said: &|| {}, metrics: &Metrics::default() };

    let test = async {
        let lock = next(&mut held).await;
        let drop_in = fs::read_to_string(places.drop_ins.join("99-kubelet.conf")).unwrap();
        assert!(drop_in.contains("[Login]\nInhibitDelayMaxSec=40"), "{drop_in}");
        assert!(!state.now());
        tell.send(true).await.unwrap();
        tokio::join!(ends(&critical, "critical"), ends(&web, "web"));
        assert_eq!(*order.lock(), ["web", "critical"]);
        released(lock).await;
        assert!(state.now());
        let (gone, last) = (web.eviction().unwrap(), critical.eviction().unwrap());
        assert_eq!((gone.reason.as_str(), gone.grace, last.grace), ("Terminated", Some(30), Some(10)));
        assert_eq!(gone.disruption.as_deref(), Some(MESSAGE));

        // No pod is taken now.
        let refused = crate::admit::check(&pod("late", 0), &[], &NodeFacts { shutting_down: state.now(), ..NodeFacts::default() });
        let refused = refused.unwrap_err();
        let words = "Pod was rejected as the node is shutting down.";
        assert_eq!((refused.reason.as_str(), refused.message.as_str()), ("NodeShutdown", words));

        // Somebody calls it off: the lock is taken again, for the next time.
        tell.send(false).await.unwrap();
        next(&mut held).await;
        assert!(!state.now());
    };
    tokio::select! {
        () = test => {}
        () = manager.run(&places) => unreachable!("it runs for ever"),
    }
    logind.abort();
}

#[tokio::test]
async fn a_pod_that_does_not_end_delays_the_others_only_for_its_time() {
    let registry = Registry::default();
    let inboxes = placed(&registry);
    let classes = Class::simple(Duration::from_millis(60), Duration::from_millis(50));
    let manager = Manager { classes: &classes, state: &Shutdown::default(), pods: &registry, said: &|| {}, metrics: &Metrics::default() };
    manager.end_pods().await;
    assert!(inboxes.iter().all(|inbox| inbox.eviction().is_some()));
}

/// A bus that breaks off while the machine goes down says nothing about it; the next one does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_broken_bus_has_not_said_is_asked() {
    let directory = tempfile::tempdir().unwrap();
    let places = Places { bus: directory.path().join("bus"), drop_ins: directory.path().join("logind.conf.d") };
    let classes = Class::simple(Duration::from_secs(2), Duration::from_secs(1));
    let (state, registry) = (Shutdown::default(), Registry::default());
    let told = AtomicU32::new(0);
    let said = || _ = told.fetch_add(1, Ordering::Relaxed);
    let manager = Manager { classes: &classes, state: &state, pods: &registry, said: &said, metrics: &Metrics::default() };
    let begin = async |daemon: Daemon, going: bool| {
        let (tell, told) = mpsc::channel(4);
        let (locks, mut held) = mpsc::channel(4);
        let logind = tokio::spawn(play(places.bus.clone(), places.drop_ins.join("99-kubelet.conf"), told, locks));
        next(&mut held).await;
        if going {
            tell.send(true).await.unwrap();
        }
        (daemon, logind, tell, held)
    };
    let test = async {
        let (daemon, logind, tell, mut held) = begin(start_bus(directory.path()), false).await;
        let lock = next(&mut held).await;
        tell.send(true).await.unwrap();
        released(lock).await;
        assert!(state.now());
        drop(daemon);
        logind.abort();
        // It was called off meanwhile: the lock is there again.
        let (daemon, logind, _tell, mut held) = begin(start_bus(directory.path()), false).await;
        let _lock = next(&mut held).await;
        while state.now() {
            tokio::task::yield_now().await;
        }
        drop(daemon);
        logind.abort();
        // And now it began while nobody listened.
        let (_daemon, logind, tell, mut held) = begin(start_bus(directory.path()), true).await;
        while !state.now() {
            tokio::task::yield_now().await;
        }
        // After that nothing is left of what was said before.
        tell.send(false).await.unwrap();
        next(&mut held).await;
        assert_eq!(told.load(Ordering::Relaxed), 2, "it goes down once for each time that it begins");
        logind.abort();
    };
    tokio::select! {
        done = tokio::time::timeout(PATIENCE, test) => done.unwrap(),
        () = manager.run(&places) => unreachable!("it runs for ever"),
    }
}
