//! `cargo fuzz run spdy_headers`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| corten_fuzz::targets::spdy_headers(data));
