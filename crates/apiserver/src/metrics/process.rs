//! What the kernel counts about this process (proc(5)).

use std::fs;

use super::text::Text;

/// Clock ticks a second on every architecture that Rust supports (`USER_HZ`).
const TICKS: f64 = 100.0;
/// The size of a page on the architectures that are served.
const PAGE: u64 = 4096;

/// Appends the `process_` family; what cannot be read is left out.
pub(super) fn render(text: &mut Text) {
    if let Some(stat) = Stat::read() {
        text.counter("process_cpu_seconds_total", "Processor time of user and system, in seconds.");
        text.sample("process_cpu_seconds_total", "", (stat.user + stat.system) / TICKS);
        text.gauge("process_resident_memory_bytes", "Resident memory, in bytes.");
        text.sample("process_resident_memory_bytes", "", stat.resident * PAGE);
        text.gauge("process_virtual_memory_bytes", "Virtual memory, in bytes.");
        text.sample("process_virtual_memory_bytes", "", stat.size);
        if let Some(boot) = boot_time() {
            text.gauge("process_start_time_seconds", "Start of the process, in seconds since 1970.");
            text.sample("process_start_time_seconds", "", boot + stat.started / TICKS);
        }
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        text.gauge("process_open_fds", "Open file descriptors.");
        // The one that the directory is read by does not count.
        text.sample("process_open_fds", "", open.count().saturating_sub(1));
    }
    if let Some(limit) = descriptor_limit() {
        text.gauge("process_max_fds", "File descriptors that may be open.");
        text.sample("process_max_fds", "", limit);
    }
}

struct Stat {
    user: f64,
    system: f64,
    started: f64,
    size: u64,
    resident: u64,
}

impl Stat {
    fn read() -> Option<Self> {
        let text = fs::read_to_string("/proc/self/stat").ok()?;
        // The name may contain anything; the first field after it is number 3.
        let fields: Vec<&str> = text.rsplit(')').next()?.split_whitespace().collect();
        let field = |number: usize| fields.get(number - 3).copied();
        Some(Self {
            user: field(14)?.parse().ok()?,
            system: field(15)?.parse().ok()?,
            started: field(22)?.parse().ok()?,
            size: field(23)?.parse().ok()?,
            resident: field(24)?.parse().ok()?,
        })
    }
}

fn boot_time() -> Option<f64> {
    let text = fs::read_to_string("/proc/stat").ok()?;
    text.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

fn descriptor_limit() -> Option<u64> {
    let text = fs::read_to_string("/proc/self/limits").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}
