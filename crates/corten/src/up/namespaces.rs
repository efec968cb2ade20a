//! The namespaces of an `up` node: network, mount and UTS, pinned so that a restarted node finds them again.

use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::mpsc;
use std::thread;

use anyhow::{Context, Result, anyhow};
use corten_network::{fabric, netns};
use ipnet::Ipv4Net;
use rustix::io::Errno;
use rustix::mount::{MountPropagationFlags, UnmountFlags, mount_bind, mount_change, unmount};
use rustix::thread::{CpuSet, LinkNameSpaceType, UnshareFlags, move_into_link_name_space, sched_getaffinity, sched_setaffinity};

use crate::layout::Layout;

const NETWORK: &str = "net";
const MOUNT: &str = "mnt";
const UTS: &str = "uts";

/// Makes what is missing of the node's namespaces and wires the node to the fabric.
pub(crate) fn create(layout: &Layout, fabric: &Path, host_name: &str, address: Ipv4Addr, network: Ipv4Net) -> Result<()> {
    own_mount(layout.run())?;
    let node = layout.namespace(NETWORK);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(fabric::connect(fabric, &node, address, network)).context("cannot make the node's network")?;
    if netns::is_pinned(&layout.namespace(MOUNT)) && netns::is_pinned(&layout.namespace(UTS)) {
        return Ok(());
    }
    pin_mount_and_uts(layout, host_name).context("cannot make the node's mount namespace")
}

/// Moves this process into the node's namespaces. Must be called while it has one thread.
pub(crate) fn enter(layout: &Layout) -> Result<()> {
    for (kind, what) in
        [(UTS, LinkNameSpaceType::HostNameAndNISDomainName), (NETWORK, LinkNameSpaceType::Network), (MOUNT, LinkNameSpaceType::Mount)]
    {
        let path = layout.namespace(kind);
        let file = File::open(&path).with_context(|| format!("cannot open namespace {}", path.display()))?;
        move_into_link_name_space(file.as_fd(), Some(what)).with_context(|| format!("cannot enter namespace {}", path.display()))?;
    }
    std::env::set_current_dir("/").context("cannot go to the root directory")
}

/// Unpins the namespaces; they go when their last process and mount do.
pub(crate) fn remove(layout: &Layout) -> Result<()> {
    for kind in [MOUNT, UTS, NETWORK, "fabric"] {
        netns::remove(&layout.namespace(kind))?;
    }
    while is_mount_point(layout.run())? {
        unmount(layout.run(), UnmountFlags::DETACH).with_context(|| format!("cannot unmount {}", layout.run().display()))?;
    }
    Ok(())
}

/// Whether the node was started by `up` and not by `server`.
pub(crate) fn exist(layout: &Layout) -> bool {
    netns::is_pinned(&layout.namespace(MOUNT))
}

/// The file whose inode tells processes of this node's mount namespace from others.
pub(crate) fn mount_pin(layout: &Layout) -> std::path::PathBuf {
    layout.namespace(MOUNT)
}

/// A mount namespace can only be pinned on a private mount: the run directory becomes one of its own.
fn own_mount(directory: &Path) -> Result<()> {
    if !is_mount_point(directory)? {
        mount_bind(directory, directory).with_context(|| format!("cannot mount {}", directory.display()))?;
    }
    mount_change(directory, MountPropagationFlags::PRIVATE).with_context(|| format!("cannot make {} private", directory.display()))
}

fn is_mount_point(directory: &Path) -> Result<bool> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").context("cannot read /proc/self/mountinfo")?;
    Ok(mounts.lines().any(|line| line.split(' ').nth(4).is_some_and(|at| Path::new(at) == directory)))
}

