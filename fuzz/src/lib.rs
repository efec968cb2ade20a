//! Fuzz targets: for every input of a kind, what must hold.
//!
//! A target is a plain function in [`targets`] that panics when its property does not hold. It runs in two ways:
//!
//! - on stable, in every test run: `tests/replay.rs` gives it each file of its corpus and a bounded number of deterministic
//!   [`mutations`](mutate) of them;
//! - for as long as one likes, with cargo-fuzz: `cargo +nightly fuzz run json --features libfuzzer`.
//!
//! To add one: a function in `src/targets/<subject>.rs`, a line in [`TARGETS`], inputs in `corpus/<name>/`, and for cargo-fuzz
//! a program in `fuzz_targets/` with its entry in `Cargo.toml`.

pub mod mutate;
pub mod targets;

/// A property and its name, which is that of its corpus.
pub struct Target {
    /// The directory in `corpus/`.
    pub name: &'static str,
    /// The property: panics when it does not hold.
    pub run: fn(&[u8]),
    /// Words that make inputs of this kind interesting.
    pub words: &'static [&'static str],
    /// How many mutations the test tries: as many as a second allows.
    pub mutations: u32,
}

/// All targets.
pub const TARGETS: &[Target] = &[
    Target { name: "json", run: targets::json, words: targets::decode::JSON_WORDS, mutations: 15000 },
    Target { name: "yaml", run: targets::yaml, words: targets::decode::YAML_WORDS, mutations: 500 },
    Target { name: "protobuf", run: targets::protobuf, words: &[], mutations: 15000 },
    Target { name: "selectors", run: targets::selectors, words: targets::requests::SELECTOR_WORDS, mutations: 5000 },
    Target { name: "continue_token", run: targets::continue_token, words: &["\"rv\":", "-1", "\\u0000", "../"], mutations: 5000 },
    Target { name: "pod", run: targets::pod, words: targets::objects::POD_WORDS, mutations: 1500 },
    Target { name: "patches", run: targets::patches, words: targets::patches::PATCH_WORDS, mutations: 1500 },
    Target { name: "apply", run: targets::apply, words: targets::patches::PATCH_WORDS, mutations: 1500 },
    Target { name: "fields", run: targets::fields, words: targets::patches::FIELD_WORDS, mutations: 15000 },
    Target { name: "spdy", run: targets::spdy, words: &["\u{1}", "\u{3}", "\0\0\0"], mutations: 15000 },
    Target { name: "spdy_headers", run: targets::spdy_headers, words: &["streamtype", "\0\0\0\u{1}", "A"], mutations: 15000 },
];
