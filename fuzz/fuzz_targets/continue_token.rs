//! `cargo fuzz run continue_token`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| corten_fuzz::targets::continue_token(data));
