//! What a process at rest gives back: free memory that the allocator keeps, and pages of the program's own file.
//!
//! A start, or a burst of work, touches much that idling does not. The allocator gives pages back when a thread frees or allocates,
//! which one that waits for events does not; and the kernel takes a file's pages only when it is short of memory.

use std::cell::Cell;
use std::fs;
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::mm::{Advice, madvise};
use rustix::time::{ClockId, clock_gettime};
use tokio::runtime::Handle;
use tokio::task::JoinSet;

#[global_allocator]
static ALLOCATOR: corten_allocator::Allocator = corten_allocator::Allocator;

/// How often the process looks at what it has done. Nothing tells that no more comes.
const INTERVAL: Duration = Duration::from_secs(10);

/// Part of a processor up to which an interval is a quiet one: one in so many, 2 %.
const QUIET: u32 = 50;

/// Processor time of intervals that were not quiet after which it is worth while to give back again.
const WORK: Duration = Duration::from_millis(500);

/// How long each thread of a runtime is kept, so that the next task wakes another one.
const HOLD: Duration = Duration::from_millis(2);

/// How long threads have for giving back. One that is busy for longer does it when it is not.
const SETTLE: Duration = Duration::from_millis(100);

/// How long a process that works in bursts keeps a free page.
const KEEP: Duration = Duration::from_millis(10);

/// How often memory was asked back.
static ASKED: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// The last of these times that this thread knows of.
    static ANSWERED: Cell<usize> = const { Cell::new(0) };
}

/// For a process that works in bursts and then rests, as one with nothing but a node does: what a burst frees is taken up by the rest
/// of the burst, which then leaves much of it in memory for little that stays. A server makes long lists again and again, and would
/// wait for their pages each time.
pub(crate) fn keep_little() {
    corten_allocator::keep_free_pages_for(KEEP);
}

/// For `on_thread_park` of every runtime: a heap can only be tidied by its own thread.
pub(crate) fn at_park() {
    let asked = ASKED.load(Ordering::Relaxed);
    if ANSWERED.get() != asked {
        ANSWERED.set(asked);
        corten_allocator::collect();
    }
}

/// Does `work`, and gives memory back whenever the process has come to rest; these are its runtimes. To be waited for by the thread
/// that the process began with: much of the start is in its heap, and since it is no runtime's own, `at_park` does not see it.
pub(crate) async fn giving_back<T>(runtimes: &[Handle], work: impl Future<Output = T>) -> T {
    tokio::select! {
        biased;
        done = work => done,
        never = give_back(runtimes) => never,
    }
}

/// Does not end, and so is of whatever type the work beside it is.
async fn give_back<T>(runtimes: &[Handle]) -> T {
    let mut rest = Rest::new(Instant::now(), processor_time());
    loop {
        tokio::time::sleep(INTERVAL).await;
        if rest.look(Instant::now(), processor_time()) {
            release(runtimes).await;
        }
    }
}

/// Processor time that the process has used.
fn processor_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).unwrap_or_default()
}

/// Knows when a process has come to rest: it has worked, and now does not.
#[derive(Debug)]
struct Rest {
    at: Instant,
    used: Duration,
    worked: Duration,
}

impl Rest {
    /// Of a process that starts now. Its start is work, however short.
    fn new(at: Instant, used: Duration) -> Self {
        Self { at, used, worked: WORK }
    }

    /// Whether memory is to be given back at this time, when so much processor time is used: once after each work. What quiet
    /// intervals use is not work, or idling itself would become it.
    fn look(&mut self, at: Instant, used: Duration) -> bool {
        let (passed, spent) = (at.saturating_duration_since(self.at), used.saturating_sub(self.used));
        (self.at, self.used) = (at, used);
        if spent > passed / QUIET {
            self.worked = self.worked.saturating_add(spent);
            return false;
        }
        let rests = self.worked >= WORK;
        if rests {
            self.worked = Duration::ZERO;
        }
        rests
    }
}

