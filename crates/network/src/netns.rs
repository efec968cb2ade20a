//! Network namespaces, pinned by a bind mount so that they live without a process.

use std::fs::{self, File};
use std::future::Future;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::thread;

use rtnetlink::Handle;
use rustix::fs::CWD;
use rustix::mount::{UnmountFlags, mount_bind, unmount};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space};

/// Why a network namespace could not be made, entered or removed.
#[derive(Debug, thiserror::Error)]
pub enum NetnsError {
    /// A file or mount of the namespace could not be worked on.
    #[error("network namespace {path}: cannot {action}: {source}")]
    Io {
        /// The file that pins the namespace.
        path: PathBuf,
        /// What was being done.
        action: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
    /// Netlink refused a request inside the namespace.
    #[error("network namespace {path}: cannot {action}: {source}")]
    Netlink {
        /// The file that pins the namespace.
        path: PathBuf,
        /// What was being done.
        action: &'static str,
        /// The kernel's answer.
        source: rtnetlink::Error,
    },
    /// The thread that works inside the namespace ended early.
    #[error("network namespace {path}: the worker thread stopped without an answer")]
    Worker {
        /// The file that pins the namespace.
        path: PathBuf,
    },
}

impl NetnsError {
    fn io(path: &Path, action: &'static str) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, action, source }
    }
}

/// Makes a network namespace with its loopback up, pinned at `path`. An existing one is kept.
///
/// The namespace is made on a thread of its own that then ends: no other thread of the caller changes namespace.
pub fn create(path: &Path) -> Result<(), NetnsError> {
    if is_pinned(path) {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(NetnsError::io(path, "create its directory"))?;
    }
    File::create(path).map_err(NetnsError::io(path, "create its file"))?;
    let target = path.to_owned();
    let made = on_thread(path, move || {
        // SAFETY: the thread was started for this call, shares no file table decision with others (only NEWNET is
        // unshared), and ends right after it.
        #[allow(unsafe_code)]
        unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET) }.map_err(|e| NetnsError::io(&target, "unshare")(e.into()))?;
        mount_bind("/proc/thread-self/ns/net", &target).map_err(|e| NetnsError::io(&target, "pin it")(e.into()))?;
        let failed = target.clone();
        block_on(&target, |handle| async move {
            crate::links::set_up(&handle, "lo").await.map_err(|source| NetnsError::Netlink { path: failed, action: "bring up lo", source })
        })?
    });
    if made.is_err() {
        remove(path)?;
    }
    made
}

/// Removes the pin at `path`; the kernel removes the namespace when its last user is gone. Absent is fine.
pub fn remove(path: &Path) -> Result<(), NetnsError> {
    match unmount(path, UnmountFlags::DETACH) {
        Ok(()) | Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOENT) => {}
        Err(error) => return Err(NetnsError::io(path, "unpin it")(error.into())),
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(NetnsError::io(path, "remove its file")(error)),
        _ => Ok(()),
    }
}

/// Whether `path` is a namespace and not just the empty file beneath the mount.
pub fn is_pinned(path: &Path) -> bool {
    // Files of nsfs have their own magic number (NSFS_MAGIC in linux/magic.h).
    const NSFS_MAGIC: u32 = 0x6e73_6673;
    File::open(path).ok().and_then(|file| rustix::fs::fstatfs(&file).ok()).is_some_and(|stat| stat.f_type as u32 == NSFS_MAGIC)
}

/// Moves the calling thread into the namespace. Call it before other threads start, or on a thread of its own.
pub fn enter(path: &Path) -> Result<(), NetnsError> {
    let file = File::open(path).map_err(NetnsError::io(path, "open it"))?;
    move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).map_err(|e| NetnsError::io(path, "enter it")(e.into()))
}

/// Runs netlink work inside the namespace, on a thread of its own, and waits for it without blocking the caller's runtime.
pub async fn within<T, F, W>(path: &Path, work: W) -> Result<T, NetnsError>
where
    T: Send + 'static,
    F: Future<Output = Result<T, rtnetlink::Error>>,
    W: FnOnce(Handle) -> F + Send + 'static,
{
    let owned = path.to_owned();
    let (answer, wait) = tokio::sync::oneshot::channel();
    thread::Builder::new()
        .name("netns".into())
        .spawn(move || {
            let result = enter(&owned).and_then(|()| {
                block_on(&owned, work)?.map_err(|source| NetnsError::Netlink { path: owned.clone(), action: "configure it", source })
            });
            // The receiver is gone only when its caller was cancelled; then nobody wants the answer.
            let _ = answer.send(result);
        })
        .map_err(NetnsError::io(path, "start its worker"))?;
    wait.await.map_err(|_| NetnsError::Worker { path: path.to_owned() })?
}

/// Runs plain work on a thread inside the namespace and waits for it: for programs without a runtime.
pub fn run<T: Send + 'static>(path: &Path, work: impl FnOnce() -> T + Send + 'static) -> Result<T, NetnsError> {
    let owned = path.to_owned();
    on_thread(path, move || enter(&owned).map(|()| work()))
}

fn on_thread<T: Send + 'static>(path: &Path, work: impl FnOnce() -> Result<T, NetnsError> + Send + 'static) -> Result<T, NetnsError> {
    thread::Builder::new()
        .name("netns".into())
        .spawn(work)
        .map_err(NetnsError::io(path, "start its worker"))?
        .join()
        .map_err(|_| NetnsError::Worker { path: path.to_owned() })?
}

/// Drives a netlink connection of the current thread's namespace for as long as `work` needs it.
fn block_on<F: Future>(path: &Path, work: impl FnOnce(Handle) -> F) -> Result<F::Output, NetnsError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().map_err(NetnsError::io(path, "start a runtime"))?;
    runtime.block_on(async {
        let (connection, handle, _) = rtnetlink::new_connection().map_err(NetnsError::io(path, "open netlink"))?;
        tokio::spawn(connection);
        Ok(work(handle).await)
    })
}

/// A file descriptor of the namespace, for handing a link's peer into it.
pub(crate) fn open(path: &Path) -> Result<std::os::fd::OwnedFd, NetnsError> {
    rustix::fs::openat(CWD, path, rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::CLOEXEC, rustix::fs::Mode::empty())
        .map_err(|e| NetnsError::io(path, "open it")(e.into()))
}
