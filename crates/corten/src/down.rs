//! `corten down`: nothing is left but the data directory, or not even that.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use corten_network::node::NodeNetwork;
use corten_network::{Network, NetworkError, netns};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::mount::{UnmountFlags, unmount};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::cli::DownOptions;
use crate::kubeconfig;
use crate::layout::Layout;
use crate::lock::{Lock, Turn};
use crate::server;
use crate::server::node::pod_network;
use crate::up::namespaces;

/// How long the server may take to end by itself: it has requests to finish, but no pods to stop.
const GRACE: Duration = Duration::from_secs(10);

pub(crate) fn run(options: &DownOptions) -> Result<()> {
    server::require_root("down")?;
    let layout = Layout::new(&options.data.data_dir)?;
    if !layout.data().exists() {
        println!("nothing to stop: {} does not exist", layout.data().display());
        return Ok(());
    }
    if !layout.is_ours() {
        bail!("{} is not a data directory of Corten", layout.data().display());
    }
    let _turn = Turn::wait(layout.data())?;
    for further in layout.further_nodes()? {
        take_down(&further)?;
    }
    take_down(&layout)?;
    if options.purge {
        fs::remove_dir_all(layout.data()).with_context(|| format!("cannot remove {}", layout.data().display()))?;
        kubeconfig::remove_from_users(layout.name())?;
        println!("removed {}", layout.data().display());
    }
    Ok(())
}

fn take_down(layout: &Layout) -> Result<()> {
    let holder = Lock::holder(&layout.lock())?;
    if let Some(pid) = holder {
        stop(layout, pid)?;
    }
    end_all(layout)?;
    remove_cgroups(layout)?;
    // What a server did in this mount and network namespace. That of an `up` node goes with its own.
    if layout.run().exists() && !namespaces::exist(layout) {
        unmount_below(layout)?;
        detach_from_plugins(layout);
        remove_network(layout)?;
    } else if namespaces::exist(layout) {
        let (node, layout) = (layout.namespace("net"), layout.clone());
        // Links go with their namespace, but not what plugins wrote down elsewhere.
        netns::run(&node, move || detach_from_plugins(&layout))?;
    }
    namespaces::remove(layout)?;
    remove_tree(layout.run())?;
    let link = layout.data().join("run");
    match fs::remove_file(&link) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("cannot remove {}", link.display()));
        }
        _ => {}
    }
    println!("{} {}", if holder.is_some() { "stopped" } else { "not running, cleaned up:" }, layout.data().display());
    Ok(())
}

/// Asks a process to end and makes it, when it does not.
fn stop(layout: &Layout, pid: Pid) -> Result<()> {
    let process = match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(process) => process,
        Err(rustix::io::Errno::SRCH) => return Ok(()),
        Err(error) => return Err(error).with_context(|| format!("cannot reach process {}", pid.as_raw_nonzero())),
    };
    // It could have ended before the descriptor was there, and its number be another's.
    if Lock::holder(&layout.lock())? != Some(pid) {
        return Ok(());
    }
    for signal in [Signal::TERM, Signal::KILL] {
        match pidfd_send_signal(&process, signal) {
            Err(rustix::io::Errno::SRCH) => return Ok(()),
            sent => sent.with_context(|| format!("cannot end process {}", pid.as_raw_nonzero()))?,
        }
        // A pidfd is readable when its process has ended.
        let timeout = Timespec::try_from(GRACE)?;
        if poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&timeout))? > 0 {
            return Ok(());
        }
    }
    bail!("process {} does not end", pid.as_raw_nonzero())
}

/// Ends every process of the node: all in its cgroups, and its shims, which live in its mount namespace or name its run directory.
fn end_all(layout: &Layout) -> Result<()> {
    let deadline = Instant::now() + GRACE;
    loop {
        let mut found = processes_in_cgroups(layout)?;
        found.extend(processes_of_node(layout)?);
        found.remove(&Pid::as_raw(Some(rustix::process::getpid())));
        if found.is_empty() {
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!("processes {found:?} do not end");
        }
        // All first, then wait for each: a shim whose container dies ends by itself.
        let open: Vec<_> = found.iter().filter_map(|pid| pidfd_open(Pid::from_raw(*pid)?, PidfdFlags::empty()).ok()).collect();
        for process in &open {
            match pidfd_send_signal(process, Signal::KILL) {
                Ok(()) | Err(rustix::io::Errno::SRCH) => {}
                Err(error) => return Err(error).context("cannot end a process of the node"),
            }
        }
        for process in &open {
            poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&Timespec::try_from(GRACE)?))?;
        }
    }
}

fn processes_in_cgroups(layout: &Layout) -> Result<BTreeSet<i32>> {
    let mut found = BTreeSet::new();
    for group in cgroups(layout)? {
        let members = group.join("cgroup.procs");
        let text = match fs::read_to_string(&members) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            text => text.with_context(|| format!("cannot read {}", members.display()))?,
        };
        found.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()));
    }
    Ok(found)
}