/// Gives memory back: the heaps of these runtimes' threads and of this one, and the program's file.
async fn release(runtimes: &[Handle]) {
    ASKED.fetch_add(1, Ordering::Relaxed);
    for runtime in runtimes {
        wake(runtime).await;
    }
    // Nothing tells when all of them have parked again.
    tokio::time::sleep(SETTLE).await;
    match shed_program() {
        Ok(bytes) => tracing::debug!(bytes, "gave back free memory and the program's pages"),
        Err(error) => tracing::debug!(%error, "gave back free memory; the program's pages stay"),
    }
    // The last one: of threads that tidy at the same time only one returns what all have freed.
    corten_allocator::collect();
}

/// Wakes the threads of a runtime, for they give back when they park. A thread that is woken takes one task and wakes the next
/// thread for the others; it would run them all itself if the first one did not keep it.
async fn wake(runtime: &Handle) {
    let mut tasks = JoinSet::new();
    for _ in 0..runtime.metrics().num_workers() {
        tasks.spawn_on(async { std::thread::sleep(HOLD) }, runtime);
    }
    while tasks.join_next().await.is_some() {}
}

/// Takes the program's file out of this process's memory, and says of how many bytes of address space. What is needed comes back from
/// the page cache.
#[allow(unsafe_code)]
fn shed_program() -> io::Result<usize> {
    let program = fs::read_link("/proc/self/exe")?;
    let program = program.to_str().ok_or_else(|| io::Error::other("the program's path is not UTF-8"))?;
    let mut bytes = 0;
    for part in clean_parts(&fs::read_to_string("/proc/self/smaps")?, program) {
        // SAFETY: by what the kernel has just said, each page here that is in memory is the file's, none is a copy of the
        // process's own, and none of those is swapped out. So the next access reads what was there, from a file that nobody can
        // write while it runs. Nothing changes that meanwhile: these mappings are read-only from the start to the end of the
        // process. That other threads run the code does not matter; they fault and go on.
        unsafe { madvise(std::ptr::with_exposed_provenance_mut(part.start), part.len(), Advice::LinuxDontNeed) }?;
        bytes += part.len();
    }
    Ok(bytes)
}

/// What must be nothing of a mapping that is only its file's. Data that the loader relocated is read-only too, but the process's own:
/// without it the program would follow pointers to nowhere. Swapped out it is not anonymous.
const OWN: [&str; 2] = ["Anonymous", "Swap"];

/// The mappings in a text like `/proc/PID/smaps` (proc_pid_smaps(5)) that are the program's code or constants, and the file's as a whole.
fn clean_parts(smaps: &str, program: &str) -> Vec<Range<usize>> {
    let mut parts = Vec::new();
    // The mapping that the lines are about, if it may be one, and how many of the fields have said so.
    let mut candidate: Option<(Range<usize>, usize)> = None;
    for line in smaps.lines() {
        let Some((name, value)) = field(line) else {
            candidate = part_of(line, program).map(|range| (range, 0));
            continue;
        };
        if !OWN.contains(&name) {
            continue;
        }
        match candidate.take() {
            Some((range, seen)) if value == "0 kB" && seen + 1 == OWN.len() => parts.push(range),
            Some((range, seen)) if value == "0 kB" => candidate = Some((range, seen + 1)),
            _ => {}
        }
    }
    parts
}

/// Name and value, if this is a line about a mapping and not the one that begins it, whose first colon is within a device's number.
fn field(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.split_once(':')?;
    (!name.contains(' ')).then(|| (name, value.trim_start()))
}

/// The addresses of a mapping, from its first line, if it is a private one of this file that nobody may write to.
fn part_of(line: &str, program: &str) -> Option<Range<usize>> {
    let mut words = line.splitn(6, ' ');
    let (addresses, permissions) = (words.next()?, words.next()?);
    // Offset, device and inode lie between; the path is filled up with spaces in front.
    let path = words.nth(3)?.trim_start();
    if path != program || !matches!(permissions, "r-xp" | "r--p") {
        return None;
    }
    let (start, end) = addresses.split_once('-')?;
    Some(usize::from_str_radix(start, 16).ok()?..usize::from_str_radix(end, 16).ok()?)
}

#[cfg(test)]
mod tests;
