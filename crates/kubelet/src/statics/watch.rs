//! What happens to the files of some directories, and which of them nobody should read just now.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;
use tokio::io::unix::AsyncFd;

/// Bytes of events that are read at once.
const BUFFER: usize = 4096;

/// A watch over directories.
pub(super) struct Watch {
    queue: AsyncFd<OwnedFd>,
    /// By the kernel's number of a watch; without links on the way.
    directories: HashMap<i32, PathBuf>,
    files: Files,
}

/// What is known of single files.
struct Files {
    /// How long somebody may take to write one.
    patience: Duration,
    /// Those that somebody is writing, and when that was last seen: what is in them is not all.
    unfinished: HashMap<PathBuf, Instant>,
    /// Those to which something happened since the present look began.
    touched: HashSet<PathBuf>,
}

impl Watch {
    /// Watches nothing yet. A file that nobody has written to for so long counts as finished: not every writer says so, and
    /// some never are.
    pub(super) fn new(patience: Duration) -> io::Result<Self> {
        let queue = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        let files = Files { patience, unfinished: HashMap::new(), touched: HashSet::new() };
        // SAFETY: an OwnedFd is open, and the same, as long as it lives; nothing here replaces it.
        #[allow(unsafe_code, reason = "there is no safe way to register a file descriptor of a kind that tokio does not know")]
        let queue = unsafe { AsyncFd::register(queue) }?;
        Ok(Self { queue, directories: HashMap::new(), files })
    }

    /// Begins a look at what these directories hold; from now on nothing is missed.
    pub(super) fn begin(&mut self, directories: &BTreeSet<PathBuf>) -> io::Result<()> {
        let contents = WatchFlags::CREATE | WatchFlags::MODIFY | WatchFlags::CLOSE_WRITE;
        let names = WatchFlags::MOVED_TO | WatchFlags::MOVED_FROM | WatchFlags::DELETE;
        let own = WatchFlags::DELETE_SELF | WatchFlags::MOVE_SELF | WatchFlags::ONLYDIR;
        let mut watched = HashMap::new();
        for directory in directories {
            // One that has just gone is missed by the next look, at the latest by the clock's.
            let added = fs::canonicalize(directory).and_then(|real| {
                let number = inotify::add_watch(&self.queue, &real, contents | names | own)?;
                Ok((number, real))
            });
            match added {
                Ok((number, real)) => drop(watched.insert(number, real)),
                Err(error) => tracing::debug!(%error, path = %directory.display(), "static pods are looked for by the clock alone"),
            }
        }
        for (number, _) in std::mem::replace(&mut self.directories, watched) {
            if !self.directories.contains_key(&number) {
                // It may have gone with its directory.
                let _ = inotify::remove_watch(&self.queue, number);
            }
        }
        self.take()?;
        let patience = self.files.patience;
        self.files.unfinished.retain(|_, seen| seen.elapsed() < patience);
        self.files.touched = self.files.unfinished.keys().cloned().collect();
        Ok(())
    }

    /// Ends the look: whether something has happened meanwhile.
    pub(super) fn end(&mut self) -> io::Result<bool> {
        self.take()
    }

    /// Whether what the look has seen of a file may be a part of it.
    pub(super) fn is_doubtful(&self, file: &Path) -> bool {
        !self.files.touched.is_empty() && fs::canonicalize(file).is_ok_and(|real| self.files.touched.contains(&real))
    }

    /// Waits until there is something to look at.
    pub(super) async fn changed(&mut self) -> io::Result<()> {
        loop {
            // Before all is read: what comes while it is read wakes once more.
            self.queue.readable().await?.clear_ready();
            if self.take()? {
                return Ok(());
            }
        }
    }

    /// Takes in what has happened; whether there is something to look at.
    fn take(&mut self) -> io::Result<bool> {
        let mut buffer = [MaybeUninit::uninit(); BUFFER];
        let mut events = Reader::new(self.queue.get_ref(), &mut buffer);
        let mut news = false;
        loop {
            let event = match events.next() {
                Ok(event) => event,
                Err(Errno::WOULDBLOCK) => return Ok(news),
                Err(error) => return Err(error.into()),
            };
            let file = self.directories.get(&event.wd()).zip(event.file_name());
            let file = file.map(|(directory, name)| directory.join(OsStr::from_bytes(name.to_bytes())));
            news |= self.files.note(event.events(), file);
        }
    }
}

impl Files {
    /// Notes an event; whether there is something to look at.
    fn note(&mut self, event: ReadFlags, file: Option<PathBuf>) -> bool {
        if event.contains(ReadFlags::QUEUE_OVERFLOW) {
            // Nobody knows who has finished meanwhile.
            self.unfinished.clear();
            return true;
        }
        let Some(file) = file else { return !event.contains(ReadFlags::IGNORED) };
        self.touched.insert(file.clone());
        // Links are there at once; a file of its own comes empty.
        let written = match fs::symlink_metadata(&file) {
            Ok(metadata) => event.contains(ReadFlags::CREATE) && metadata.is_file() && metadata.nlink() == 1,
            Err(_) => false,
        };
        if written || event.contains(ReadFlags::MODIFY) {
            self.unfinished.insert(file, Instant::now());
            return false;
        }
        self.unfinished.remove(&file);
        true
    }
}