fn processes_of_node(layout: &Layout) -> Result<BTreeSet<i32>> {
    let pin = namespaces::mount_pin(layout);
    let inode = namespaces::exist(layout).then(|| fs::metadata(&pin).map(|meta| meta.ino())).transpose()?;
    let run = layout.run().as_os_str().as_encoded_bytes();
    let mut found = BTreeSet::new();
    for entry in fs::read_dir("/proc").context("cannot read /proc")? {
        let path = entry?.path();
        let Some(pid) = path.file_name().and_then(|name| name.to_str()?.parse().ok()) else { continue };
        let in_namespace = inode.is_some() && fs::metadata(path.join("ns/mnt")).ok().map(|meta| meta.ino()) == inode;
        // Processes may end while they are looked at; then there is nothing to find.
        let is_shim =
            fs::read_link(path.join("exe")).is_ok_and(|exe| exe.as_os_str().as_encoded_bytes().starts_with(b"/memfd:corten-shim"));
        let names_run =
            is_shim && fs::read(path.join("cmdline")).is_ok_and(|line| line.split(|byte| *byte == 0).any(|word| is_below(word, run)));
        if in_namespace || names_run {
            found.insert(pid);
        }
    }
    Ok(found)
}

fn is_below(word: &[u8], directory: &[u8]) -> bool {
    word.strip_prefix(directory).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

/// The node's cgroups in every hierarchy, the deepest first.
fn cgroups(layout: &Layout) -> Result<Vec<PathBuf>> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").context("cannot read /proc/self/mountinfo")?;
    let mut groups = Vec::new();
    for line in mounts.lines() {
        let Some((left, right)) = line.split_once(" - ") else { continue };
        if !right.starts_with("cgroup") {
            continue;
        }
        let Some(at) = left.split(' ').nth(4) else { continue };
        for cgroup in layout.cgroups() {
            walk_directories(&Path::new(at).join(cgroup.trim_start_matches('/')), &mut groups)?;
        }
    }
    Ok(groups)
}

fn walk_directories(directory: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.with_context(|| format!("cannot list {}", directory.display()))?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            walk_directories(&entry.path(), found)?;
        }
    }
    found.push(directory.to_owned());
    Ok(())
}

fn remove_cgroups(layout: &Layout) -> Result<()> {
    for group in cgroups(layout)? {
        match fs::remove_dir(&group) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("cannot remove cgroup {}", group.display()));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Unmounts what the node mounted in this mount namespace (`server`; an `up` node's mounts go with its own).
fn unmount_below(layout: &Layout) -> Result<()> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").context("cannot read /proc/self/mountinfo")?;
    let kubelet = layout.kubelet();
    let mut points: Vec<&Path> = mounts.lines().filter_map(|line| line.split(' ').nth(4)).map(Path::new).collect();
    points.retain(|point| {
        [layout.data(), &kubelet].iter().any(|directory| point.starts_with(directory))
            || point.starts_with(layout.run()) && *point != layout.run() && !point.starts_with(layout.run().join("namespaces"))
    });
    // Mounted later lies deeper or on top: undo in reverse.
    for point in points.into_iter().rev() {
        unmount(point, UnmountFlags::DETACH).with_context(|| format!("cannot unmount {}", point.display()))?;
    }
    Ok(())
}

/// Takes away the links and routes of a node in this network namespace (`server`; those of an `up` node go with its own).
fn remove_network(layout: &Layout) -> Result<()> {
    let path = layout.guarded();
    let ranges: Vec<ipnet::IpNet> = match fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        text => serde_json::from_slice(&text.with_context(|| format!("cannot read {}", path.display()))?)?,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    with_network(layout, async |network| network.disconnect_all().await)?;
    let removed = runtime.block_on(async { NodeNetwork::open()?.unguard(&ranges).await });
    removed.context("cannot remove the network of the node")
}

/// Lets CNI plugins take away what they did for pods. One that cannot, or is gone, must not keep a node from ending.
fn detach_from_plugins(layout: &Layout) {
    if let Err(error) = with_network(layout, async |network| network.detach_from_plugins().await) {
        eprintln!("warning: what CNI plugins wrote down of pods may be left: {error:#}");
    }
}

/// Works on the pods' network in this network namespace.
fn with_network(layout: &Layout, work: impl AsyncFnOnce(&Network) -> Result<(), NetworkError>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let done = runtime.block_on(async { work(&Network::open(pod_network(layout, None), None).await?).await });
    done.context("cannot remove the network of the pods")
}

fn remove_tree(directory: &Path) -> Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", directory.display()))
        }
        _ => Ok(()),
    }
}
