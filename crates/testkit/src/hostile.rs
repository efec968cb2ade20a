//! What no server may be upset by.

/// Frames of WebSocket (RFC 6455): out of order, reserved, with a meaning that nobody knows, unmasked, longer than anything, and
/// cut off.
pub const BAD_FRAMES: [&[u8]; 6] = [
    b"\x80\x80\0\0\0\0",
    b"\x83\x80\0\0\0\0",
    b"\xf2\x80\0\0\0\0",
    b"\x82\x02\0x",
    b"\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff\0\0\0\0",
    b"\x82\xfe\xff",
];

/// Frames of SPDY/3.1: of another version, longer than is allowed, with headers that cannot be unpacked, and data of a stream that
/// was never opened.
pub const BAD_SPDY: [&[u8]; 4] = [
    b"\x80\x02\0\x01\0\0\0\0",
    b"\x80\x03\0\x01\0\xff\xff\xff",
    b"\x80\x03\0\x01\0\0\0\x0e\0\0\0\x01\0\0\0\0\0\0junk",
    b"\0\0\0\x07\0\0\0\x01x",
];

/// What this process has in memory, in bytes.
///
/// # Panics
///
/// When the system does not say.
#[must_use]
pub fn memory() -> u64 {
    memory_of("self")
}

/// The same of another process, by its directory in `/proc`.
///
/// # Panics
///
/// When it is not there.
#[must_use]
pub fn memory_of(process: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_else(|error| panic!("process {process}: {error}"));
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    number.unwrap_or_else(|| panic!("process {process} has no memory")) * 1024
}
