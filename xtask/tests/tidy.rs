//! The repository's habits, as tests.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop where it is")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Licences that may be part of the binary.
const LICENCES: [&str; 12] = [
    "Apache-2.0",
    "MIT",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "Zlib",
    "Unicode-3.0",
    "0BSD",
    "CC0-1.0",
    "BSL-1.0",
    "Unlicense",
    "CDLA-Permissive-2.0",
];

/// Crates whose manifest does not name an allowed licence, and what was found on reading.
const EXCEPTIONS: [(&str, &str); 3] = [
    ("libfuzzer-sys", "NCSA for LLVM's runtime: permissive, and only in the programs of cargo-fuzz"),
    ("pathrs", "MPL-2.0: copyleft for its own files alone, used unchanged by libcontainer"),
    ("rust-criu", "names a licence file, which is MIT"),
];

/// Crates that are there in more than one version, each for a dependency that we cannot move.
const DUPLICATES: &[(&str, &str)] = &include!("duplicates.in");

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn metadata() -> Value {
    let output = Command::new("cargo").args(["metadata", "--format-version", "1", "--locked"]).current_dir(root()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Whether an SPDX expression can be satisfied by allowed licences alone.
fn is_allowed(expression: &str) -> bool {
    let plain = expression.replace(['(', ')'], " ").replace('/', " OR ");
    plain.split(" OR ").any(|alternative| {
        alternative.split(" AND ").all(|licence| {
            let licence = licence.trim();
            LICENCES.contains(&licence.split(" WITH ").next().unwrap_or(licence))
        })
    })
}

#[test]
fn licences_are_permissive() {
    let metadata = metadata();
    let wrong: Vec<String> = metadata["packages"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|package| !package["license"].as_str().is_some_and(is_allowed))
        .filter(|package| !EXCEPTIONS.iter().any(|(name, _)| package["name"] == *name))
        .map(|package| format!("{} {}: {}", package["name"], package["version"], package["license"]))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn licence_expressions_are_understood() {
    for (expression, allowed) in [
        ("MIT OR GPL-3.0", true),
        ("MIT/Apache-2.0", true),
        ("(MIT OR Apache-2.0) AND Unicode-3.0", true),
        ("GPL-3.0", false),
        ("MIT AND GPL-2.0", false),
    ] {
        assert_eq!(is_allowed(expression), allowed, "{expression}");
    }
}

/// One version each: a second one costs build time and size. The exceptions are listed with their reason.
#[test]
fn each_crate_has_one_version() {
    let mut command = Command::new("cargo");
    command.args(["tree", "--workspace", "--edges", "normal", "--prefix", "none", "--format", "{p}", "--locked"]).current_dir(root());
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut versions: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let mut words = line.split(' ');
        if let (Some(name), Some(version)) = (words.next(), words.next()) {
            versions.entry(name.to_owned()).or_default().insert(version.to_owned());
        }
    }
    let several: BTreeSet<&str> = versions.iter().filter(|(_, versions)| versions.len() > 1).map(|(name, _)| name.as_str()).collect();
    let known: BTreeSet<&str> = DUPLICATES.iter().map(|(name, _)| *name).collect();
    assert_eq!(several.difference(&known).collect::<Vec<_>>(), Vec::<&&str>::new(), "new duplicates; see cargo tree -d");
    assert_eq!(known.difference(&several).collect::<Vec<_>>(), Vec::<&&str>::new(), "no longer duplicates: take them off the list");
}

/// Every Rust file of the project.
fn sources() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut directories: Vec<PathBuf> = ["bench", "crates", "fuzz", "xtask"].map(|part| root().join(part)).to_vec();
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push((path.strip_prefix(root()).unwrap().to_owned(), fs::read_to_string(&path).unwrap()));
            }
        }
    }
    assert!(found.len() > 100, "these are not all sources: {}", found.len());
    found
}

fn violations(forbidden: &[&str], allowed: impl Fn(&Path) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    for (name, text) in sources() {
        if allowed(&name) || name.starts_with("xtask/tests") {
            continue;
        }
        for (number, line) in text.lines().enumerate() {
            if forbidden.iter().any(|words| line.contains(words)) && !line.trim_start().starts_with("//") {
                found.push(format!("{}:{}: {}", name.display(), number + 1, line.trim()));
            }
        }
    }
    found
}

fn is_test(path: &Path) -> bool {
    path.components().any(|part| part.as_os_str() == "tests" || part.as_os_str() == "tests.rs" || part.as_os_str() == "benches")
        || path.file_stem().is_some_and(|stem| stem.to_string_lossy().ends_with("_tests"))
}

/// Settings come in as arguments; a component that reads the environment cannot be run twice in a process.
#[test]
fn only_the_binary_and_tools_read_the_environment() {
    let tools = ["crates/corten/", "crates/testkit/", "crates/hello/", "xtask/"];
    let found = violations(&["env::var", "env::vars"], |path| {
        is_test(path) || path.ends_with("build.rs") || tools.iter().any(|tool| path.starts_with(tool))
    });
    assert!(found.is_empty(), "{found:#?}");
}

/// The schema is pure: it can be fuzzed, and used anywhere.
#[test]
fn the_schema_does_no_io() {
    let found = violations(&["std::fs", "std::net", "tokio::", "SystemTime::now", "Instant::now"], |path| {
        !path.starts_with("crates/schema/src") || is_test(path)
    });
    assert!(found.is_empty(), "{found:#?}");
}

/// A component that opens the store would see what it may not, and race with the API server. The benchmark is no component of one.
#[test]
fn only_the_api_server_works_on_the_store() {
    let found = violations(&["corten_store::"], |path| {
        is_test(path) || ["crates/store/", "crates/apiserver/", "crates/corten/", "bench/"].iter().any(|home| path.starts_with(home))
    });
    assert!(found.is_empty(), "{found:#?}");
}

/// Nothing of libcontainer may run in the daemon: it forks.
#[test]
fn only_the_shim_links_libcontainer() {
    let found = violations(&["libcontainer::"], |path| path.starts_with("crates/shim/"));
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn nothing_is_left_to_do() {
    let found = violations(&["todo!(", "unimplemented!("], |_| false);
    assert!(found.is_empty(), "{found:#?}");
}

/// A file has one subject. Generated code and data are not read by people.
#[test]
fn files_stay_short() {
    const LONGEST: usize = 700;
    let long: Vec<String> = sources()
        .into_iter()
        .filter(|(name, _)| name != Path::new("crates/cri/src/v1.rs"))
        .map(|(name, text)| (name, text.lines().count()))
        .filter(|(_, lines)| *lines > LONGEST)
        .map(|(name, lines)| format!("{}: {lines} lines", name.display()))
        .collect();
    assert!(long.is_empty(), "{long:#?}");
}
