//! What the kernel counts about this process (proc(5)).

use std::fs;

use super::families as f;
use super::page::Page;

/// Clock ticks a second on every architecture that Rust supports (`USER_HZ`).
const TICKS: f64 = 100.0;

/// Shows it; what cannot be read is left out.
pub(super) fn show(page: &mut Page) {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name may contain anything; the first field after it is number 3.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<f64>().ok();
    if let (Some(user), Some(system)) = (field(14), field(15)) {
        page.add(&f::PROCESS_CPU, &[], (user + system) / TICKS);
    }
    if let (Some(boot), Some(started)) = (boot_time(), field(22)) {
        page.add(&f::PROCESS_START, &[], boot + started / TICKS);
    }
    if let Some(size) = field(23) {
        page.add(&f::PROCESS_VIRTUAL, &[], size);
    }
    #[allow(clippy::cast_precision_loss, reason = "the size of a page is small")]
    let page_size = rustix::param::page_size() as f64;
    if let Some(resident) = field(24) {
        page.add(&f::PROCESS_RESIDENT, &[], resident * page_size);
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        // The one that the directory is read by does not count.
        page.add(&f::PROCESS_FDS, &[], open.count().saturating_sub(1));
    }
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let limit = |name: &str| limits.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse::<u64>().ok());
    if let Some(most) = limit("Max open files") {
        page.add(&f::PROCESS_MAX_FDS, &[], most);
    }
}

fn boot_time() -> Option<f64> {
    let text = fs::read_to_string("/proc/stat").ok()?;
    text.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}