/// The kernel pins no mount namespace in one that is younger than it, by their numbers, and since Linux 6.18 every processor has a
/// store of numbers. Where this process's own namespace is young, as in a container, only some of the processors make namespaces that
/// can be pinned there; the one that made its own does.
fn pin_mount_and_uts(layout: &Layout, host_name: &str) -> Result<()> {
    let usable = sched_getaffinity(None).context("cannot read which processors may be used")?;
    let mut processors = (0..CpuSet::MAX_CPU).filter(|processor| usable.is_set(*processor));
    let mut made = make_and_pin(layout, host_name, None);
    while let Err(error) = &made
        && error.downcast_ref::<Errno>() == Some(&Errno::INVAL)
        && let Some(processor) = processors.next()
    {
        made = make_and_pin(layout, host_name, Some(processor));
    }
    made
}

/// On one processor, if one is given.
fn make_and_pin(layout: &Layout, host_name: &str, processor: Option<usize>) -> Result<()> {
    let (made, wait_made) = mpsc::channel();
    let (pinned, wait_pinned) = mpsc::channel::<()>();
    let (inner_layout, inner_name) = (layout.clone(), host_name.to_owned());
    // The namespaces live in a thread until their files are pinned from outside.
    let worker = thread::spawn(move || {
        let result = settle(processor).and_then(|()| furnish(&inner_layout, &inner_name)).map(|()| rustix::thread::gettid());
        let failed = result.is_err();
        if made.send(result).is_ok() && !failed {
            // Ends when the other side pinned them or gave up.
            let _ = wait_pinned.recv();
        }
    });
    let thread = wait_made.recv().context("the namespace worker stopped")??;
    for (kind, source) in [(MOUNT, "mnt"), (UTS, "uts")] {
        let target = layout.namespace(kind);
        netns::remove(&target)?;
        File::create(&target).with_context(|| format!("cannot create {}", target.display()))?;
        let source = format!("/proc/self/task/{}/ns/{source}", thread.as_raw_nonzero());
        mount_bind(source.as_str(), &target).with_context(|| format!("cannot pin {}", target.display()))?;
    }
    drop(pinned);
    worker.join().map_err(|_| anyhow!("the namespace worker panicked"))
}

/// Moves this thread to a processor, if one is given.
fn settle(processor: Option<usize>) -> Result<()> {
    let Some(processor) = processor else { return Ok(()) };
    let mut only = CpuSet::new();
    only.set(processor);
    sched_setaffinity(None, &only).with_context(|| format!("cannot move to processor {processor}"))
}

/// Inside the new namespaces: nothing done here is seen outside, and the well-known places are the node's own.
fn furnish(layout: &Layout, host_name: &str) -> Result<()> {
    // SAFETY: this thread was started for this and ends after it; no file table is unshared. It shares working directory
    // and root with the others until the kernel unshares them along with the mount namespace, which touches only itself.
    #[allow(unsafe_code)]
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS | UnshareFlags::NEWUTS) }.context("cannot unshare")?;
    mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE).context("cannot make mounts private")?;
    rustix::system::sethostname(host_name.as_bytes()).with_context(|| format!("cannot set host name {host_name}"))?;

    let well_known = [(layout.data().join("kubelet"), "/var/lib/kubelet"), (layout.data().join("log").join("pods"), "/var/log/pods")];
    for (own, at) in well_known {
        fs::create_dir_all(&own).with_context(|| format!("cannot create {}", own.display()))?;
        if own == Path::new(at) {
            continue;
        }
        fs::create_dir_all(at).with_context(|| format!("cannot create {at}"))?;
        mount_bind(&own, at).with_context(|| format!("cannot mount {at}"))?;
    }
    // /run comes last: it hides the run directory, which is then mounted again inside it.
    let own_run = layout.run().join("node");
    let inside = own_run.join(layout.run().strip_prefix("/run").context("the run directory is not below /run")?);
    fs::create_dir_all(&inside).with_context(|| format!("cannot create {}", inside.display()))?;
    let run = File::open(layout.run()).with_context(|| format!("cannot open {}", layout.run().display()))?;
    mount_bind(&own_run, "/run").context("cannot mount /run")?;
    let reached = format!("/proc/thread-self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&run));
    mount_bind(reached.as_str(), layout.run()).with_context(|| format!("cannot mount {} again", layout.run().display()))
}
