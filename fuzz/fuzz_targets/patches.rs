//! `cargo fuzz run patches`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| corten_fuzz::targets::patches(data));
