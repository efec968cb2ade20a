//! IPC and UTS namespaces of a sandbox, pinned by bind mounts so that they live without a process.

use std::collections::HashMap;
use std::fs::{self, File};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::thread;

use rustix::mount::mount_bind;
use rustix::thread::{LinkNameSpaceType, UnshareFlags};

use crate::error::{Error, Result};

/// What to make.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    /// Where to pin a new IPC namespace, unless the node's is shared.
    pub(crate) ipc: Option<PathBuf>,
    /// Where to pin a new UTS namespace, unless the node's is shared.
    pub(crate) uts: Option<PathBuf>,
    /// The network namespace in which network sysctls are set.
    pub(crate) network: Option<PathBuf>,
    /// The host name in the new UTS namespace.
    pub(crate) hostname: String,
    /// Sysctls of these namespaces.
    pub(crate) sysctls: HashMap<String, String>,
    /// Whether the namespaces exist already, with a user namespace, and only have to be filled.
    pub(crate) made: bool,
}

/// Makes and pins the namespaces, on a thread of its own that then ends: no other thread changes namespace. Blocks.
pub(crate) fn make(wanted: Wanted) -> Result<()> {
    let mut flags = UnshareFlags::empty();
    if !wanted.made {
        for (path, flag) in [(&wanted.ipc, UnshareFlags::NEWIPC), (&wanted.uts, UnshareFlags::NEWUTS)] {
            if let Some(path) = path {
                flags |= flag;
                File::create(path).map_err(Error::io("create", path))?;
            }
        }
    } else if let Some(path) = &wanted.uts {
        return enter_and_fill(path.clone(), wanted);
    }
    if flags.is_empty() && wanted.sysctls.is_empty() {
        return Ok(());
    }
    let worker = thread::Builder::new().name("namespaces".to_owned()).spawn(move || fill(&wanted, flags));
    let worker = worker.map_err(|error| Error::Internal(format!("cannot start a thread: {error}")))?;
    worker.join().unwrap_or_else(|_| Err(Error::Internal("the namespace thread died".to_owned())))
}

/// For namespaces that exist already: on a thread inside of them, gives them what they are to have.
fn enter_and_fill(uts: PathBuf, wanted: Wanted) -> Result<()> {
    let work = move || {
        let inside = [
            (Some(&uts), LinkNameSpaceType::HostNameAndNISDomainName),
            (wanted.ipc.as_ref(), LinkNameSpaceType::InterProcessCommunication),
        ];
        for (path, kind) in inside.into_iter().filter_map(|(path, kind)| Some((path?, kind))) {
            let namespace = File::open(path).map_err(Error::io("open", path))?;
            rustix::thread::move_into_link_name_space(namespace.as_fd(), Some(kind)).map_err(Error::sys("enter", path))?;
        }
        rustix::system::sethostname(wanted.hostname.as_bytes())
            .map_err(|error| Error::Internal(format!("cannot set the host name {:?}: {error}", wanted.hostname)))?;
        set_all(&wanted)
    };
    let worker = thread::Builder::new().name("namespaces".to_owned()).spawn(work);
    let worker = worker.map_err(|error| Error::Internal(format!("cannot start a thread: {error}")))?;
    worker.join().unwrap_or_else(|_| Err(Error::Internal("the namespace thread died".to_owned())))
}

#[allow(unsafe_code)]
fn fill(wanted: &Wanted, flags: UnshareFlags) -> Result<()> {
    // SAFETY: neither flag concerns the file table; only this thread, which ends soon, changes namespace.
    unsafe { rustix::thread::unshare_unsafe(flags) }.map_err(|error| Error::Internal(format!("cannot make namespaces: {error}")))?;
    if let Some(path) = &wanted.uts {
        rustix::system::sethostname(wanted.hostname.as_bytes())
            .map_err(|error| Error::Internal(format!("cannot set the host name {:?}: {error}", wanted.hostname)))?;
        pin("/proc/thread-self/ns/uts", path)?;
    }
    if let Some(path) = &wanted.ipc {
        pin("/proc/thread-self/ns/ipc", path)?;
    }
    set_all(wanted)
}

/// Sets the sysctls, from inside of the namespaces.
fn set_all(wanted: &Wanted) -> Result<()> {
    if wanted.sysctls.is_empty() {
        return Ok(());
    }
    if let Some(path) = &wanted.network {
        let namespace = File::open(path).map_err(Error::io("open", path))?;
        rustix::thread::move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
            .map_err(Error::sys("enter", path))?;
    }
    for (name, value) in &wanted.sysctls {
        set(name, value, wanted)?;
    }
    Ok(())
}

fn pin(namespace: &str, path: &Path) -> Result<()> {
    mount_bind(namespace, path).map_err(Error::sys("pin a namespace at", path))
}

/// Sets a sysctl that belongs to one of the sandbox's own namespaces.
fn set(name: &str, value: &str, wanted: &Wanted) -> Result<()> {
    let own = match name {
        name if name.starts_with("net.") => wanted.network.is_some(),
        name if name.starts_with("kernel.shm") || name.starts_with("kernel.msg") || name.starts_with("fs.mqueue.") => wanted.ipc.is_some(),
        "kernel.sem" => wanted.ipc.is_some(),
        _ => false,
    };
    if !own {
        return Err(Error::Invalid(format!("sysctl {name:?} is not in a separate kernel namespace")));
    }
    let path = Path::new("/proc/sys").join(name.replace('.', "/"));
    fs::write(&path, value).map_err(|error| Error::Invalid(format!("sysctl {name}={value}: {error}")))
}

/// Lets go of a pinned namespace. That there is none is no error.
pub(crate) fn unpin(path: &Path) -> Result<()> {
    crate::mounts::detach(path)?;
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::io("remove", path)(error)),
        _ => Ok(()),
    }
}
